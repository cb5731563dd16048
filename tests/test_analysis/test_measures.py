"""The numbers of the claims, against slow loops and scipy."""

import numpy as np
import pytest
from scipy import stats

from bnexp.analysis import measures as analysis

PERCENTILES = (15.0, 50.0, 85.0)


def walk(rows=400, seeds=2, units=7, seed=0):
    """Random percentile curves `(rows, seeds, 3, units)` of a slowly calming walk."""
    rng = np.random.default_rng(seed)
    moves = (
        rng.standard_normal((rows, seeds, 3, units))
        / np.sqrt(1 + np.arange(rows))[:, None, None, None]
    )
    return (np.cumsum(moves, axis=0) + np.array([-3.0, 0.0, 3.0])[:, None]).astype(np.float32)


def test_interval_is_the_t_interval_of_scipy():
    """Mean and both ends, to 1e-12."""
    values = np.array([0.97, 0.981, 0.975, 0.969, 0.978])
    found = analysis.interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.mean == pytest.approx(values.mean())


def test_interval_of_a_paired_difference_is_that_of_scipy():
    """The interval of the differences is that of the paired t-test."""
    rng = np.random.default_rng(1)
    a, b = rng.random(5), rng.random(5)
    found = analysis.interval(a - b)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([1.0, 1.1, 0.9], "higher"),
        ([-1.0, -1.1, -0.9], "lower"),
        ([-1.0, 1.1, 0.0], "no difference seen"),
        ([0.0, 0.0, 0.0], "no difference seen"),
        ([2.0, 2.0], "higher"),
        ([1.0], "one seed: no interval"),
        ([1.0, np.nan], "not reached by every seed"),
    ],
)
def test_the_verdict_says_what_the_interval_says(values, word):
    """Higher or lower only if the interval excludes 0; else why there is no such word."""
    assert analysis.interval(np.array(values)).verdict == word


def test_sigma_of_a_gaussian_is_its_standard_deviation():
    """Whichever percentiles are recorded."""
    for percentiles in (PERCENTILES, (5.0, 50.0, 95.0), (0.0, 15.0, 85.0, 100.0)):
        values = 2.5 * stats.norm.ppf(np.clip(percentiles, 0.01, 99.99) / 100)[:, None] + 1
        assert analysis.sigma(values, percentiles) == pytest.approx(2.5)


def test_sigma_of_a_single_percentile_is_unknown():
    """One percentile has no width."""
    assert np.isnan(analysis.sigma(np.ones((2, 1, 3)), (50.0,))).all()


@pytest.mark.parametrize("tolerance", analysis.TOLERANCES)
def test_settle_step_is_what_a_plain_search_finds(tolerance):
    """For each unit and seed."""
    values, steps = walk(), 10 * np.arange(400)
    found = analysis.settle_step(steps, values, PERCENTILES, tolerance)
    for seed, unit in np.ndindex(2, 7):
        curve = values[:, seed, :, unit]
        limit = tolerance * (curve[-1, 2] - curve[-1, 0]) / 2.0729
        inside = np.abs(curve - curve[-1]).max(axis=1) <= limit
        first = next(row for row in range(400) if inside[row:].all())
        assert found[seed, unit] == steps[first]


def test_a_constant_unit_settles_at_once_and_one_without_a_finite_end_never():
    """Neither disturbs the other units."""
    values = walk()
    values[..., 0] = values[0, ..., 0]
    values[300:, :, :, 1] = np.nan
    found = analysis.settle_step(np.arange(400), values, PERCENTILES, 0.2)
    assert (found[:, 0] == 0).all()
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, 2:]).all()


def test_typical_unit_has_the_lower_median_width_and_ties_go_by_index():
    """Of odd and even numbers of units."""
    end = np.zeros((2, 3, 3))
    end[:, 2] = [[5, 1, 3], [2, 3, 6]]  # sorted: 1 2 3 3 5 6
    assert analysis.typical_unit(end, PERCENTILES) == (0, 2)
    assert analysis.typical_unit(end[1:], PERCENTILES) == (0, 1)
    assert analysis.typical_unit(end[:, :, :2], PERCENTILES) == (1, 0)  # of 1 2 3 5


def test_drift_of_a_unit_whose_path_is_known():
    """Range, total variation and shift, worked out by hand."""
    steps = 500 * np.arange(5)
    median = np.array([0.0, 1.0, 3.0, 2.0, 4.0])
    half = 1.0364 * np.array([0.5, 1.0, 2.0, 2.0, 1.0])
    values = np.stack([median - half, median, median + half], axis=1)[:, None, :, None]
    found = {
        name: array.item() for name, array in analysis.drift(steps, values, PERCENTILES).items()
    }
    assert found["median_range"] == pytest.approx(4, rel=1e-3)
    assert found["median_variation"] == pytest.approx(1 + 2 + 1 + 2, rel=1e-3)
    assert found["width_range"] == pytest.approx(np.log(4))
    assert found["width_variation"] == pytest.approx(np.log(4) + np.log(2))
    moved = [np.abs(values[t] - values[t - 2]).mean() for t in (2, 3, 4)]
    assert found["shift"] == pytest.approx(np.mean(moved), rel=1e-3)


def test_shift_is_unknown_in_a_run_shorter_than_its_lag():
    """There is no row a thousand steps before another."""
    found = analysis.drift(np.arange(400), walk(), PERCENTILES)
    assert np.isnan(found["shift"]).all()
    assert np.isfinite(found["median_range"]).all()


def test_sooner_is_the_mann_whitney_statistic_of_each_seed():
    """U over the number of pairs, ties counting half, as scipy has it."""
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 9, (3, 20)), rng.integers(2, 12, (3, 30))
    found = analysis.sooner(first.astype(float), second.astype(float))
    pairs = zip(first, second, strict=True)
    expected = [stats.mannwhitneyu(b, a).statistic / (20 * 30) for a, b in pairs]
    assert found == pytest.approx(expected)


def test_steps_to_is_the_first_step_at_the_accuracy_or_never():
    """A later drop below the threshold does not count."""
    accuracy = np.array([[0.5, 0.5], [0.95, 0.6], [0.94, 0.7], [0.96, 0.8]])
    found = analysis.steps_to(np.array([0, 10, 20, 30]), accuracy, 0.95)
    assert found[0] == 10
    assert np.isnan(found[1])


@pytest.mark.parametrize(
    ("normalized", "expected"), [(False, (0.193, 0.160, 0.193)), (True, (0.110, 0.095, 0.110))]
)
def test_noise_floor_of_sixty_examples(normalized, expected):
    """The numbers known for a Gaussian unit, without and with BN."""
    found = analysis.noise_floor(PERCENTILES, 60, normalized=normalized)
    assert found == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("normalized", [False, True])
def test_noise_floor_of_many_examples_is_the_asymptotic_formula(normalized):
    """The simulation tends to the formula of its docstring."""
    q = np.array(PERCENTILES) / 100
    z = stats.norm.ppf(q)
    variance = q * (1 - q) / stats.norm.pdf(z) ** 2 - normalized * (1 + z**2 / 2)
    found = analysis.noise_floor(PERCENTILES, 2000, normalized=normalized)
    assert found == pytest.approx(np.sqrt(variance / 2000), rel=0.06)


def test_columns_are_those_of_the_layer():
    """For every layer, and none for one that is not recorded."""
    layers = np.repeat([1, 2, 4], [3, 5, 2])
    for layer in (1, 2, 3, 4):
        found = np.arange(10)[analysis.columns(layers, layer)]
        assert found.tolist() == np.flatnonzero(layers == layer).tolist()


def test_a_width_is_between_15_and_85_where_recorded_else_between_the_outermost():
    """And the middle is the percentile nearest to 50."""
    assert analysis.outermost((5.0, 15.0, 50.0, 85.0, 99.0)) == (1, 3)
    assert analysis.outermost((5.0, 15.0, 50.0, 99.0)) == (0, 3)
    assert analysis.middle((5.0, 45.0, 60.0)) == 1
