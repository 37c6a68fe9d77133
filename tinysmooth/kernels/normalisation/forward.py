"""Batch norm forward: the statistics in one sweep, then everything that follows in a second.

Nothing but the final result is written: with ReLU, pooling and a residual it is read and written
as often as by batch norm alone::

    x --sweep 1--> mean, var --> scale, shift
    x --sweep 2--> x * scale + shift --> ReLU --> 2x2 maximum --> + residual --> out
                   (one vector, in registers from end to end)

A sweep is cut into parts by rows of pixels, one for each thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation.lanes import (
    LANES,
    floor_of,
    pad_channels,
    read,
    select_above,
    select_larger,
    write,
)
from tinysmooth.kernels.reference import normalisation as reference
from tinysmooth.kernels.threads import plan_parts, run_parallel
from tinysmooth.kernels.vectors import fma, load, splat, store

Array = NDArray[Any]

BLOCK = 128
"""Pixels summed in float32 before the sum goes to float64: keeps the rounding error near 1e-6."""

NANOSECONDS_PER_FLOAT = 0.4
"""Rough cost of a sweep, one core, from main memory."""

PIVOT_SAMPLES = 64


@jit
def _sum_parts(
    part: int,
    parts: int,
    x: Array,
    pixels: int,
    channels: int,
    pivot: Array,
    block_sums: Array,
    sums: Array,
) -> None:
    """Sum x - pivot and its square over this part's pixels into ``sums[part]``."""
    begin = pixels * part // parts
    end = pixels * (part + 1) // parts
    for first in range(begin, end, BLOCK):
        last = min(first + BLOCK, end)
        for c in range(0, channels, LANES):
            count = channels - c
            center = load(pivot, c)
            # Two sums of each kind: an addition need not wait for the one before.
            sum_a = sum_b = square_a = square_b = splat(np.float32(0))
            pixel = first
            while pixel + 1 < last:
                a = read(x, pixel * channels + c, count) - center
                b = read(x, (pixel + 1) * channels + c, count) - center
                sum_a = sum_a + a
                sum_b = sum_b + b
                square_a = fma(a, a, square_a)
                square_b = fma(b, b, square_b)
                pixel += 2
            if pixel < last:
                a = read(x, pixel * channels + c, count) - center
                sum_a = sum_a + a
                square_a = fma(a, a, square_a)
            store(block_sums[part, 0], c, sum_a + sum_b)
            store(block_sums[part, 1], c, square_a + square_b)
        for c in range(channels):
            sums[part, 0, c] += block_sums[part, 0, c]
            sums[part, 1, c] += block_sums[part, 1, c]


@jit
def _apply_parts(
    part: int,
    parts: int,
    x: Array,
    pixels: int,
    channels: int,
    coefficients: Array,
    floor: float,
    residual: Array,
    add: bool,
    out: Array,
) -> None:
    """Write max(x * scale + shift, floor), plus the residual if ``add``, for this part's pixels."""
    scale = coefficients[0]
    shift = coefficients[1]
    low = splat(floor)
    for pixel in range(pixels * part // parts, pixels * (part + 1) // parts):
        start = pixel * channels
        for c in range(0, channels, LANES):
            count = channels - c
            value = fma(read(x, start + c, count), load(scale, c), load(shift, c))
            value = select_above(value, low, value, low)
            if add:
                value = value + read(residual, start + c, count)
            write(out, start + c, value, count)


@jit
def _apply_pool_parts(
    part: int,
    parts: int,
    x: Array,
    rows: int,
    height: int,
    width: int,
    channels: int,
    coefficients: Array,
    floor: float,
    residual: Array,
    add: bool,
    out: Array,
) -> None:
    """Do as `_apply_parts`, with the maximum of each 2x2 window, for this part's output rows."""
    scale = coefficients[0]
    shift = coefficients[1]
    low = splat(floor)
    out_height = height // 2
    out_width = width // 2
    below = width * channels
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        top = (row // out_height * height + row % out_height * 2) * below
        for column in range(out_width):
            start = top + 2 * column * channels
            target = (row * out_width + column) * channels
            for c in range(0, channels, LANES):
                count = channels - c
                a = load(scale, c)
                b = load(shift, c)
                corner = start + c
                best = fma(read(x, corner, count), a, b)
                value = fma(read(x, corner + channels, count), a, b)
                best = select_larger(value, best, value, best)
                value = fma(read(x, corner + below, count), a, b)
                best = select_larger(value, best, value, best)
                value = fma(read(x, corner + below + channels, count), a, b)
                best = select_larger(value, best, value, best)
                # The maximum of the rectified values is the rectified maximum.
                best = select_above(best, low, best, low)
                if add:
                    best = best + read(residual, target + c, count)
                write(out, target + c, best, count)


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean and the biased variance of each channel; see the reference."""
    if x.dtype != np.float32:
        return reference.batch_norm_statistics(x)
    channels = x.shape[3]
    flat = np.asarray(x).reshape(-1)
    rows = flat.reshape(-1, channels)
    pixels = len(rows)
    # var = E[(x - pivot)^2] - (E[x] - pivot)^2 loses digits only when the pivot is far from the
    # mean for the size of the deviations; with the mean of a sample it is not.
    sample = rows[:: -(-pixels // PIVOT_SAMPLES)]
    pivot = pad_channels(channels, sample.mean(axis=0, dtype=np.float64))
    parts = plan_parts(x.size * NANOSECONDS_PER_FLOAT)
    block_sums = np.empty((parts, 2, pivot.size), np.float32)
    sums = np.zeros((parts, 2, channels), np.float64)
    run_parallel(_sum_parts, flat, pixels, channels, pivot[0], block_sums, sums, parts=parts)
    offset, square = sums.sum(axis=0) / pixels
    mean = pivot[0, :channels] + offset
    var = np.maximum(square - offset * offset, 0)
    if not (np.isfinite(mean).all() and np.isfinite(var).all()):
        # Infinite or NaN input, or a square beyond float32: the reference says which.
        return reference.batch_norm_statistics(x)
    return mean, var


def batch_norm_apply(
    x: Array, scale: Array, shift: Array, relu: bool, pool: bool, residual: Array | None
) -> Array:
    """Return ``x * scale + shift`` after ReLU, pooling and residual; see the reference."""
    if x.dtype != np.float32:
        return reference.batch_norm_apply(x, scale, shift, relu, pool, residual)
    count, height, width, channels = x.shape
    size = (height // 2, width // 2) if pool else (height, width)
    out = memory.empty((count, *size, channels), x.dtype)
    if out.size == 0:
        return out
    flat = np.asarray(x).reshape(-1)
    added = out if residual is None else np.asarray(residual)
    shared = (
        channels,
        pad_channels(channels, scale, shift),
        floor_of(relu),
        added.reshape(-1),
        residual is not None,
        out.reshape(-1),
    )
    work = x.size * NANOSECONDS_PER_FLOAT
    if pool:
        rows = count * size[0]
        run_parallel(_apply_pool_parts, flat, rows, height, width, *shared, work=work)
    else:
        run_parallel(_apply_parts, flat, count * height * width, *shared, work=work)
    return out
