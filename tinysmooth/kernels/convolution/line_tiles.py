"""Tiles for `winograd_lines`: pixels become values at some points, and meet their inputs, at once.

Four pixels of the gradient of out, of sixteen filters, are loaded; `transforms` makes of them the
values at six points, of which two are wanted here; each value meets the numbers of x at its point,
on three lines and in a few channels::

    pixels y0 y1 y2 y3   -->   v, w                       two vectors, never stored
    sums[0][r][c]  +=  u[0][line r][c] * v
    sums[1][r][c]  +=  u[1][line r][c] * w                18 sums for three channels, 24 for four

The sums stay in registers while the tile walks along the pixels of some lines. It is no matrix
product: each multiply-add loads a number of its own, which AVX-512 can do within the instruction.
So many points at a time that there are 18 sums or 24: all six for one channel, three for two, else
two. Pairs of points (1 and -1, 2 and -2) stay together where they can, since they share most of
what makes their values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.convolution.transforms import output_gradient_transform
from tinysmooth.kernels.convolution.winograd_patches import PATCH, SHIFT, TILE
from tinysmooth.kernels.generators import Lanes
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import write_tile
from tinysmooth.kernels.vectors import (
    ALIGNMENT,
    INDEX,
    LANES,
    as_vector,
    broadcast,
    element,
    multiply_add,
)

TAPS = SHIFT
"""Rows and columns of the filters."""

PAIRS = ((0, PATCH - 1), (1, 2), (3, 4))
"""The points 0 and infinity, whose values are pixels as they are; 1 and -1; 2 and -2."""

TRIPLES = ((0, 1, 2), (3, 4, PATCH - 1))

ALL = (tuple(range(PATCH)),)

GROUPS = {1: ALL, 2: TRIPLES, 3: PAIRS, 4: PAIRS}
"""The points of each tile, by the channels it has at a time."""

ASKED = 9
"""Lines that the tiles of all points together ask for in a turn, of two steps: an eighth more than
they read, so that the pixels of the next product are all asked for."""


@jit
def lines_asked(passes: int) -> int:
    """Return the lines that a tile asks for in a turn, one of so many."""
    return (ASKED + passes - 1) // passes


def make_line_tile(width: int, points: Sequence[int]) -> Any:
    """Generate the sums at some points, for `width` channels and sixteen filters.

    Returns
    -------
    intrinsic
        ``kernel(u, u_offset, u_tiles, u_slice, u_line, grad, grad_offset, grad_tiles, pixel, tiles,
        sums, sums_offset, channels, row, add, ahead, ahead_offset)``, to be called inside kernels;
        arrays are flat, float32 and, for the two tables, int64. Tile t of `tiles`, at least one,
        has the pixels ``grad[grad_offset + grad_tiles[t] + i pixel]`` and meets
        ``u[u_offset + u_tiles[t] + p u_slice + r u_line + c]``. The sum of point p, line r and
        channel c is at ``sums[sums_offset + ((3 p + r) channels + c) row]``; where `add` is not 0,
        it is added to what is there. From ``ahead[ahead_offset]`` on, inside the array or not,
        lines are asked for.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def pointer(array: int, offset: Any) -> Any:
            return element(context, builder, sig.args[array], args[array], offset)

        def after(base: Any, stride: Any, times: Any) -> Any:
            return builder.gep(base, [builder.mul(stride, times)])

        u_slice, u_line, pixel, tiles, channels, row, add = (
            args[i] for i in (3, 4, 8, 9, 12, 13, 14)
        )
        u, grad, sums_at, ahead = (pointer(i, args[i + 1]) for i in (0, 5, 10, 15))
        u_tiles, grad_tiles = pointer(2, INDEX(0)), pointer(7, INDEX(0))
        starts = [after(u, u_slice, INDEX(p)) for p in points]

        def step(k: Any, sums: Sequence[Any]) -> list[Any]:
            before, totals = iter(sums), []
            first = builder.gep(grad, [builder.load(builder.gep(grad_tiles, [k]))])
            pixels = []
            for i in range(TILE):
                place = as_vector(builder, after(first, pixel, INDEX(i)))
                pixels.append(Lanes(builder, builder.load(place, align=ALIGNMENT)))
            values = output_gradient_transform(*pixels)
            tile = builder.load(builder.gep(u_tiles, [k]))
            for p, start in zip(points, starts, strict=True):
                value, top = values[p].value, builder.gep(start, [tile])
                for r in range(TAPS):
                    line = after(top, u_line, INDEX(r))
                    for c in range(width):
                        number = builder.load(builder.gep(line, [INDEX(c)]))
                        spread = broadcast(builder, number)
                        totals.append(multiply_add(builder, spread, value, next(before)))
            return totals

        def places() -> list[Any]:
            line = builder.mul(row, channels)
            lines = [after(sums_at, line, INDEX(TAPS * p + r)) for p in points for r in range(TAPS)]
            every = [after(first, row, INDEX(c)) for first in lines for c in range(width)]
            return [as_vector(builder, place) for place in every]

        def lines_ahead(k: Any) -> list[Any]:
            asked = LANES * lines_asked(PATCH // len(points))
            turn = after(ahead, INDEX(asked // 2), k)
            return [builder.gep(turn, [INDEX(i)]) for i in range(0, asked, LANES)]

        size = len(points) * TAPS * width
        write_tile(builder, tiles, add, step, size, places, lines_ahead)
        return context.get_dummy_value()

    i = types.intp

    # fmt: off
    @intrinsic
    def kernel(context: Any, u: Any, u_offset: Any, u_tiles: Any, u_slice: Any, u_line: Any,
               grad: Any, grad_offset: Any, grad_tiles: Any, pixel: Any, tiles: Any,
               sums: Any, sums_offset: Any, channels: Any, row: Any, add: Any,
               ahead: Any, ahead_offset: Any) -> Any:
        own = (u, i, u_tiles, i, i, grad, i, grad_tiles, i, i, sums, i, i, i, i)
        return types.void(*own, ahead, i), generate
    # fmt: on

    return kernel
