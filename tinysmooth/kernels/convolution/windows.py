"""Convolution of any shape: the microkernel on windows that are never copied.

What `im2col` writes out for the whole batch is here only thought: row i of the matrix of windows
starts at ``windows[i]`` in a strip of the image, tap k lies ``taps[k]`` further on (`packing`
explains the tables), and the microkernel follows both::

    block of windows  A [pixels][depth]       A[i, k] = strip[windows[i] + taps[k]]
    packed filters    B [panel][depth][64]    row (tap, channel) of the depth
    A @ B                                     64 columns of out, 6 pixels at a time

The microkernel sees the same for every R, S, stride and padding.

The gradient of x is a convolution as well, but with a stride its taps depend on the pixel: pixel y
of x meets output i through tap r = y + padding - i stride. Pixels with the same remainder ("phase")
of (y + padding) / stride have the same taps, every stride-th one, so each phase is a convolution of
its own with stride 1 and fewer taps, and no product with a zero is ever made::

    stride 2, R = 3, padding 1:    even y: tap 1            odd y: taps 2 and 0

Both fit one description, the `Grid`: window (i, j) starts at source pixel (i step + start), has so
many taps, and its result goes to output pixel (i out_step + out_start).

The gradient of the filters is A.T @ grad, summed over the blocks of a thread and then over threads.
A.T is A with its tables exchanged.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.packing import (
    BLOCK,
    FIRST_FLOAT,
    Grid,
    copy_rows,
    fill_up,
    find_taps,
    find_windows,
    grid_at,
    grid_depth,
    is_inside,
    zero_rows,
)
from tinysmooth.kernels.convolution.statistics import add_pixels
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.panels import PANEL, ROWS_STEP, panel_product, panel_width
from tinysmooth.kernels.vectors import LANES

DEPTH_BLOCK = 768
"""Rows of a panel of filters taken at a time: 192 KB, which stay in the L2 cache for all windows
of a block."""

APART = 256
"""Channels from which on even windows that need no zeros are copied for the gradient of filters:
pixels as far apart as that compete for the same places of the L1 cache."""


@jit
def convolve_windows(
    part: int,
    parts: int,
    source: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    moments: np.ndarray,
    totals: np.ndarray,
    workspace: np.ndarray,
    tables: np.ndarray,
    plan: np.ndarray,
    sizes: tuple[int, int, int],
) -> None:
    """Convolve one part: a share of each grid's rows or, if `by_filters`, of the panels of b.

    Where `moments` has parts, the sums of `statistics` are taken, too.
    """
    filters, most_windows, by_filters = sizes
    padded = (filters + LANES - 1) // LANES * LANES
    c, strip = workspace[part, : most_windows * PANEL], workspace[part, most_windows * PANEL :]
    windows, taps = tables[part, :most_windows], tables[part, most_windows:]
    begin, stop, share, shares = 0, padded, part, parts
    if by_filters:
        panels = (padded + PANEL - 1) // PANEL
        begin, stop = panels * part // parts * PANEL, panels * (part + 1) // parts * PANEL
        stop, share, shares = min(stop, padded), 0, 1
    for number in range(plan.shape[0]):
        grid, block = grid_at(plan, number), plan[number, BLOCK]
        inside = is_inside(grid)
        find_taps(grid, inside, taps)
        packed = b[plan[number, FIRST_FLOAT] :]
        rows = grid.batch * grid.windows_down
        last = rows * (share + 1) // shares
        for row in range(rows * share // shares, last, block):
            count = min(block, last - row) * grid.windows_across
            find_windows(source, grid, inside, row, row + min(block, last - row), strip, windows)
            fill_up(windows, count)
            images = source if inside else strip
            start = row * grid.windows_across
            convolve_block(images, windows, taps, packed, out, c, grid, start, count, begin, stop)
            if moments.shape[0]:
                are_first = row == rows * share // shares
                add_pixels(
                    *(out, start, count, filters, begin, stop, are_first),
                    *(moments[part], totals[part]),
                )


@jit
def convolve_block(
    images: np.ndarray,
    windows: np.ndarray,
    taps: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    c: np.ndarray,
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
    first = begin
    while first < stop:
        width = panel_width(first, padded)
        direct = 0
        if in_order and first + width <= filters:
            direct = count // ROWS_STEP * ROWS_STEP
        rest = (count - direct + ROWS_STEP - 1) // ROWS_STEP * ROWS_STEP
        for k in range(0, depth, DEPTH_BLOCK):
            some, columns, panel = min(DEPTH_BLOCK, depth - k), taps[k:], first * depth + k * width
            to = start * filters + first
            panel_product(
                *(images, 0, windows, 0, direct, columns, some),
                *(b, panel, width, width, out, to, filters, k),
            )
            panel_product(
                *(images, 0, windows, direct, direct + rest, columns, some),
                *(b, panel, width, width, c, 0, width, k),
            )
        if direct < count:
            if depth == 0:  # no window covers these pixels
                zero_rows(c, 0, width, rest, width)
            scatter(c, width, start + direct, count - direct, grid, out, first)
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
    tables: np.ndarray,
    plan: np.ndarray,
    sizes: tuple[int, int, int],
) -> None:
    """Add up A.T @ grad.

    A part is a share of the rows of windows, added up in ``sums[part]``, which is (depth, K); or,
    if `by_filters`, a share of the panels over all windows, added up in ``sums[0]``.
    """
    most_windows, chunk, by_filters = sizes
    grid, block = grid_at(plan, 0), plan[0, BLOCK]
    filters, across = grid.out_channels, grid.windows_across
    padded = (filters + LANES - 1) // LANES * LANES
    b, strip = workspace[part, : chunk * PANEL], workspace[part, chunk * PANEL :]
    windows, taps = tables[part, :most_windows], tables[part, most_windows:]
    inside = is_inside(grid) and grid.source_channels < APART
    find_taps(grid, inside, taps)
    depth = fill_up(taps, grid_depth(grid))
    images = x if inside else strip
    total = sums[0] if by_filters else sums[part]
    rows = grid.batch * grid.windows_down
    begin, stop = rows * part // parts, rows * (part + 1) // parts
    left, right = 0, padded
    if by_filters:
        begin, stop, panels = 0, rows, (padded + PANEL - 1) // PANEL
        left, right = panels * part // parts * PANEL, panels * (part + 1) // parts * PANEL
        right = min(right, padded)
    add = 0
    for row in range(begin, stop, block):
        last = min(stop, row + block)
        find_windows(x, grid, inside, row, last, strip, windows)
        for start in range(0, (last - row) * across, chunk):
            count = min(chunk, (last - row) * across - start)
            first = left
            while first < right:
                width = panel_width(first, padded)
                panel, at, step = grad, (row * across + start) * filters + first, filters
                if first + width > filters:  # the last lanes need zeros
                    used = min(width, filters - first)
                    copy_rows(grad, at, filters, b, 0, width, count, used)
                    zero_rows(b, used, width, count, width - used)
                    panel, at, step = b, 0, width
                panel_product(
                    *(images, 0, taps, 0, depth, windows[start:], count),
                    *(panel, at, step, width, total, first, padded, add),
                )
                first += width
            add = 1
