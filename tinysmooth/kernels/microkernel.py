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

Why 6 x 4. A multiply-add has a latency of 4 cycles and a core starts one or two in each, so at
least 8 independent sums must be under way. AVX-512 has 32 registers: 24 sums, 4 for the row of B
and 1 for the spread a_i make 29. With 7 x 4 the registers overflow into memory. B of 48 columns
takes tiles of 8 x 3, of 32 columns 8 x 2. Of 16 columns it takes as tall a tile as there are
registers to point to its rows: 12 x 1, or 8 x 1 where that is quicker (`NARROW_ROWS`). AVX2 has 16
registers of half the size, a vector takes two: 6 x 1 makes 12 sums, 2 for B and 1 for a_i, 15.

Where A lies. Each number of A is loaded alone, so A need not be a matrix in memory. It is given by
two tables of offsets::

    A[i, k]  =  a[a_offset + rows[i] + columns[k]]

    a stored matrix          rows[i] = i stride           columns[k] = k
    its transpose            rows[i] = i                  columns[k] = k stride
    the windows of an image  rows[i] = first pixel of window i,  columns[k] = way to tap k

The last line is a convolution without any copy of its windows, and with the tables exchanged the
gradient of its filters. The price is one more load in each step, of columns[k].

How a generator writes it. In LLVM's language a value is assigned once (static single assignment),
so a loop variable is written as a *phi node* at the head of the loop: "0 if we come from the entry,
k + 1 if we come from the end of the body". Each of the 24 sums is such a phi node of type <16 x
float>, and nothing ever stores them to memory before the loop ends, so LLVM keeps them in
registers. Numba's own loops cannot say this: an array of sums would be loaded and stored at each
step. LLVM would also unroll the loop, and the loads of two steps at once need more registers than
there are: sums went through memory and a tile of 8 x 2 took a third longer, so the loop says that
it is to stay as it is.

Loop-carried values::

    entry --> loop:  k   = phi [0, entry], [k + 1, loop]
                     cij = phi [0, entry], [cij + ai * bj, loop]
                     branch loop if k + 1 < depth else end
              end:   store all cij, or add them to C
"""

from __future__ import annotations

from collections.abc import Sequence
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
    ZEN,
    as_vector,
    broadcast,
    element,
    keep_rolled,
    multiply_add,
    prefetch,
)


def make_microkernel(height: int, vectors: int) -> Any:
    """Generate the product of a tile: C = A @ B, or C += A @ B.

    C has `height` rows of as many vectors; A is (height, depth), B is (depth, vectors).

    Parameters
    ----------
    height, vectors : int
        Shape of the tile.

    Returns
    -------
    intrinsic
        ``kernel(a, a_offset, rows, first_row, columns, depth, b, b_offset, b_stride, c, c_offset,
        c_stride, add)``, to be called inside kernels. Arrays are flat, float32 and, for the tables
        `rows` and `columns`, int64; the tile is that of ``rows[first_row:]``; offsets and strides
        count elements; `depth` is positive; where `add` is not 0, the product is added to C.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def pointer(array: int, offset: Any) -> Any:
            return element(context, builder, sig.args[array], args[array], offset)

        depth, b_stride, c_stride, add = args[5], args[8], args[11], args[12]
        a, b, c = (pointer(array, args[array + 1]) for array in (0, 6, 9))
        rows, columns = pointer(2, args[3]), pointer(4, INDEX(0))
        tile = [(i, j) for i in range(height) for j in range(vectors)]

        def after(base: Any, offset: Any) -> Any:
            return builder.gep(base, [offset])

        def vector_at(base: Any, offset: Any) -> Any:
            return as_vector(builder, after(base, offset))

        starts_of_rows = [after(a, builder.load(after(rows, INDEX(i)))) for i in range(height)]
        outputs = [
            vector_at(c, builder.add(builder.mul(c_stride, INDEX(i)), INDEX(LANES * j)))
            for i, j in tile
        ]
        def step(k: Any, sums: Sequence[Any]) -> list[Any]:
            """Add column k of A times row k of B, row by row of the tile: so few loads wait."""
            column, row_of_b = builder.load(after(columns, k)), after(b, builder.mul(b_stride, k))
            vectors_of_b = [
                builder.load(vector_at(row_of_b, INDEX(LANES * j)), align=ALIGNMENT)
                for j in range(vectors)
            ]
            totals = []
            for i, start in enumerate(starts_of_rows):
                spread = broadcast(builder, builder.load(after(start, column)))
                totals += [
                    multiply_add(builder, spread, vectors_of_b[j], sums[i * vectors + j])
                    for j in range(vectors)
                ]
            return totals

        def loop_values(*before: tuple[Any, Any]) -> list[Any]:
            """Return what each sum is here, by the block that we come from."""
            phis = [builder.phi(VECTOR) for _ in tile]
            for block, values in before:
                for phi, value in zip(phis, values, strict=True):
                    phi.add_incoming(value, block)
            return phis

        entry = builder.block
        names = ("depth", "rest", "last", "end", "adding", "writing", "done")
        loop, rest, last, end, adding, writing, done = map(builder.append_basic_block, names)
        zeros = [ir.Constant(VECTOR, [0.0] * LANES) for _ in tile]
        odd = builder.and_(depth, INDEX(1))
        even = builder.sub(depth, odd)
        builder.cbranch(builder.icmp_signed("<", INDEX(0), even), loop, rest)

        builder.position_at_end(loop)
        k = builder.phi(INDEX)
        sums = loop_values((entry, zeros))
        totals = step(k, sums)
        builder.fence("seq_cst", "singlethread")  # no instruction: LLVM moves no load across it
        totals = step(builder.add(k, INDEX(1)), totals)
        following = builder.add(k, INDEX(2))
        k.add_incoming(INDEX(0), entry)
        k.add_incoming(following, loop)
        for phi, value in zip(sums, totals, strict=True):
            phi.add_incoming(value, loop)
        again = builder.cbranch(builder.icmp_signed("<", following, even), loop, rest)
        keep_rolled(builder, again)

        builder.position_at_end(rest)
        sums = loop_values((entry, zeros), (loop, totals))
        builder.cbranch(builder.icmp_signed("!=", odd, INDEX(0)), last, end)
        builder.position_at_end(last)
        totals = step(even, sums)
        builder.branch(end)

        # Sums of short pieces, added up: their rounding errors do not pass through one long sum.
        builder.position_at_end(end)
        totals = loop_values((rest, sums), (last, totals))
        builder.cbranch(builder.icmp_signed("!=", add, INDEX(0)), adding, writing)
        builder.position_at_end(adding)
        before = [builder.load(output, align=ALIGNMENT) for output in outputs]
        for output, old, value in zip(outputs, before, totals, strict=True):
            builder.store(builder.fadd(old, value), output, align=ALIGNMENT)
        builder.branch(done)
        builder.position_at_end(writing)
        for output, value in zip(outputs, totals, strict=True):
            builder.store(value, output, align=ALIGNMENT)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    i = types.intp

    # Numba matches the arguments of an intrinsic by name, hence a spelt-out list.
    # fmt: off
    @intrinsic
    def kernel(context: Any, a: Any, a_offset: Any, rows: Any, first_row: Any,
               columns: Any, depth: Any, b: Any, b_offset: Any, b_stride: Any,
               c: Any, c_offset: Any, c_stride: Any, add: Any) -> Any:
        return types.void(a, i, rows, i, columns, i, b, i, i, c, i, i, i), generate
    # fmt: on

    return kernel


# ------------------------------------------------------------------ products of whole panels
#
# B is cut in panels of columns, each stored on its own as (depth, width): the four loads of a step
# are then neighbours. The last columns, padded to a multiple of 16, are a panel of their own.

PANEL = 64 if WIDE else 16
"""Columns in a full panel."""

ROWS_STEP = 4
"""Rows of A and C come in multiples of this: the lowest tile."""


@jit
def panel_width(first: int, columns: int) -> int:
    """Return the width of the panel that starts at column `first` of `columns`."""
    return min(columns - first, PANEL)


_tile_6 = make_microkernel(6, PANEL // LANES)
_tile_4 = make_microkernel(4, PANEL // LANES)

NARROW_ROWS = 12 if ZEN else 8
"""Rows of a tile of 16 columns. On Intel's processors 12 pointers to rows, with all others, do not
fit the registers: 8 rows take 0.88 to 0.97 of the time."""

if WIDE:
    _tile_8x3, _tile_4x3 = make_microkernel(8, 3), make_microkernel(4, 3)
    _tile_8x2, _tile_4x2 = make_microkernel(8, 2), make_microkernel(4, 2)
    _tile_narrow, _tile_4x1 = make_microkernel(NARROW_ROWS, 1), make_microkernel(4, 1)

    @jit
    def _fetch_rows(
        a: np.ndarray,
        a_offset: int,
        rows: np.ndarray,
        first: int,
        last: int,
        columns: np.ndarray,
        depth: int,
    ) -> None:
        """Ask for two lines of each of the rows first to last, while those before are worked on.

        A narrow tile is soon done: where rows lie apart, the processor does not foresee them.
        """
        for row in range(first, last):
            prefetch(a, a_offset + rows[row] + columns[0])
            prefetch(a, a_offset + rows[row] + columns[depth // 2])

    @jit
    def panel_product(
        a: np.ndarray,
        a_offset: int,
        rows: np.ndarray,
        first: int,
        last: int,
        columns: np.ndarray,
        depth: int,
        b: np.ndarray,
        b_offset: int,
        b_stride: int,
        width: int,
        c: np.ndarray,
        c_offset: int,
        c_stride: int,
        add: int,
    ) -> None:
        """C = A @ B for a panel B and the rows first to last of A, a multiple of `ROWS_STEP`."""
        i, to = first, c_offset
        if width == 64:
            stop = first + (last - first) // 12 * 12  # the rest: 0, 4 or 8 rows
            while i < stop:
                _tile_6(
                    *(a, a_offset, rows, i, columns, depth),
                    *(b, b_offset, b_stride, c, to, c_stride, add),
                )
                i += 6
                to += 6 * c_stride
            while i < last:
                _tile_4(
                    *(a, a_offset, rows, i, columns, depth),
                    *(b, b_offset, b_stride, c, to, c_stride, add),
                )
                i += 4
                to += 4 * c_stride
        elif width == 48:
            while i + 8 <= last:
                _tile_8x3(
                    *(a, a_offset, rows, i, columns, depth),
                    *(b, b_offset, b_stride, c, to, c_stride, add),
                )
                i += 8
                to += 8 * c_stride
            while i < last:
                _tile_4x3(
                    *(a, a_offset, rows, i, columns, depth),
                    *(b, b_offset, b_stride, c, to, c_stride, add),
                )
                i += 4
                to += 4 * c_stride
        elif width == 32:
            while i + 8 <= last:
                _tile_8x2(
                    *(a, a_offset, rows, i, columns, depth),
                    *(b, b_offset, b_stride, c, to, c_stride, add),
                )
                i += 8
                to += 8 * c_stride
            while i < last:
                _tile_4x2(
                    *(a, a_offset, rows, i, columns, depth),
                    *(b, b_offset, b_stride, c, to, c_stride, add),
                )
                i += 4
                to += 4 * c_stride
        else:
            while i + NARROW_ROWS <= last:
                after = i + NARROW_ROWS
                end = min(after + NARROW_ROWS, last)
                _fetch_rows(a, a_offset, rows, after, end, columns, depth)
                _tile_narrow(
                    *(a, a_offset, rows, i, columns, depth),
                    *(b, b_offset, b_stride, c, to, c_stride, add),
                )
                i = after
                to += NARROW_ROWS * c_stride
            while i < last:
                _tile_4x1(
                    *(a, a_offset, rows, i, columns, depth),
                    *(b, b_offset, b_stride, c, to, c_stride, add),
                )
                i += 4
                to += 4 * c_stride

else:

    @jit
    def panel_product(
        a: np.ndarray,
        a_offset: int,
        rows: np.ndarray,
        first: int,
        last: int,
        columns: np.ndarray,
        depth: int,
        b: np.ndarray,
        b_offset: int,
        b_stride: int,
        width: int,
        c: np.ndarray,
        c_offset: int,
        c_stride: int,
        add: int,
    ) -> None:
        """C = A @ B for a panel B and the rows first to last of A, a multiple of `ROWS_STEP`."""
        i, to, stop = first, c_offset, first + (last - first) // 12 * 12  # the rest: 0, 4 or 8 rows
        while i < stop:
            _tile_6(
                *(a, a_offset, rows, i, columns, depth),
                *(b, b_offset, b_stride, c, to, c_stride, add),
            )
            i += 6
            to += 6 * c_stride
        while i < last:
            _tile_4(
                *(a, a_offset, rows, i, columns, depth),
                *(b, b_offset, b_stride, c, to, c_stride, add),
            )
            i += 4
            to += 4 * c_stride
