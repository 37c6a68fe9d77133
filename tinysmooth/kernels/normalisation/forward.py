"""Batch norm forward: the statistics in one sweep, then everything that follows in a second.

Nothing but the final result is written: with ReLU, pooling and a residual it is read and written
as often as by batch norm alone::

    x --sweep 1--> mean, var --> scale, shift
    x --sweep 2--> x * scale + shift --> ReLU --> 2x2 maximum --> + residual --> out
                   (one vector, in registers from end to end)

A sweep is cut into parts by rows of pixels, one for each thread. The sums of sweep 1 are held in
registers, for four vectors of channels at a time: memory is then read almost in its order, which
doubles the pace of reading one vector of every pixel. Images with fewer channels are read as if
several pixels were one (`lanes.pixels_together`), and their sums added up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation.lanes import (
    FOUR,
    LANES,
    floor_of,
    pad_channels,
    pixels_together,
    read,
    repeat_channels,
    select_above,
    select_larger,
    store_four,
    whole_vectors,
    write,
)
from tinysmooth.kernels.prepared import NO_FLOATS, Given, Prepared, flat, remembered
from tinysmooth.kernels.reference import normalisation as reference
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.threads import run_parallel
from tinysmooth.kernels.vectors import fma, load, splat, store

Array = NDArray[Any]
Shape = tuple[int, ...]

BLOCK = 128
"""Pixels summed in float32 before the sum goes to float64: keeps the rounding error near 1e-6."""

NANOSECONDS_PER_FLOAT = 0.4
"""Rough cost of a sweep, one core, from main memory."""

PIVOT_SAMPLES = 64


@jit
def _sum_four(
    x: Array, first: int, last: int, channels: int, c: int, pivot: Array, out: Array
) -> None:
    """Sum four vectors of channels from `c` on over pixels first to last; see `_sum_one`."""
    c1, c2, c3 = c + LANES, c + 2 * LANES, c + 3 * LANES
    center_0, center_1 = load(pivot, c), load(pivot, c1)
    center_2, center_3 = load(pivot, c2), load(pivot, c3)
    sum_0 = sum_1 = sum_2 = sum_3 = splat(np.float32(0))
    square_0 = square_1 = square_2 = square_3 = splat(np.float32(0))
    for pixel in range(first, last):
        at = pixel * channels
        value_0, value_1 = load(x, at + c) - center_0, load(x, at + c1) - center_1
        value_2, value_3 = load(x, at + c2) - center_2, load(x, at + c3) - center_3
        sum_0, sum_1 = sum_0 + value_0, sum_1 + value_1
        sum_2, sum_3 = sum_2 + value_2, sum_3 + value_3
        square_0, square_1 = fma(value_0, value_0, square_0), fma(value_1, value_1, square_1)
        square_2, square_3 = fma(value_2, value_2, square_2), fma(value_3, value_3, square_3)
    store_four(out[0], c, sum_0, sum_1, sum_2, sum_3)
    store_four(out[1], c, square_0, square_1, square_2, square_3)


@jit
def _sum_one(
    x: Array, first: int, last: int, channels: int, c: int, pivot: Array, out: Array
) -> None:
    """Sum x - pivot and its square for one vector of channels into ``out[0]`` and ``out[1]``."""
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
    store(out[0], c, sum_a + sum_b)
    store(out[1], c, square_a + square_b)


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
        fours = channels // FOUR * FOUR
        for c in range(0, fours, FOUR):
            _sum_four(x, first, last, channels, c, pivot, block_sums[part])
        for c in range(fours, channels, LANES):
            _sum_one(x, first, last, channels, c, pivot, block_sums[part])
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
    scale: Array,
    shift: Array,
    floor: float,
    residual: Array,
    add: int,
    out: Array,
) -> None:
    """Write max(x * scale + shift, floor), plus the residual if ``add``, for this part's pixels."""
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
    scale: Array,
    shift: Array,
    floor: float,
    residual: Array,
    add: int,
    out: Array,
) -> None:
    """Do as `_apply_parts`, with the maximum of each 2x2 window, for this part's output rows."""
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
    pivot = pad_channels(channels, sample.sum(axis=0, dtype=np.float64) / len(sample))
    parts = plan_parts(x.size * NANOSECONDS_PER_FLOAT)
    together = pixels_together(pixels, channels)
    size = (pixels // together, together * channels)
    pivots = repeat_channels(pivot, channels, together)
    block_sums = np.empty((parts, 2, pivots.shape[1]), np.float32)
    sums = np.zeros((parts, 2, size[1]), np.float64)
    run_parallel(_sum_parts, flat, *size, pivots[0], block_sums, sums, parts=parts)
    offset, square = sums.reshape(-1, 2, together, channels).sum(axis=(0, 2)) / pixels
    if not np.isfinite(square).all():
        # Infinite or NaN input, or a square beyond float32: the reference says which.
        return reference.batch_norm_statistics(x)
    return pivot[0, :channels] + offset, np.maximum(square - offset * offset, 0)


@remembered
def _prepare_apply(
    images: Shape, relu: bool, pool: bool, add: bool, threads: int
) -> tuple[Prepared, Shape]:
    """Prepare sweep 2; return also the shape of the result."""
    count, height, width, channels = images
    shape = (count, height // 2, width // 2, channels) if pool else images
    out, coefficient = flat(shape), Given((-(-channels // LANES) * LANES,))
    kernel, sizes = _apply_parts, [count * height * width, channels]
    if pool:
        kernel, sizes = _apply_pool_parts, [count * shape[1], height, width, channels]
    parts = plan_parts(math.prod(images) * NANOSECONDS_PER_FLOAT)
    arrays = (coefficient, coefficient, floor_of(relu), out, int(add), out)
    return Prepared(kernel, parts, flat(images), *sizes, *arrays), shape


def batch_norm_apply(
    x: Array, scale: Array, shift: Array, relu: bool, pool: bool, residual: Array | None
) -> Array:
    """Return ``x * scale + shift`` after ReLU, pooling and residual; see the reference."""
    if x.dtype != np.float32:
        return reference.batch_norm_apply(x, scale, shift, relu, pool, residual)
    add = residual is not None
    call, size = _prepare_apply(x.shape, relu, pool, add, get_num_threads())
    out = memory.empty(size, x.dtype)
    if out.size:
        coefficients = (whole_vectors(x.shape[3], values) for values in (scale, shift))
        added = out if residual is None else residual
        call.run(NO_FLOATS, x, *coefficients, added, out)
    return out
