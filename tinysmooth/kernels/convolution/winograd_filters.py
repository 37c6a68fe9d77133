"""Filters into Winograd's domain, and the gradient of the filters out of it.

Sixteen filters are transformed at once, one in each lane::

    weight (K, C, R, S)  --gather 16 filters-->  taps [input][R S][16]  --G . G^T-->
    U [36][panel][depth][64]                                       (25 for `winograd_shared`)

U is cut in panels of 64 columns because that is how the microkernel reads it: one step of its loop
takes 64 neighbouring floats. The gradient goes the same way backwards, after adding up the sums of
the threads. Row ``shift * channels + c`` of the depth belongs to channel c of the image shifted by
(3 (shift // shifts_across), 3 (shift % shifts_across)).
"""

from __future__ import annotations

import numpy as np

from tinysmooth.kernels.convolution.filters import gather_filters, panel_of, scatter_lanes
from tinysmooth.kernels.convolution.transforms import (
    transform_filter,
    transform_filter_gradient,
    transform_shared_filter,
    transform_shared_output,
)
from tinysmooth.kernels.convolution.winograd_patches import PATCH, POSITIONS, SHIFT
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, prefetch, splat, store
from tinysmooth.kernels.views import behind

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
def transform_filters(
    weight: np.ndarray,
    shape: tuple[int, int, int, int],
    shifts: tuple[int, int],
    backward: int,
    output: int,
    first: int,
    some: int,
    taps: np.ndarray,
    u: np.ndarray,
    to: int,
    row_step: int,
    shift_step: int,
    slice_size: int,
    side: int,
) -> None:
    """Transform 16 outputs and `some` inputs, to ``u[to + p slice + shift ... + input ...]``.

    The tiles have `side` numbers on a side: 6, or 5 for `winograd_shared`.
    """
    filters, channels, rows, columns = shape
    area, count = rows * columns, min(LANES, (channels if backward else filters) - output)
    nine, gathered = taps, behind(taps, TAPS * LANES)
    bank = (filters, channels, area)
    gather_filters(weight, bank, backward, output, count, first, some, gathered)
    for i in range(some):
        for shift in range(shifts[0] * shifts[1]):
            r, s = SHIFT * (shift // shifts[1]), SHIFT * (shift % shifts[1])
            there = to + shift * shift_step + i * row_step
            source, at, row, column = gathered, i * area + r * columns + s, columns, 1
            if backward:
                at, row, column = (i + 1) * area - 1 - (r * columns + s), -columns, -1
            if r + SHIFT > rows or s + SHIFT > columns:
                take_taps(gathered, i * area * LANES, r, s, rows, columns, backward, nine)
                source, at, row, column = nine, 0, SHIFT, 1
            if side == PATCH:
                transform_filter(
                    source, at * LANES, row * LANES, column * LANES,
                    u, there, PATCH * slice_size, slice_size,
                )  # fmt: skip
            else:
                transform_shared_filter(
                    source, at * LANES, row * LANES, column * LANES,
                    u, there, side * slice_size, slice_size,
                )  # fmt: skip


@jit
def filters_to_tiles(
    part: int,
    parts: int,
    weight: np.ndarray,
    u: np.ndarray,
    workspace: np.ndarray,
    shape: tuple[int, int, int, int],
    shifts: tuple[int, int],
    backward: int,
    side: int,
) -> None:
    """Transform the filters; for the gradient of x turn them and exchange the roles of C and K.

    `weight` is flat (filters, channels, rows, columns); `u` is [side squared][panel][depth][width],
    where, if `backward`, the columns are the channels and the depth is the filters.
    """
    outputs, inputs = (shape[1], shape[0]) if backward else (shape[0], shape[1])
    padded = (outputs + LANES - 1) // LANES * LANES
    depth = inputs * shifts[0] * shifts[1]
    groups = padded // LANES
    for group in range(groups * part // parts, groups * (part + 1) // parts):
        k = group * LANES
        first, width = panel_of(k, padded)
        for c in range(0, inputs, LANES):
            to = first * depth + k - first + c * width
            transform_filters(
                weight, shape, shifts, backward, k, c, min(LANES, inputs - c), workspace[part],
                u, to, width, inputs * width, padded * depth, side,
            )  # fmt: skip


@jit
def add_sums(
    sums: np.ndarray, at: int, row_step: int, slice_size: int, positions: int, tile: np.ndarray
) -> None:
    """Add up the threads' numbers of 16 filters and a channel, one for each position."""
    for p in range(positions):
        number = at + p * slice_size
        total = load(sums[0], number)
        for other in range(1, sums.shape[0]):
            total = total + load(sums[other], number)
        store(tile, p * LANES, total)
        for each in range(sums.shape[0]):  # those of the next channel lie far apart, too
            prefetch(sums[each], number + row_step)


@jit
def transform_sums(
    sums: np.ndarray,
    at: int,
    row_step: int,
    shift_step: int,
    slice_size: int,
    shape: tuple[int, int, int, int],
    shifts: tuple[int, int],
    filter_: int,
    first: int,
    some: int,
    taps: np.ndarray,
    out: np.ndarray,
    side: int,
) -> None:
    """Add up the threads' sums of 16 filters and `some` channels, transform them back, write."""
    filters, channels, rows, columns = shape
    area = rows * columns
    tile, gathered = taps, behind(taps, POSITIONS * LANES)
    for c in range(some):
        for shift in range(shifts[0] * shifts[1]):
            here = at + shift * shift_step + c * row_step
            source, first_of, step = sums[0], here, slice_size
            if sums.shape[0] > 1:
                add_sums(sums, here, row_step, slice_size, side * side, tile)
                source, first_of, step = tile, 0, LANES
            if rows == SHIFT and columns == SHIFT and side == PATCH:
                transform_filter_gradient(
                    source, first_of, PATCH * step, step,
                    gathered, c * TAPS * LANES, SHIFT * LANES, LANES,
                )  # fmt: skip
                continue
            if side == PATCH:
                transform_filter_gradient(
                    source, first_of, PATCH * step, step, tile, 0, SHIFT * LANES, LANES
                )
            else:
                transform_shared_output(
                    source, first_of, side * step, step, tile, 0, SHIFT * LANES, LANES
                )
            for tap in range(TAPS):
                r = SHIFT * (shift // shifts[1]) + tap // SHIFT
                s = SHIFT * (shift % shifts[1]) + tap % SHIFT
                if r < rows and s < columns:
                    to = (c * area + r * columns + s) * LANES
                    store(gathered, to, load(tile, tap * LANES))
    to = (filter_ * channels + first) * area
    lanes = min(LANES, filters - filter_)
    scatter_lanes(gathered, some * area, out, to, channels * area, lanes)


@jit
def tiles_to_filter_gradient(
    part: int,
    parts: int,
    sums: np.ndarray,
    out: np.ndarray,
    workspace: np.ndarray,
    shape: tuple[int, int, int, int],
    shifts: tuple[int, int],
    side: int,
) -> None:
    """Add up sums (threads, side squared, depth, K), transform back, write (K, C, R, S), flat."""
    filters, channels = shape[:2]
    padded = (filters + LANES - 1) // LANES * LANES
    slice_size = sums.shape[1] // (side * side)
    groups = (channels + LANES - 1) // LANES
    for group in range(groups * part // parts, groups * (part + 1) // parts):
        first = group * LANES
        some = min(LANES, channels - first)
        for k in range(0, padded, LANES):
            at = first * padded + k
            transform_sums(
                sums, at, padded, channels * padded, slice_size, shape, shifts,
                k, first, some, workspace[part], out, side,
            )  # fmt: skip
