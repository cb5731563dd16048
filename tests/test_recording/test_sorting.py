"""Sorting networks sort, and pruned ones still select."""

import numpy as np
import pytest

from bnexp.recording.percentiles import Percentiles
from bnexp.recording.sorting import odd_even_merge_sort, selection_network


def apply(exchanges, values):
    """The values after the compare-exchanges, column by column."""
    values = values.copy()
    for i, j in exchanges:
        values[[i, j]] = np.minimum(values[i], values[j]), np.maximum(values[i], values[j])
    return values


@pytest.mark.parametrize("size", range(1, 14))
def test_the_network_sorts_all_zeros_and_ones(size):
    """By the zero-one principle, a network that sorts these sorts everything."""
    values = (np.arange(2**size) >> np.arange(size)[:, np.newaxis]) & 1
    np.testing.assert_array_equal(apply(odd_even_merge_sort(size), values), np.sort(values, axis=0))


@pytest.mark.parametrize("size", [2, 3, 59, 60, 64, 100, 1000])
def test_a_selection_network_brings_the_wanted_places_in_order(size):
    """And it is shorter than the whole one, unless it is tiny."""
    percentiles = Percentiles((15.0, 50.0, 85.0), size)
    places = {*percentiles.low.tolist(), *percentiles.high.tolist()}
    exchanges = selection_network(size, places)
    values = np.random.default_rng(size).normal(size=(size, 20))
    selected, expected = apply(exchanges, values), np.sort(values, axis=0)
    np.testing.assert_array_equal(selected[[*places]], expected[[*places]])
    assert len(exchanges) < len([*odd_even_merge_sort(size)]) or size < 5


def test_sixty_examples_and_three_percentiles_take_444_exchanges():
    """The number that the documentation states."""
    percentiles = Percentiles((15.0, 50.0, 85.0), 60)
    places = {*percentiles.low.tolist(), *percentiles.high.tolist()}
    assert len(selection_network(60, places)) == 444
    assert len([*odd_even_merge_sort(60)]) == 506
