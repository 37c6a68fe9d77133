"""A tile for `winograd_lines`: pixels become values at two points, and meet their inputs, at once.

Four pixels of the gradient of out, of sixteen filters, are loaded; `transforms` makes of them the
values at six points, of which two are wanted here; each value meets the numbers of x at its point,
on three lines and in a few channels::

    pixels y0 y1 y2 y3   -->   v, w                       two vectors, never stored
    sums[0][r][c]  +=  u[0][line r][c] * v
    sums[1][r][c]  +=  u[1][line r][c] * w                18 sums for three channels, 24 for four

The sums stay in registers while the tile walks along the pixels of some lines. It is no matrix
product: each multiply-add loads a number of its own, which AVX-512 can do within the instruction.
Two points at a time, since pairs of points share most of what makes their values (1 and -1, 2 and
-2), and one would leave half of the registers empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.convolution.transforms import output_gradient_transform
from tinysmooth.kernels.convolution.winograd_patches import PATCH, TILE
from tinysmooth.kernels.generators import Lanes
from tinysmooth.kernels.microkernel import write_tile
from tinysmooth.kernels.vectors import (
    ALIGNMENT,
    INDEX,
    LANES,
    as_vector,
    broadcast,
    element,
    multiply_add,
    opaque,
)

TAPS = 3
"""Rows and columns of the filters."""

PAIRS = ((0, PATCH - 1), (1, 2), (3, 4))
"""The points 0 and infinity, whose values are pixels as they are; 1 and -1; 2 and -2."""

ASKED = 3 * LANES
"""Floats that a tile asks for in each turn, of two steps: three lines. So all three pairs together
ask for nine eighths of the pixels that the next product will read."""


def make_line_tile(width: int, pair: tuple[int, int]) -> Any:
    """Generate the sums at a pair of points, for `width` channels and sixteen filters.

    Returns
    -------
    intrinsic
        ``kernel(u, u_offset, u_slice, u_line, channels, tiles, grad, grad_offset, pixel, sums,
        sums_offset, add, ahead, ahead_offset)``, to be called inside kernels, for flat float32
        arrays. Tile t, at least one, has the pixels ``grad[grad_offset + (4 t + i) pixel]`` and
        meets ``u[u_offset + p u_slice + r u_line + t channels + c]``. The sum of point p, line r
        and channel c is at ``sums[sums_offset + ((3 p + r) channels + c) pixel]``; where `add` is
        not 0, it is added to what is there. From ``ahead[ahead_offset]`` on, inside the array or
        not, lines are asked for.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def pointer(array: int) -> Any:
            return element(context, builder, sig.args[array], args[array], args[array + 1])

        def after(base: Any, stride: Any, times: Any) -> Any:
            return builder.gep(base, [builder.mul(stride, times)])

        u_slice, u_line, channels, tiles = args[2:6]
        pixel, add = args[8], args[11]
        u, grad, sums_at, ahead = map(pointer, (0, 6, 9, 12))
        starts = [after(u, u_slice, INDEX(p)) for p in pair]
        whole_tile = builder.mul(pixel, INDEX(TILE))

        def step(k: Any, sums: Sequence[Any]) -> list[Any]:
            before, totals = iter(sums), []
            first = opaque(builder, after(grad, whole_tile, k))
            pixels = []
            for i in range(TILE):
                place = as_vector(builder, after(first, pixel, INDEX(i)))
                pixels.append(Lanes(builder, builder.load(place, align=ALIGNMENT)))
            values = output_gradient_transform(*pixels)
            for p, start in zip(pair, starts, strict=True):
                value, top = values[p].value, opaque(builder, after(start, channels, k))
                for r in range(TAPS):
                    line = after(top, u_line, INDEX(r))
                    for c in range(width):
                        number = builder.load(builder.gep(line, [INDEX(c)]))
                        spread = broadcast(builder, number)
                        totals.append(multiply_add(builder, spread, value, next(before)))
            return totals

        def places() -> list[Any]:
            line = builder.mul(pixel, channels)
            lines = [after(sums_at, line, INDEX(TAPS * p + r)) for p in pair for r in range(TAPS)]
            every = [after(first, pixel, INDEX(c)) for first in lines for c in range(width)]
            return [as_vector(builder, place) for place in every]

        def lines_ahead(k: Any) -> list[Any]:
            turn = after(ahead, INDEX(ASKED // 2), k)
            return [builder.gep(turn, [INDEX(i)]) for i in range(0, ASKED, LANES)]

        size = len(pair) * TAPS * width
        write_tile(builder, tiles, add, step, size, places, lines_ahead)
        return context.get_dummy_value()

    i = types.intp

    # fmt: off
    @intrinsic
    def kernel(context: Any, u: Any, u_offset: Any, u_slice: Any, u_line: Any, channels: Any,
               tiles: Any, grad: Any, grad_offset: Any, pixel: Any,
               sums: Any, sums_offset: Any, add: Any, ahead: Any, ahead_offset: Any) -> Any:
        return types.void(u, i, i, i, i, i, grad, i, i, sums, i, i, ahead, i), generate
    # fmt: on

    return kernel
