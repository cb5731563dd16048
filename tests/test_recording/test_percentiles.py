"""Percentiles against numpy.percentile, bit by bit."""

import numpy as np
import pytest
import torch
from helpers.bits import bits
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.recording.percentiles import Percentiles


def with_torch(percentiles, values):
    """The percentiles that torch selects."""
    selected = percentiles.select_torch(torch.from_numpy(values)).numpy()
    return percentiles.interpolate(selected)


@settings(deadline=None, derandomize=True)
@given(
    st.integers(1, 80),
    st.lists(st.floats(0, 100), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_percentiles_equal_numpy_percentile_bit_by_bit(examples, q, seed, ties):
    """For any number of examples and any percentiles, with and without ties, on a stack of two."""
    values = np.random.default_rng(seed).normal(size=(2, examples, 3)).astype(np.float32)
    # Which of 0.0 and -0.0 comes first, no sort defines: all zeros are positive here.
    values = values.round(1) + np.float32(0) if ties else values
    expected = np.percentile(values.astype(np.float64), q, axis=1).astype(np.float32)
    percentiles = Percentiles(q, examples)
    for ours in (percentiles.of(values), with_torch(percentiles, values)):
        assert bits(np.asarray(ours)) == bits(np.moveaxis(expected, 0, 1).copy())


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 10, 20])
def test_nan_and_infinity_are_treated_as_numpy_treats_them(special, count):
    """One NaN makes all percentiles of its unit NaN; infinity is a value like another."""
    values = np.random.default_rng(3).normal(size=(20, 4)).astype(np.float32)
    values[:count, 1] = special
    with np.errstate(invalid="ignore"):
        expected = np.percentile(values.astype(np.float64), (0, 15, 50, 100), axis=0)
    percentiles = Percentiles((0, 15, 50, 100), 20)
    for ours in (percentiles.of(values), with_torch(percentiles, values)):
        np.testing.assert_array_equal(ours, expected.astype(np.float32))


def test_units_and_runs_are_not_pooled():
    """A unit's percentiles are its own, whatever the other units and runs hold."""
    values = np.random.default_rng(2).normal(size=(2, 60, 4)).astype(np.float32)
    percentiles = Percentiles((15.0, 85.0), 60)
    before = percentiles.of(values)
    values[1, :, 2] += 100
    changed = np.zeros_like(before, bool)
    changed[1, :, 2] = True
    np.testing.assert_array_equal(before != percentiles.of(values), changed)
