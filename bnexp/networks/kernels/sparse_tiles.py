"""The innermost sums of the products with sparse examples, over rows that a list or bits name.

They are written as those of `tiles`, and for the same reasons.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from bnexp.networks.kernels.compiler import instruction
from bnexp.networks.kernels.tiles import Tile, unpack, variable


def listed_tile(vectors: int) -> Callable[..., None]:
    """A function (x, step, index, first, end, b, c, i, j): c_ij += sum over e of x_e b_(index_e) j.

    e runs from `first` to `end`, and j over `vectors` vectors from j on. `step` is 1, or 0 where
    the first number of x stands for all.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, step, index, first, end, b, c, i, j = arguments
        kinds = signature.args
        matrices = [(kinds[0], x), (kinds[2], index), (kinds[5], b), (kinds[6], c)]
        tile = Tile(context, builder, matrices, vectors)
        places = tile.pointers(3, i, j)
        sums = [variable(builder, tile.load(place)) for place in places]
        with cgutils.for_range(builder, builder.sub(end, first)) as loop:
            e = builder.add(loop.index, first)
            row = builder.sext(tile.number(1, e), ir.IntType(64))
            value = tile.spread(tile.number(0, builder.mul(e, step)))
            for p, s in zip(tile.pointers(2, row, j), sums, strict=True):
                builder.store(builder.call(tile.fma, [value, tile.load(p), builder.load(s)]), s)
        for s, place in zip(sums, places, strict=True):
            tile.store(builder.load(s), place)
        return context.get_dummy_value()

    @instruction
    def tile(
        _typing: Any,
        x: Any,
        _step: Any,
        index: Any,
        _first: Any,
        _end: Any,
        b: Any,
        c: Any,
        _i: Any,
        _j: Any,
    ) -> Any:
        n = types.intp
        return types.void(x, n, index, n, n, b, c, n, n), build

    return tile


def members_tile(vectors: int) -> Callable[..., None]:
    """A function (members, x, first, step, d, w, p, j, rate): w_pj -= rate sum over b of x_b d_bj.

    The sum is over the examples b in row p of `members`, in ascending order: those whose bit b % 64
    is set in word b // 64. x_b stands at `first` + b `step`, and j runs over `vectors` vectors from
    j on. The sum is a gradient that need not be written down.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        members, x, first, step, d, w, p, j, rate = arguments
        kinds = signature.args
        matrices = [(kinds[0], members), (kinds[1], x), (kinds[4], d), (kinds[5], w)]
        tile = Tile(context, builder, matrices, vectors)
        zero = ir.Constant(tile.vector, [0.0] * tile.lanes)
        sums = [variable(builder, zero) for _ in range(vectors)]
        words = unpack(builder, tile.arrays[0].shape, 2)[1]
        with cgutils.for_range(builder, words) as loop:
            before = builder.shl(loop.index, ir.Constant(loop.index.type, 6))
            with each_bit(builder, tile.number(0, p, loop.index)) as bit:
                b = builder.add(before, bit)
                value = tile.spread(tile.number(1, builder.add(first, builder.mul(b, step))))
                for place, s in zip(tile.pointers(2, b, j), sums, strict=True):
                    total = builder.call(tile.fma, [value, tile.load(place), builder.load(s)])
                    builder.store(total, s)
        negative = tile.spread(builder.fneg(rate))
        for s, place in zip(sums, tile.pointers(3, p, j), strict=True):
            result = builder.call(tile.fma, [negative, builder.load(s), tile.load(place)])
            tile.store(result, place)
        return context.get_dummy_value()

    @instruction
    def tile(
        _typing: Any,
        members: Any,
        x: Any,
        _first: Any,
        _step: Any,
        d: Any,
        w: Any,
        _p: Any,
        _j: Any,
        rate: Any,
    ) -> Any:
        n = types.intp
        return types.void(members, x, n, n, d, w, n, n, rate), build

    return tile


@contextmanager
def each_bit(builder: Any, word: Any) -> Iterator[Any]:
    """A loop over the bits of a word that are set, from the lowest on: the number of the bit."""
    one = ir.Constant(word.type, 1)
    left = variable(builder, word)
    with cgutils.for_range(builder, builder.ctpop(word)):
        bits = builder.load(left)
        yield builder.cttz(bits, ir.Constant(ir.IntType(1), 1))
        builder.store(builder.and_(bits, builder.sub(bits, one)), left)
