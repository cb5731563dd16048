"""Products with sparse examples: only the nonzero features take part.

In binarised MNIST 13 % of the pixels are 1. Both products of the first layer then cost an eighth of
the dense ones, and the result is the same: a term that is left out is a product with 0.
"""

from typing import Any

from bnexp.networks.kernels.compiler import entry, kernel, unsigned, zero
from bnexp.networks.kernels.layout import Array, Buffers, Examples
from bnexp.networks.kernels.tiles import BYTES, sparse_tile

# A processor can begin two additions in each cycle, but the next term of one sum must wait about
# four cycles for the term before. So seven sums are made at a time. 100 units with their padding
# are seven vectors of AVX-512 in float32, or fourteen of AVX2.
WIDE, REST = 7, 2
wide, middle, narrow = (sparse_tile(n, descend=False) for n in (WIDE, REST, 1))
wide_step, middle_step, narrow_step = (sparse_tile(n, descend=True) for n in (WIDE, REST, 1))


@entry
def count_nonzero(dense: Array, pointers: Array) -> None:
    """pointers[i + 1] = number of nonzero features in the examples 0 .. i of `dense`.

    dense: (n, features); pointers: (n + 1,), whose first is 0.
    """
    for i in range(dense.shape[0]):
        count = 0
        for j in range(dense.shape[1]):
            if dense[i, j] != 0:
                count += 1
        pointers[i + 1] = pointers[i] + count


@entry
def keep_nonzero(dense: Array, columns: Array, values: Array) -> None:
    """The features that are not 0, and their values, one example after the other.

    dense: (n, features); columns, values: (number of nonzero features,).
    """
    entry = 0
    for i in range(dense.shape[0]):
        for j in range(dense.shape[1]):
            if dense[i, j] != 0:
                columns[entry] = j
                values[entry] = dense[i, j]
                entry += 1


@kernel
def pack(examples: Examples, index: Array, buffers: Buffers) -> None:
    """Copy the nonzero features of a minibatch side by side, in the network's dtype.

    The examples lie far apart in memory. A copying loop waits for many of them at a time, where the
    sums of `add_sparse_product` would wait for each. index: (m,).
    """
    ends, columns, values = buffers.ends, buffers.columns, buffers.values
    number = values.dtype.type
    place = 0
    for b in range(index.size):
        first, end = examples.pointers[index[b]], examples.pointers[index[b] + 1]
        row, numbers = examples.columns[first:end], examples.values[first:end]
        packed, here = columns[place : place + row.size], values[place : place + row.size]
        for e in range(row.size):
            packed[e] = row[e]
            here[e] = number(numbers[e])
        place += row.size
        ends[b] = place


@kernel
def add_sum(x: Array, index: Array, first: int, end: int, b: Array, c: Array, i: int) -> None:
    """c_i += sum over e of x_e b_(index_e), for e from `first` to `end`, in this order.

    x, index: (entries,); b, c: (rows, width).
    """
    columns, lanes, j, one = c.shape[1], BYTES // c.itemsize, 0, c.dtype.type(1)
    while j + WIDE * lanes <= columns:
        wide(x, index, first, end, b, c, i, j, one)
        j += WIDE * lanes
    if j + REST * lanes <= columns:
        middle(x, index, first, end, b, c, i, j, one)
        j += REST * lanes
    while j < columns:
        narrow(x, index, first, end, b, c, i, j, one)
        j += lanes


@kernel
def add_sparse_product(m: int, buffers: Buffers, w: Array, z: Array) -> None:
    """z_b += sum over the nonzero features p of example b of x_bp w_p, for m packed examples.

    w: (features, width); z: (m, width).
    """
    first = zero()
    for b in range(m):
        add_sum(buffers.values, buffers.columns, first, buffers.ends[b], w, z, b)
        first = buffers.ends[b]


@kernel
def by_feature(m: int, buffers: Buffers) -> None:
    """Turn a packed minibatch around: which of its examples have a feature that is not 0.

    Feature p has the entries feature_ends[p - 1] .. feature_ends[p] of `members`, the places in the
    minibatch in ascending order, and of `member_values`. Those of feature 0 begin at 0. This is a
    counting sort.
    """
    ends, members, values = buffers.feature_ends, buffers.members, buffers.member_values
    entries = buffers.ends[m - 1]
    ends[:] = 0
    for e in range(entries):
        ends[unsigned(buffers.columns[e] + 1)] += 1
    for p in range(1, ends.size):
        ends[p] += ends[p - 1]
    # Here feature p begins at ends[p]. Each entry that is filled in moves it on, to its end.
    first = zero()
    for b in range(m):
        for e in range(first, buffers.ends[b]):
            p = unsigned(buffers.columns[e])
            place = unsigned(ends[p])
            members[place] = b
            values[place] = buffers.values[e]
            ends[p] += 1
        first = buffers.ends[b]


@kernel
def set_gradient_row(buffers: Buffers, p: int, d: Array, g: Array, i: int) -> None:
    """g_i = sum over the examples b with feature p of x_bp d_b: row p of the gradient.

    d: (m, width); g: (features, width).
    """
    for j in range(g.shape[1]):
        g[i, j] = 0
    first = buffers.feature_ends[p - 1] if p > 0 else 0
    add_sum(buffers.member_values, buffers.members, first, buffers.feature_ends[p], d, g, i)


@kernel
def descend_row(
    buffers: Buffers,
    first: int,
    end: int,
    d: Array,
    w: Array,
    p: int,
    lr: Any,
) -> None:
    """w_p -= lr g_p, where g_p is the sum of `set_gradient_row` over the entries first .. end.

    d: (m, width); w: (features, width).
    """
    x, index = buffers.member_values, buffers.members
    columns, lanes, j = w.shape[1], BYTES // w.itemsize, 0
    while j + WIDE * lanes <= columns:
        wide_step(x, index, first, end, d, w, p, j, lr)
        j += WIDE * lanes
    if j + REST * lanes <= columns:
        middle_step(x, index, first, end, d, w, p, j, lr)
        j += REST * lanes
    while j < columns:
        narrow_step(x, index, first, end, d, w, p, j, lr)
        j += lanes
