"""Filters into Winograd's domain, and the gradient of the filters out of it.

Sixteen filters are transformed at once, one in each lane::

    weight (K, C, R, S)  --gather 16 filters-->  taps [input][R S][16]  --G . G^T-->
    U [36][panel][depth][64]

U is cut in panels of 64 columns because that is how the microkernel reads it: one step of its loop
takes 64 neighbouring floats. The gradient goes the same way backwards, after adding up the sums of
the threads. Row ``shift * step + c`` of the depth belongs to channel c of the image shifted by
(3 (shift // shifts_across), 3 (shift % shifts_across)); rows between the channels and `step` are
zeros.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.filters import gather_filters, panel_of, scatter_lanes
from tinysmooth.kernels.convolution.packing import zero_rows
from tinysmooth.kernels.convolution.transforms import transform_filter, transform_filter_gradient
from tinysmooth.kernels.convolution.winograd_patches import POSITIONS, SHIFT
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, splat, store

TAPS = SHIFT * SHIFT


@jit
def take_taps(
    taps: np.ndarray,
    at: int,
    first_row: int,
    first_column: int,
    rows: int,
    columns: int,
    turned: int,
    nine: np.ndarray,
) -> None:
    """Copy a 3x3 part of the gathered taps to ``nine[9][16]``, with zeros beyond the filter."""
    for i in range(SHIFT):
        for j in range(SHIFT):
            r, s = first_row + i, first_column + j
            value = splat(0.0)
            if r < rows and s < columns:
                tap = r * columns + s
                if turned:
                    tap = rows * columns - 1 - tap
                value = load(taps, at + tap * LANES)
            store(nine, (i * SHIFT + j) * LANES, value)


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
    padded = (outputs + LANES - 1) // LANES * LANES
    nine, taps = workspace[part, : TAPS * LANES], workspace[part, TAPS * LANES :]
    slice_size = padded * depth
    groups = padded // LANES
    for group in range(groups * part // parts, groups * (part + 1) // parts):
        k = group * LANES
        first, width = panel_of(k, padded)
        panel = first * depth + k - first
        for c in range(0, inputs, LANES):
            some, count = min(LANES, inputs - c), min(LANES, outputs - k)
            gather_filters(weight, (filters, channels, area), backward, k, count, c, some, taps)
            for i in range(some):
                for shift in range(shifts_down * shifts_across):
                    r, s = SHIFT * (shift // shifts_across), SHIFT * (shift % shifts_across)
                    take_taps(taps, i * area * LANES, r, s, rows, columns, backward, nine)
                    to = panel + (shift * step + c + i) * width
                    transform_filter(
                        *(nine, 0, SHIFT * LANES, LANES, u, to, 6 * slice_size, slice_size)
                    )
        for p in range(POSITIONS):
            for shift in range(shifts_down * shifts_across):
                row = shift * step + inputs
                rest = min((shift + 1) * step, depth) - row
                zero_rows(u, panel + p * slice_size + row * width, width, rest, LANES)


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
    area = rows * columns
    padded = (filters + LANES - 1) // LANES * LANES
    slice_size = depth * padded
    tile, taps = workspace[part, : POSITIONS * LANES], workspace[part, POSITIONS * LANES :]
    groups = (channels + LANES - 1) // LANES
    for group in range(groups * part // parts, groups * (part + 1) // parts):
        first = group * LANES
        some = min(LANES, channels - first)
        for k in range(0, padded, LANES):
            for c in range(some):
                for shift in range(shifts_down * shifts_across):
                    at = (shift * step + first + c) * padded + k
                    for p in range(POSITIONS):
                        total = load(sums[0], at + p * slice_size)
                        for other in range(1, sums.shape[0]):
                            total = total + load(sums[other], at + p * slice_size)
                        store(tile, p * LANES, total)
                    transform_filter_gradient(
                        *(tile, 0, 6 * LANES, LANES, tile, 0, SHIFT * LANES, LANES)
                    )
                    for tap in range(TAPS):
                        r = SHIFT * (shift // shifts_across) + tap // SHIFT
                        s = SHIFT * (shift % shifts_across) + tap % SHIFT
                        if r < rows and s < columns:
                            to = (c * area + r * columns + s) * LANES
                            store(taps, to, load(tile, tap * LANES))
            to = (k * channels + first) * area
            scatter_lanes(taps, some * area, out, to, channels * area, min(LANES, filters - k))
