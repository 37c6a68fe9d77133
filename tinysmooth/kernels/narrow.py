"""Products with a single vector of columns, where a number of A is used only once.

A tile of 6 x 4 loads 10 times for 24 multiply-adds. With one vector of columns each multiply-add
has a number of A to itself, and a processor that starts two of them in a cycle can just load two
numbers: whatever else there is to load, or to count, takes time. So there are three ways, by what
A is like:

*Few steps.* Where 8, 16 or up to 32 channels are all the depth there is, as in Winograd's
convolution, it takes longer to begin and to end a tile than to go through it. So roles are
exchanged: eight vectors of B stay in registers while one row of A after the other passes by::

    c  =  (a[at] b0 + a[at + 2] b2 + ...)  +  (a[at + 1] b1 + a[at + 3] b3 + ...)

in two sums, since each multiply-add of a sum waits for the one before. This takes 0.5 to 0.9 of the
time of a tile. Where rows are many, sixteen vectors are held: c is loaded and stored half as often.

*Rows side by side.* Where the tables are exchanged, for the gradient of filters, the rows of A are
channels, which are neighbours. One pointer serves 16 rows, and a step loads one vector of B::

    c0, c1, ... c15  +=  a[at], a[at + 1], ... a[at + 15]  times  b             a tile of 16 x 1

*Everything else*: a tile as tall as there are registers to point to its rows.

All this is for AVX-512; elsewhere the tile of 6 x 1 is the usual one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import ROWS_STEP, make_microkernel, rows_of_c
from tinysmooth.kernels.vectors import (
    ALIGNMENT,
    INDEX,
    as_vector,
    broadcast,
    element,
    keep_rolled,
    multiply_add,
    prefetch,
)

HELD, HELD_LONG = 8, 16
"""Vectors of B that stay in registers, for a few rows and for many."""

MANY_ROWS = 256
"""Rows from which on more vectors are held. On Zen 4 the gradient of images under 32 filters of 1x1
on 16 channels takes 0.85 of the time, and 16 filters take 0.9; Winograd's blocks, which have few
rows, took 1.02."""

SHALLOW = 32
"""Steps up to which B is held. The sums are loaded and stored once for those that are held."""

NARROW_ROWS = 8
"""Rows of a tile whose rows lie anywhere. Pointers to 12 rows, with all others, do not fit the
registers: tiles of 8 rows take 0.85 to 1.0 of their time on Zen 5, and 0.88 to 0.97 on Intel's
processors."""


def make_held(count: int) -> Any:
    """Generate C = A @ B, or C += A @ B, for so many rows of B, which stay in registers.

    Returns
    -------
    intrinsic
        ``kernel(a, a_offset, rows, first, last, b, b_offset, b_stride, c, c_offset, c_rows, c_step,
        add)``, for rows first to last of A, at least one. Arguments as in
        `tinysmooth.kernels.microkernel.make_microkernel`; the columns of A lie one float apart.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def pointer(array: int, offset: Any) -> Any:
            return element(context, builder, sig.args[array], args[array], offset)

        def after(base: Any, offset: Any) -> Any:
            return builder.gep(base, [offset])

        first, last, b_stride, add = (args[i] for i in (3, 4, 7, 12))
        a, b, c = (pointer(array, args[array + 1]) for array in (0, 5, 8))
        rows = pointer(2, INDEX(0))
        held = [
            builder.load(
                as_vector(builder, after(b, builder.mul(b_stride, INDEX(k)))), align=ALIGNMENT
            )
            for k in range(count)
        ]

        entry = builder.block
        adding, writing, done = map(builder.append_basic_block, ("adding", "writing", "done"))
        builder.cbranch(builder.icmp_signed("!=", add, INDEX(0)), adding, writing)
        for loop in (adding, writing):  # in the form of `tinysmooth.kernels.microkernel`
            builder.position_at_end(loop)
            i = builder.phi(INDEX)
            start = after(a, builder.load(after(rows, i)))
            (offset,) = rows_of_c(context, builder, sig.args[10], args[10], args[11], [i])
            place = as_vector(builder, after(c, offset))
            sums: list[Any] = [None, None]
            for k, vector in enumerate(held):
                spread = broadcast(builder, builder.load(after(start, INDEX(k))))
                if sums[k % 2] is None:
                    sums[k % 2] = builder.fmul(spread, vector)
                else:
                    sums[k % 2] = multiply_add(builder, spread, vector, sums[k % 2])
            total = builder.fadd(*sums)
            if loop is adding:
                total = builder.fadd(builder.load(place, align=ALIGNMENT), total)
            builder.store(total, place, align=ALIGNMENT)
            following = builder.add(i, INDEX(1))
            i.add_incoming(first, entry)
            i.add_incoming(following, builder.block)
            again = builder.cbranch(builder.icmp_signed("<", following, last), loop, done)
            keep_rolled(builder, again)
        builder.position_at_end(done)
        return context.get_dummy_value()

    i = types.intp

    # fmt: off
    @intrinsic
    def kernel(context: Any, a: Any, a_offset: Any, rows: Any, first: Any, last: Any,
               b: Any, b_offset: Any, b_stride: Any,
               c: Any, c_offset: Any, c_rows: Any, c_step: Any, add: Any) -> Any:
        return types.void(a, i, rows, i, i, b, i, i, c, i, c_rows, i, i), generate
    # fmt: on

    return kernel


_held, _held_long = make_held(HELD), make_held(HELD_LONG)


TALL, LOW = 16, 8
"""Rows of the tiles whose rows are neighbours."""

_tile_tall, _tile_low = (make_microkernel(height, 1, neighbours=True) for height in (TALL, LOW))
_tile_apart, _tile_4 = (make_microkernel(height, 1) for height in (NARROW_ROWS, ROWS_STEP))


@jit
def are_neighbours(table: np.ndarray, first: int, count: int) -> bool:
    """Tell whether `count` offsets of a table count up by one."""
    for i in range(first + count - 1, first, -1):
        if table[i] - table[first] != i - first:
            return False
    return True


@jit
def fetch_rows(
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
def can_be_held(columns: np.ndarray, depth: int, count: int) -> bool:
    """Tell whether B is held, `count` vectors at a time: few steps, and numbers side by side."""
    if depth > SHALLOW or depth % count != 0:
        return False
    for k in range(0, depth, count):
        if not are_neighbours(columns, k, count):
            return False
    return True


@jit
def narrow_product(
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
    c: np.ndarray,
    c_offset: int,
    c_rows: np.ndarray,
    c_step: int,
    add: int,
) -> None:
    """C = A @ B, or C += A @ B, for one vector of columns, as in `panels.panel_product`."""
    i = first
    if last - first >= MANY_ROWS and can_be_held(columns, depth, HELD_LONG):
        for k in range(0, depth, HELD_LONG):
            _held_long(
                a, a_offset + columns[k], rows, first, last,
                b, b_offset + k * b_stride, b_stride, c, c_offset, c_rows, c_step, add + k,
            )  # fmt: skip
        return
    if i < last and can_be_held(columns, depth, HELD):
        for k in range(0, depth, HELD):
            _held(
                a, a_offset + columns[k], rows, first, last,
                b, b_offset + k * b_stride, b_stride, c, c_offset, c_rows, c_step, add + k,
            )  # fmt: skip
        return
    last = first + (last - first + ROWS_STEP - 1) // ROWS_STEP * ROWS_STEP  # for taller tiles
    while i < last:
        if i + TALL <= last and are_neighbours(rows, i, TALL):
            _tile_tall(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add,
            )  # fmt: skip
            count = TALL
        elif i + LOW <= last and are_neighbours(rows, i, LOW):
            _tile_low(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add,
            )  # fmt: skip
            count = LOW
        elif i + NARROW_ROWS <= last:
            after = i + NARROW_ROWS
            fetch_rows(a, a_offset, rows, after, min(after + NARROW_ROWS, last), columns, depth)
            _tile_apart(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add,
            )  # fmt: skip
            count = NARROW_ROWS
        else:
            _tile_4(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add,
            )  # fmt: skip
            count = ROWS_STEP
        i += count
