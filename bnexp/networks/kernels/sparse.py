"""Products with sparse examples: only the nonzero features take part.

In binarised MNIST 13 % of the pixels are 1. Both products of the first layer then cost an eighth of
the dense ones, and the result is the same: a term that is left out is a product with 0.

A pre-activation is a sum over the features of an example, which `pack` lists. A row of the gradient
is a sum over the examples that have a feature, and `by_feature` notes those.
"""

from typing import Any

import numpy as np

from bnexp.networks.kernels.compiler import entry, kernel, unsigned, zero
from bnexp.networks.kernels.layout import WORD, Array, Buffers, Examples
from bnexp.networks.kernels.sparse_tiles import listed_tile, members_tile
from bnexp.networks.kernels.tiles import BYTES

# A processor can begin two additions in each cycle, but the next term of one sum must wait about
# four cycles for the term before. So seven sums are made at a time. 100 units with their padding
# are seven vectors of AVX-512 in float32, or fourteen of AVX2.
WIDE, REST = 7, 2
wide, middle, narrow = (listed_tile(n) for n in (WIDE, REST, 1))
wide_step, middle_step, narrow_step = (members_tile(n) for n in (WIDE, REST, 1))


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
def value_step(examples: Examples) -> int:
    """How far the values of neighbouring entries are apart: 0 where one value, a 1, is for all."""
    return 0 if examples.binary else 1


@kernel
def pack(examples: Examples, index: Array, buffers: Buffers) -> None:
    """Copy the nonzero features of a minibatch side by side, in the network's dtype.

    The examples lie far apart in memory. A copying loop waits for many of them at a time, where
    those that do more with an entry would wait for each. index: (m,).
    """
    ends, columns, values = buffers.ends, buffers.columns, buffers.values
    number = values.dtype.type
    place = 0
    for b in range(index.size):
        first, end = examples.pointers[index[b]], examples.pointers[index[b] + 1]
        row, packed = examples.columns[first:end], columns[place : place + end - first]
        for e in range(row.size):
            packed[e] = row[e]
        if not examples.binary:
            numbers, here = examples.values[first:end], values[place : place + end - first]
            for e in range(numbers.size):
                here[e] = number(numbers[e])
        place += row.size
        ends[b] = place


@kernel
def add_sparse_product(examples: Examples, m: int, buffers: Buffers, w: Array, z: Array) -> None:
    """z_b += sum over the nonzero features p of example b of x_bp w_p, for m packed examples.

    w: (features, width); z: (m, width).
    """
    x, index, columns, lanes = buffers.values, buffers.columns, z.shape[1], BYTES // z.itemsize
    first, step = zero(), value_step(examples)
    for b in range(m):
        end, j = buffers.ends[b], 0
        while j + WIDE * lanes <= columns:
            wide(x, step, index, first, end, w, z, b, j)
            j += WIDE * lanes
        while j + REST * lanes <= columns:
            middle(x, step, index, first, end, w, z, b, j)
            j += REST * lanes
        while j < columns:
            narrow(x, step, index, first, end, w, z, b, j)
            j += lanes
        first = end


@kernel
def by_feature(examples: Examples, m: int, buffers: Buffers) -> None:
    """Note which of m packed examples have a feature that is not 0, and its value.

    `members` has a bit for each feature p and each example b. Where not all values are 1, x_bp is
    put at p capacity + b of `member_values`.
    """
    members, values = buffers.members, buffers.member_values
    members[:] = 0
    first = zero()
    for b in range(m):
        word, bit = unsigned(b // WORD), np.uint64(1) << np.uint64(b % WORD)
        for e in range(first, buffers.ends[b]):
            members[unsigned(buffers.columns[e]), word] |= bit
        if not examples.binary:
            for e in range(first, buffers.ends[b]):
                values[unsigned(buffers.columns[e] * buffers.capacity + b)] = buffers.values[e]
        first = buffers.ends[b]


@kernel
def occurs(members: Array, p: int) -> bool:
    """Whether any example of the minibatch has feature p."""
    found = False
    for word in range(members.shape[1]):
        found |= members[p, word] != 0
    return found


@kernel
def descend_rows(examples: Examples, buffers: Buffers, d: Array, w: Array, lr: Any) -> None:
    """w_p -= lr g_p for the features that occur, g_p = sum over the examples b with p of x_bp d_b.

    g is the gradient of the weights w (features, width), whose other rows are 0, and d that of the
    pre-activations (m, width), for the minibatch of `by_feature`.
    """
    members, x, columns = buffers.members, buffers.member_values, w.shape[1]
    lanes, step = BYTES // w.itemsize, value_step(examples)
    for p in range(w.shape[0]):
        if not occurs(members, p):
            continue
        first, j = p * step * buffers.capacity, 0
        while j + WIDE * lanes <= columns:
            wide_step(members, x, first, step, d, w, p, j, lr)
            j += WIDE * lanes
        while j + REST * lanes <= columns:
            middle_step(members, x, first, step, d, w, p, j, lr)
            j += REST * lanes
        while j < columns:
            narrow_step(members, x, first, step, d, w, p, j, lr)
            j += lanes
