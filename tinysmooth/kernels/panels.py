"""Products of whole panels: rows of A times a few vectors of columns of B, tile by tile.

B is cut in panels of 64 columns, each stored on its own as (depth, width): the four loads of a step
are then neighbours. The last columns, padded to a multiple of 16, are a panel of their own, whose
tiles are narrower and taller (`tinysmooth.kernels.microkernel` says why; of 9 x 2 or 9 x 1 for
3x3 filters on three channels), or those of `tinysmooth.kernels.narrow`::

    B [depth][176]  -->  panels of 64, 64 and 48 columns        tiles 6 x 4, 6 x 4 and 8 x 3
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import ROWS_STEP, make_microkernel
from tinysmooth.kernels.narrow import are_neighbours, narrow_product
from tinysmooth.kernels.vectors import LANES, WIDE, ZEN

PANEL = 64 if WIDE else 16
"""Columns in a full panel."""

ALONE = 1.4 if ZEN and WIDE else 1.2 if WIDE else 1.0
"""What the products of a single vector of columns take, compared with a vector among others; with
AVX-512 it was measured on Zen 4 and on Intel."""


def columns_cost(vectors: int) -> float:
    """Return what the products of so many vectors of columns take, in those of one among others."""
    last_is_alone = vectors % (PANEL // LANES) == 1 % (PANEL // LANES)
    return vectors + (ALONE - 1) * last_is_alone


NINE = 9
"""Taps in a row of 3x3 filters on three channels."""


@jit
def panel_width(first: int, columns: int) -> int:
    """Return the width of the panel that starts at column `first` of `columns`."""
    return min(columns - first, PANEL)


TILE_ROWS = 6
"""Rows of the usual tile."""

_tile_6 = make_microkernel(TILE_ROWS, PANEL // LANES, asks=True)
_tile_4 = make_microkernel(4, PANEL // LANES, asks=True)
_tile_9x2 = make_microkernel(NINE, 2, neighbours=True, asks=True)
_tile_9x1 = make_microkernel(NINE, 1, neighbours=True, asks=True)


@jit
def are_runs(table: np.ndarray, first: int, last: int, count: int) -> bool:
    """Tell whether entries first to last are whole runs of `count` that each count up by one."""
    if (last - first) % count != 0:
        return False
    for i in range(first, last, count):
        if not are_neighbours(table, i, count):
            return False
    return True


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
    c_rows: np.ndarray,
    c_step: int,
    add: int,
    ahead: np.ndarray,
    ahead_offset: int,
    ahead_step: int,
) -> None:
    """C = A @ B, or C += A @ B where `add` is not 0, for a panel B and rows first to last of A.

    Row i of C is at ``c_offset + i * c_step`` or, where the step is 0, at ``c_offset + c_rows[i]``.
    Where the rows are no multiple of `ROWS_STEP`, up to three more are made: the tables must go on,
    for example with the last row again, which is written to its place again; a step needs room for
    three rows more.

    Tile number t asks for lines from ``ahead[ahead_offset + t * ahead_step]`` on, as far as its
    kind has a register for that: what the caller expects to be wanted next.
    """
    i = first
    if width == PANEL:
        steps = (last - first + ROWS_STEP - 1) // ROWS_STEP
        stop = first + steps // 3 * 3 * ROWS_STEP  # the rest: 0, 4 or 8 rows
        while i < stop:
            _tile_6(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add, ahead, ahead_offset,
            )  # fmt: skip
            i += TILE_ROWS
            ahead_offset += ahead_step
        while i < last:
            _tile_4(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add, ahead, ahead_offset,
            )  # fmt: skip
            i += ROWS_STEP
            ahead_offset += ahead_step
    elif not WIDE:  # all panels are whole; the tiles below are for AVX-512
        return
    elif width <= 32 and are_runs(rows, first, last, NINE):
        while i < last:
            if width == 32:
                _tile_9x2(
                    a, a_offset, rows, i, columns, depth,
                    b, b_offset, b_stride, c, c_offset, c_rows, c_step, add, ahead, ahead_offset,
                )  # fmt: skip
            else:
                _tile_9x1(
                    a, a_offset, rows, i, columns, depth,
                    b, b_offset, b_stride, c, c_offset, c_rows, c_step, add, ahead, ahead_offset,
                )  # fmt: skip
            i += NINE
            ahead_offset += ahead_step
    elif width > LANES:
        partial_product(
            a, a_offset, rows, first, last, columns, depth,
            b, b_offset, b_stride, width, c, c_offset, c_rows, c_step, add,
        )  # fmt: skip
    else:
        narrow_product(
            a, a_offset, rows, first, last, columns, depth,
            b, b_offset, b_stride, c, c_offset, c_rows, c_step, add,
        )  # fmt: skip


_tile_8x3, _tile_4x3 = make_microkernel(8, 3), make_microkernel(4, 3)
_tile_8x2, _tile_4x2 = make_microkernel(8, 2), make_microkernel(4, 2)


@jit
def partial_product(
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
    c_rows: np.ndarray,
    c_step: int,
    add: int,
) -> None:
    """C = A @ B, or C += A @ B, for a panel of 48 or 32 columns, as in `panel_product`.

    By itself: among tiles that need more registers, these took 2 to 8 percent more time.
    """
    i = first
    if width == 48:
        while i < last - ROWS_STEP:
            _tile_8x3(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add,
            )  # fmt: skip
            i += 8
        if i < last:
            _tile_4x3(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add,
            )  # fmt: skip
    else:
        while i < last - ROWS_STEP:
            _tile_8x2(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add,
            )  # fmt: skip
            i += 8
        if i < last:
            _tile_4x2(
                a, a_offset, rows, i, columns, depth,
                b, b_offset, b_stride, c, c_offset, c_rows, c_step, add,
            )  # fmt: skip
