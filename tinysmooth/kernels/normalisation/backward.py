"""Batch norm backward: two sweeps over ``x`` and the gradient, nothing kept from the forward pass.

With ``d`` the gradient of the normalised image (see the reference for the formulas)::

    sweep 1:  sum(d) and sum(d * (x - mean))               --> dbias, dweight, three coefficients
    sweep 2:  dx = d * direct + (x - mean) * slope + constant

where, per channel and over M pixels, ::

    direct = weight * inv_std      constant = -direct * dbias / M
                                   slope    = -direct * dweight * inv_std / M

Both sweeps find ``d`` anew: they compute ``x * scale + shift`` exactly as the forward pass did, and
with it where ReLU cut off and which tap of each 2x2 window was the maximum. That costs less than
reading a stored mask would. Pooling is the tournament of its four taps: left against right in both
rows, then the two winners, where the later tap needs to be larger, so that the first maximum wins.

Without statistics of this batch (``training=False``) slope and constant are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation.forward import BLOCK, NANOSECONDS_PER_FLOAT
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
    write,
)
from tinysmooth.kernels.reference import normalisation as reference
from tinysmooth.kernels.threads import plan_parts, run_parallel
from tinysmooth.kernels.vectors import fma, load, splat, store

Array = NDArray[Any]

SCALE, SHIFT, MEAN, DIRECT, SLOPE, CONSTANT = range(6)
"""Rows of the table of coefficients, one number a channel each."""


@jit
def _sum_one(
    x: Array,
    grad: Array,
    first: int,
    last: int,
    channels: int,
    c: int,
    table: Array,
    low: Any,
    out: Array,
) -> None:
    """Sum d and d * (x - mean) for one vector of channels into ``out[0]`` and ``out[1]``."""
    count = channels - c
    scale, shift, mean = load(table[SCALE], c), load(table[SHIFT], c), load(table[MEAN], c)
    total = product = zero = splat(np.float32(0))
    for pixel in range(first, last):
        value = read(x, pixel * channels + c, count)
        d = read(grad, pixel * channels + c, count)
        d = select_above(fma(value, scale, shift), low, d, zero)
        total = total + d
        product = fma(d, value - mean, product)
    store(out[0], c, total)
    store(out[1], c, product)


@jit
def _sum_four(
    x: Array,
    grad: Array,
    first: int,
    last: int,
    channels: int,
    c: int,
    table: Array,
    low: Any,
    out: Array,
) -> None:
    """Do as `_sum_one` for four vectors of channels."""
    c1, c2, c3 = c + LANES, c + 2 * LANES, c + 3 * LANES
    scale_0, scale_1 = load(table[SCALE], c), load(table[SCALE], c1)
    scale_2, scale_3 = load(table[SCALE], c2), load(table[SCALE], c3)
    shift_0, shift_1 = load(table[SHIFT], c), load(table[SHIFT], c1)
    shift_2, shift_3 = load(table[SHIFT], c2), load(table[SHIFT], c3)
    mean_0, mean_1 = load(table[MEAN], c), load(table[MEAN], c1)
    mean_2, mean_3 = load(table[MEAN], c2), load(table[MEAN], c3)
    zero = splat(np.float32(0))
    sum_0 = sum_1 = sum_2 = sum_3 = zero
    product_0 = product_1 = product_2 = product_3 = zero
    for pixel in range(first, last):
        at = pixel * channels
        x_0, x_1, x_2, x_3 = load(x, at + c), load(x, at + c1), load(x, at + c2), load(x, at + c3)
        d_0 = select_above(fma(x_0, scale_0, shift_0), low, load(grad, at + c), zero)
        d_1 = select_above(fma(x_1, scale_1, shift_1), low, load(grad, at + c1), zero)
        d_2 = select_above(fma(x_2, scale_2, shift_2), low, load(grad, at + c2), zero)
        d_3 = select_above(fma(x_3, scale_3, shift_3), low, load(grad, at + c3), zero)
        sum_0, sum_1, sum_2, sum_3 = sum_0 + d_0, sum_1 + d_1, sum_2 + d_2, sum_3 + d_3
        product_0, product_1 = fma(d_0, x_0 - mean_0, product_0), fma(d_1, x_1 - mean_1, product_1)
        product_2, product_3 = fma(d_2, x_2 - mean_2, product_2), fma(d_3, x_3 - mean_3, product_3)
    store_four(out[0], c, sum_0, sum_1, sum_2, sum_3)
    store_four(out[1], c, product_0, product_1, product_2, product_3)


@jit
def _sum_parts(
    part: int,
    parts: int,
    x: Array,
    grad: Array,
    pixels: int,
    channels: int,
    table: Array,
    floor: float,
    block_sums: Array,
    sums: Array,
) -> None:
    """Sum d and d * (x - mean) over this part's pixels into ``sums[part]``."""
    begin = pixels * part // parts
    end = pixels * (part + 1) // parts
    low = splat(floor)
    for first in range(begin, end, BLOCK):
        last = min(first + BLOCK, end)
        fours = channels // FOUR * FOUR
        for c in range(0, fours, FOUR):
            _sum_four(x, grad, first, last, channels, c, table, low, block_sums[part])
        for c in range(fours, channels, LANES):
            _sum_one(x, grad, first, last, channels, c, table, low, block_sums[part])
        for c in range(channels):
            sums[part, 0, c] += block_sums[part, 0, c]
            sums[part, 1, c] += block_sums[part, 1, c]


@jit
def _sum_pool_parts(
    part: int,
    parts: int,
    x: Array,
    grad: Array,
    rows: int,
    height: int,
    width: int,
    channels: int,
    table: Array,
    floor: float,
    block_sums: Array,
    sums: Array,
) -> None:
    """Do as `_sum_parts` through the pooling, for this part's rows of windows."""
    out_height = height // 2
    out_width = width // 2
    below = width * channels
    zero = splat(np.float32(0))
    low = splat(floor)
    total, product = block_sums[part, 0], block_sums[part, 1]
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        top = (row // out_height * height + row % out_height * 2) * below
        for first in range(0, out_width, BLOCK):
            last = min(first + BLOCK, out_width)
            for c in range(0, channels, LANES):
                store(total, c, zero)
                store(product, c, zero)
            for column in range(first, last):
                for c in range(0, channels, LANES):
                    count = channels - c
                    scale = load(table[SCALE], c)
                    shift = load(table[SHIFT], c)
                    corner = top + 2 * column * channels + c
                    x_best = read(x, corner, count)
                    best = fma(x_best, scale, shift)
                    x_next = read(x, corner + channels, count)
                    value = fma(x_next, scale, shift)
                    x_best = select_larger(value, best, x_next, x_best)
                    best = select_larger(value, best, value, best)
                    x_next = read(x, corner + below, count)
                    value = fma(x_next, scale, shift)
                    x_best = select_larger(value, best, x_next, x_best)
                    best = select_larger(value, best, value, best)
                    x_next = read(x, corner + below + channels, count)
                    value = fma(x_next, scale, shift)
                    x_best = select_larger(value, best, x_next, x_best)
                    best = select_larger(value, best, value, best)
                    d = read(grad, (row * out_width + column) * channels + c, count)
                    d = select_above(best, low, d, zero)
                    # Here the sums are in memory: so much is done for each that it does not show.
                    store(total, c, load(total, c) + d)
                    store(product, c, fma(d, x_best - load(table[MEAN], c), load(product, c)))
            for c in range(channels):
                sums[part, 0, c] += total[c]
                sums[part, 1, c] += product[c]


@jit
def _dx_parts(
    part: int,
    parts: int,
    x: Array,
    grad: Array,
    pixels: int,
    channels: int,
    table: Array,
    floor: float,
    dx: Array,
) -> None:
    """Write dx for this part's pixels."""
    zero = splat(np.float32(0))
    low = splat(floor)
    for pixel in range(pixels * part // parts, pixels * (part + 1) // parts):
        start = pixel * channels
        for c in range(0, channels, LANES):
            count = channels - c
            value = read(x, start + c, count)
            d = read(grad, start + c, count)
            d = select_above(fma(value, load(table[SCALE], c), load(table[SHIFT], c)), low, d, zero)
            indirect = fma(
                value - load(table[MEAN], c), load(table[SLOPE], c), load(table[CONSTANT], c)
            )
            write(dx, start + c, fma(d, load(table[DIRECT], c), indirect), count)


@jit
def _dx_pool_parts(
    part: int,
    parts: int,
    x: Array,
    grad: Array,
    rows: int,
    height: int,
    width: int,
    channels: int,
    table: Array,
    floor: float,
    dx: Array,
) -> None:
    """Do as `_dx_parts` through the pooling; ``rows`` are pairs of rows, an odd last one alone."""
    out_height = height // 2
    out_width = width // 2
    pairs = (height + 1) // 2
    below = width * channels
    zero = splat(np.float32(0))
    low = splat(floor)
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        image = row // pairs
        pair = row % pairs
        top = (image * height + pair * 2) * below
        windows = out_width if pair < out_height else 0
        for column in range(windows):
            for c in range(0, channels, LANES):
                count = channels - c
                scale = load(table[SCALE], c)
                shift = load(table[SHIFT], c)
                mean = load(table[MEAN], c)
                slope = load(table[SLOPE], c)
                constant = load(table[CONSTANT], c)
                corner = top + 2 * column * channels + c
                x0 = read(x, corner, count)
                x1 = read(x, corner + channels, count)
                x2 = read(x, corner + below, count)
                x3 = read(x, corner + below + channels, count)
                y0 = fma(x0, scale, shift)
                y1 = fma(x1, scale, shift)
                y2 = fma(x2, scale, shift)
                y3 = fma(x3, scale, shift)
                upper = select_larger(y1, y0, y1, y0)
                lower = select_larger(y3, y2, y3, y2)
                best = select_larger(lower, upper, lower, upper)
                target = ((image * out_height + pair) * out_width + column) * channels + c
                d = read(grad, target, count) * load(table[DIRECT], c)
                d = select_above(best, low, d, zero)
                d_upper = select_larger(lower, upper, zero, d)
                d_lower = select_larger(lower, upper, d, zero)
                d0 = select_larger(y1, y0, zero, d_upper) + fma(x0 - mean, slope, constant)
                d1 = select_larger(y1, y0, d_upper, zero) + fma(x1 - mean, slope, constant)
                d2 = select_larger(y3, y2, zero, d_lower) + fma(x2 - mean, slope, constant)
                d3 = select_larger(y3, y2, d_lower, zero) + fma(x3 - mean, slope, constant)
                write(dx, corner, d0, count)
                write(dx, corner + channels, d1, count)
                write(dx, corner + below, d2, count)
                write(dx, corner + below + channels, d3, count)
        # What no window covers still moves the statistics of the batch.
        for line in range(pair * 2, min(pair * 2 + 2, height)):
            for column in range(2 * windows, width):
                start = ((image * height + line) * width + column) * channels
                for c in range(0, channels, LANES):
                    value = read(x, start + c, channels - c) - load(table[MEAN], c)
                    value = fma(value, load(table[SLOPE], c), load(table[CONSTANT], c))
                    write(dx, start + c, value, channels - c)


def batch_norm_backward(
    grad: Array,
    x: Array,
    scale: Array,
    shift: Array,
    mean: Array,
    inv_std: Array,
    weight: Array,
    relu: bool,
    pool: bool,
    training: bool,
) -> tuple[Array, Array, Array]:
    """Return the gradients of the images, the weight and the bias; see the reference."""
    if x.dtype != np.float32:
        return reference.batch_norm_backward(
            grad, x, scale, shift, mean, inv_std, weight, relu, pool, training
        )
    count, height, width, channels = x.shape
    pixels = count * height * width
    dx = memory.empty(x.shape, x.dtype)
    arrays = (np.asarray(x).reshape(-1), np.asarray(grad).reshape(-1))
    table = pad_channels(channels, scale, shift, mean, 0, 0, 0)
    floor = floor_of(relu)
    work = 2 * x.size * NANOSECONDS_PER_FLOAT
    parts = plan_parts(work)
    together = 1 if pool else pixels_together(pixels, channels)
    tables = repeat_channels(table, channels, together)
    block_sums = np.empty((parts, 2, tables.shape[1]), np.float32)
    sums = np.zeros((parts, 2, together * channels), np.float64)

    if pool:
        size: tuple[int, ...] = (count * (height // 2), height, width, channels)
        run_parallel(_sum_pool_parts, *arrays, *size, table, floor, block_sums, sums, parts=parts)
    else:
        size = (pixels // together, together * channels)
        run_parallel(_sum_parts, *arrays, *size, tables, floor, block_sums, sums, parts=parts)

    dbias, product = sums.reshape(-1, 2, together, channels).sum(axis=(0, 2))
    dweight = product * inv_std
    direct = np.multiply(weight, inv_std, dtype=np.float64)
    table[DIRECT, :channels] = direct
    if training:
        table[SLOPE, :channels] = -direct * dweight * inv_std / pixels
        table[CONSTANT, :channels] = -direct * dbias / pixels

    if pool:
        size = (count * ((height + 1) // 2), height, width, channels)
        run_parallel(_dx_pool_parts, *arrays, *size, table, floor, dx.reshape(-1), parts=parts)
    else:
        size = (pixels, channels)
        run_parallel(_dx_parts, *arrays, *size, table, floor, dx.reshape(-1), parts=parts)
    return dx, dweight.astype(weight.dtype), dbias.astype(weight.dtype)
