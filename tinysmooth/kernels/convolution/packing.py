"""Packing: windows to the rows of A, filters to the panels of B.

`tinysmooth.kernels.convolution.windows` multiplies what is packed here. Everything that makes
shapes different, the borders, strides and phases, ends in this room.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, load_tail, splat, store, store_tail


class Grid(NamedTuple):
    """Which source pixels each window covers, and where its result goes; rows, then columns."""

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


# A plan is a table of int64 with a row for each grid: its fields, and then these columns.
FIRST_FLOAT = len(Grid._fields)  # where the grid's packed filters begin
BLOCK = FIRST_FLOAT + 1  # windows taken at a time
FIRST_TAP = BLOCK + 1  # tap (t, u) of the grid is tap FIRST_TAP + t * (next) + u * (next but one)
PLAN_COLUMNS = FIRST_TAP + 3


@jit
def grid_at(plan: np.ndarray, number: int) -> Grid:
    """Return a grid of the plan."""
    p = plan[number]
    return Grid(
        *(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9]),
        *(p[10], p[11], p[12], p[13], p[14], p[15], p[16], p[17], p[18]),
    )


@jit
def grid_depth(grid: Grid) -> int:
    """Return the floats of a packed window: its taps and channels, rounded up to whole steps."""
    return (grid.taps_down * grid.taps_across * grid.source_channels + 3) // 4 * 4


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
def pack_windows(
    source: np.ndarray, first: int, count: int, grid: Grid, a: np.ndarray, depth: int
) -> None:
    """Copy windows first to first + count to ``a[window][depth]``; the last floats are zeros.

    Windows of one row of the grid are copied together: whether a tap's row lies in the image is
    then asked once, and the windows that touch neither the left nor the right border are one plain
    loop.
    """
    across, down = grid.windows_across, grid.windows_down
    height, width, channels = grid.source_height, grid.source_width, grid.source_channels
    taps = grid.taps_across
    size = taps * channels
    step = grid.step_across
    used = grid.taps_down * size
    if used < depth:
        zero_rows(a, used, depth, count, depth - used)
    # Windows inner_first to inner_stop of a row lie wholly between the left and the right border.
    inner_first = max(0, (-grid.start_across + step - 1) // step)
    inner_stop = max(inner_first, (width - taps - grid.start_across) // step + 1)
    row = 0
    while row < count:
        window = first + row
        j = window % across
        i = window // across % down
        image = window // (across * down)
        run = min(across - j, count - row)
        inner = min(max(inner_first, j), j + run)
        border = max(inner, min(inner_stop, j + run))
        for tap in range(grid.taps_down):
            y = i * grid.step_down + grid.start_down + tap
            to = row * depth + tap * size
            if y < 0 or y >= height:
                zero_rows(a, to, depth, run, size)
                continue
            line = (image * height + y) * width
            at = (line + inner * step + grid.start_across) * channels
            there = to + (inner - j) * depth
            copy_rows(source, at, step * channels, a, there, depth, border - inner, size)
            for k in range(run - (border - inner)):
                edge = j + k if j + k < inner else border + k - (inner - j)
                left = edge * step + grid.start_across
                skip = min(max(0, -left), taps)
                keep = max(skip, min(taps, width - left))
                there = to + (edge - j) * depth
                zero_rows(a, there, 0, 1, skip * channels)
                at = (line + left + skip) * channels
                copy_rows(source, at, 0, a, there + skip * channels, 0, 1, (keep - skip) * channels)
                zero_rows(a, there + keep * channels, 0, 1, size - keep * channels)
        row += run


@jit
def is_matrix(grid: Grid) -> bool:
    """Tell whether the windows are the pixels of the source, one after the other."""
    one_tap = grid.taps_down == 1 and grid.taps_across == 1
    no_step = grid.step_down == 1 and grid.step_across == 1
    no_start = grid.start_down == 0 and grid.start_across == 0
    same = grid.windows_down == grid.source_height and grid.windows_across == grid.source_width
    return one_tap and no_step and no_start and same
