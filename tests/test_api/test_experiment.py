"""A loaded experiment hands out what its files hold, and nothing is read before it is used."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import bnexp
from bnexp.config import DataConfig
from bnexp.data import datasets
from bnexp.errors import ConfigError, DamagedError, StorageError

ROOT = Path(__file__).parents[2]
OVERRIDES = [
    "train.steps=120", "seeds=[0,2]", "model.hidden=[8,6]", "record.probe_size=50",
    "record.layers=all", "train.checkpoint_every=50",
]  # fmt: skip


# What one of these tests has made serves all of them.
pytestmark = pytest.mark.xdist_group("api")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """The quickstart in small, trained from Python."""
    return bnexp.train(
        "quickstart", OVERRIDES, out=tmp_path_factory.mktemp("api") / "quick", jobs=1
    )


@pytest.mark.parametrize(
    ("name", "file"), [("probe", "probe_percentiles.npy"), ("minibatch", "batch_percentiles.npy")]
)
def test_the_arrays_hold_the_logs_under_their_names(experiment, name, file):
    """Every value, at its variant, seed, step, percentile and unit."""
    array = getattr(experiment, name)
    assert array.dims == ("variant", "seed", "step", "percentile", "unit")
    assert array.seed.to_numpy().tolist() == [0, 2]
    assert array.layer.to_numpy().tolist() == [1] * 8 + [2] * 6
    assert array.index.to_numpy().tolist() == [*range(8), *range(6)]
    for variant in experiment.variants:
        for seed in (0, 2):
            log = np.load(experiment.path / variant / f"seed-{seed}" / file)
            np.testing.assert_array_equal(array.sel(variant=variant, seed=seed), log)
    log = np.load(experiment.path / "batchnorm" / "seed-2" / file)
    step = int(array.step[3])
    one = array.sel(variant="batchnorm", seed=2, step=step, percentile=85).isel(unit=9)
    assert one.item() == log[3, 2, 9]
    np.testing.assert_array_equal(
        array.sel(variant="batchnorm", seed=2)[1:9:3, ::-1, [0, 4]], log[1:9:3, ::-1][..., [0, 4]]
    )


def test_a_unit_is_selected_by_its_layer_and_its_index(experiment):
    """And nothing is read before a value is asked for."""
    for layer, index, unit in ((1, 7, 7), (2, 5, 13)):
        by_name = experiment.probe.sel(variant="batchnorm", seed=2, layer=layer).sel(index=index)
        assert by_name.dims == ("step", "percentile")
        assert by_name.unit.item() == unit
        log = np.load(experiment.path / "batchnorm" / "seed-2" / "probe_percentiles.npy")
        np.testing.assert_array_equal(by_name, log[..., unit])
    assert experiment.minibatch.sel(layer=2).sizes["unit"] == 6


def test_of_a_lazy_array_only_what_is_asked_for_is_read(experiment, monkeypatch):
    """Selecting reads nothing; a value reads its rows alone."""
    from bnexp.analysis.stacking import StackedRows

    asked = []
    read = StackedRows.__getitem__

    def noting(self, key):
        found = read(self, key)
        asked.append(found.size)
        return found

    monkeypatch.setattr(StackedRows, "__getitem__", noting)
    selected = experiment.probe.sel(variant="baseline", seed=0, percentile=50, layer=1)
    selected = selected.sel(index=3)
    assert asked == []
    assert selected.isel(step=slice(2, 4)).to_numpy().shape == (2,)
    assert sum(asked) <= 2 * 3 * 14


def test_metrics_are_a_frame_of_all_runs(experiment):
    """With every column of metrics.csv, and the rows in order."""
    metrics = experiment.metrics
    part = metrics[(metrics.variant == "batchnorm") & (metrics.seed == 2)]
    expected = pd.read_csv(experiment.path / "batchnorm" / "seed-2" / "metrics.csv")
    columns = list(expected.columns)
    np.testing.assert_array_equal(part[columns].to_numpy(), expected.to_numpy())
    assert len(metrics) == 4 * len(expected)


def test_compare_has_the_numbers_of_the_command(experiment):
    """Means, intervals, and the verdict of the primary measure."""
    rows = experiment.compare(baseline="baseline").set_index(["variant", "measure"])
    summary = experiment.summary["variants"]["batchnorm"]["measures"]["test_accuracy"]
    row = rows.loc[("batchnorm", "test_accuracy")]
    assert (row["mean"], row["low"]) == (summary["mean"], summary["low"])
    assert row.verdict
    mine, theirs = (rows.loc[(name, "test_accuracy"), "mean"] for name in experiment.variants[::-1])
    assert row.difference == pytest.approx(mine - theirs)
    with pytest.raises(ConfigError, match="no such variant"):
        experiment.compare(baseline="nothing")


def test_a_network_has_the_accuracy_that_its_run_wrote_down(experiment):
    """In evaluation mode, as a plain Sequential."""
    digits = datasets.load(DataConfig("digits"))
    x, labels = torch.as_tensor(digits.test_x), torch.as_tensor(digits.test_y)
    for variant in experiment.variants:
        network = experiment.network(variant, seed=2)
        assert type(network) is torch.nn.Sequential
        accuracy = (network(x).argmax(1) == labels).double().mean().item()
        metrics = experiment.metrics.query(f"variant == '{variant}' and seed == 2")
        assert accuracy == pytest.approx(metrics.test_accuracy.iloc[-1], abs=1e-9)


def test_a_plot_is_a_figure_that_a_notebook_shows(experiment):
    """With the options of the command."""
    from matplotlib.figure import Figure

    figure = experiment.plot(layer=1, unit=3, seed=2)
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="unit=99: no such unit"):
        experiment.plot(unit=99)


def test_an_experiment_says_what_it_holds(experiment, tmp_path):
    """Its variants and their logs, as text, and as a table in a notebook."""
    assert repr(experiment).splitlines()[0] == f"bnexp experiment 'quickstart' in {experiment.path}"
    assert "batchnorm: done, 2 seeds, step 120, test accuracy 0." in repr(experiment)
    assert "batchnorm, minibatch: 120 rows of 14 units" in repr(experiment)
    assert "<td>batchnorm</td>" in experiment._repr_html_()
    moved = bnexp.load(shutil.copytree(experiment.path, tmp_path / "<script>"))
    assert "&lt;script&gt;" in moved._repr_html_()
    assert "<script>" not in moved._repr_html_()


def test_an_experiment_says_what_of_it_cannot_be_read(experiment, tmp_path):
    """The other seeds and the other variants are there all the same."""
    shutil.copytree(experiment.path, tmp_path / "damaged")
    (tmp_path / "damaged" / "baseline" / "seed-0" / "metrics.csv").write_text("?")
    found = bnexp.load(tmp_path / "damaged")
    assert re.search(r"baseline: cannot be read in full: .*metrics\.csv: damaged", repr(found))
    there = found.metrics[["variant", "seed"]].drop_duplicates().to_numpy().tolist()
    assert there == [["baseline", 2], ["batchnorm", 0], ["batchnorm", 2]]


def test_variants_with_other_units_are_taken_one_by_one(tmp_path):
    """The error says how."""
    (tmp_path / "widths.yaml").write_text(
        "name: widths\nseeds: 1\ndata: {name: digits}\ntrain: {steps: 20}\n"
        "variants:\n  narrow: {model: {hidden: [4]}}\n  wide: {model: {hidden: [6]}}\n"
    )
    found = bnexp.train(tmp_path / "widths.yaml", out=tmp_path / "widths", jobs=1)
    with pytest.raises(ConfigError, match=r"wide recorded other units .*\.sel\('wide'\)"):
        found.probe
    assert found.sel("wide").probe.sizes["unit"] == 6
    with pytest.raises(ConfigError, match="no such variant; did you mean 'narrow'"):
        found.sel("narow")


def test_published_results_offer_their_numbers_without_their_logs():
    """And say how the logs are made."""
    published = bnexp.load(ROOT / "results" / "published" / "fig1")
    assert published.summary["experiment"] == "fig1"
    assert set(published.compare().variant) == {"baseline", "batchnorm"}
    with pytest.raises(StorageError, match="bnexp train --config"):
        published.probe


def test_errors_are_those_of_the_command(experiment, tmp_path):
    """A folder that is none, a wrong override, a seed that was not trained, a damaged network."""
    with pytest.raises(StorageError, match="no such folder"):
        bnexp.load(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"train\.lr"):
        bnexp.train("quickstart", ["train.lr=-1"], out=tmp_path / "x")
    with pytest.raises(ConfigError, match=r"train\.lr=-1"):  # one override needs no list
        bnexp.train("quickstart", "train.lr=-1", out=tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.raises(ConfigError, match="seed 7 was not trained"):
        experiment.network("baseline", 7)
    shutil.copytree(experiment.path, tmp_path / "damaged")
    model = tmp_path / "damaged" / "baseline" / "seed-0" / "model.pt"
    model.write_bytes(b"?")
    with pytest.raises(DamagedError, match=r"model\.pt"):
        bnexp.load(tmp_path / "damaged").network("baseline", 0)
    shutil.copy(experiment.path / "batchnorm" / "seed-0" / "model.pt", model)
    with pytest.raises(DamagedError, match=r"damaged \(its bytes are not those written\)"):
        bnexp.load(tmp_path / "damaged").network("baseline", 0)
    torch.save({"weight": torch.zeros(2)}, model)
    with pytest.raises(DamagedError, match=r"damaged \(its bytes are not those written\)"):
        bnexp.load(tmp_path / "damaged").network("baseline", 0)


def test_importing_bnexp_loads_neither_torch_nor_matplotlib():
    """Nor pandas and xarray; its names are there all the same."""
    code = (
        "import sys, bnexp; print(sorted({'torch', 'matplotlib', 'pandas', 'xarray', 'numpy'} "
        "& set(sys.modules)), dir(bnexp))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")
    assert "'load'" in done.stdout
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bnexp.nothing


def test_a_script_without_a_main_guard_trains_once(tmp_path):
    """Workers do not run the user's script again."""
    (tmp_path / "script.py").write_text(
        "import bnexp\nprint('started')\n"
        f"bnexp.train('quickstart', {OVERRIDES!r}, out='out', jobs=1)\nprint('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "started\ndone\n"


def test_the_readmes_script_runs(experiment, tmp_path, monkeypatch, capsys):
    """As it stands there, with the quickstart where it looks for it."""
    (script,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        if "bnexp.load" in block
    )
    assert len([line for line in script.splitlines() if line.strip()]) <= 15
    bnexp.train("quickstart", ["train.steps=60"], out=tmp_path / "results" / "quickstart", jobs=1)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    metrics = bnexp.load("results/quickstart").metrics.query("variant == 'batchnorm' and seed == 0")
    assert f"{metrics.test_accuracy.iloc[-1]:.4f}" in printed.splitlines()[-1]
    assert (tmp_path / "results" / "typical.png").stat().st_size > 1000
    assert experiment.variants == ("baseline", "batchnorm")
