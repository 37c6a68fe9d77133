"""Convolution of any shape: im2col in the cache, block by block, and the microkernel on it.

What `im2col` does for the whole batch in main memory is done here for a block of output pixels at a
time, so that the copies never leave the cache::

    block of windows  A [pixels][depth]      depth = R S C; a row of a window is S C neighbouring floats
    packed filters    B [panel][depth][64]
    A @ B             64 columns of out, 6 pixels at a time

A copied float is used K times, so copying costs a few percent. It buys much: borders and strides are
dealt with once, while copying, and the microkernel sees the same matrices for every R, S, stride
and padding.

The gradient of x is a convolution as well, but with a stride its taps depend on the pixel: pixel y of x
meets output i through tap r = y + padding - i stride. Pixels with the same remainder ("phase") of
(y + padding) / stride have the same taps, every stride-th one, so each phase is a convolution of its own
with stride 1 and fewer taps, and no product with a zero is ever made::

    stride 2, R = 3, padding 1:    even y: tap 1            odd y: taps 2 and 0

Both fit one description, the `Grid`: window (i, j) starts at source pixel (i step + start), has so many
taps, and its result goes to output pixel (i out_step + out_start).

The gradient of the filters is A.T @ grad, summed over the blocks of a thread and then over threads.
"""

from __future__ import annotations

from typing import NamedTuple

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import (
    ROWS_STEP,
    panel_add_transposed,
    panel_product,
    panel_width,
)
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


@jit
def copy_rows(source, at, source_step, out, to, out_step, rows, count):
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
def zero_rows(out, to, out_step, rows, count):
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
def pack_windows(source, first, count, grid, a, depth):
    """Copy windows first to first + count to ``a[window][depth]``; the last floats are zeros.

    Windows of one row of the grid are copied together: whether a tap's row lies in the image is then
    asked once, and the windows that touch neither the left nor the right border are one plain loop.
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
def is_matrix(grid):
    """Tell whether the windows are the pixels of the source, one after the other."""
    one_tap = grid.taps_down == 1 and grid.taps_across == 1
    no_step = grid.step_down == 1 and grid.step_across == 1
    no_start = grid.start_down == 0 and grid.start_across == 0
    same = grid.windows_down == grid.source_height and grid.windows_across == grid.source_width
    return one_tap and no_step and no_start and same


@jit
def convolve_windows(part, parts, source, b, out, workspace, grid, depth, block):
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
def scatter(c, width, first, count, grid, out, channel):
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
def pack_filters(part, parts, weight, b, sizes, depth):
    """Copy filters (K, C, R, S) to ``b[panel][depth][width]``, the taps in the grid's order.

    Tap (t, u) of the grid is tap (first_r + t step_r, first_s + u step_s) of the filter. For the
    gradient of x (`backward`) the columns are the channels, and the filters are in the depth.
    """
    filters, channels, rows, columns, taps_down, taps_across = sizes[:6]
    first_r, first_s, step_r, step_s, backward = sizes[6:]
    outputs, inputs = (channels, filters) if backward else (filters, channels)
    out_stride = rows * columns if backward else channels * rows * columns
    in_stride = channels * rows * columns if backward else rows * columns
    padded = (outputs + LANES - 1) // LANES * LANES
    for k in range(padded * part // parts, padded * (part + 1) // parts):
        first = 0
        width = panel_width(first, padded)
        while first + width <= k:
            first += width
            width = panel_width(first, padded)
        to = first * depth + k - first
        if k >= outputs:
            for row in range(depth):
                b[to + row * width] = 0.0
            continue
        for t in range(taps_down):
            for u in range(taps_across):
                tap = (first_r + t * step_r) * columns + first_s + u * step_s
                at = k * out_stride + tap
                for c in range(inputs):
                    b[to] = weight[at + c * in_stride]
                    to += width
        for _ in range(taps_down * taps_across * inputs, depth):
            b[to] = 0.0
            to += width


@jit
def filter_gradient_windows(part, parts, x, grad, sums, workspace, grid, depth, block):
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
                a, 0, depth, panel, offset, width, total, first, padded_filters, depth, filled,
                start - begin,
            )
            first += width


@jit
def sum_filter_gradients(part, parts, sums, out, filters, channels, taps):
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
