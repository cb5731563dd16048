"""Products with sparse examples: only the nonzero features take part.

In binarised MNIST 13 % of the pixels are 1. Both products of the first layer then cost an eighth of
the dense ones, and the result is the same: a term that is left out is a product with 0.
"""

from typing import Any

from numpy.typing import NDArray

from bnexp.networks.kernels.compiler import entry, fma, kernel
from bnexp.networks.kernels.layout import Examples, Work

Array = NDArray[Any]


@entry
def count_nonzero(dense: Array, pointers: Array) -> None:
    """pointers[i + 1] = number of nonzero features in the examples 0 .. i of `dense`."""
    for i in range(dense.shape[0]):
        count = 0
        for j in range(dense.shape[1]):
            if dense[i, j] != 0:
                count += 1
        pointers[i + 1] = pointers[i] + count


@entry
def keep_nonzero(dense: Array, columns: Array, values: Array) -> None:
    """The features that are not 0, and their values, one example after the other."""
    entry = 0
    for i in range(dense.shape[0]):
        for j in range(dense.shape[1]):
            if dense[i, j] != 0:
                columns[entry] = j
                values[entry] = dense[i, j]
                entry += 1


@kernel
def add_sparse_product(examples: Examples, index: Array, w: Array, z: Array) -> None:
    """z_b += sum over the nonzero features p of example index[b] of x_bp w_p."""
    columns, values, width = examples.columns, examples.values, z.shape[1]
    number = z.dtype.type
    for b in range(index.size):
        e, end = examples.pointers[index[b]], examples.pointers[index[b] + 1]
        while e + 8 <= end:
            p0, p1, p2, p3 = columns[e], columns[e + 1], columns[e + 2], columns[e + 3]
            p4, p5, p6, p7 = columns[e + 4], columns[e + 5], columns[e + 6], columns[e + 7]
            x0, x1, x2 = number(values[e]), number(values[e + 1]), number(values[e + 2])
            x3, x4, x5 = number(values[e + 3]), number(values[e + 4]), number(values[e + 5])
            x6, x7 = number(values[e + 6]), number(values[e + 7])
            for j in range(width):
                s = fma(x0, w[p0, j], z[b, j])
                s = fma(x1, w[p1, j], s)
                s = fma(x2, w[p2, j], s)
                s = fma(x3, w[p3, j], s)
                s = fma(x4, w[p4, j], s)
                s = fma(x5, w[p5, j], s)
                s = fma(x6, w[p6, j], s)
                z[b, j] = fma(x7, w[p7, j], s)
            e += 8
        while e < end:
            p0, x0 = columns[e], number(values[e])
            for j in range(width):
                z[b, j] = fma(x0, w[p0, j], z[b, j])
            e += 1


@kernel
def by_feature(examples: Examples, index: Array, work: Work) -> None:
    """Turn a minibatch around: which of its examples have a feature that is not 0.

    Feature p has the entries ends[p - 1] .. ends[p] of `members` (places in the minibatch, in
    ascending order) and `member_values`; those of feature 0 begin at 0. This is a counting sort.
    """
    ends, members, values = work.ends, work.members, work.member_values
    ends[:] = 0
    for b in range(index.size):
        for e in range(examples.pointers[index[b]], examples.pointers[index[b] + 1]):
            ends[examples.columns[e] + 1] += 1
    for p in range(1, ends.size):
        ends[p] += ends[p - 1]
    # Here feature p begins at ends[p]. Each entry that is filled in moves it on, to its end.
    number = values.dtype.type
    for b in range(index.size):
        for e in range(examples.pointers[index[b]], examples.pointers[index[b] + 1]):
            p = examples.columns[e]
            members[ends[p]] = b
            values[ends[p]] = number(examples.values[e])
            ends[p] += 1


@kernel
def set_sparse_gradient(work: Work, p: int, d: Array, g: Array) -> None:
    """g_p = sum over the examples b with feature p of x_bp d_b, one row of the gradient."""
    members, values, width = work.members, work.member_values, d.shape[1]
    e = work.ends[p - 1] if p else 0
    end = work.ends[p]
    for j in range(width):
        g[p, j] = 0
    while e + 8 <= end:
        b0, b1, b2, b3 = members[e], members[e + 1], members[e + 2], members[e + 3]
        b4, b5, b6, b7 = members[e + 4], members[e + 5], members[e + 6], members[e + 7]
        x0, x1, x2, x3 = values[e], values[e + 1], values[e + 2], values[e + 3]
        x4, x5, x6, x7 = values[e + 4], values[e + 5], values[e + 6], values[e + 7]
        for j in range(width):
            s = fma(x0, d[b0, j], g[p, j])
            s = fma(x1, d[b1, j], s)
            s = fma(x2, d[b2, j], s)
            s = fma(x3, d[b3, j], s)
            s = fma(x4, d[b4, j], s)
            s = fma(x5, d[b5, j], s)
            s = fma(x6, d[b6, j], s)
            g[p, j] = fma(x7, d[b7, j], s)
        e += 8
    while e + 2 <= end:
        b0, b1, x0, x1 = members[e], members[e + 1], values[e], values[e + 1]
        for j in range(width):
            g[p, j] = fma(x1, d[b1, j], fma(x0, d[b0, j], g[p, j]))
        e += 2
    while e < end:
        b0, x0 = members[e], values[e]
        for j in range(width):
            g[p, j] = fma(x0, d[b0, j], g[p, j])
        e += 1
