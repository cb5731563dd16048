"""What is exported is what the logs hold, read back with the tools that it is for."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from helpers import disks, models
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

import bnexp
from bnexp.analysis.distributions import typical_unit
from bnexp.analysis.stacking import StackedRows
from bnexp.errors import ConfigError, StorageError
from bnexp.export import exporting
from bnexp.export import parts as parts_module
from bnexp.export.parts import ExportRequest

ROOT = Path(__file__).parents[2]
Q = (15, 50, 85)
OVERRIDES = [
    "train.steps=60", "seeds=[0,2]", "model.hidden=[8,6]", "record.probe_size=50",
    "record.probe_every=25", "record.layers=all", "record.every=7",
]  # fmt: skip
LOGS = {"probe": "probe_percentiles", "batch": "batch_percentiles"}


# What one of these tests has made serves all of them.
pytestmark = pytest.mark.xdist_group("export")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """The quickstart in small."""
    return bnexp.train(
        "quickstart", OVERRIDES, out=tmp_path_factory.mktemp("export") / "quick", jobs=1
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A model of a user's own, whose layer has a name."""
    folder = tmp_path_factory.mktemp("recorded") / "own"
    model = models.dense()
    with models.record(model, folder) as recorder:
        models.train(model, recorder, 5)
    return bnexp.load(folder)


def export(experiment, folder, to, **selected):
    """Export an experiment; the paths."""
    return [*exporting.export(experiment.results, to, ExportRequest(**selected), folder)]


def read(path):
    """A table as pandas reads it, with values as they were written."""
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize("to", ["csv", "parquet"])
@pytest.mark.parametrize("source", LOGS)
def test_a_table_holds_each_value_under_its_names(experiment, tmp_path, to, source):
    """A row for each variant, seed, step, layer, unit and percentile, and the exact float32."""
    export(experiment, tmp_path / "out", to)
    frame = read(tmp_path / "out" / f"{LOGS[source]}.{to}")
    names = ["variant", "seed", "step", "layer", "unit", "percentile", "value"]
    assert list(frame.columns) == names
    assert not frame.duplicated(names[:-1]).any()
    array = experiment.probe if source == "probe" else experiment.minibatch
    assert len(frame) == array.size
    layers, units = array.layer.to_numpy(), array.index.to_numpy()
    for variant in experiment.variants:
        for seed in (0, 2):
            one = frame[(frame.variant == variant) & (frame.seed == seed)]
            cube = one.set_index(["step", "percentile", "layer", "unit"]).value
            folder = experiment.path / variant / f"seed-{seed}"
            log = np.load(folder / f"{LOGS[source]}.npy")
            found = [
                [[cube[step, q, n, u] for n, u in zip(layers, units, strict=True)] for q in Q]
                for step in array.step.to_numpy()
            ]
            np.testing.assert_array_equal(np.array(found, np.float32), log)


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_metrics_are_a_table_of_their_own(experiment, tmp_path, to):
    """As the Python API has them, number by number."""
    export(experiment, tmp_path / "out", to)
    pd.testing.assert_frame_equal(read(tmp_path / "out" / f"metrics.{to}"), experiment.metrics)


def test_parquet_has_columns_of_plain_types(experiment, tmp_path):
    """As pyarrow reads the schema."""
    export(experiment, tmp_path / "out", "parquet")
    schema = pyarrow.parquet.read_schema(tmp_path / "out" / "probe_percentiles.parquet")
    assert [str(kind) for kind in schema.types] == [
        "string", "int64", "int64", "int32", "int32", "double", "float",
    ]  # fmt: skip


@pytest.mark.parametrize("to", ["csv", "parquet", "tensorboard"])
def test_a_log_is_read_in_parts_that_do_not_grow_with_it(experiment, tmp_path, monkeypatch, to):
    """No reading asks for more numbers than a block, and the rows are those of a single block."""
    path = "tensorboard/baseline/seed-0/events.out.tfevents.bnexp"
    path = path if to == "tensorboard" else f"batch_percentiles.{to}"
    options = {"source": "batch", "unit": "3"}
    export(experiment, tmp_path / "whole", to, **options)
    asked, reading = [], StackedRows.__getitem__

    def noting(self, key):
        found = reading(self, key)
        asked.append(found.size)
        return found

    monkeypatch.setattr(StackedRows, "__getitem__", noting)
    monkeypatch.setattr(parts_module, "BLOCK_NUMBERS", 100)  # two of nine steps
    export(experiment, tmp_path / "parts", to, **options)
    assert max(asked) <= 100
    assert len(asked) == 4 * 5
    if to == "parquet":  # whose row groups are the blocks
        pd.testing.assert_frame_equal(
            read(tmp_path / "parts" / path), read(tmp_path / "whole" / path)
        )
    else:
        whole, parts = (tmp_path / name / path for name in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def events(folder, variant="baseline", seed=0):
    """A run as TensorBoard's own reader has it."""
    path = folder / "tensorboard" / variant / f"seed-{seed}"
    return EventAccumulator(str(path), {"scalars": 0, "tensors": 0}).Reload()


def test_tensorboard_shows_the_percentiles_of_typical_units(experiment, tmp_path):
    """Of each layer the unit nearest to the median unit, from the probe, at its steps."""
    (folder,) = export(experiment, tmp_path / "out", "tensorboard", unit="typical")
    assert folder == tmp_path / "out" / "tensorboard"
    for variant in experiment.variants:
        for seed in (0, 2):
            found = events(tmp_path / "out", variant, seed)
            log = np.load(experiment.path / variant / f"seed-{seed}" / "probe_percentiles.npy")
            percentiles = {t for t in found.Tags()["scalars"] if not t.startswith("metrics/")}
            assert percentiles == {f"probe.layer{n}.typical/P{q}" for n in (1, 2) for q in Q}
            for layer, units in ((1, slice(8)), (2, slice(8, None))):
                _, unit = typical_unit(log[:, np.newaxis, :, units])
                for place, q in enumerate(Q):
                    scalars = found.Scalars(f"probe.layer{layer}.typical/P{q}")
                    assert [each.step for each in scalars] == [0, 25, 50, 60]
                    values = np.array([each.value for each in scalars], np.float32)
                    np.testing.assert_array_equal(values, log[:, place, units][:, unit])
                    told = found.SummaryMetadata(f"probe.layer{layer}.typical/P{q}")
                    assert f"unit {unit} of layer {layer}, over" in told.summary_description


def test_tensorboard_shows_the_metrics(experiment, tmp_path):
    """At the steps of metrics.csv; what was not measured has no point."""
    export(experiment, tmp_path / "out", "tensorboard", unit="typical")
    found = events(tmp_path / "out", "batchnorm", 2)
    metrics = experiment.metrics.query("variant == 'batchnorm' and seed == 2").set_index("step")
    for name in ("train_loss", "test_accuracy", "test_loss"):
        expected = metrics[name].dropna()
        scalars = found.Scalars(f"metrics/{name}")
        assert [each.step for each in scalars] == expected.index.tolist()
        assert [each.value for each in scalars] == pytest.approx(expected.tolist())


def test_tensorboard_draws_a_unit_in_one_chart_and_no_histogram(experiment, tmp_path):
    """Custom Scalars have the percentiles as a band, by tags that are there."""
    export(experiment, tmp_path / "out", "tensorboard", unit="2", source="batch")
    found = events(tmp_path / "out")
    assert found.Tags()["histograms"] == found.Tags()["distributions"] == []
    (tensor,) = found.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(tensor.tensor_proto.string_val[0])
    (category,) = layout.category
    assert [chart.title for chart in category.chart] == ["batch.layer1.unit2", "batch.layer2.unit2"]
    for chart in category.chart:
        (series,) = chart.margin.series
        tags = [series.lower, series.value, series.upper]
        assert tags == [f"{chart.title}/P{q}" for q in Q]
        assert {*tags} <= {*found.Tags()["scalars"]}


def test_a_run_without_a_probe_shows_its_minibatches(recorded, tmp_path):
    """And the tags and tables have the names of its layers."""
    export(recorded, tmp_path / "out", "tensorboard", unit="typical")
    tags = events(tmp_path / "out", "model").Tags()["scalars"]
    assert {f"batch.1.typical/P{q}" for q in Q} <= {*tags}
    export(recorded, tmp_path / "out", "csv")
    frame = pd.read_csv(tmp_path / "out" / "batch_percentiles.csv", dtype={"layer_name": str})
    assert frame.columns[4] == "layer_name"
    assert set(frame.layer_name) == {"1"}
    assert not (tmp_path / "out" / "probe_percentiles.csv").exists()


def test_layer_and_unit_select(experiment, tmp_path):
    """A single unit, or all of a layer."""
    for options, pairs in (
        ({"layer": 2}, {(2, unit) for unit in range(6)}),
        ({"unit": "7", "layer": 1}, {(1, 7)}),
        ({"unit": "0"}, {(1, 0), (2, 0)}),
    ):
        paths = export(experiment, tmp_path / "out", "parquet", source="probe", **options)
        assert [path.name for path in paths] == ["probe_percentiles.parquet", "metrics.parquet"]
        frame = read(paths[0])
        assert {*zip(frame.layer, frame.unit, strict=True)} == pairs


@pytest.mark.parametrize(
    ("to", "options", "text"),
    [
        ("parqet", {}, "--to parqet: no such format; did you mean 'parquet'?"),
        ("csv", {"source": "test"}, "--source test: no such source; there are probe, batch"),
        ("csv", {"layer": 3}, "--layer 3: not recorded in baseline; there is layer 1, 2"),
        ("csv", {"unit": "7"}, "--unit 7: no such unit in layer 2 of baseline; give all, typical"),
    ],
)
def test_a_wrong_choice_is_told_before_anything_is_written(experiment, tmp_path, to, options, text):
    """What is wrong, and what there is."""
    with pytest.raises(ConfigError, match=re.escape(text)):
        export(experiment, tmp_path / "out", to, **options)
    assert not (tmp_path / "out").exists()


def test_a_source_that_was_not_recorded_is_refused(recorded, tmp_path):
    """The model had no probe."""
    with pytest.raises(ConfigError, match="--source probe: nothing was recorded over it"):
        export(recorded, tmp_path / "out", "csv", source="probe")


@pytest.mark.parametrize(
    ("to", "library"),
    [("csv", "pyarrow"), ("parquet", "pyarrow"), ("tensorboard", "tensorboard")],
)
def test_a_missing_library_is_named_with_its_remedy(experiment, tmp_path, monkeypatch, to, library):
    """In one line; the exit code is that of a wrong usage."""
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == library else name)
    with pytest.raises(ConfigError, match=rf"needs {library}, .* pip install {library}") as error:
        export(experiment, tmp_path / "out", to)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("to", ["csv", "parquet", "tensorboard"])
@pytest.mark.parametrize("fatal", [1, 2, 3])
def test_a_full_disk_leaves_the_export_that_was_there(experiment, tmp_path, monkeypatch, to, fatal):
    """The error says what to do, and no part of a file is left behind."""

    def contents():
        paths = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in paths if not path.name.startswith(".")}

    export(experiment, tmp_path / "out", to, unit="all")
    before = contents()
    with monkeypatch.context() as patch:
        disks.Disk(patch, fatal, disks.no_room)
        with pytest.raises(StorageError, match="Make room"):
            export(experiment, tmp_path / "out", to, unit="typical")
    assert contents() == before


def test_the_folder_of_a_run_or_of_somebody_else_is_left_alone(experiment, tmp_path):
    """Its metrics.csv would be overwritten."""
    run = experiment.path / "baseline" / "seed-0"
    before = (run / "metrics.csv").read_bytes()
    with pytest.raises(ConfigError, match="holds a run or an experiment"):
        export(experiment, run, "csv")
    assert (run / "metrics.csv").read_bytes() == before
    (tmp_path / "metrics.csv").write_text("mine")
    with pytest.raises(StorageError, match=r"did not write, such as 'metrics\.csv'"):
        export(experiment, tmp_path, "csv")


def command(*words):
    """Run `bnexp export`."""
    words = [sys.executable, "-m", "bnexp", "export", *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_the_command_prints_paths_and_what_comes_next(experiment):
    """Files go into the experiment's folder, where `bnexp train` and others do not mind them."""
    done = command(experiment.path, "--to", "tensorboard")
    folder = experiment.path / "export" / "tensorboard"
    assert (done.returncode, done.stdout) == (0, f"{folder}\n")
    assert f"tensorboard --logdir {folder}" in done.stderr
    assert {tag.partition("/")[0] for tag in events(folder.parent).Tags()["scalars"]} == {
        "metrics", "probe.layer1.typical", "probe.layer2.typical",
    }  # fmt: skip
    again = bnexp.train("quickstart", OVERRIDES, out=experiment.path)
    assert again.variants == experiment.variants


def test_the_command_exports_what_is_whole_and_says_what_is_damaged(experiment, tmp_path):
    """With the exit code of damaged files."""
    shutil.copytree(experiment.path, tmp_path / "damaged")
    (tmp_path / "damaged" / "baseline" / "seed-0" / "metrics.csv").write_text("?")
    done = command(tmp_path / "damaged", "--to", "csv", "--out", tmp_path / "out")
    assert done.returncode == 4
    assert "metrics.csv: damaged" in done.stderr
    metrics = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert metrics.groupby("variant").seed.unique().map(list).to_dict() == {
        "baseline": [2],
        "batchnorm": [0, 2],
    }


def test_what_has_no_logs_is_refused(tmp_path):
    """As a published folder; the error says how they are made."""
    with pytest.raises(StorageError, match="bnexp train --config"):
        export(bnexp.load(ROOT / "results" / "published" / "fig1"), tmp_path / "out", "csv")
