"""Dense products of matrices, as sums of rows."""

from typing import Any

from numpy.typing import NDArray

from bnexp.networks.kernels.compiler import fma, kernel

Matrix = NDArray[Any]
# Elements of the result that stay in the nearest cache while all rows of b pass by: 32 KiB in
# float32.
CACHE = 8192


@kernel
def fill(c: Matrix, row: Matrix) -> None:
    """Set every row of c (rows, columns) to `row`."""
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            c[i, j] = row[j]


@kernel
def add_product(a: Matrix, b: Matrix, c: Matrix) -> None:
    """c += a b, for a (rows, depth or more), b (depth, columns) and c (rows, columns).

    Row i of the result is a sum of rows of b: c_i = sum_k a_ik b_k, taken in the order of k. Eight
    of them are added at a time, so that c is loaded and stored once for eight multiplications.
    `a` may be the transpose of an array: the gradient of the weights is the product
    (inputs, examples) (examples, units).
    """
    rows, columns, depth = c.shape[0], c.shape[1], b.shape[0]
    eights, fours = depth // 8 * 8, depth // 4 * 4
    height = max(CACHE // columns, 8)
    for top in range(0, rows, height):
        bottom = min(top + height, rows)
        for k in range(0, eights, 8):
            for i in range(top, bottom):
                a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
                a4, a5, a6, a7 = a[i, k + 4], a[i, k + 5], a[i, k + 6], a[i, k + 7]
                for j in range(columns):
                    s = fma(a0, b[k, j], c[i, j])
                    s = fma(a1, b[k + 1, j], s)
                    s = fma(a2, b[k + 2, j], s)
                    s = fma(a3, b[k + 3, j], s)
                    s = fma(a4, b[k + 4, j], s)
                    s = fma(a5, b[k + 5, j], s)
                    s = fma(a6, b[k + 6, j], s)
                    c[i, j] = fma(a7, b[k + 7, j], s)
        for k in range(eights, fours, 4):
            for i in range(top, bottom):
                a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
                for j in range(columns):
                    s = fma(a0, b[k, j], c[i, j])
                    s = fma(a1, b[k + 1, j], s)
                    s = fma(a2, b[k + 2, j], s)
                    c[i, j] = fma(a3, b[k + 3, j], s)
        for k in range(fours, depth):
            for i in range(top, bottom):
                a0 = a[i, k]
                for j in range(columns):
                    c[i, j] = fma(a0, b[k, j], c[i, j])


@kernel
def transpose(w: Matrix, units: int, t: Matrix) -> None:
    """t_ui = w_iu for the first `units` columns of w (inputs, width); t is (units, wider).

    What t has beyond the inputs of w becomes 0.
    """
    inputs = w.shape[0]
    for left in range(0, inputs, 16):  # in squares, so that both arrays stay in the cache
        right = min(left + 16, inputs)
        for u in range(units):
            for i in range(left, right):
                t[u, i] = w[i, u]
    for u in range(units):
        for i in range(inputs, t.shape[1]):
            t[u, i] = 0


@kernel
def add_column_sums(d: Matrix, sums: NDArray[Any]) -> None:
    """sums_j += sum_i d_ij, in the order of i: the gradient of a bias."""
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            sums[j] += d[i, j]
