"""Where the windows of an image lie, and their results: tables of offsets, and a strip of zeros.

Everything that makes shapes different, the borders, strides and phases, ends in this room. What
leaves it is a matrix in the sense of `tinysmooth.kernels.microkernel`: the number that tap k of
window i meets is ``strip[windows[i] + taps[k]]``. Neighbouring windows overlap in memory as they do
in the image; nothing is copied for each window::

    strip    0 0 0 0 0 0 0 0        windows of one row start `step` pixels apart
             0 a b c d e f 0        taps:  0  1  2
             0 g h i j k l 0               8  9 10
             0 m n o p q r 0              16 17 18      times the channels of a pixel

Where no window hangs over the border, the strip is the image itself, and `grids` cuts the windows
so that none does, if that pays. Elsewhere a block of rows is copied between zeros: once, where
im2col would copy each pixel for each of its windows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import ROWS_STEP
from tinysmooth.kernels.vectors import LANES, load, load_tail, splat, store, store_tail
from tinysmooth.kernels.views import behind


class Grid(NamedTuple):
    """Which source pixels each window covers, and where its result goes; rows, then columns.

    Its filters are taps of the packed filters that begin at float `packed_at` and whose panels have
    `packed_depth` rows: the first row of taps begins at row `first_row`, the next one at
    ``first_row + row_of_taps``.
    """

    batch: int
    source_height: int
    source_width: int
    source_channels: int
    windows_down: int
    windows_across: int
    taps_down: int
    taps_across: int
    step_down: int
    step_across: int
    start_down: int
    start_across: int
    out_height: int
    out_width: int
    out_channels: int
    out_step_down: int
    out_step_across: int
    out_start_down: int
    out_start_across: int
    packed_at: int
    packed_depth: int
    first_row: int
    row_of_taps: int
    block: int  # rows of windows to take at a time; 0 until `windows_plans` knows


@jit
def grid_at(grids: np.ndarray, number: int) -> Grid:
    """Return a grid of a table with a row for each."""
    g = grids[number]
    return Grid(
        g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12],
        g[13], g[14], g[15], g[16], g[17], g[18], g[19], g[20], g[21], g[22], g[23],
    )  # fmt: skip


@jit
def grid_depth(grid: Grid) -> int:
    """Return how many numbers a window covers."""
    return grid.taps_down * grid.taps_across * grid.source_channels


@jit
def is_inside(grid: Grid) -> bool:
    """Tell whether no window reaches over the border of its image."""
    if grid_depth(grid) == 0:
        return True
    below = (grid.windows_down - 1) * grid.step_down + grid.start_down + grid.taps_down
    beside = (grid.windows_across - 1) * grid.step_across + grid.start_across + grid.taps_across
    first = min(grid.start_down, grid.start_across)
    return first >= 0 and below <= grid.source_height and beside <= grid.source_width


@jit
def row_floats(grid: Grid, inside: bool) -> int:
    """Return the floats from one row of the strip to the next."""
    width = (grid.windows_across - 1) * grid.step_across + grid.taps_across
    return (grid.source_width if inside else width) * grid.source_channels


@jit
def copy_rows(
    source: np.ndarray,
    at: int,
    source_step: int,
    out: np.ndarray,
    to: int,
    out_step: int,
    rows: int,
    count: int,
) -> None:
    """Copy `count` floats from each of `rows` places to as many places, nothing more."""
    whole = count // LANES * LANES
    for row in range(rows):
        here, there = at + row * source_step, to + row * out_step
        for i in range(0, whole, LANES):
            store(out, there + i, load(source, here + i))
        if whole < count:
            tail = load_tail(source, here + whole, count - whole)
            store_tail(out, there + whole, tail, count - whole)


@jit
def copy_filled(source: np.ndarray, at: int, out: np.ndarray, to: int, count: int) -> None:
    """Copy `count` floats, and write zeros behind them up to a whole vector."""
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(out, to + i, load(source, at + i))
    if whole < count:
        store(out, to + whole, load_tail(source, at + whole, count - whole))


@jit
def zero_rows(out: np.ndarray, to: int, out_step: int, rows: int, count: int) -> None:
    """Set `count` floats to zero in each of `rows` places, nothing more."""
    zeros = splat(0.0)
    whole = count // LANES * LANES
    for row in range(rows):
        there = to + row * out_step
        for i in range(0, whole, LANES):
            store(out, there + i, zeros)
        if whole < count:
            store_tail(out, there + whole, zeros, count - whole)


@jit
def fill_up(table: np.ndarray, count: int) -> int:
    """Repeat the last entry up to a whole number of tiles, which is returned."""
    whole = (count + ROWS_STEP - 1) // ROWS_STEP * ROWS_STEP
    for i in range(count, whole):
        table[i] = table[count - 1]
    return whole


@jit
def count_up(table: np.ndarray, start: int, step: int, count: int) -> None:
    """Write start, start + step, ...: so many entries."""
    for i in range(count):
        table[i] = start + i * step


@jit
def find_taps(grid: Grid, inside: bool, taps: np.ndarray) -> None:
    """Write the offsets of (tap row, tap column, channel) from the start of a window."""
    row, size = row_floats(grid, inside), grid.taps_across * grid.source_channels
    for tap in range(grid.taps_down):
        count_up(behind(taps, tap * size), tap * row, 1, size)


@jit
def copy_padded_row(source: np.ndarray, line: int, grid: Grid, out: np.ndarray, to: int) -> None:
    """Copy what windows see of the row of pixels at `line`, with zeros left and right of it."""
    channels = grid.source_channels
    width = row_floats(grid, False) // channels
    left = min(max(0, -grid.start_across), width)
    stop = max(left, min(width, grid.source_width - grid.start_across))
    zero_rows(out, to, 0, 1, left * channels)
    at = line + (left + grid.start_across) * channels
    copy_rows(source, at, 0, out, to + left * channels, 0, 1, (stop - left) * channels)
    zero_rows(out, to + stop * channels, 0, 1, (width - stop) * channels)


@jit
def find_windows(
    source: np.ndarray,
    grid: Grid,
    inside: bool,
    first: int,
    last: int,
    strip: np.ndarray,
    windows: np.ndarray,
    outs: np.ndarray,
) -> None:
    """Write where the windows of rows first to last of the grid begin, and where their results.

    Windows count from the start of `source` if `inside`, else of `strip`, to which the pixels are
    copied. Both tables are filled up to a whole number of tiles.
    """
    line = grid.source_width * grid.source_channels
    pitch, pixel = row_floats(grid, inside), grid.step_across * grid.source_channels
    out_line = grid.out_width * grid.out_channels
    out_pixel = grid.out_step_across * grid.out_channels
    number, to, row = 0, 0, first
    while row < last:  # one image after the other
        image, i = divmod(row, grid.windows_down)
        rows = min(grid.windows_down - i, last - row)
        top = i * grid.step_down + grid.start_down
        at = (image * grid.source_height + top) * line + grid.start_across * grid.source_channels
        if not inside:
            at = to
            for y in range(top, top + (rows - 1) * grid.step_down + grid.taps_down):
                if 0 <= y < grid.source_height:
                    here = (image * grid.source_height + y) * line
                    copy_padded_row(source, here, grid, strip, to)
                else:
                    zero_rows(strip, to, 0, 1, pitch)
                to += pitch
        y = image * grid.out_height + i * grid.out_step_down + grid.out_start_down
        out_at = y * out_line + grid.out_start_across * grid.out_channels
        for _ in range(rows):
            count_up(behind(windows, number), at, pixel, grid.windows_across)
            count_up(behind(outs, number), out_at, out_pixel, grid.windows_across)
            number += grid.windows_across
            at += grid.step_down * pitch
            out_at += grid.out_step_down * out_line
        row += rows
    fill_up(windows, number)
    fill_up(outs, number)
