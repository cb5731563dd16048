"""Percentiles against numpy.percentile, bit by bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.networks.backend import NumpyBackend, TorchBackend
from bnexp.networks.percentiles import Percentiles


def percentiles(values, q, backend):
    """What a run records of one row."""
    reduce = Percentiles(q, values.shape[1], backend)
    columns = torch.from_numpy(np.ascontiguousarray(values.swapaxes(1, 2)))
    rows = reduce.select(backend.asarray(columns))
    return reduce.interpolate(backend.numpy(rows))


@settings(deadline=None, derandomize=True)
@given(
    st.integers(2, 80),
    st.lists(st.floats(0, 100), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_percentiles_equal_numpy_percentile_bit_by_bit(examples, q, seed, ties):
    """For any number of examples and any percentiles, with and without ties."""
    values = np.random.default_rng(seed).normal(size=(2, examples, 3)).astype(np.float32)
    values = values.round(1) if ties else values
    expected = np.percentile(values.astype(np.float64), q, axis=1).astype(np.float32)
    ours = percentiles(values, q, NumpyBackend("float32"))
    np.testing.assert_array_equal(ours, np.moveaxis(expected, 0, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_backends_select_the_same(dtype):
    """torch.sort and numpy.sort give the same percentiles."""
    values = np.random.default_rng(1).normal(size=(3, 60, 10)).astype(dtype)
    q = (15.0, 50.0, 85.0)
    np.testing.assert_array_equal(
        percentiles(values, q, NumpyBackend(dtype)),
        percentiles(values, q, TorchBackend(dtype, "cpu")),
    )


def test_units_and_seeds_are_not_pooled():
    """A unit's percentiles are its own, whatever the other units and seeds hold."""
    values = np.random.default_rng(2).normal(size=(2, 60, 4)).astype(np.float32)
    before = percentiles(values, (15.0, 85.0), NumpyBackend("float32"))
    values[1, :, 2] += 100
    after = percentiles(values, (15.0, 85.0), NumpyBackend("float32"))
    changed = np.zeros_like(before, bool)
    changed[1, :, 2] = True
    np.testing.assert_array_equal(before != after, changed)
