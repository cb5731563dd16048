"""What the explorer's data say, unpacked as the page's script does."""

import base64

import numpy as np
import pytest
from helpers.synthetic import experiment_of, fig1, other

from bnexp.analysis.stacking import spaced_rows
from bnexp.report.explorer import LEAST_ROWS, MISSING, explorer, pack


def unpack(packed):
    """The numbers that the script sees."""
    levels = np.frombuffer(base64.b64decode(packed["data"]), "<i2").astype(float)
    levels[levels == MISSING] = np.nan
    return packed["low"] + (levels + 32767) * packed["step"]


def test_packed_numbers_come_back_to_half_a_level():
    """Of 65,535 levels between the lowest and the highest; what is not finite is missing."""
    values = np.random.default_rng(0).normal(size=(7, 5))
    values[2, 3], values[4, 1] = np.nan, np.inf
    packed = pack(values)
    found = unpack(packed).reshape(values.shape)
    known = np.isfinite(values)
    assert np.isnan(found[~known]).all()
    assert np.abs(found - values)[known].max() <= packed["step"] / 2 * (1 + 1e-9)


@pytest.mark.parametrize("values", [[], [3.0, 3.0], [np.nan]])
def test_numbers_without_a_range_can_be_packed(values):
    """None at all, one value alone, or nothing that is finite."""
    found = unpack(pack(np.array(values)))
    np.testing.assert_allclose(found, values)


@pytest.mark.parametrize(("total", "wanted"), [(1, 10), (2, 2), (5, 10), (1001, 241), (1001, 24)])
def test_the_first_and_the_last_row_are_kept_and_early_ones_lie_closer_together(total, wanted):
    """Rows rise, are no more than were wanted, and their distances grow."""
    rows = spaced_rows(total, wanted)
    assert rows[0] == 0
    assert rows[-1] == total - 1
    assert len(rows) <= wanted
    assert (np.diff(rows) > 0).all()
    if total > 100:
        assert np.diff(rows)[-1] > np.diff(rows)[0]


def test_the_kept_rows_are_those_of_the_log():
    """By variant, row, unit and percentile; and the error is that of straight lines between."""
    files = fig1(rows=201)
    found = explorer(files)
    assert found.seed == 0
    gaps = []
    for packed, variant in zip(found.data["variants"], files.variants.values(), strict=True):
        probe = np.asarray(variant.probe.values[:, 0], float)  # (rows, Q, U)
        rows = np.searchsorted(variant.probe.steps, packed["steps"])
        values = unpack(packed["values"]).reshape(len(rows), probe.shape[2], 3)
        np.testing.assert_allclose(values, probe[rows].transpose(0, 2, 1), atol=1e-4)
        spread = (probe[-1, 2] - probe[-1, 0]) / 2.0729
        for unit in range(0, 300, 7):
            for q in range(3):
                line = np.interp(
                    variant.probe.steps, variant.probe.steps[rows], probe[rows, q, unit]
                )
                gaps.append((line - probe[:, q, unit]) / spread[unit])
    assert found.error[0] == pytest.approx(np.sqrt(np.mean(np.square(gaps))), rel=0.1)
    assert found.error[1] >= np.abs(gaps).max() * (1 - 1e-6)
    assert found.rows == (len(rows), 201)


def test_the_drift_of_a_network_that_diverged_is_withheld_as_in_the_tables():
    """Its end and its width are known all the same."""
    files = fig1(rows=201)
    files.variants["baseline"].metrics.test_accuracy[-1] = 0.1
    plain, normalized = explorer(files).data["variants"]
    assert {*plain["measures"]["drift"], *plain["measures"]["settle"]} == {None}
    assert None not in plain["measures"]["width"]
    assert None not in normalized["measures"]["drift"]


def test_a_page_without_room_leaves_out_rows_then_layers_then_variants():
    """Every row kept is whole, and the number of variants that are shown is told."""
    files = fig1(rows=201)
    whole = explorer(files)
    fewer = explorer(files, budget=120_000)
    last = explorer(files, budget=30_000)
    one = explorer(files, budget=8_000)
    assert whole.rows[0] > fewer.rows[0] >= LEAST_ROWS
    assert [len(each.data["variants"][0]["layers"]) for each in (fewer, last)] == [3, 1]
    assert (last.variants, one.variants) == (2, 1)


def test_where_there_is_no_probe_the_minibatches_are_shown_with_their_noise():
    """The noise of a Gaussian unit, smaller with batch norm."""
    files = fig1(rows=201, batch_rows=500)
    bare = {name: other(each, probe=None) for name, each in files.variants.items()}
    plain, normalized = explorer(experiment_of(bare)).data["variants"]
    assert plain["population"] == "the step's minibatch"
    assert plain["noise"]["examples"] == 60
    floors = [np.array(each["noise"]["floor"]) for each in (plain, normalized)]
    assert (floors[1] < floors[0]).all()


def test_nothing_is_explored_where_nothing_was_recorded():
    """Neither a probe nor minibatches, or no seed that all variants have."""
    files = fig1(rows=11)
    bare = {name: other(each, probe=None) for name, each in files.variants.items()}
    assert explorer(experiment_of(bare)) is None
    assert explorer(experiment_of({})) is None
