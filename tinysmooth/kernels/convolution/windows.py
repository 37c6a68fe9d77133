"""Convolution of any shape: im2col in the cache, block by block, and the microkernel on it.

What `im2col` does for the whole batch in main memory is done here for a block of output pixels at a
time, so that the copies never leave the cache::

    block of windows  A [pixels][depth]      depth = R S C; a row of a window is S C neighbouring
    floats packed filters    B [panel][depth][64] A @ B             64 columns of out, 6 pixels at a
    time

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
    Grid,
    copy_rows,
    is_matrix,
    pack_windows,
    zero_rows,
)
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import (
    ROWS_STEP,
    panel_add_transposed,
    panel_product,
    panel_width,
)
from tinysmooth.kernels.vectors import LANES


@jit
def convolve_windows(
    part: int,
    parts: int,
    source: np.ndarray,
    b: np.ndarray,
    out: np.ndarray,
    workspace: np.ndarray,
    grid: Grid,
    depth: int,
    block: int,
) -> None:
    """Convolve one part of the windows with the packed filters `b`."""
    windows = grid.batch * grid.windows_down * grid.windows_across
    filters = grid.out_channels
    padded_filters = (filters + LANES - 1) // LANES * LANES
    # Where out is simply one window after the other, whole tiles are stored straight to it.
    in_order = grid.out_step_down == 1 and grid.out_step_across == 1
    # With one tap and no step, source is already the matrix of windows.
    in_place = in_order and is_matrix(grid) and depth == grid.source_channels
    mine = workspace[part]
    a = mine[: block * depth]
    c = mine[block * depth :]
    stop = windows * (part + 1) // parts
    for start in range(windows * part // parts, stop, block):
        count = min(block, stop - start)
        whole = count // ROWS_STEP * ROWS_STEP
        windows_a, a_offset = source, start * depth
        if not in_place:
            pack_windows(source, start, count, grid, a, depth)
            windows_a, a_offset = a, 0
        elif whole < count:
            pack_windows(source, start + whole, count - whole, grid, a[whole * depth :], depth)
        first = 0
        while first < padded_filters:
            width = panel_width(first, padded_filters)
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
                at = direct * depth
                rest = count - direct
                panel_product(a, at, depth, b, panel, width, c, 0, width, rest, depth)
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
    grid: Grid,
    depth: int,
    block: int,
) -> None:
    """Add up A.T @ grad over one part of the windows in ``sums[part]``, which is (depth, K)."""
    windows = grid.batch * grid.windows_down * grid.windows_across
    filters = grid.out_channels
    padded_filters = (filters + LANES - 1) // LANES * LANES
    mine, total = workspace[part], sums[part]
    a = mine[: block * depth]
    b = mine[block * depth :]
    begin, stop = windows * part // parts, windows * (part + 1) // parts
    for start in range(begin, stop, block):
        count = min(block, stop - start)
        pack_windows(x, start, count, grid, a, depth)
        # The microkernel takes four windows at a turn: the last ones are filled up with zeros.
        filled = (count + 3) // 4 * 4
        zero_rows(a, count * depth, depth, filled - count, depth)
        first = 0
        while first < padded_filters:
            width = panel_width(first, padded_filters)
            panel, offset = grad, start * filters
            if width != filters or filled != count:
                used = min(width, filters - first)
                zero_rows(b, used, width, count, width - used)
                copy_rows(grad, offset + first, filters, b, 0, width, count, used)
                zero_rows(b, count * width, width, filled - count, width)
                panel, offset = b, 0
            panel_add_transposed(
                a,
                0,
                depth,
                panel,
                offset,
                width,
                total,
                first,
                padded_filters,
                depth,
                filled,
                start - begin,
            )
            first += width


@jit
def sum_filter_gradients(
    part: int,
    parts: int,
    sums: np.ndarray,
    out: np.ndarray,
    filters: int,
    channels: int,
    taps: np.ndarray,
) -> None:
    """Add the threads' sums (depth, K) and write them as (K, C, R S), flat."""
    padded_filters = (filters + LANES - 1) // LANES * LANES
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        for tap in range(taps):
            at = (tap * channels + c) * padded_filters
            for k in range(filters):
                total = sums[0, at + k]
                for other in range(1, sums.shape[0]):
                    total += sums[other, at + k]
                out[(k * channels + c) * taps + tap] = total
