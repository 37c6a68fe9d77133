"""Tiles for `winograd_bands`: pixels become values at some points, and meet their inputs, at once.

Two lines of four pixels of the gradient of out, of sixteen filters, are loaded; `transforms` makes
of them the values at 24 points, of which a few are wanted here; each value meets the numbers of x
at its point, in a few channels::

    pixels y00 y01 y02 y03   along the line   at point p: a       down the columns
           y10 y11 y12 y13        -->                     b             -->     a, a + b, a - b, b

    sums[q][p][c]  +=  u[q][p][c] * value at (q, p)       24 sums for three channels and two p

The sums stay in registers while the tile walks along the pixels of some bands. It is no matrix
product: each multiply-add loads a number of its own, which AVX-512 can do within the instruction.
Two points of a line at a time share most of what makes their values (1 and -1, 2 and -2); four
channels leave registers for one.

From the pixels to the values three additions have to wait for each other, and the sums for all of
them. So a and b are made one tile ahead, between the products of the tile before, and go round the
loop as the sums do::

    entry --> loop:  k     = phi [0, entry], [k + 1, loop]
                     a, b  = phi [of tile 0, entry], [of tile k + 1, loop]
                     sums  = phi [0, entry], [sums', loop]
                     sums' = sums + u (a, a + b, a - b, b)      amid this: a, b of tile k + 1
              end:   store all sums, or add them

Without that, tiles of three channels took 1.05 to 1.11 of the time on an Intel processor where all
was in the L1 cache, and as long where the pixels came from the L2 cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.convolution.band_transforms import DOWN
from tinysmooth.kernels.convolution.transforms import (
    output_gradient_transform,
    pair_output_gradient_transform,
)
from tinysmooth.kernels.convolution.winograd_patches import PATCH, TILE
from tinysmooth.kernels.generators import Lanes
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import write_sums
from tinysmooth.kernels.vectors import (
    ALIGNMENT,
    INDEX,
    L2,
    LANES,
    VECTOR,
    as_vector,
    ask_for,
    broadcast,
    element,
    keep_rolled,
    multiply_add,
)

LINES = 2
"""Lines of a band."""

POINTS = DOWN * PATCH
"""Points of a tile."""

PAIRS = ((0, PATCH - 1), (1, 2), (3, 4))
"""Points of a line: 0 and infinity, whose values are pixels as they are; 1 and -1; 2 and -2."""

ONE_BY_ONE = tuple((p,) for p in range(PATCH))

TOGETHER = {1: PAIRS, 2: PAIRS, 3: PAIRS, 4: ONE_BY_ONE}
"""The points of each tile, by the channels it has at a time."""

ASKED = 6
"""Lines that the tiles of all points together ask for at a time, of the eight that the same tile of
the next product has; for the others is asked where x is transformed, lest memory be idle then."""


@jit
def lines_asked(passes: int) -> int:
    """Return the lines that a tile asks for at a time, one of so many."""
    return (ASKED + passes - 1) // passes


def make_band_tile(width: int, points: Sequence[int]) -> Any:
    """Generate the sums at one or two points of the lines, for `width` channels, sixteen filters.

    Returns
    -------
    intrinsic
        ``kernel(u, u_offset, u_tiles, grad, grad_offset, grad_tiles, line, pixel, tiles, sums,
        sums_offset, add, ahead, ahead_offset)``, to be called inside kernels; arrays
        are flat, float32 and, for the two tables, int64. Tile t of `tiles`, at least one, has the
        pixels ``grad[grad_offset + grad_tiles[t] + i line + j pixel]`` and meets ``u[u_offset +
        u_tiles[t] + (6 q + p) 16 + c]``. The sum of points q and p and channel c is at
        ``sums[sums_offset + ((6 q + p) width + c) 16]``; where `add` is not 0, it is added to
        what is there. From ``ahead[ahead_offset]`` on, inside the array or not, lines are asked
        for.
    """
    asked = lines_asked.function(PATCH // len(points)) * LANES
    size = len(points) * DOWN * width

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def pointer(array: int, offset: Any) -> Any:
            return element(context, builder, sig.args[array], args[array], offset)

        def after(base: Any, stride: Any, times: Any) -> Any:
            return builder.gep(base, [builder.mul(stride, times)])

        u, grad, sums_at, ahead = (pointer(i, args[i + 1]) for i in (0, 3, 9, 12))
        u_tiles, grad_tiles = pointer(2, INDEX(0)), pointer(5, INDEX(0))
        line, pixel, tiles, add = (args[i] for i in (6, 7, 8, 11))

        def make_line(k: Any, number: int) -> list[Any]:
            """Return the values of one line of tile k, by point."""
            first = builder.gep(grad, [builder.load(builder.gep(grad_tiles, [k]))])
            first = after(first, line, INDEX(number))
            begins = [as_vector(builder, after(first, pixel, INDEX(j))) for j in range(TILE)]
            pixels = [Lanes(builder, builder.load(at, align=ALIGNMENT)) for at in begins]
            values = output_gradient_transform(*pixels)
            return [values[p].value for p in points]

        def step(k: Any, following: Any, sums: list[Any], lines: Any) -> list[list[Any]]:
            """Add up tile k; return the lines of the following one."""
            tile = builder.gep(u, [builder.load(builder.gep(u_tiles, [k]))])
            made: list[list[Any]] = []
            for number, values in enumerate(zip(*lines, strict=True)):
                down = pair_output_gradient_transform(*(Lanes(builder, v) for v in values))
                for half in ((0, DOWN - 1), (1, 2)):  # the lines as they are, then those made
                    for q in half:
                        point = (PATCH * q + points[number]) * LANES
                        for c in range(width):
                            at = (number * DOWN + q) * width + c
                            number_of_x = builder.load(builder.gep(tile, [INDEX(point + c)]))
                            spread = broadcast(builder, number_of_x)
                            sums[at] = multiply_add(builder, spread, down[q].value, sums[at])
                    for _ in range(LINES // len(points)):
                        if len(made) < LINES:
                            made.append(make_line(following, len(made)))
            return made

        def places() -> list[Any]:
            numbers = [PATCH * q + p for p in points for q in range(DOWN)]
            offsets = [(number * width + c) * LANES for number in numbers for c in range(width)]
            return [as_vector(builder, builder.gep(sums_at, [INDEX(at)])) for at in offsets]

        start = [v for number in range(LINES) for v in make_line(INDEX(0), number)]
        entry, loop, end = builder.block, *map(builder.append_basic_block, ("tiles", "end"))
        builder.branch(loop)

        builder.position_at_end(loop)
        k = builder.phi(INDEX)
        phis = [builder.phi(VECTOR) for _ in range(size + len(start))]
        following = builder.add(k, INDEX(1))
        again = builder.icmp_signed("<", following, tiles)
        sums, carried = phis[:size], phis[size:]
        lines = carried[: len(points)], carried[len(points) :]
        made = step(k, builder.select(again, following, k), sums, lines)
        turn = after(ahead, INDEX(asked), k)
        for i in range(0, asked, LANES):
            ask_for(builder, builder.gep(turn, [INDEX(i)]), L2)
        zeros = [ir.Constant(VECTOR, [0.0] * LANES)] * size
        ends = [*sums, *made[0], *made[1]]
        k.add_incoming(INDEX(0), entry)
        k.add_incoming(following, loop)
        for phi, before, after_it in zip(phis, zeros + start, ends, strict=True):
            phi.add_incoming(before, entry)
            phi.add_incoming(after_it, loop)
        keep_rolled(builder, builder.cbranch(again, loop, end))

        builder.position_at_end(end)
        write_sums(builder, add, sums, places())
        return context.get_dummy_value()

    i = types.intp

    # fmt: off
    @intrinsic
    def kernel(context: Any, u: Any, u_offset: Any, u_tiles: Any,
               grad: Any, grad_offset: Any, grad_tiles: Any, line: Any, pixel: Any, tiles: Any,
               sums: Any, sums_offset: Any, add: Any,
               ahead: Any, ahead_offset: Any) -> Any:
        own = (u, i, u_tiles, grad, i, grad_tiles, i, i, i, sums, i, i)
        return types.void(*own, ahead, i), generate
    # fmt: on

    return kernel
