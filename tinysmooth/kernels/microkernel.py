"""The inner loop of every fast convolution: a tile of a matrix product held in registers.

A product ``C = A @ B`` does two operations for each pair of numbers, and a CPU multiplies faster
than it loads. The way out is to load a number once and use it often. Hold a tile of C in registers,
walk along the shared dimension, and at each step k add one column of A times one row of B::

                    B   k | b0   b1   b2   b3 |          4 loads, 16 floats each
                          +-------------------+
        A[:, k]     a0    | c00  c01  c02  c03 |
                    a1    | c10  c11  c12  c13 |         c_ij += a_i * b_j :
                    ...   |        ...         |         24 multiply-adds on 24 registers
                    a5    | c50  c51  c52  c53 |
                6 loads, each spread over all lanes

Why 6 x 4. A multiply-add has a latency of 4 cycles and a core starts two in each, so at least 8
independent sums must be under way. AVX-512 has 32 registers: 24 sums, 4 for the row of B and 1 for
the spread a_i make 29. 24 multiply-adds take 12 cycles, their 10 loads 5. With 7 x 4 the registers
overflow into memory; flatter tiles (12 x 2) need more loads for each multiply-add. AVX2 has 16
registers of half the size, a vector takes two: 6 x 1 makes 12 sums, 2 for B and 1 for a_i, 15.

How a generator writes it. In LLVM's language a value is assigned once (static single assignment),
so a loop variable is written as a *phi node* at the head of the loop: "0 if we come from the entry,
k + 4 if we come from the end of the body". Each of the 24 sums is such a phi node of type <16 x
float>, and nothing ever stores them to memory before the loop ends, so LLVM keeps them in
registers. Numba's own loops cannot say this: an array of sums would be loaded and stored at each
step.

Loop-carried values::

    entry --> loop:  k   = phi [0, entry], [k + 4, loop]
                     cij = phi [0, entry], [cij + ai * bj (four times), loop]
                     branch loop if k + 4 < depth else end
              end:   store all cij
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import (
    ALIGNMENT,
    INDEX,
    LANES,
    VECTOR,
    WIDE,
    as_vector,
    broadcast,
    element,
    multiply_add,
)

UNROLL = 4
"""Steps of k in one turn of the loop, which hides its counting; `depth` must be a multiple."""


def make_microkernel(
    rows: int, vectors: int, *, transposed: bool = False, accumulate: bool = False
) -> Any:
    """Generate the product of a tile: C = A @ B.

    C has `rows` rows of as many vectors; A is (rows, depth), B is (depth, vectors).

    Parameters
    ----------
    rows, vectors : int
        Shape of the tile.
    transposed : bool
        A is stored as (depth, rows): the gradient of weights needs A.T @ B.
    accumulate : bool
        Take a last argument `add`: where it is not 0, the product is added to C.

    Returns
    -------
    intrinsic
        ``kernel(a, a_offset, a_stride, b, b_offset, b_stride, c, c_offset, c_stride, depth)``, to
        be called inside kernels, with `add` at the end if `accumulate`. Arrays are float32 and
        flat; offsets and row strides count elements; `depth` is a positive multiple of `UNROLL`.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a_array, a_offset, a_stride, b_array, b_offset, b_stride = args[:6]
        c_array, c_offset, c_stride, depth = args[6:10]
        a = element(context, builder, sig.args[0], a_array, a_offset)
        b = element(context, builder, sig.args[3], b_array, b_offset)
        c = element(context, builder, sig.args[6], c_array, c_offset)
        tile = [(i, j) for i in range(rows) for j in range(vectors)]

        def number(value: int) -> Any:
            return ir.Constant(INDEX, value)

        def pointer_to(base: Any, stride: Any, i: Any, offset: Any) -> Any:
            return builder.gep(base, [builder.add(builder.mul(stride, i), offset)])

        def load_row_of_b(k: Any) -> list[Any]:
            row = builder.gep(b, [builder.mul(b_stride, k)])
            pointers = [as_vector(builder, builder.gep(row, [number(LANES * j)])) for j in columns]
            return [builder.load(pointer, align=ALIGNMENT) for pointer in pointers]

        def load_a(i: int, k: Any) -> Any:
            place = (k, number(i)) if transposed else (number(i), k)
            return broadcast(builder, builder.load(pointer_to(a, a_stride, *place)))

        columns = range(vectors)
        outputs = [
            as_vector(builder, pointer_to(c, c_stride, number(i), number(LANES * j)))
            for i, j in tile
        ]
        zeros = ir.Constant(VECTOR, [0.0] * LANES)
        starts = [(builder.block, [zeros] * len(tile))]  # (where we come from, the first sums)
        loop = builder.append_basic_block("depth")
        end = builder.append_basic_block("end")
        if accumulate:
            read = builder.append_basic_block("read")
            builder.cbranch(builder.icmp_signed("!=", args[10], number(0)), read, loop)
            builder.position_at_end(read)
            starts.append((read, [builder.load(output, align=ALIGNMENT) for output in outputs]))
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(INDEX)
        phis = [builder.phi(VECTOR) for _ in tile]
        for block, initial in starts:
            k.add_incoming(number(0), block)
            for phi, value in zip(phis, initial, strict=True):
                phi.add_incoming(value, block)
        sums = list(phis)
        for step in range(UNROLL):
            here = builder.add(k, number(step))
            row_of_b = load_row_of_b(here)
            for i in range(rows):
                spread = load_a(i, here)
                for j in columns:
                    at = i * vectors + j
                    sums[at] = multiply_add(builder, spread, row_of_b[j], sums[at])
        following = builder.add(k, number(UNROLL))
        k.add_incoming(following, loop)
        for phi, value in zip(phis, sums, strict=True):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, end)
        builder.position_at_end(end)
        for output, value in zip(outputs, sums, strict=True):
            builder.store(value, output, align=ALIGNMENT)
        return context.get_dummy_value()

    i = types.intp

    # Numba matches the arguments of an intrinsic by name, hence two spelt-out lists.
    # fmt: off
    if accumulate:
        @intrinsic
        def adding_kernel(context: Any, a: Any, a_offset: Any, a_stride: Any,
                          b: Any, b_offset: Any, b_stride: Any,
                          c: Any, c_offset: Any, c_stride: Any, depth: Any, add: Any) -> Any:
            return types.void(a, i, i, b, i, i, c, i, i, i, i), generate

        return adding_kernel

    @intrinsic
    def writing_kernel(context: Any, a: Any, a_offset: Any, a_stride: Any,
                       b: Any, b_offset: Any, b_stride: Any,
                       c: Any, c_offset: Any, c_stride: Any, depth: Any) -> Any:
        return types.void(a, i, i, b, i, i, c, i, i, i), generate

    return writing_kernel
    # fmt: on


# ------------------------------------------------------------------ products of whole panels
#
# B is cut in panels of columns, each stored on its own as (depth, width): the four loads of a step
# are then neighbours. The last columns are padded to 16 and cut in panels of 32 and 16.

PANEL = 64 if WIDE else 16
"""Columns in a full panel."""

ROWS_STEP = 24
"""Rows of A and C come in multiples of this: the least that tiles of 6 and of 8 rows divide."""


@jit
def panel_width(first: int, columns: int) -> int:
    """Return the width of the panel that starts at column `first` of `columns`."""
    rest = columns - first
    if rest >= PANEL:
        return PANEL
    return 32 if rest >= 32 else 16


if WIDE:
    _tile_64 = make_microkernel(6, 4)
    _tile_32 = make_microkernel(8, 2)
    _tile_16 = make_microkernel(8, 1)
    _add_64 = make_microkernel(6, 4, transposed=True, accumulate=True)
    _add_64_rest = make_microkernel(4, 4, transposed=True, accumulate=True)
    _add_32 = make_microkernel(4, 2, transposed=True, accumulate=True)
    _add_16 = make_microkernel(12, 1, transposed=True, accumulate=True)
    _add_16_rest = make_microkernel(4, 1, transposed=True, accumulate=True)

    @jit
    def panel_product(
        a: np.ndarray,
        a_offset: int,
        a_stride: int,
        b: np.ndarray,
        b_offset: int,
        width: int,
        c: np.ndarray,
        c_offset: int,
        c_stride: int,
        rows: int,
        depth: int,
    ) -> None:
        """C = A @ B for a panel B; `rows` is rounded up to whole tiles, at most to `ROWS_STEP`."""
        if width == 64:
            for i in range(0, rows, 6):
                at_a, at_c = a_offset + i * a_stride, c_offset + i * c_stride
                _tile_64(a, at_a, a_stride, b, b_offset, 64, c, at_c, c_stride, depth)
        elif width == 32:
            for i in range(0, rows, 8):
                at_a, at_c = a_offset + i * a_stride, c_offset + i * c_stride
                _tile_32(a, at_a, a_stride, b, b_offset, 32, c, at_c, c_stride, depth)
        else:
            for i in range(0, rows, 8):
                at_a, at_c = a_offset + i * a_stride, c_offset + i * c_stride
                _tile_16(a, at_a, a_stride, b, b_offset, 16, c, at_c, c_stride, depth)

    @jit
    def panel_add_transposed(
        a: np.ndarray,
        a_offset: int,
        a_stride: int,
        b: np.ndarray,
        b_offset: int,
        width: int,
        c: np.ndarray,
        c_offset: int,
        c_stride: int,
        rows: int,
        depth: int,
        add: int,
    ) -> None:
        """C = A.T @ B, plus C if `add`; A is (depth, rows), `rows` a multiple of 4."""
        if width == 64:
            sixes = rows // 12 * 12  # the rest is 0, 4 or 8 rows
            for i in range(0, sixes, 6):
                at_c = c_offset + i * c_stride
                _add_64(a, a_offset + i, a_stride, b, b_offset, 64, c, at_c, c_stride, depth, add)
            for i in range(sixes, rows, 4):
                at_c = c_offset + i * c_stride
                _add_64_rest(
                    a, a_offset + i, a_stride, b, b_offset, 64, c, at_c, c_stride, depth, add
                )
        elif width == 32:
            for i in range(0, rows, 4):
                at_c = c_offset + i * c_stride
                _add_32(a, a_offset + i, a_stride, b, b_offset, 32, c, at_c, c_stride, depth, add)
        else:
            twelves = rows // 12 * 12
            for i in range(0, twelves, 12):
                at_c = c_offset + i * c_stride
                _add_16(a, a_offset + i, a_stride, b, b_offset, 16, c, at_c, c_stride, depth, add)
            for i in range(twelves, rows, 4):
                at_c = c_offset + i * c_stride
                _add_16_rest(
                    a, a_offset + i, a_stride, b, b_offset, 16, c, at_c, c_stride, depth, add
                )

else:
    _tile_16 = make_microkernel(6, 1)
    _add_16 = make_microkernel(6, 1, transposed=True, accumulate=True)
    _add_16_rest = make_microkernel(4, 1, transposed=True, accumulate=True)

    @jit
    def panel_product(
        a: np.ndarray,
        a_offset: int,
        a_stride: int,
        b: np.ndarray,
        b_offset: int,
        width: int,
        c: np.ndarray,
        c_offset: int,
        c_stride: int,
        rows: int,
        depth: int,
    ) -> None:
        """C = A @ B for a panel B; `rows` is rounded up to whole tiles, at most to `ROWS_STEP`."""
        for i in range(0, rows, 6):
            at_a, at_c = a_offset + i * a_stride, c_offset + i * c_stride
            _tile_16(a, at_a, a_stride, b, b_offset, 16, c, at_c, c_stride, depth)

    @jit
    def panel_add_transposed(
        a: np.ndarray,
        a_offset: int,
        a_stride: int,
        b: np.ndarray,
        b_offset: int,
        width: int,
        c: np.ndarray,
        c_offset: int,
        c_stride: int,
        rows: int,
        depth: int,
        add: int,
    ) -> None:
        """C = A.T @ B, plus C if `add`; A is (depth, rows), `rows` a multiple of 4."""
        sixes = rows // 12 * 12
        for i in range(0, sixes, 6):
            at_c = c_offset + i * c_stride
            _add_16(a, a_offset + i, a_stride, b, b_offset, 16, c, at_c, c_stride, depth, add)
        for i in range(sixes, rows, 4):
            at_c = c_offset + i * c_stride
            _add_16_rest(a, a_offset + i, a_stride, b, b_offset, 16, c, at_c, c_stride, depth, add)
