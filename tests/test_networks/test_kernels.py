"""The kernels one by one, against NumPy."""

import numba
import numpy as np
import pytest
from helpers.bits import bits

from bnexp.networks.kernels.exponential import exp, log, tanh
from bnexp.networks.kernels.layout import aligned
from bnexp.networks.kernels.percentiles import LISTED, MANY, percentile_table, record, sorting_size
from bnexp.recording.percentiles import Percentiles

# The functions below are compiled once, where one process makes all of these tests.
pytestmark = pytest.mark.xdist_group("kernels")


@numba.njit(error_model="numpy")
def exp_of(x, y):
    """Y = e^x."""
    for j in range(x.size):
        y[j] = exp(x[j])


@numba.njit(error_model="numpy")
def tanh_of(x, y):
    """Y = tanh x."""
    for j in range(x.size):
        y[j] = tanh(x[j])


@numba.njit(error_model="numpy")
def log_of(x, y):
    """Y = log x."""
    for j in range(x.size):
        y[j] = log(x[j])


@numba.njit
def record_of(z, units, percentiles, sorting, out):
    """The percentiles of z."""
    record(z, units, percentiles, sorting, out, 0)


def units_in_the_last_place(measured, exact):
    """The largest error, in the spacing of the numbers at the exact value."""
    error = np.abs(measured.astype(exact.dtype) - exact)
    return (error / np.spacing(np.abs(exact).astype(measured.dtype))).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("function", "exact"), [(exp_of, np.exp), (tanh_of, np.tanh)])
def test_exp_and_tanh_are_exact_to_3_units_in_the_last_place(function, exact, dtype):
    """From -87 to 87, and near 0 down to the smallest numbers."""
    grid = np.linspace(-87, 87, 100_001)
    near = np.geomspace(1e-30, 1, 10_001)
    x = np.concatenate([grid, near, -near, [0.0]]).astype(dtype)
    y = np.empty_like(x)
    function(x, y)
    assert units_in_the_last_place(y, exact(x.astype(np.longdouble))) < 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_and_tanh_at_the_ends(dtype):
    """Far outside they are 0, large, and +-1; a NaN stays one."""
    x = np.array([-np.inf, -1e6, 1e6, np.inf, np.nan], dtype)
    y = np.empty_like(x)
    exp_of(x, y)
    assert (y[:2] < 1e-37).all()
    assert (y[2:4] > 1e37).all()
    assert np.isnan(y[4])
    tanh_of(x, y)
    np.testing.assert_array_equal(y, np.array([-1, -1, 1, 1, np.nan], dtype))


def test_log_is_exact_to_3_units_in_the_last_place():
    """From 1, the smallest sum of a softmax, upwards, and below."""
    x = np.concatenate([np.geomspace(1e-300, 1e300, 100_001), np.linspace(1, 20, 10_001)])
    y = np.empty_like(x)
    log_of(x, y)
    exact = np.log(x.astype(np.longdouble))
    error = np.abs(y - exact)
    assert (error <= 3 * np.spacing(np.maximum(np.abs(exact), 1e-3).astype(float))).all()
    special = np.array([np.inf, np.nan])
    log_of(special, y[:2])
    assert np.isnan(y[:2]).all()  # which no finite loss has


def percentiles_of(values, q):
    """What the kernel records of values (examples, units)."""
    examples, units = values.shape
    width = -(-units // 16) * 16
    z = aligned(examples * width, values.dtype).reshape(examples, width)
    z[:, :units] = values
    out = np.empty((len(q), units), np.float32)
    percentiles = percentile_table(Percentiles(q, examples))
    record_of(z, units, percentiles, aligned(sorting_size(examples), values.dtype), out)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("examples", [1, 2, 3, 59, 60, 61, MANY, MANY + 1, 256, 1000, LISTED + 1])
@pytest.mark.parametrize("ties", [False, True])
def test_percentiles_equal_numpy_percentile_bit_by_bit(examples, dtype, ties):
    """For any number of examples and units, with and without ties."""
    rng = np.random.default_rng(examples)
    for units in (1, 17, 150):
        values = rng.normal(size=(examples, units)).astype(dtype)
        # Which of 0.0 and -0.0 comes first, no sort defines: all zeros are positive here.
        values = values.round(1) + dtype(0) if ties else values
        q = (0.0, 15.0, 33.3, 50.0, 85.0, 100.0)
        expected = np.percentile(values.astype(np.float64), q, axis=0).astype(np.float32)
        assert bits(percentiles_of(values, q)) == bits(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("examples", [60, MANY + 1])
def test_nan_and_infinity_are_treated_as_numpy_treats_them(examples, dtype):
    """One NaN makes all percentiles of its unit NaN; infinity is a value like another."""
    values = np.random.default_rng(0).normal(size=(examples, 150)).astype(dtype)
    for unit in (0, 111, 112, 149):  # in rows of each width, at both ends
        values[unit % examples, unit] = np.nan
    values[5:9, 1], values[30:, 2] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = np.percentile(values.astype(np.float64), (0, 15, 50, 100), axis=0)
    measured = percentiles_of(values, (0.0, 15.0, 50.0, 100.0))
    np.testing.assert_array_equal(measured, expected.astype(np.float32))
