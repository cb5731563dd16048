"""The logs of several variants as one array: rows of the steps that all of them have."""

import numpy as np
import pytest
from helpers import models

import bnexp
from bnexp.analysis.stacking import StackedRows
from bnexp.errors import ConfigError

# What one of these tests has made serves all of them.
pytestmark = pytest.mark.xdist_group("arrays")


def log_of(folder, variant, file, seed=0):
    """The rows of a run's file."""
    return np.load(folder / variant / f"seed-{seed}" / file)


@pytest.fixture(scope="module")
def lengths(tmp_path_factory):
    """Two variants of 120 and of 200 steps, with a probe every 50."""
    folder = tmp_path_factory.mktemp("lengths")
    (folder / "labels.yaml").write_text(
        "name: labels\nseeds: 2\ndata: {name: digits}\nmodel: {hidden: [8, 6]}\n"
        "record: {probe_size: 50, probe_every: 50, evaluate_every: 50, every: 3}\n"
        "variants: {short: {train: {steps: 120}}, long: {train: {steps: 200}}}\n"
    )
    return bnexp.train(folder / "labels.yaml", out=folder / "out", jobs=1)


def test_variants_of_other_lengths_have_the_rows_of_their_common_steps(lengths):
    """The final row of the shorter one, of step 120, has no row beside it."""
    assert lengths.probe.step.to_numpy().tolist() == [0, 50, 100]
    assert lengths.probe.values.shape == (2, 2, 3, 3, 14)


@pytest.mark.parametrize(
    ("name", "file"), [("probe", "probe_percentiles.npy"), ("minibatch", "batch_percentiles.npy")]
)
def test_every_row_of_variants_of_other_lengths_is_that_of_its_step(lengths, name, file):
    """Of both variants, as their files have it."""
    array = getattr(lengths, name)
    every = {"probe": 50, "minibatch": 3}[name]
    rows = array.step.to_numpy() // every
    for variant in ("short", "long"):
        log = log_of(lengths.path, variant, file, seed=1)
        np.testing.assert_array_equal(array.sel(variant=variant, seed=1), log[rows])


def test_variants_recorded_at_other_intervals_have_the_rows_of_their_common_steps(tmp_path):
    """A step has the row that each variant recorded at this step."""
    models.recorded(tmp_path, 20, variant="all")
    models.recorded(tmp_path, 60, variant="some", every=6)
    array = bnexp.load(tmp_path).minibatch
    assert array.step.to_numpy().tolist() == [0, 6, 12, 18]
    logs = {name: log_of(tmp_path, name, "batch_percentiles.npy") for name in ("all", "some")}
    np.testing.assert_array_equal(array.sel(variant="all", seed=0), logs["all"][:19:6])
    np.testing.assert_array_equal(array.sel(variant="some", seed=0), logs["some"][:4])


def test_parts_of_an_array_of_other_intervals_are_those_of_the_whole(tmp_path):
    """Numbers, slices, lists and backward slices of every axis."""
    models.recorded(tmp_path, 40, variant="all")
    models.recorded(tmp_path, 60, variant="some", every=6)
    array = bnexp.load(tmp_path).minibatch
    whole = array.to_numpy()
    for key in (
        (1, 0, 2, 1, 3),
        (slice(None), slice(None), -1),
        (slice(None, None, -1), 0, slice(5, 1, -2), slice(1, None), [4, 0]),
        (1, slice(None), [3, 0, 5]),
        (slice(0, 0), 0, slice(2, 2)),
    ):
        np.testing.assert_array_equal(array[key].to_numpy(), array.copy(data=whole)[key])


def test_of_an_array_of_other_intervals_only_what_is_asked_for_is_read(tmp_path, monkeypatch):
    """One value of each variant."""
    models.recorded(tmp_path, 40, variant="all")
    models.recorded(tmp_path, 60, variant="some", every=6)
    asked, read = [], StackedRows.__getitem__

    def noting(self, key):
        found = read(self, key)
        asked.append(found.size)
        return found

    array = bnexp.load(tmp_path).minibatch
    monkeypatch.setattr(StackedRows, "__getitem__", noting)
    selected = array.sel(step=12, percentile=50, layer=1).sel(index=3)
    assert asked == []
    assert selected.to_numpy().shape == (2, 1)
    assert asked == [1, 1]


def test_variants_without_a_common_seed_are_refused_with_the_way_to_their_arrays(tmp_path):
    """One by one, each has its own seeds."""
    models.recorded(tmp_path, 5, variant="a", seed=0)
    models.recorded(tmp_path, 5, variant="b", seed=1)
    found = bnexp.load(tmp_path)
    with pytest.raises(
        ConfigError, match=r"a, b have no seed in common; .*\.sel\('b'\)\.minibatch"
    ):
        found.minibatch
    assert found.sel("b").minibatch.seed.to_numpy().tolist() == [1]


def test_layers_of_other_names_do_not_stand_under_one_name(tmp_path):
    """As many units do not make two layers the same."""
    models.recorded(tmp_path, 5, variant="a")
    models.recorded(tmp_path, 5, variant="b", layers="0")
    with pytest.raises(ConfigError, match="b recorded other units than a, or other layers"):
        bnexp.load(tmp_path).minibatch
