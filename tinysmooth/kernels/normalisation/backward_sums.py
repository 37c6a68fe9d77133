"""Batch norm backward, sweep 1: sum(d) and sum(d * (x - mean)) for each channel, and their use.

`tinysmooth.kernels.normalisation.backward` has the formulas. As in the forward sweep, four vectors
of channels are summed in registers at a time, so that memory is read almost in its order; through
the pooling, where a window of four pixels is worked on, the sums are in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation.forward import BLOCK
from tinysmooth.kernels.normalisation.lanes import (
    FOUR,
    LANES,
    read,
    select_above,
    select_larger,
    store_four,
)
from tinysmooth.kernels.vectors import fma, load, splat, store

Array = NDArray[Any]

SCALE, SHIFT, MEAN, INV_STD, WEIGHT = range(5)
"""Rows of the numbers that come in, float64, one number a channel each."""

DIRECT, SLOPE, CONSTANT = 3, 4, 5
"""Rows of the table of coefficients, float32, behind the first three. Each part fills its own: to
do that in NumPy, between the sweeps, took as long as the sweeps over a small layer."""

NOTHING, IMAGES, RESULT = range(3)
"""What sums are of: see `sum_parts`."""

FARTHEST = 64
"""So many times as large as its weight may the centre of a channel be: the result, which is both of
them added up, then has six binary digits fewer for what the weight makes of the images."""

SMALLEST = 1e-20
"""What is made with a weight or scale below may underflow in float32, or not be divided by it."""


@jit
def _fill_table(
    table: Array,
    channels: int,
    together: int,
    numbers: Array,
    of_result: int,
) -> bool:
    """Write scale, shift and mean, for as many pixels as are read together.

    If the result is summed, which has been scaled and shifted: 1, 0 and what the mean has become;
    return False if rounding would tell. Lanes behind the last channel may hold anything.
    """
    for c in range(together * channels):
        k = c % channels
        scale, shift = np.float32(numbers[SCALE, k]), np.float32(numbers[SHIFT, k])
        mean = numbers[MEAN, k]
        if of_result:
            size, mean = abs(numbers[WEIGHT, k]), mean * scale + shift
            large = size > SMALLEST and abs(scale) > SMALLEST
            if not (large and abs(mean) < FARTHEST * size):
                return False
            scale, shift = np.float32(1), np.float32(0)
        table[SCALE, c], table[SHIFT, c], table[MEAN, c] = scale, shift, mean
    return True


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
def sum_parts(
    part: int,
    parts: int,
    x: Array,
    grad: Array,
    numbers: Array,
    found: Array,
    sizes: tuple[int, int, int, int],
    floor: float,
    tables: Array,
    block_sums: Array,
    sums: Array,
) -> None:
    """Sum d and d * (x - mean) over this part's pixels into ``sums[part]``.

    ``found`` becomes what the sums are of: `NOTHING` if x is the result of the forward pass and
    rounding would tell.
    """
    pixels, channels, together, of_result = sizes
    table, low, what = tables[part], splat(floor), RESULT if of_result else IMAGES
    if not _fill_table(table, channels, together, numbers, of_result):
        what = NOTHING
    if part == 0:
        found[0] = what
    if what == NOTHING:
        return
    for c in range(channels):
        sums[part, 0, c] = sums[part, 1, c] = 0
    pixels, wide = pixels // together, channels * together
    begin = pixels * part // parts
    end = pixels * (part + 1) // parts
    for first in range(begin, end, BLOCK):
        last = min(first + BLOCK, end)
        fours = wide // FOUR * FOUR
        for c in range(0, fours, FOUR):
            _sum_four(x, grad, first, last, wide, c, table, low, block_sums[part])
        for c in range(fours, wide, LANES):
            _sum_one(x, grad, first, last, wide, c, table, low, block_sums[part])
        for c in range(wide):
            sums[part, 0, c % channels] += block_sums[part, 0, c]
            sums[part, 1, c % channels] += block_sums[part, 1, c]


@jit
def sum_pool_parts(
    part: int,
    parts: int,
    x: Array,
    grad: Array,
    numbers: Array,
    found: Array,
    sizes: tuple[int, int, int, int],
    floor: float,
    tables: Array,
    block_sums: Array,
    sums: Array,
) -> None:
    """Do as `sum_parts` through the pooling, for this part's rows of windows."""
    rows, height, width, channels = sizes
    table = tables[part]
    _fill_table(table, channels, 1, numbers, 0)
    if part == 0:
        found[0] = IMAGES
    for c in range(channels):
        sums[part, 0, c] = sums[part, 1, c] = 0
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
                    factor, summand = load(table[SCALE], c), load(table[SHIFT], c)
                    corner = top + 2 * column * channels + c
                    x_best = read(x, corner, count)
                    best = fma(x_best, factor, summand)
                    x_next = read(x, corner + channels, count)
                    value = fma(x_next, factor, summand)
                    x_best = select_larger(value, best, x_next, x_best)
                    best = select_larger(value, best, value, best)
                    x_next = read(x, corner + below, count)
                    value = fma(x_next, factor, summand)
                    x_best = select_larger(value, best, x_next, x_best)
                    best = select_larger(value, best, value, best)
                    x_next = read(x, corner + below + channels, count)
                    value = fma(x_next, factor, summand)
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
def finish_sums(
    sums: Array,
    found: Array,
    pixels: int,
    channels: int,
    numbers: Array,
    table: Array,
    gradients: Array,
) -> None:
    """Add up the sums of all parts: dweight and dbias, and from them the table of coefficients.

    ``pixels`` are those that the statistics are of: 0 if they are constants.
    """
    _fill_table(table, channels, 1, numbers, 0)
    for c in range(channels):
        gradients[0, c] = gradients[1, c] = 0
    for part in range(sums.shape[0]):
        for c in range(channels):
            gradients[0, c] += sums[part, 1, c]
            gradients[1, c] += sums[part, 0, c]
    for c in range(channels):
        product, total = gradients[0, c], gradients[1, c]
        # The kernels subtract a rounded mean, or centre, always the same one.
        mean, inv_std, scale = numbers[MEAN, c], numbers[INV_STD, c], table[SCALE, c]
        if found[0] == RESULT:
            mean = mean * scale + table[SHIFT, c]
        product += total * (np.float32(mean) - mean)
        if found[0] == RESULT:
            product /= scale
        dweight, direct = product * inv_std, numbers[WEIGHT, c] * inv_std
        gradients[0, c] = dweight
        table[DIRECT, c], table[SLOPE, c], table[CONSTANT, c] = direct, 0, 0
        if pixels:  # of constants nothing depends on the sums, finite or not
            table[SLOPE, c] = -direct * dweight * inv_std / pixels
            table[CONSTANT, c] = -direct * total / pixels
