"""Filters into Winograd's domain, and the gradient of the filters out of it.

Sixteen filters are transformed at once. They lie C R S floats apart in PyTorch's order, so their
nine taps are first gathered to nine vectors::

    weight (K, C, R, S)  --gather 16 filters-->  taps [9][16]  --G . G^T-->  U
    [36][panel][depth][64]

U is cut in panels of 64 columns because that is how the microkernel reads it: one step of its loop
takes 64 neighbouring floats. The gradient goes the same way backwards, after adding up the sums of
the threads. Row ``shift * step + c`` of the depth belongs to channel c of the image shifted by
(3 (shift // shifts_across), 3 (shift % shifts_across)); rows between the channels and `step` are
zeros.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.transforms import transform_filter, transform_filter_gradient
from tinysmooth.kernels.convolution.winograd_patches import POSITIONS, SHIFT
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.microkernel import panel_width
from tinysmooth.kernels.vectors import LANES, load, splat, store

TAPS = SHIFT * SHIFT


@jit
def gather_taps(
    weight: np.ndarray,
    at: int,
    stride: int,
    count: int,
    first_row: int,
    first_column: int,
    rows: int,
    columns: int,
    turned: int,
    taps: np.ndarray,
) -> None:
    """Gather a 3x3 part of `count` filters to ``taps[9][16]``, with zeros beyond the filters."""
    for i in range(SHIFT):
        for j in range(SHIFT):
            r, s = first_row + i, first_column + j
            to = (i * SHIFT + j) * LANES
            if r < rows and s < columns:
                tap = r * columns + s
                if turned:
                    tap = rows * columns - 1 - tap
                for lane in range(count):
                    taps[to + lane] = weight[at + lane * stride + tap]
            else:
                store(taps, to, splat(0.0))


@jit
def filters_to_tiles(
    part: int,
    parts: int,
    weight: np.ndarray,
    u: np.ndarray,
    workspace: np.ndarray,
    sizes: tuple[int, ...],
) -> None:
    """Transform the filters; for the gradient of x turn them and exchange the roles of C and K.

    `weight` is flat (filters, channels, rows, columns); `u` is [36][panel][depth][width], where, if
    `backward`, the columns are the channels and the depth is the filters.
    """
    filters, channels, rows, columns, backward, shifts_down, shifts_across, depth, step = sizes
    outputs, inputs = (channels, filters) if backward else (filters, channels)
    area = rows * columns
    out_stride = area if backward else channels * area
    in_stride = channels * area if backward else area
    padded = (outputs + LANES - 1) // LANES * LANES
    taps = workspace[part]
    for tap in range(TAPS):
        store(taps, tap * LANES, splat(0.0))
    slice_size = padded * depth
    groups = padded // LANES
    for group in range(groups * part // parts, groups * (part + 1) // parts):
        lane0 = group * LANES
        count = min(LANES, outputs - lane0)
        first = 0
        while first + panel_width(first, padded) <= lane0:
            first += panel_width(first, padded)
        width = panel_width(first, padded)
        for row in range(depth):
            to = first * depth + row * width + lane0 - first
            shift, c = divmod(row, step)
            if c < inputs and shift < shifts_down * shifts_across:
                at = lane0 * out_stride + c * in_stride
                r, s = SHIFT * (shift // shifts_across), SHIFT * (shift % shifts_across)
                gather_taps(weight, at, out_stride, count, r, s, rows, columns, backward, taps)
                transform_filter(taps, 0, SHIFT * LANES, LANES, u, to, 6 * slice_size, slice_size)
            else:
                for p in range(POSITIONS):
                    store(u, to + p * slice_size, splat(0.0))


@jit
def tiles_to_filter_gradient(
    part: int,
    parts: int,
    sums: np.ndarray,
    out: np.ndarray,
    workspace: np.ndarray,
    sizes: tuple[int, ...],
) -> None:
    """Add up the sums (threads, 36, depth, K), transform back, and write (K, C, R, S), flat."""
    filters, channels, rows, columns, _, shifts_down, shifts_across, depth, step = sizes
    padded = (filters + LANES - 1) // LANES * LANES
    slice_size = depth * padded
    tile = workspace[part]
    for c in range(channels * part // parts, channels * (part + 1) // parts):
        for shift in range(shifts_down * shifts_across):
            for k in range(0, padded, LANES):
                at = (shift * step + c) * padded + k
                for p in range(POSITIONS):
                    total = load(sums[0], at + p * slice_size)
                    for other in range(1, sums.shape[0]):
                        total = total + load(sums[other], at + p * slice_size)
                    store(tile, p * LANES, total)
                transform_filter_gradient(tile, 0, 6 * LANES, LANES, tile, 0, SHIFT * LANES, LANES)
                for lane in range(min(LANES, filters - k)):
                    to = ((k + lane) * channels + c) * rows * columns
                    for tap in range(TAPS):
                        r = SHIFT * (shift // shifts_across) + tap // SHIFT
                        s = SHIFT * (shift % shifts_across) + tap % SHIFT
                        if r < rows and s < columns:
                            out[to + r * columns + s] = tile[tap * LANES + lane]
