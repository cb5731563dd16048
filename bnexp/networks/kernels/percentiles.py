"""Percentiles of all units of a layer at once, by a sorting network over the examples.

A compare-exchange works on two rows of an (examples, units) array, so that every unit is sorted on
its own and no branch depends on a value. The units are sorted in groups of some vectors' width. An
exchange goes through its two rows vector by vector, and stores the smaller and the larger values.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from bnexp.networks.kernels.compiler import instruction, kernel, zero
from bnexp.networks.kernels.layout import Array
from bnexp.networks.kernels.tiles import BYTES, Tile
from bnexp.recording.percentiles import Percentiles
from bnexp.recording.sorting import selection_network

# Up to so many examples, the exchanges are listed and those that no percentile needs left out.
# Above, listing them would take longer than they save, and a loop generates them all.
LISTED = 2048
# How many vectors wide the rows are that are exchanged. Seven of AVX-512 are 100 units with their
# padding, fourteen of AVX2. What is left of the columns is sorted in shorter rows, and so is
# everything where there are many examples, so that more of them stay in the first cache.
WIDE, MIDDLE = 7, 128 // BYTES
MANY = 128  # examples


class PercentileTable(NamedTuple):
    """What the kernels must know to take the percentiles of batches of one size."""

    exchanges: Array  # int64 (n, 2); n = 0: all that sorting takes
    low: Array  # int64 (Q,): the order statistics below and above each percentile
    high: Array
    fraction: Array  # float64 (Q,): where between them


def percentile_table(percentiles: Percentiles) -> PercentileTable:
    """The table of these percentiles."""
    low, high = percentiles.low, percentiles.high
    exchanges = np.empty((0, 2), np.int64)
    if percentiles.examples <= LISTED:
        exchanges = selection_network(percentiles.examples, {*low.tolist(), *high.tolist()})
    return PercentileTable(exchanges, low, high, percentiles.fraction)


def sorting_size(examples: int) -> int:
    """Elements of the array that `record` sorts in, for numbers of 4 bytes or more."""
    return (examples + 1) * (MIDDLE if examples > MANY else WIDE) * BYTES // 4


def exchange_tile(vectors: int) -> Callable[..., None]:
    """A function (x, i, j): puts the smaller of x_i and x_j into row i and the larger into row j.

    Rows are so many vectors wide. Where one of two numbers is a NaN, both stay.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, i, j = arguments
        tile = Tile(context, builder, [(signature.args[0], array)], vectors)
        first = context.get_constant(types.intp, 0)
        for p, q in zip(tile.pointers(0, i, first), tile.pointers(0, j, first), strict=True):
            a, b = tile.load(p), tile.load(q)
            wrong = builder.fcmp_ordered("<", b, a)
            tile.store(builder.select(wrong, b, a), p)
            tile.store(builder.select(wrong, a, b), q)
        return context.get_dummy_value()

    @instruction
    def tile(_typing: Any, x: Any, _i: Any, _j: Any) -> Any:
        return types.void(x, types.intp, types.intp), build

    return tile


def copy_tile() -> Callable[..., None]:
    """A function (z, i, u, x, v, missing): copies a vector of z, from (i, u) on, to (i, v) of x.

    Each NaN of them is put into `missing`, at its place from v on.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        z, i, u, x, v, missing = arguments
        kinds = signature.args
        tile = Tile(context, builder, [(kinds[0], z), (kinds[3], x), (kinds[5], missing)], 1)
        first = context.get_constant(types.intp, 0)
        (here,) = tile.pointers(2, first, v)
        numbers = tile.load(*tile.pointers(0, i, u))
        tile.store(numbers, *tile.pointers(1, i, v))
        wrong = builder.fcmp_unordered("uno", numbers, numbers)
        tile.store(builder.select(wrong, numbers, tile.load(here)), here)
        return context.get_dummy_value()

    @instruction
    def tile(_typing: Any, z: Any, _i: Any, _u: Any, x: Any, _v: Any, missing: Any) -> Any:
        return types.void(z, types.intp, types.intp, x, types.intp, missing), build

    return tile


wide, middle, narrow = (exchange_tile(vectors) for vectors in (WIDE, MIDDLE, 1))
copy_vector = copy_tile()


@kernel
def exchange(x: Array, i: int, j: int) -> None:
    """Exchange rows i and j of x (examples, columns), which are WIDE, MIDDLE or one vector wide."""
    vectors = x.shape[1] * x.itemsize // BYTES
    if vectors == WIDE:
        wide(x, i, j)
    elif vectors == MIDDLE:
        middle(x, i, j)
    else:
        narrow(x, i, j)


@kernel
def sort_for(x: Array, exchanges: Array) -> None:
    """Do the listed exchanges on every column of x (examples, columns); see `exchange`."""
    for e in range(exchanges.shape[0]):
        exchange(x, exchanges[e, 0], exchanges[e, 1])


@kernel
def sort_all(x: Array) -> None:
    """Sort every column of x (examples, columns) of more than `LISTED` examples; see `exchange`.

    By merge exchange (Knuth, The Art of Computer Programming, 5.2.2 M).
    """
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
                    exchange(x, i, i + d)
            d, q, r = q - p, q // 2, p
        p //= 2


@kernel
def copy(z: Array, left: int, x: Array, missing: Array) -> None:
    """Copy the columns of z (examples, width) from `left` on into x (examples, columns).

    missing: (1, columns), becomes NaN for those with a NaN, else 0.
    """
    missing[:] = 0
    lanes = BYTES // z.itemsize
    for v in range(0, x.shape[1], lanes):
        for i in range(x.shape[0]):
            copy_vector(z, i, left + v, x, v, missing)


@kernel
def interpolate(low: Array, high: Array, fraction: float, missing: Array, out: Array) -> None:
    """Between the order statistics below and above; two forms of one line, as in numpy.

    Each of them is exact at its own end. A unit with a missing value becomes NaN. low, high,
    missing, out: (units,), of which `out` is float32.
    """
    for u in range(out.size):
        below, above = np.float64(low[u]), np.float64(high[u])
        if fraction < 0.5:
            value = below + (above - below) * fraction
        else:
            value = above + (above - below) * (fraction - 1.0)
        out[u] = np.float32(value + np.float64(missing[u]))


@kernel
def record(
    z: Array, units: int, table: PercentileTable, sorting: Array, out: Array, first: int
) -> None:
    """out[:, first : first + units] = percentiles over the rows of z (examples, width), float32.

    `out` is (Q, units of all recorded layers). z is left as it is. A unit with a NaN among its
    examples gets NaN for every percentile, as in numpy. sorting: (`sorting_size`,).
    """
    examples, lanes = z.shape[0], BYTES // z.itemsize
    left = zero()
    while left < units:
        vectors = (z.shape[1] - left) // lanes
        if vectors >= WIDE and examples <= MANY:
            vectors = WIDE
        elif vectors >= MIDDLE:
            vectors = MIDDLE
        else:
            vectors = 1
        columns = vectors * lanes
        x = sorting[: examples * columns].reshape(examples, columns)
        missing = sorting[examples * columns : (examples + 1) * columns].reshape(1, columns)
        copy(z, left, x, missing)
        if table.exchanges.shape[0] > 0 or examples == 1:
            sort_for(x, table.exchanges)
        else:
            sort_all(x)
        start, end = first + left, first + min(left + columns, units)
        for q in range(table.low.size):
            low, high = x[table.low[q]], x[table.high[q]]
            interpolate(low, high, table.fraction[q], missing[0], out[q, start:end])
        left += columns
