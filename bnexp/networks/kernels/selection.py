"""Percentiles of all units of a layer at once, by a sorting network over the examples.

A compare-exchange works on two whole rows of a (examples, units) array, so that every unit is
sorted on its own and no branch depends on a value. For 60 examples this costs a third of sorting
each unit's column, and for 1,000 two fifths of what NumPy's vectorised sort needs.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnexp.networks.kernels.compiler import kernel
from bnexp.recording.percentiles import Percentiles
from bnexp.recording.sorting import selection_network

Array = NDArray[Any]
# Up to so many examples, the exchanges are listed and those that no percentile needs left out.
# Above, listing them would take longer than they save, and a loop generates them all.
LISTED = 2048
COLUMNS = 128  # units that are sorted together, so that 60 examples stay in the nearest cache


class Selection(NamedTuple):
    """The percentiles of batches of one size."""

    exchanges: Array  # int64 (n, 2); n = 0: all that sorting takes
    low: Array  # int64 (Q,): the order statistics below and above each percentile
    high: Array
    fraction: Array  # float64 (Q,): where between them


def selection_of(percentiles: Percentiles) -> Selection:
    """The exchanges and places of these percentiles."""
    low, high = percentiles.low, percentiles.high
    exchanges = np.empty((0, 2), np.int64)
    if percentiles.examples <= LISTED:
        exchanges = selection_network(percentiles.examples, {*low.tolist(), *high.tolist()})
    return Selection(exchanges, low, high, percentiles.fraction)


def sorting_size(examples: int) -> int:
    """Elements of the array that `record` sorts in."""
    return (examples + 1) * COLUMNS


@kernel
def sort_for(x: Array, exchanges: Array) -> None:
    """Do the listed exchanges on every column of x.

    An exchange (i, j) puts the smaller of x_i and x_j into row i and the larger into row j.
    """
    for e in range(exchanges.shape[0]):
        i, j = exchanges[e, 0], exchanges[e, 1]
        for u in range(x.shape[1]):
            a, b = x[i, u], x[j, u]
            x[i, u] = min(a, b)
            x[j, u] = max(b, a)


@kernel
def sort_all(x: Array) -> None:
    """Sort every column by merge exchange (Knuth, The Art of Computer Programming, 5.2.2 M)."""
    size = x.shape[0]
    highest = 1
    while 2 * highest < size:
        highest *= 2
    p = highest if size > 1 else 0
    while p > 0:
        q, r, d = highest, 0, p
        while d > 0:
            for i in range(size - d):
                if i & p == r:
                    for u in range(x.shape[1]):  # an exchange of i and i + d, as in `sort_for`
                        a, b = x[i, u], x[i + d, u]
                        x[i, u] = min(a, b)
                        x[i + d, u] = max(b, a)
            d, q, r = q - p, q // 2, p
        p //= 2


@kernel
def copy(z: Array, left: int, x: Array, missing: Array) -> None:
    """Copy some columns of z into x; `missing` is NaN for those with a NaN, else 0."""
    missing[:] = 0
    for i in range(x.shape[0]):
        row = z[i, left : left + x.shape[1]]
        for u in range(x.shape[1]):
            x[i, u] = row[u]
            # A NaN is not equal to itself.
            missing[u] = row[u] if row[u] != row[u] else missing[u]


@kernel
def interpolate(low: Array, high: Array, fraction: float, missing: Array, out: Array) -> None:
    """Between the order statistics below and above; two forms of one line, as in numpy.

    Each of them is exact at its own end. A unit with a missing value becomes NaN.
    """
    for u in range(out.size):
        below, above = np.float64(low[u]), np.float64(high[u])
        if fraction < 0.5:
            value = below + (above - below) * fraction
        else:
            value = above + (above - below) * (fraction - 1.0)
        out[u] = np.float32(value + np.float64(missing[u]))


@kernel
def record(  # noqa: PLR0913, PLR0917  (source, method, scratch and destination)
    z: Array, units: int, selection: Selection, sorting: Array, out: Array, first: int
) -> None:
    """out[:, first : first + units] = percentiles over the rows of z (examples, width), float32.

    `out` is (Q, units of all recorded layers). z is left as it is. A unit with a NaN among its
    examples gets NaN for every percentile, as in numpy.
    """
    examples = z.shape[0]
    for left in range(0, z.shape[1], COLUMNS):
        columns = min(COLUMNS, z.shape[1] - left)
        x = sorting[: examples * columns].reshape(examples, columns)
        missing = sorting[examples * columns : (examples + 1) * columns]
        copy(z, left, x, missing)
        if selection.exchanges.shape[0] > 0 or examples == 1:
            sort_for(x, selection.exchanges)
        else:
            sort_all(x)
        start, end = first + left, first + left + min(columns, units - left)
        for q in range(selection.low.size):
            low, high = x[selection.low[q]], x[selection.high[q]]
            interpolate(low, high, selection.fraction[q], missing, out[q, start:end])
