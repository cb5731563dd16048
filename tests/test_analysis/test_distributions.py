"""What percentiles say of one unit, against scipy and plain loops."""

import numpy as np
import pytest
from scipy import stats

from bnexp.analysis.distributions import noise_floor, spread, typical_unit, units_of_layer

PERCENTILES = (15.0, 50.0, 85.0)


def test_the_spread_of_a_gaussian_is_its_standard_deviation():
    """Whichever percentiles are recorded."""
    for percentiles in (PERCENTILES, (5.0, 50.0, 95.0), (0.0, 15.0, 85.0, 100.0)):
        values = 2.5 * stats.norm.ppf(np.clip(percentiles, 0.01, 99.99) / 100)[:, None] + 1
        assert spread(values, percentiles) == pytest.approx(2.5)


def test_the_spread_of_a_single_percentile_is_unknown():
    """One percentile has no width."""
    assert np.isnan(spread(np.ones((2, 1, 3)), (50.0,))).all()


def test_the_typical_unit_is_the_medoid():
    """A plain search over all units of all seeds finds the same one."""
    values = np.random.default_rng(0).standard_normal((30, 2, 3, 9)).cumsum(axis=0)
    median = np.median(values, axis=(1, 3))
    distances = {
        (seed, unit): np.sqrt(np.mean((values[:, seed, :, unit] - median) ** 2))
        for seed in range(2)
        for unit in range(9)
    }
    assert typical_unit(values) == min(distances, key=distances.get)


def test_a_unit_that_ends_like_the_median_but_wanders_before_is_not_typical():
    """The first edition chose by the width at the end alone."""
    values = np.zeros((10, 1, 3, 3))
    values[:, 0, 0], values[:, 0, 2] = -1, 1
    values[:5, 0, :, 1] += 7  # ends in the middle, but was elsewhere
    values[..., 0] *= 1.01
    values[..., 2] *= 0.99
    assert typical_unit(values)[1] != 1


def test_of_equal_units_the_first_is_typical_and_one_that_diverged_is_not():
    """NaN and infinity never win, and give no warning."""
    values = np.ones((4, 2, 3, 3), np.float32)
    assert typical_unit(values) == (0, 0)
    values[2:, 0, :, 0] = np.inf
    values[3:, 0, :, 1] = np.nan
    assert np.isfinite(values[:, 0, :, 2]).all()
    assert typical_unit(values) == (0, 2)


def test_the_units_of_a_layer_are_a_slice():
    """Empty for a layer that is not recorded."""
    layers = np.array([1, 1, 2, 2, 2])
    assert units_of_layer(layers, 2) == slice(2, 5)
    assert np.empty(5)[units_of_layer(layers, 3)].size == 0


@pytest.mark.parametrize(
    ("normalized", "expected"), [(False, (0.193, 0.160, 0.193)), (True, (0.110, 0.095, 0.110))]
)
def test_noise_floor_of_sixty_examples(normalized, expected):
    """The numbers known for a Gaussian unit, without and with BN."""
    found = noise_floor(PERCENTILES, 60, normalized=normalized)
    assert found == pytest.approx(expected, abs=0.002)
