"""Batch norm backward: two sweeps over ``x`` and the gradient, with little kept from the forward.

With ``d`` the gradient of the normalised image (see the reference for the formulas)::

    sweep 1:  sum(d) and sum(d * (x - mean))               --> dbias, dweight, three coefficients
    sweep 2:  dx = d * direct + (x - mean) * slope + constant

where, per channel and over M pixels, ::

    direct = weight * inv_std      constant = -direct * dbias / M
                                   slope    = -direct * dweight * inv_std / M

Sweeps over ``x`` find ``d`` anew: they compute ``x * scale + shift`` exactly as the forward pass
did, and with it where ReLU cut off and which tap of each 2x2 window was the maximum. That costs
less than reading a stored mask would. Pooling is the tournament of its four taps: left against
right in both rows, then the two winners, where the later tap needs to be larger, so that the first
maximum wins.

Through pooling ``d`` is zero but for one pixel of a window, whose ``x * scale + shift`` is the
result of the forward pass. If that is at hand, sweep 1 reads it in the place of ``x``, a quarter of
the memory: ``x - mean`` is ``(result - centre) / scale``, ``centre = mean * scale + shift``. Not if
rounding would tell: see `FARTHEST` and `SMALLEST`, which every channel must keep to.

Without statistics of this batch (``training=False``) slope and constant are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation.backward_sums import (
    CONSTANT,
    DIRECT,
    MEAN,
    SCALE,
    SHIFT,
    SLOPE,
    sum_parts,
    sum_pool_parts,
)
from tinysmooth.kernels.normalisation.forward import NANOSECONDS_PER_FLOAT
from tinysmooth.kernels.normalisation.lanes import (
    LANES,
    floor_of,
    pad_channels,
    pixels_together,
    read,
    repeat_channels,
    select_above,
    select_larger,
    write,
)
from tinysmooth.kernels.reference import normalisation as reference
from tinysmooth.kernels.threads import plan_parts, run_parallel
from tinysmooth.kernels.vectors import fma, load, splat

Array = NDArray[Any]

FARTHEST = 64
"""So many times as large as its weight may the centre of a channel be: the result, which is both of
them added up, then has six binary digits fewer for what the weight makes of the images."""

SMALLEST = 1e-20
"""What is made with a weight or scale below may underflow in float32, or not be divided by it."""


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
    result: Array | None = None,
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
    parts = plan_parts(2 * x.size * NANOSECONDS_PER_FLOAT)
    centre = None
    if pool and result is not None:
        centre = _centre_of_result(table[:, :channels], mean, weight)
    if result is not None and centre is not None:
        as_is = pad_channels(channels, 1, 0, centre, 0, 0, 0)
        dbias, product = _sums(result.reshape(-1), arrays[1], as_is, centre, floor, parts)
        product = product / table[SCALE, :channels]
    else:
        windows = (count * (height // 2), height, width) if pool else None
        dbias, product = _sums(*arrays, table, mean, floor, parts, windows)
    dweight = product * inv_std
    direct = np.multiply(weight, inv_std, dtype=np.float64)
    table[DIRECT, :channels] = direct
    if training:
        table[SLOPE, :channels] = -direct * dweight * inv_std / pixels
        table[CONSTANT, :channels] = -direct * dbias / pixels

    if pool:
        size: tuple[int, ...] = (count * ((height + 1) // 2), height, width, channels)
        run_parallel(_dx_pool_parts, *arrays, *size, table, floor, dx.reshape(-1), parts=parts)
    else:
        size = (pixels, channels)
        run_parallel(_dx_parts, *arrays, *size, table, floor, dx.reshape(-1), parts=parts)
    return dx, dweight.astype(weight.dtype), dbias.astype(weight.dtype)


def _centre_of_result(table: Array, mean: Array, weight: Array) -> Array | None:
    """Return mean * scale + shift, float64 (C,); None where rounding forbids to sum the result."""
    scale, size = table[SCALE].astype(np.float64), np.abs(weight)
    centre: Array = mean * scale + table[SHIFT]
    if (size > SMALLEST).all() and (np.abs(scale) > SMALLEST).all():
        if (np.abs(centre) < FARTHEST * size).all():
            return centre
    return None


def _sums(
    x: Array,
    grad: Array,
    table: Array,
    mean: Array,
    floor: np.float32,
    parts: int,
    windows: tuple[int, int, int] | None = None,
) -> tuple[Array, Array]:
    """Return sum(d) and sum(d * (x - mean)), float64 (C,), of flat arrays.

    `windows` are the rows of windows, height and width of x, if it is yet to be pooled.
    """
    channels = mean.size
    pixels = x.size // channels
    together = 1 if windows else pixels_together(pixels, channels)
    tables = repeat_channels(table, channels, together)
    block_sums = np.empty((parts, 2, tables.shape[1]), np.float32)
    sums = np.zeros((parts, 2, together * channels), np.float64)
    if windows:
        size: tuple[int, ...] = (*windows, channels)
        run_parallel(sum_pool_parts, x, grad, *size, table, floor, block_sums, sums, parts=parts)
    else:
        size = (pixels // together, together * channels)
        run_parallel(sum_parts, x, grad, *size, tables, floor, block_sums, sums, parts=parts)
    total, product = sums.reshape(-1, 2, together, channels).sum(axis=(0, 2))
    with np.errstate(invalid="ignore"):  # the kernels subtract a rounded mean, always the same one
        return total, product + total * (table[MEAN, :channels] - mean)
