"""Dense products of matrices, as sums of rows."""

from bnexp.networks.kernels.compiler import kernel
from bnexp.networks.kernels.layout import Array
from bnexp.networks.kernels.tiles import BYTES, ROWS, STRIP_ROWS, WIDE, product_tile, transpose_tile

block, strip = product_tile(ROWS, WIDE), product_tile(STRIP_ROWS, 1)
row_block, row_strip = product_tile(1, WIDE), product_tile(1, 1)
square = transpose_tile()


@kernel
def fill(c: Array, row: Array) -> None:
    """Set every row of c (rows, columns) to `row` (columns,)."""
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            c[i, j] = row[j]


@kernel
def add_product(a: Array, b: Array, c: Array) -> None:
    """c += a b, for a (rows, depth or more), b (depth, columns) and c (rows, columns).

    Row i of the result is a sum of rows of b: c_i = sum_k a_ik b_k, taken in the order of k. The
    columns are a multiple of `layout.LANES`. `a` may be the transpose of an array: the gradient of
    the weights is the product (inputs, examples) (examples, units).
    """
    rows, columns, depth = c.shape[0], c.shape[1], b.shape[0]
    lanes = BYTES // c.itemsize
    full, j = rows // ROWS * ROWS, 0
    while j + WIDE * lanes <= columns:
        for i in range(0, full, ROWS):
            block(a, i, b, c, j, depth)
        for i in range(full, rows):
            row_block(a, i, b, c, j, depth)
        j += WIDE * lanes
    full = rows // STRIP_ROWS * STRIP_ROWS
    while j < columns:
        for i in range(0, full, STRIP_ROWS):
            strip(a, i, b, c, j, depth)
        for i in range(full, rows):
            row_strip(a, i, b, c, j, depth)
        j += lanes


@kernel
def transpose(w: Array, t: Array) -> None:
    """t_ui = w_iu for w (inputs, width) and t (width, at least as many as inputs).

    What t has beyond the inputs of w becomes 0.
    """
    inputs, lanes = w.shape[0], BYTES // w.itemsize
    full = inputs // lanes * lanes
    for u in range(0, w.shape[1], lanes):
        for i in range(0, full, lanes):
            square(w, i, u, t)
    for u in range(w.shape[1]):
        for i in range(full, inputs):
            t[u, i] = w[i, u]
        for i in range(inputs, t.shape[1]):
            t[u, i] = 0


@kernel
def add_column_sums(d: Array, sums: Array) -> None:
    """sums_j += sum_i d_ij, in the order of i: the gradient of a bias.

    d: (examples, width); sums: (width,).
    """
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            sums[j] += d[i, j]
