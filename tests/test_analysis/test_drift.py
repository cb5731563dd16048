"""The measures of drift on curves whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from bnexp.analysis.drift import TOLERANCES, unit_measures, window_steps, windowed

PERCENTILES = (15.0, 50.0, 85.0)
QUANTILES = stats.norm.ppf([0.15, 0.5, 0.85])
STEPS = 50_000


def curves(mean, sd=1.0, *, jitter=0.0, every=50, shape=(2, 7)):
    """Percentiles (rows, seeds, 3, units) of Gaussians, by their mean and deviation over time."""
    seeds, units = shape
    steps = np.arange(0, STEPS + 1, every)
    paths = [np.vectorize(f)(steps) if callable(f) else np.full(len(steps), f) for f in (mean, sd)]
    values = paths[0][:, None] + paths[1][:, None] * QUANTILES
    noise = np.random.default_rng(0).standard_normal((len(steps), seeds, 3, units))
    return steps, values[:, None, :, None] + jitter * noise


def measured(**given):
    """The measures, as medians over units and seeds."""
    found = unit_measures(*curves(**given), PERCENTILES).by_name()
    return {name: np.median(values) for name, values in found.items()}


def ramp(step, end=20_000, height=5.0):
    """From 0 to `height` in a straight line, and constant from `end` on."""
    return height * min(step / end, 1)


def test_pure_jitter_settles_at_once_and_does_not_drift():
    """The first edition's measure said 49,580 of 50,000 steps."""
    found = measured(mean=0.0, jitter=0.036)
    assert [found["settle_0.1"], found["settle_0.2"]] == [0, 0]
    assert found["jitter"] == pytest.approx(0.036, rel=0.05)
    assert found["shift"] < 0.01
    assert found["late_shift"] < 0.01
    assert found["median_range"] < 0.05
    assert found["width_range"] < 0.05


@pytest.mark.parametrize("jitter", [0.0, 0.036])
@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_a_ramp_settles_when_it_comes_within_the_tolerance_of_its_end(jitter, tolerance):
    """The mean over a window of 2,000 steps gets there up to one window earlier."""
    found = measured(mean=ramp, jitter=jitter)
    # The window before the ramp's end lacks the area (20,000 - t)^2 / 2 of the slope.
    within = 20_000 - np.sqrt(2 * 2000 * 20_000 * tolerance / 5.0)
    if 20_000 - within > 2000:  # the whole window lies on the ramp
        within = 20_000 - 1000 - tolerance / 5.0 * 20_000
    assert found[f"settle_{tolerance}"] == pytest.approx(within, abs=5 if jitter == 0 else 150)


def test_a_step_settles_when_no_window_holds_the_time_before_it():
    """And a step of the width counts like one of the mean."""
    for given in (
        {"mean": lambda t: 3.0 * (t >= 10_000)},
        {"mean": 0.0, "sd": lambda t: 1.0 + (t < 10_000)},
    ):
        assert measured(**given)["settle_0.1"] == pytest.approx(10_000, abs=400)


def test_the_ranges_are_those_of_the_drift_without_the_jitter():
    """In final spreads for the median, as a logarithm for the width."""
    found = measured(mean=ramp, sd=lambda t: 1 + ramp(t, height=1.0), jitter=0.05)
    assert found["median_range"] == pytest.approx(5.0 / 2, rel=0.06)
    assert found["width_range"] == pytest.approx(np.log(2), rel=0.1)
    assert found["end_width"] == pytest.approx(2 * 2.0729, rel=0.02)


def test_the_excess_shift_is_how_far_a_ramp_goes_in_a_thousand_steps():
    """Less what it goes in fifty; jitter does not count."""
    slope = 5.0 / STEPS
    expected = np.sqrt((1000 * slope) ** 2 - (50 * slope) ** 2)
    for jitter in (0.0, 0.02):
        found = measured(mean=lambda t: slope * t, jitter=jitter)
        assert found["shift"] == pytest.approx(expected, rel=0.05)
        assert found["late_shift"] == pytest.approx(expected, rel=0.05)


def test_a_surrogate_that_does_not_drift_settles_at_once():
    """Whatever the drift of the run that it is made from."""
    found = measured(mean=ramp, jitter=0.036)
    assert [found["surrogate_0.1"], found["surrogate_0.2"]] == [0, 0]


def test_a_tolerance_that_jitter_hides_is_not_reported():
    """At 0.5 final spreads of jitter, five of its standard deviations in a window are above 0.1."""
    found = measured(mean=ramp, jitter=0.15)
    assert np.isnan(found["settle_0.1"])
    assert np.isfinite(found["settle_0.2"])


@pytest.mark.parametrize("jitter", [0.0, 0.01])
def test_the_measures_hardly_depend_on_how_often_the_probe_is_taken(jitter):
    """At every 50 or every 500 steps: less than 3 % apart."""
    often, rarely = (
        measured(mean=ramp, sd=lambda t: 1 + ramp(t, height=1.0), jitter=jitter, every=every)
        for every in (50, 500)
    )
    for name in ("settle_0.1", "settle_0.2", "median_range", "width_range", "end_width"):
        assert rarely[name] == pytest.approx(often[name], rel=0.03), name


def test_the_window_spans_two_thousand_steps_or_a_fifth_of_a_short_run():
    """A mean over w rows, where the rows are close enough."""
    assert [window_steps(n) for n in (50_000, 10_000, 3_000, 3)] == [2000, 2000, 600, 1]
    steps, values = curves(mean=ramp, jitter=0.1, shape=(1, 2))
    smooth = windowed(steps, values)
    assert len(smooth) == len(values) - 40
    for row in (0, 17, len(smooth) - 1):
        expected = np.trapezoid(values[row : row + 41], steps[row : row + 41], axis=0) / 2000
        assert smooth[row] == pytest.approx(expected)


def test_a_diverged_unit_has_no_measures_and_leaves_the_others_alone():
    """Infinity and NaN give neither numbers nor warnings."""
    steps, values = curves(mean=ramp)
    values[600:, :, :, 1] = np.inf
    values[800:, :, :, 1] = np.nan
    found = unit_measures(steps, values, PERCENTILES)
    for array in (found.settle[0.2], found.median_range, found.width_range, found.shift):
        assert np.isnan(array[:, 1]).all()
        assert np.isfinite(np.delete(array, 1, axis=1)).all()


def test_a_short_log_has_the_measures_that_it_can_have():
    """One row, or a run shorter than the lag of the shift."""
    steps, values = curves(mean=ramp)
    for rows in (1, 2, 10):
        found = unit_measures(steps[:rows], values[:rows], PERCENTILES)
        assert np.isfinite(found.end_width).all()
        assert np.isnan(found.shift).all()
