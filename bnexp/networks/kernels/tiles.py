"""The innermost sums of all products, held in vector registers.

Both the dense and the sparse products are sums of rows, c_i += sum_k x_k b_k. The fastest way is to
keep a tile of c in registers while all k pass by: one load and one multiplication for each
(register, k), and nothing else. The compiler does not find this form from loops, because it
vectorises inner loops alone and must expect that c and b overlap. So the tiles are written in
LLVM's own language, with vectors as values. Beside them, only those of `sparse_tiles` and of
`percentiles` are.

Every element of c is a sum in the order of k, whatever the tile's size and the processor's vectors.
So neither changes a bit of the result.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from bnexp.networks.kernels.compiler import instruction

# Bytes of a vector, and how many vectors wide a tile is. AVX-512 has 32 registers of 64 bytes, and
# a tile of 4 rows and 4 vectors takes 16 of them. Others have 16 or 32 of at most 32 bytes. What is
# left of the columns is done a vector at a time, and then as many rows, since a sum must wait about
# four cycles for the one before: ten rows take 0.6 of the time that four rows at a time take.
_LARGE = bool(binding.get_host_cpu_features().get("avx512f", False))
BYTES, WIDE = (64, 4) if _LARGE else (32, 2)
ROWS, STRIP_ROWS = 4, 10
# Numba's helpers have no types.
unpack: Callable[..., Any] = cgutils.unpack_tuple
variable: Callable[..., Any] = cgutils.alloca_once_value
declare: Callable[..., Any] = cgutils.get_or_insert_function


class Tile:
    """Builds the code of a tile of c: loads it, leaves a loop over k to the caller, stores it."""

    def __init__(self, context: Any, builder: Any, matrices: Any, vectors: int) -> None:
        """Take the types and values of the arrays in `matrices`."""
        self.builder, self.vectors = builder, vectors
        self.arrays = [
            context.make_array(kind)(context, builder, value) for kind, value in matrices
        ]
        element = context.get_value_type(matrices[-1][0].dtype)
        self.lanes = BYTES // (8 if str(element) == "double" else 4)
        self.vector = ir.VectorType(element, self.lanes)
        bits = 8 * BYTES // self.lanes
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{self.lanes}f{bits}"  # rounded once, as in `compiler.fma`
        self.fma = declare(builder.module, kind, name)

    def address(self, array: int, *index: Any) -> Any:
        """Of an element of an array."""
        data = self.arrays[array]
        strides = unpack(self.builder, data.strides, len(index))
        offset = ir.Constant(ir.IntType(64), 0)
        for place, stride in zip(index, strides, strict=True):
            offset = self.builder.add(offset, self.builder.mul(place, stride))
        first = self.builder.bitcast(data.data, ir.IntType(8).as_pointer())
        return self.builder.bitcast(self.builder.gep(first, [offset]), data.data.type)

    def number(self, array: int, *index: Any) -> Any:
        """An element of an array."""
        return self.builder.load(self.address(array, *index))

    def spread(self, number: Any) -> Any:
        """A vector of copies of a number."""
        zero = ir.Constant(ir.IntType(32), 0)
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), number, zero)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), mask)

    def pointers(self, array: int, row: Any, column: Any) -> list[Any]:
        """Where the vectors of a row of the tile are."""
        address = self.address(array, row, column)
        first = self.builder.bitcast(address, self.vector.as_pointer())
        count = range(self.vectors)
        return [self.builder.gep(first, [ir.Constant(ir.IntType(64), v)]) for v in count]

    def load(self, pointer: Any) -> Any:
        """A vector; its address is a multiple of an element's size, at least."""
        load = self.builder.load(pointer)
        load.align = BYTES // self.lanes
        return load

    def store(self, vector: Any, pointer: Any) -> None:
        """Write a vector."""
        self.builder.store(vector, pointer).align = BYTES // self.lanes


def product_tile(rows: int, vectors: int) -> Callable[..., None]:
    """A function (a, i, b, c, j, depth): c_rj += sum over k < depth of a_rk b_kj.

    r runs over `rows` rows from i on, and j over `vectors` vectors from j on.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, i, b, c, j, depth = arguments
        kinds = signature.args
        tile = Tile(context, builder, [(kinds[0], a), (kinds[2], b), (kinds[3], c)], vectors)
        rows_of = [builder.add(i, ir.Constant(i.type, r)) for r in range(rows)]
        places = [p for row in rows_of for p in tile.pointers(2, row, j)]
        # LLVM turns variables that are only loaded and stored into registers.
        sums = [variable(builder, tile.load(place)) for place in places]
        with cgutils.for_range(builder, depth) as loop:
            k = loop.index
            ys = [tile.load(p) for p in tile.pointers(1, k, j)]
            for r, row in enumerate(rows_of):
                x = tile.spread(tile.number(0, row, k))
                for y, s in zip(ys, sums[r * vectors : (r + 1) * vectors], strict=True):
                    builder.store(builder.call(tile.fma, [x, y, builder.load(s)]), s)
        for s, place in zip(sums, places, strict=True):
            tile.store(builder.load(s), place)
        return context.get_dummy_value()

    @instruction
    def tile(_typing: Any, a: Any, _i: Any, b: Any, c: Any, _j: Any, _depth: Any) -> Any:
        return types.void(a, types.intp, b, c, types.intp, types.intp), build

    return tile


def transpose_tile() -> Callable[..., None]:
    """A function (w, i, u, t): t_ui = w_iu for a square of one vector's length, from (i, u) on.

    Rows r and r + h of the square exchange the columns whose numbers differ in the bit h: row r
    keeps the columns without the bit and takes those of row r + h from h places before. Doing so
    for every bit h transposes the square.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w, i, u, t = arguments
        tile = Tile(context, builder, [(signature.args[0], w), (signature.args[3], t)], 1)
        lanes = range(tile.lanes)
        mask_of = ir.VectorType(ir.IntType(32), tile.lanes)

        def row(start: Any, r: int) -> Any:
            return builder.add(start, ir.Constant(start.type, r))

        rows = [tile.load(tile.pointers(0, row(i, r), u)[0]) for r in lanes]
        h = tile.lanes // 2
        while h:
            upper = [lane + tile.lanes - h if lane & h else lane for lane in lanes]
            lower = [lane + tile.lanes if lane & h else lane + h for lane in lanes]
            for r in (r for r in lanes if not r & h):
                pair = rows[r], rows[r + h]
                rows[r] = builder.shuffle_vector(*pair, ir.Constant(mask_of, upper))
                rows[r + h] = builder.shuffle_vector(*pair, ir.Constant(mask_of, lower))
            h //= 2
        for r in lanes:
            tile.store(rows[r], tile.pointers(1, row(u, r), i)[0])
        return context.get_dummy_value()

    @instruction
    def tile(_typing: Any, w: Any, _i: Any, _u: Any, t: Any) -> Any:
        return types.void(w, types.intp, types.intp, t), build

    return tile
