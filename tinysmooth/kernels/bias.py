"""The bias of a convolution or a linear layer, compiled: whole vectors for any number of channels.

The channels of a pixel lie side by side, and so do the pixels. With 6 channels a vector of sixteen
numbers ends within the third pixel; but after a few vectors one ends where a pixel does, and all
begins again. So many numbers are a *period*, and the bias repeated as often is added to each::

    out      a b c d e f a b c d e f a b c d | e f a b ...                  ... d e f |
    pattern  ----------- the bias, repeated from the start to the end of a period --- |

The gradient of the bias is the sum over all pixels. It is added up for each place of a period, four
vectors at a time in registers, and then over the places of the same channel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation.lanes import FOUR, LANES, read, store_four, write
from tinysmooth.kernels.prepared import DOUBLE, NO_FLOATS, Given, Prepared, flat, remembered
from tinysmooth.kernels.reference import bias as reference
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.vectors import load, splat

__all__ = ["add_bias", "bias_gradient"]

Array = NDArray[Any]

NANOSECONDS_PER_FLOAT = 0.3
"""Rough cost of both, one core, from main memory."""

SMALL = 8192
"""Numbers up to which NumPy takes no longer."""

FEWEST_PERIODS = 4
"""Periods below which an array is NumPy's: what a part has behind its last whole period is added up
number by number."""

BLOCK = 32
"""Numbers that are summed in float32 before their sum goes to float64: at most 2e-6 of the sum of
their sizes is lost, and most often a fourth of that."""


@jit
def add_bias_parts(part: int, parts: int, out: Array, pattern: Array, channels: int) -> None:
    """Add the pattern to this part's pixels, again and again."""
    pixels = out.size // channels
    stop = pixels * (part + 1) // parts * channels
    for start in range(pixels * part // parts * channels, stop, pattern.size):
        for at in range(0, min(pattern.size, stop - start), LANES):
            count = stop - start - at
            value = read(out, start + at, count) + load(pattern, at)
            write(out, start + at, value, count)


@jit
def sum_bias_parts(
    part: int, parts: int, grad: Array, channels: int, blocks: Array, sums: Array
) -> None:
    """Write the sums of this part's pixels to its row, one for each place of a period."""
    pixels, period = grad.size // channels, sums.shape[1]
    block, total = blocks[part], sums[part]
    total[:] = 0
    start, stop = pixels * part // parts * channels, pixels * (part + 1) // parts * channels
    while stop - start >= period:
        count = min(BLOCK, (stop - start) // period)
        for at in range(0, period, FOUR):
            a = b = c = d = splat(np.float32(0))
            for i in range(count):
                here = start + i * period + at
                a = a + load(grad, here)
                b = b + load(grad, here + LANES)
                c = c + load(grad, here + 2 * LANES)
                d = d + load(grad, here + 3 * LANES)
            store_four(block, at, a, b, c, d)
        for at in range(period):
            total[at] += block[at]
        start += count * period
    for at in range(stop - start):
        total[at] += grad[start + at]


def _period(channels: int) -> int:
    """Return the floats of the fewest whole pixels that fill groups of four vectors."""
    return math.lcm(channels, FOUR)


def _is_small(size: int, channels: int) -> bool:
    """Tell whether so many numbers are NumPy's."""
    return size <= SMALL or size < FEWEST_PERIODS * _period(channels)


@remembered
def _prepare_addition(size: int, channels: int, threads: int) -> Prepared:
    parts = plan_parts(size * NANOSECONDS_PER_FLOAT, limit=size // channels)
    return Prepared(add_bias_parts, parts, Given((size,)), Given((_period(channels),)), channels)


@remembered
def _prepare_sums(size: int, channels: int, threads: int) -> Prepared:
    parts = plan_parts(size * NANOSECONDS_PER_FLOAT, limit=size // channels)
    shape = (parts, _period(channels))
    return Prepared(
        sum_bias_parts, parts, flat((size,)), channels, Given(shape), Given(shape, DOUBLE)
    )


def add_bias(out: Array, bias: Array) -> None:
    """Add one number a channel to every pixel, in place; see the reference."""
    kept = out.dtype == bias.dtype == np.float32 and out.flags.c_contiguous  # a copy would be lost
    if not kept or _is_small(out.size, bias.size):
        reference.add_bias(out, bias)
        return
    pattern = np.tile(bias, _period(bias.size) // bias.size)
    _prepare_addition(out.size, bias.size, get_num_threads()).run(NO_FLOATS, out, pattern)


def bias_gradient(grad: Array) -> Array:
    """Return the sum over all pixels; see the reference."""
    channels = grad.shape[-1]
    if grad.dtype != np.float32 or _is_small(grad.size, channels):
        return reference.bias_gradient(grad)
    call = _prepare_sums(grad.size, channels, get_num_threads())
    shape = (call.parts, _period(channels))
    blocks, sums = np.empty(shape, np.float32), np.empty(shape)
    call.run(NO_FLOATS, grad, blocks, sums)
    total: Array = sums.reshape(-1, channels).sum(axis=0).astype(np.float32)
    return total
