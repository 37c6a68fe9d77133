"""The transforms of Winograd's F(4x4), F(3x3) and F(2x2), written once for NumPy and for LLVM.

`tinysmooth.kernels.convolution.winograd` derives them. Each function below takes the numbers of one
row of a tile and returns those of the transformed row; it uses nothing but ``+ - *``, so the
numbers may be floats, NumPy arrays, or `Lanes` (`tinysmooth.kernels.generators`), which write code.
Pairs of rows of the matrices differ in signs only (the points 1 and -1, 2 and -2), so each pair
shares its even and its odd half: 12 operations for six numbers instead of 30.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.generators import Lanes
from tinysmooth.kernels.vectors import ALIGNMENT, FLOAT, INDEX, LANES, WIDE, element

Transform = Callable[..., tuple[Any, ...]]


def input_transform(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> tuple[Any, ...]:
    """Return B^T d: six input pixels become the values at the six points."""
    even_1, odd_1 = d4 - 4 * d2, d3 - 4 * d1
    even_2, odd_2 = d4 - d2, 2 * (d3 - d1)
    return (
        d4 - 5 * d2 + 4 * d0,
        even_1 + odd_1,
        even_1 - odd_1,
        even_2 + odd_2,
        even_2 - odd_2,
        d5 - 5 * d3 + 4 * d1,
    )


def filter_transform(g0: Any, g1: Any, g2: Any) -> tuple[Any, ...]:
    """Return G g: three taps of a filter become the values at the six points."""
    even_1, odd_1 = (g0 + g2) * (-1 / 6), g1 * (-1 / 6)
    even_2, odd_2 = g0 * (1 / 24) + g2 * (1 / 6), g1 * (1 / 12)
    return g0 * 0.25, even_1 + odd_1, even_1 - odd_1, even_2 + odd_2, even_2 - odd_2, g2


def output_transform(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any) -> tuple[Any, ...]:
    """Return A^T m: the products at the six points become four output pixels."""
    even_1, odd_1, even_2, odd_2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return (
        m0 + even_1 + even_2,
        2 * odd_2 + odd_1,
        4 * even_2 + even_1,
        8 * odd_2 + odd_1 + m5,
    )


def output_gradient_transform(y0: Any, y1: Any, y2: Any, y3: Any) -> tuple[Any, ...]:
    """Return A y, the transpose of `output_transform`."""
    even_1, odd_1 = y0 + y2, y1 + y3
    even_2, half = 4 * y2 + y0, 4 * y3 + y1
    odd_2 = half + half  # and not by a two, which would take a register
    return y0, even_1 + odd_1, even_1 - odd_1, even_2 + odd_2, even_2 - odd_2, y3


def filter_gradient_transform(
    u0: Any, u1: Any, u2: Any, u3: Any, u4: Any, u5: Any
) -> tuple[Any, ...]:
    """Return G^T u, the transpose of `filter_transform`."""
    even_1, odd_1, even_2, odd_2 = u1 + u2, u2 - u1, u3 + u4, u3 - u4
    return (
        u0 * 0.25 - even_1 * (1 / 6) + even_2 * (1 / 24),
        odd_1 * (1 / 6) + odd_2 * (1 / 12),
        (even_2 - even_1) * (1 / 6) + u5,
    )


def shared_input_transform(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any) -> tuple[Any, ...]:
    """Return B^T d of F(3, 3): five pixels become the values at 0, 1, -1, 2 and infinity."""
    third = d3 - d1
    return (
        2 * (d0 - d2) + third,
        d3 - 2 * d1 - d2,
        d3 + 2 * d1 - 3 * d2,
        third,
        d4 - d2 - 2 * third,
    )


def shared_filter_transform(g0: Any, g1: Any, g2: Any) -> tuple[Any, ...]:
    """Return G g of F(3, 3)."""
    even = g0 + g2
    return (
        g0 * 0.5,
        (even + g1) * -0.5,
        (even - g1) * (-1 / 6),
        (g0 + 2 * g1 + 4 * g2) * (1 / 6),
        g2,
    )


def shared_output_transform(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any) -> tuple[Any, ...]:
    """Return A^T m of F(3, 3): the products at the five points become three pixels."""
    even, odd = m1 + m2, m1 - m2
    return m0 + even + m3, odd + 2 * m3, even + 4 * m3 + m4


def pair_input_transform(d0: Any, d1: Any, d2: Any, d3: Any) -> tuple[Any, ...]:
    """Return B^T d of F(2, 3): four pixels become the values at 0, 1, -1 and infinity."""
    return d2 - d0, d1 + d2, d2 - d1, d3 - d1


def pair_output_gradient_transform(y0: Any, y1: Any) -> tuple[Any, ...]:
    """Return A y of F(2, 3)."""
    return y0, y0 + y1, y0 - y1, y1


def pair_filter_gradient_transform(u0: Any, u1: Any, u2: Any, u3: Any) -> tuple[Any, ...]:
    """Return G^T u of F(2, 3)."""
    even = (u1 + u2) * 0.5
    return even - u0, (u1 - u2) * 0.5, even + u3


def both_ways(transform: Transform, columns: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Apply a transform to the columns of a tile, then to its rows: T tile T^T, row by row."""
    turned = [transform(*column) for column in columns]
    for row in zip(*turned, strict=True):
        yield transform(*row)


AT_ONCE = LANES if WIDE else LANES // 2
"""Channels transformed at a time: one register. Six numbers and what is made of them fit in sixteen
registers then, but not where each takes two: the transforms took half as long again."""


def make_tile_transform(transform: Transform, size: int) -> Any:
    """Generate the two-dimensional transform of a tile for sixteen channels.

    Parameters
    ----------
    transform : callable
        One of the functions above.
    size : int
        Rows and columns of the tile it takes.

    Returns
    -------
    intrinsic
        ``kernel(source, offset, row_stride, column_stride, out, offset, row_stride,
        column_stride)``, for flat float32 arrays; strides count elements. Of each channel all is
        read before anything is written.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, offset, row_stride, column_stride = args[:4]
        out, out_offset, out_row_stride, out_column_stride = args[4:]
        read = element(context, builder, sig.args[0], source, offset)
        write = element(context, builder, sig.args[4], out, out_offset)
        kind = ir.VectorType(FLOAT, AT_ONCE).as_pointer()

        def places(base: Any, line_stride: Any, stride: Any, count: int) -> Iterator[list[Any]]:
            """Give pointers to the numbers of one line of the tile after the other."""
            steps = [builder.mul(stride, INDEX(i)) for i in range(count)]
            for _ in range(count):
                yield [builder.bitcast(builder.gep(base, [step]), kind) for step in steps]
                base = builder.gep(base, [line_stride])

        made = len(transform(*[0.0] * size))
        for first in range(0, LANES, AT_ONCE):
            begin, end = (builder.gep(base, [INDEX(first)]) for base in (read, write))
            columns = (
                [Lanes(builder, builder.load(place, align=ALIGNMENT)) for place in column]
                for column in places(begin, column_stride, row_stride, size)
            )
            targets = places(end, out_row_stride, out_column_stride, made)
            # Row by row: a row is stored before the next is made, and so frees its registers.
            for row, line in zip(both_ways(transform, columns), targets, strict=True):
                for lanes, place in zip(row, line, strict=True):
                    builder.store(lanes.value, place, align=ALIGNMENT)
        return context.get_dummy_value()

    @intrinsic
    def tile_transform(
        context: Any,
        source: Any,
        offset: Any,
        row_stride: Any,
        column_stride: Any,
        out: Any,
        out_offset: Any,
        out_row_stride: Any,
        out_column_stride: Any,
    ) -> Any:
        i = types.intp
        return types.void(source, i, i, i, out, i, i, i), generate

    return tile_transform


transform_input = make_tile_transform(input_transform, 6)
transform_filter = make_tile_transform(filter_transform, 3)
transform_output = make_tile_transform(output_transform, 6)
transform_output_gradient = make_tile_transform(output_gradient_transform, 4)
transform_filter_gradient = make_tile_transform(filter_gradient_transform, 6)
transform_shared_input = make_tile_transform(shared_input_transform, 5)
transform_shared_filter = make_tile_transform(shared_filter_transform, 3)
transform_shared_output = make_tile_transform(shared_output_transform, 5)
