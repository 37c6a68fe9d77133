"""Convolution of any shape: im2col in the cache, block by block, and the microkernel on it.

What `im2col` does for the whole batch in main memory is done here for a block of output pixels at a
time, so that the copies never leave the cache::

    block of windows  A [pixels][depth]       depth = R S C; S C neighbouring floats a row
    packed filters    B [panel][depth][64]
    A @ B                                     64 columns of out, 6 pixels at a time

A copied float is used K times, so copying costs a few percent. It buys much: borders and strides
are dealt with once, while copying, and the microkernel sees the same matrices for every R, S,
stride and padding.

The gradient of x is a convolution as well, but with a stride its taps depend on the pixel: pixel y
of x meets output i through tap r = y + padding - i stride. Pixels with the same remainder ("phase")
of (y + padding) / stride have the same taps, every stride-th one, so each phase is a convolution of
its own with stride 1 and fewer taps, and no product with a zero is ever made::

    stride 2, R = 3, padding 1:    even y: tap 1            odd y: taps 2 and 0

Both fit one description, the `Grid`: window (i, j) starts at source pixel (i step + start), has so
many taps, and its result goes to output pixel (i out_step + out_start).

The gradient of the filters is A.T @ grad, summed over the blocks of a thread and then over threads.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.packing import (
    BLOCK,
    FIRST_FLOAT,
    Grid,
    copy_rows,
    grid_at,
    grid_depth,
    is_matrix,
    pack_windows,
    zero_rows,
)
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import (
    PANEL,
    ROWS_STEP,
    panel_add_transposed,
    panel_product,
    panel_width,
)
from tinysmooth.kernels.vectors import LANES

MOST_WINDOWS = 384
"""In a block; more would not be faster."""


@jit
def convolve_windows(
    part: int,
    parts: int,
    source: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    workspace: np.ndarray,
    plan: np.ndarray,
    filters: int,
    by_filters: int,
) -> None:
    """Convolve one part: a share of each grid's windows or, if `by_filters`, of the panels of b."""
    padded = (filters + LANES - 1) // LANES * LANES
    mine = workspace[part]
    begin, stop, share, shares = 0, padded, part, parts
    if by_filters:
        panels = (padded + PANEL - 1) // PANEL
        begin, stop = panels * part // parts * PANEL, panels * (part + 1) // parts * PANEL
        stop, share, shares = min(stop, padded), 0, 1
    for number in range(plan.shape[0]):
        grid, block = grid_at(plan, number), plan[number, BLOCK]
        windows = grid.batch * grid.windows_down * grid.windows_across
        last = windows * (share + 1) // shares
        packed = b[plan[number, FIRST_FLOAT] :]
        for start in range(windows * share // shares, last, block):
            count = min(block, last - start)
            convolve_block(source, packed, out, mine, grid, start, count, begin, stop)


@jit
def convolve_block(
    source: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    mine: np.ndarray,
    grid: Grid,
    start: int,
    count: int,
    begin: int,
    stop: int,
) -> None:
    """Convolve windows start to start + count with the filters of panels begin to stop."""
    depth, filters = grid_depth(grid), grid.out_channels
    padded = (filters + LANES - 1) // LANES * LANES
    # Where out is simply one window after the other, whole tiles are stored straight to it.
    in_order = grid.out_step_down == 1 and grid.out_step_across == 1
    # With one tap and no step, source is already the matrix of windows.
    in_place = in_order and is_matrix(grid) and depth == grid.source_channels
    c, a = mine[: MOST_WINDOWS * PANEL], mine[MOST_WINDOWS * PANEL :]
    whole = count // ROWS_STEP * ROWS_STEP
    windows_a, a_offset = source, start * depth
    if not in_place:
        pack_windows(source, start, count, grid, a, depth)
        windows_a, a_offset = a, 0
    elif whole < count:
        pack_windows(source, start + whole, count - whole, grid, a[whole * depth :], depth)
    first = begin
    while first < stop:
        width = panel_width(first, padded)
        panel = first * depth
        direct = 0
        if in_order and first + width <= filters:
            direct = whole
            to = start * filters + first
            panel_product(
                windows_a, a_offset, depth, b, panel, width, out, to, filters, direct, depth
            )
        elif in_place:
            pack_windows(source, start, whole, grid, a, depth)
        if direct < count:
            rest = count - direct
            if depth > 0:
                panel_product(a, direct * depth, depth, b, panel, width, c, 0, width, rest, depth)
            else:  # no window covers these pixels
                zero_rows(c, 0, width, rest, width)
            scatter(c, width, start + direct, rest, grid, out, first)
        first += width


@jit
def scatter(
    c: np.ndarray, width: int, first: int, count: int, grid: Grid, out: np.ndarray, channel: int
) -> None:
    """Copy rows of ``c[count][width]`` to the output pixels of their windows."""
    across, down = grid.windows_across, grid.windows_down
    used = min(width, grid.out_channels - channel)
    pixel = grid.out_step_across * grid.out_channels
    row = 0
    while row < count:
        window = first + row
        j = window % across
        i = window // across % down
        image = window // (across * down)
        run = min(across - j, count - row)
        y = i * grid.out_step_down + grid.out_start_down
        x = j * grid.out_step_across + grid.out_start_across
        to = ((image * grid.out_height + y) * grid.out_width + x) * grid.out_channels + channel
        copy_rows(c, row * width, width, out, to, pixel, run, used)
        row += run


@jit
def filter_gradient_windows(
    part: int,
    parts: int,
    x: np.ndarray,
    grad: np.ndarray,
    sums: np.ndarray,
    workspace: np.ndarray,
    plan: np.ndarray,
    by_filters: int,
) -> None:
    """Add up A.T @ grad.

    A part is a share of the windows, added up in ``sums[part]``, which is (depth, K); or, if
    `by_filters`, a share of the panels over all windows, added up in ``sums[0]``.
    """
    grid, block = grid_at(plan, 0), plan[0, BLOCK]
    depth, filters = grid_depth(grid), grid.out_channels
    padded = (filters + LANES - 1) // LANES * LANES
    windows = grid.batch * grid.windows_down * grid.windows_across
    in_place = is_matrix(grid) and depth == grid.source_channels
    mine = workspace[part]
    b, own = mine[: block * PANEL], mine[block * PANEL :]
    total = sums[0] if by_filters else sums[part]
    begin, stop = windows * part // parts, windows * (part + 1) // parts
    left, right = 0, padded
    if by_filters:
        begin, stop, panels = 0, windows, (padded + PANEL - 1) // PANEL
        left, right = panels * part // parts * PANEL, panels * (part + 1) // parts * PANEL
        right = min(right, padded)
    for start in range(begin, stop, block):
        count = min(block, stop - start)
        # The microkernel takes four windows at a turn: the last ones are filled up with zeros.
        filled = (count + 3) // 4 * 4
        a, a_offset = x, start * depth
        if not in_place or filled != count:
            a, a_offset = own, 0
            pack_windows(x, start, count, grid, a, depth)
            zero_rows(a, count * depth, depth, filled - count, depth)
        first = left
        while first < right:
            width = panel_width(first, padded)
            panel, offset = grad, start * filters
            if width != filters or filled != count:
                used = min(width, filters - first)
                zero_rows(b, used, width, count, width - used)
                copy_rows(grad, offset + first, filters, b, 0, width, count, used)
                zero_rows(b, count * width, width, filled - count, width)
                panel, offset = b, 0
            to, add = first, start - begin
            panel_add_transposed(
                *(a, a_offset, depth, panel, offset, width, total, to, padded, depth, filled, add)
            )
            first += width
