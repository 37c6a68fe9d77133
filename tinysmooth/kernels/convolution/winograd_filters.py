"""Filters into Winograd's domain, and the gradient of the filters out of it.

Sixteen filters are transformed at once. They lie C R S floats apart in PyTorch's order, so their nine
taps are first gathered to nine vectors::

    weight (K, C, 3, 3)  --gather 16 filters-->  taps [9][16]  --G . G^T-->  U [36][panel][C][64]

U is cut in panels of 64 columns because that is how the microkernel reads it: one step of its loop
takes 64 neighbouring floats. The gradient goes the same way backwards, after adding up the sums of
the threads.
"""

from __future__ import annotations

from tinysmooth.kernels.convolution.transforms import transform_filter, transform_filter_gradient
from tinysmooth.kernels.convolution.winograd_tiles import POSITIONS
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import panel_width
from tinysmooth.kernels.vectors import LANES, load, splat, store

TAPS = 9


@jit
def filters_to_tiles(part, parts, weight, u, workspace, filters, channels, backward):
    """Transform the filters; for the gradient of x turn them and exchange the roles of C and K.

    `weight` is flat (filters, channels, 3, 3); `u` is [36][panel][depth][width], where, if `backward`,
    the columns are the channels and the depth is the filters.
    """
    columns, depth = (channels, filters) if backward else (filters, channels)
    column_stride = TAPS if backward else channels * TAPS
    depth_stride = channels * TAPS if backward else TAPS
    padded_columns = (columns + LANES - 1) // LANES * LANES
    padded_depth = (depth + 3) // 4 * 4
    taps = workspace[part]
    slice_size = padded_columns * padded_depth
    groups = padded_columns // LANES
    for group in range(groups * part // parts, groups * (part + 1) // parts):
        lane0 = group * LANES
        count = min(LANES, columns - lane0)
        first = 0
        while first + panel_width(first, padded_columns) <= lane0:
            first += panel_width(first, padded_columns)
        width = panel_width(first, padded_columns)
        for tap in range(TAPS):
            store(taps, tap * LANES, splat(0.0))
        for c in range(padded_depth):
            to = first * padded_depth + c * width + lane0 - first
            if c < depth:
                for lane in range(count):
                    at = (lane0 + lane) * column_stride + c * depth_stride
                    for tap in range(TAPS):
                        turned = TAPS - 1 - tap if backward else tap
                        taps[turned * LANES + lane] = weight[at + tap]
                transform_filter(taps, 0, 3 * LANES, LANES, u, to, 6 * slice_size, slice_size)
            else:
                for p in range(POSITIONS):
                    store(u, to + p * slice_size, splat(0.0))


@jit
def tiles_to_filter_gradient(part, parts, sums, out, workspace, filters, channels):
    """Add up the sums (threads, 36, C, K), transform back, and write (K, C, 3, 3), flat."""
    padded_filters = (filters + LANES - 1) // LANES * LANES
    height_of_sum = (channels + 3) // 4 * 4
    slice_size = height_of_sum * padded_filters
    tile = workspace[part]
    groups = padded_filters // LANES
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        for group in range(groups):
            k = group * LANES
            at = c * padded_filters + k
            for p in range(POSITIONS):
                total = load(sums[0], at + p * slice_size)
                for other in range(1, sums.shape[0]):
                    total = total + load(sums[other], at + p * slice_size)
                store(tile, p * LANES, total)
            transform_filter_gradient(tile, 0, 6 * LANES, LANES, tile, 0, 3 * LANES, LANES)
            for lane in range(min(LANES, filters - k)):
                to = ((k + lane) * channels + c) * TAPS
                for tap in range(TAPS):
                    out[to + tap] = tile[tap * LANES + lane]
