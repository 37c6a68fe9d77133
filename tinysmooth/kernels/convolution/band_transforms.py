"""Transforms of few channels, several tiles at a time, for `winograd_bands`.

A vector of a few channels would be mostly empty. So it has the same pixel of four neighbouring
tiles, four lanes of each, or, where there is but one channel, of sixteen tiles, a lane of each. To
be loaded so, the pixels of a line are copied apart: the first of each tile to one plane, the second
to the next. A fifth pixel is the first of the next tile::

    plane 0    p0 p4 p8  ...        pixels 0 of the tiles 0, 1, 2 ...
    plane 1    p1 p5 p9  ...
    plane 2    p2 p6 p10 ...
    plane 3    p3 p7 p11 ...

What the lanes behind the last channel hold is of the next pixel, and is never asked for.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.convolution.transforms import (
    Transform,
    filter_gradient_transform,
    input_transform,
    pair_filter_gradient_transform,
    pair_input_transform,
)
from tinysmooth.kernels.convolution.winograd_patches import PATCH, TILE
from tinysmooth.kernels.generators import Lanes
from tinysmooth.kernels.vectors import ALIGNMENT, FLOAT, INDEX, LANES, as_vector, element

FEW = 4
"""Lanes of a tile of a few channels, four or fewer."""

FEW_TILES = LANES // FEW
"""Tiles of a few channels in a vector."""

DOWN = 4
"""Points of F(2, 3) down the columns, and lines of a tile of x."""


def make_copy(pixels: int) -> Any:
    """Generate a copy of so many pixels, and of four floats of each, to a plane each.

    Returns
    -------
    intrinsic
        ``kernel(source, offset, channels, out, to, plane)`` reads at ``source[offset + j
        channels]`` and writes to ``out[to + j plane]``.
    """
    kind = ir.VectorType(FLOAT, FEW).as_pointer()

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        read = element(context, builder, sig.args[0], args[0], args[1])
        write = element(context, builder, sig.args[3], args[3], args[4])
        for j in range(pixels):
            at = builder.gep(read, [builder.mul(args[2], INDEX(j))])
            there = builder.gep(write, [builder.mul(args[5], INDEX(j))])
            four = builder.load(builder.bitcast(at, kind), align=ALIGNMENT)
            builder.store(four, builder.bitcast(there, kind), align=ALIGNMENT)
        return context.get_dummy_value()

    @intrinsic
    def copy(
        context: Any, source: Any, offset: Any, channels: Any, out: Any, to: Any, plane: Any
    ) -> Any:
        i = types.intp
        return types.void(source, i, i, out, i, i), generate

    return copy


copy_pixel, copy_four_pixels = make_copy(1), make_copy(TILE)


@intrinsic
def copy_grey(context: Any, source: Any, offset: Any, out: Any, to: Any, plane: Any) -> Any:
    """Copy sixteen floats, each fourth to the same plane.

    ``copy_grey(source, offset, out, to, plane)`` writes four to ``out[to]``, four to ``out[to +
    plane]``, and so on.
    """
    numbers = ir.VectorType(ir.IntType(32), FEW)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        read = element(context, builder, sig.args[0], args[0], args[1])
        write = element(context, builder, sig.args[2], args[2], args[3])
        run = builder.load(as_vector(builder, read), align=ALIGNMENT)
        for j in range(TILE):
            every_fourth = ir.Constant(numbers, list(range(j, LANES, TILE)))
            four = builder.shuffle_vector(run, run, every_fourth)
            place = builder.gep(write, [builder.mul(args[4], INDEX(j))])
            place = builder.bitcast(place, ir.VectorType(FLOAT, FEW).as_pointer())
            builder.store(four, place, align=ALIGNMENT)
        return context.get_dummy_value()

    i = types.intp
    return types.void(source, i, out, i, i), generate


@intrinsic
def transform_group(
    context: Any,
    planes: Any,
    offset: Any,
    line: Any,
    plane: Any,
    following: Any,
    out: Any,
    to: Any,
) -> Any:
    """Transform a group of tiles of x, of four lines and six pixels, to 24 vectors in a row.

    ``transform_group(planes, offset, line, plane, following, out, to)`` reads vector j of line i at
    ``planes[offset + i line + j % 4 plane + j // 4 following]``; what it makes for point q down the
    columns and p along the lines goes to ``out[to + (6 q + p) 16]``.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        line, plane, following = args[2:5]
        read = element(context, builder, sig.args[0], *args[:2])
        write = element(context, builder, sig.args[5], *args[5:])

        def column(j: int) -> tuple[Any, ...]:
            """Return the values of one column of pixels down the columns."""
            numbers = []
            for i in range(DOWN):
                steps = (line, i), (plane, j % TILE), (following, j // TILE)
                place = read
                for stride, times in steps:
                    place = builder.gep(place, [builder.mul(stride, INDEX(times))])
                vector = builder.load(as_vector(builder, place), align=ALIGNMENT)
                numbers.append(Lanes(builder, vector))
            return pair_input_transform(*numbers)

        columns = [column(j) for j in range(PATCH)]
        for q, row in enumerate(zip(*columns, strict=True)):
            for p, value in enumerate(input_transform(*row)):
                place = builder.gep(write, [INDEX((PATCH * q + p) * LANES)])
                builder.store(value.value, as_vector(builder, place), align=ALIGNMENT)
        return context.get_dummy_value()

    i = types.intp
    return types.void(planes, i, i, i, i, out, i), generate


def make_line_transform(transform: Transform, size: int) -> Any:
    """Generate the one-dimensional transform of `size` vectors.

    Returns
    -------
    intrinsic
        ``kernel(source, offset, stride, out, offset, stride)``, for flat float32 arrays; strides
        count elements.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def places(first: int, count: int) -> list[Any]:
            array, offset, stride = args[first : first + 3]
            base = element(context, builder, sig.args[first], array, offset)
            steps = [builder.mul(stride, INDEX(i)) for i in range(count)]
            return [as_vector(builder, builder.gep(base, [step])) for step in steps]

        line = [Lanes(builder, builder.load(at, align=ALIGNMENT)) for at in places(0, size)]
        values = transform(*line)
        for value, place in zip(values, places(3, len(values)), strict=True):
            builder.store(value.value, place, align=ALIGNMENT)
        return context.get_dummy_value()

    @intrinsic
    def line_transform(
        context: Any,
        source: Any,
        offset: Any,
        stride: Any,
        out: Any,
        out_offset: Any,
        out_stride: Any,
    ) -> Any:
        i = types.intp
        return types.void(source, i, i, out, i, i), generate

    return line_transform


transform_line_of_sums = make_line_transform(filter_gradient_transform, 6)
transform_column_of_sums = make_line_transform(pair_filter_gradient_transform, 4)
