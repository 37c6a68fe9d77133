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
from tinysmooth.kernels.microkernel import panel_add_transposed, panel_product, panel_width
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
def copy_floats(source, at, count, out, to):
    """Copy `count` floats; up to 15 floats after the last one are overwritten with zeros."""
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(out, to + i, load(source, at + i))
    if whole < count:
        store(out, to + whole, load_tail(source, at + whole, count - whole))


@jit
def zero_floats(out, to, count):
    """Set `count` floats to zero, and up to 15 after them."""
    zeros = splat(0.0)
    for i in range(0, count, LANES):
        store(out, to + i, zeros)


@jit
def pack_windows(source, first, count, grid, a, depth):
    """Copy windows first to first + count to ``a[window][depth]``; the last floats are zeros.

    Written strictly upwards, because each copy may spill up to 15 floats beyond its end.
    """
    window = first
    across, down = grid.windows_across, grid.windows_down
    height, width, channels = grid.source_height, grid.source_width, grid.source_channels
    size = grid.taps_across * channels
    used = grid.taps_down * size
    j = window % across
    i = window // across % down
    image = window // (across * down)
    for row in range(count):
        to = row * depth
        left = j * grid.step_across + grid.start_across
        skip = min(max(0, -left), grid.taps_across)
        keep = max(skip, min(grid.taps_across, width - left))
        top = i * grid.step_down + grid.start_down
        for tap in range(grid.taps_down):
            y = top + tap
            if 0 <= y < height and skip < keep:
                if skip > 0:
                    zero_floats(a, to, skip * channels)
                at = ((image * height + y) * width + left + skip) * channels
                copy_floats(source, at, (keep - skip) * channels, a, to + skip * channels)
                if keep < grid.taps_across:
                    zero_floats(a, to + keep * channels, size - keep * channels)
            else:
                zero_floats(a, to, size)
            to += size
        if used < depth:
            store(a, to, splat(0.0))
        j += 1
        if j == across:
            j = 0
            i += 1
            if i == down:
                i = 0
                image += 1


@jit
def convolve_windows(part, parts, source, b, out, workspace, grid, depth, block):
    """Convolve one part of the windows with the packed filters `b`."""
    windows = grid.batch * grid.windows_down * grid.windows_across
    filters = grid.out_channels
    padded_filters = (filters + LANES - 1) // LANES * LANES
    # Where out is simply one window after the other, whole tiles are stored straight to it.
    in_order = grid.out_step_down == 1 and grid.out_step_across == 1
    mine = workspace[part]
    a = mine[: block * depth + LANES]
    c = mine[block * depth + LANES :]
    stop = windows * (part + 1) // parts
    for start in range(windows * part // parts, stop, block):
        count = min(block, stop - start)
        pack_windows(source, start, count, grid, a, depth)
        first = 0
        while first < padded_filters:
            width = panel_width(first, padded_filters)
            panel = first * depth
            direct = 0
            if in_order and first + width <= filters:
                direct = count // 24 * 24
                to = start * filters + first
                panel_product(a, 0, depth, b, panel, width, out, to, filters, direct, depth)
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
    for row in range(count):
        window = first + row
        j = window % across
        i = window // across % down
        image = window // (across * down)
        y = i * grid.out_step_down + grid.out_start_down
        x = j * grid.out_step_across + grid.out_start_across
        to = ((image * grid.out_height + y) * grid.out_width + x) * grid.out_channels + channel
        for k in range(0, min(width, grid.out_channels - channel), LANES):
            some = min(LANES, grid.out_channels - channel - k)
            store_tail(out, to + k, load(c, row * width + k), some)


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
    a = mine[: block * depth + LANES]
    b = mine[block * depth + LANES :]
    zero_floats(total, 0, depth * padded_filters)
    stop = windows * (part + 1) // parts
    for start in range(windows * part // parts, stop, block):
        count = min(block, stop - start)
        pack_windows(x, start, count, grid, a, depth)
        # The microkernel takes four windows at a turn: the last ones are filled up with zeros.
        filled = (count + 3) // 4 * 4
        zero_floats(a, count * depth, (filled - count) * depth)
        first = 0
        while first < padded_filters:
            width = panel_width(first, padded_filters)
            used = min(width, filters - first)
            for row in range(count):
                copy_floats(grad, (start + row) * filters + first, used, b, row * width)
            zero_floats(b, count * width, (filled - count) * width)
            panel_add_transposed(
                a, 0, depth, b, 0, width, total, first, padded_filters, depth, filled
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
