"""Mean and variance of a convolution's channels, taken while its pixels are still in the cache.

Batch norm needs them and would read the whole image once more from main memory. Right after a tile
has been written, or a block of windows, its numbers cost a few cycles::

    for each tile:  m --output transform--> its pixels of out --add_tile--> moments
    for each eighth tile:                                       moments --flush--> totals

Each part of the work has ``moments`` (3, K) in float32, namely a pivot and the sums of
(out - pivot) and of its square, and ``totals`` (3, K) in float64: what the sums of at most 128
pixels were added to and, in place of the pivot, the number of pixels. The pivot is the mean of the
part's first pixels, sixteen at most: near enough to the mean of all that no digits are lost.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from tinysmooth.kernels.convolution.winograd_patches import TILE
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.prepared import DOUBLE, NO_FLOATS, REMEMBERED, Given, Prepared
from tinysmooth.kernels.vectors import LANES, fma, load, load_tail, splat, store

__all__ = [
    "FLUSH",
    "NONE",
    "Sums",
    "add_pixels",
    "add_tile",
    "flush",
    "given",
    "mean_and_variance",
    "sums_for",
]

PIVOT, TOTAL, SQUARE = range(3)
PIXELS = PIVOT  # totals have their number where moments have the pivot

FLUSH = 8
"""Tiles whose pixels are added up in float32."""

Sums = tuple[np.ndarray, np.ndarray]

NONE: Sums = (np.zeros((0, 3, 1), np.float32), np.zeros((0, 3, 1)))
"""For a convolution whose statistics nobody wants."""


@jit
def add_tile(
    out: np.ndarray,
    image: int,
    top: int,
    left: int,
    height: int,
    width: int,
    channels: int,
    first: int,
    last: int,
    is_first: bool,
    moments: np.ndarray,
    side: int,
) -> int:
    """Add the tile at (top, left), channels first to last, to moments; return its pixels."""
    rows, columns = min(side, height - top), min(side, width - left)
    corner = ((image * height + top) * width + left) * channels
    share = splat(1.0 / (rows * columns))
    for k in range(first, last, LANES):
        count = min(LANES, channels - k)
        if is_first:
            mean = splat(0.0)
            for i in range(rows):
                for j in range(columns):
                    at = corner + (i * width + j) * channels + k
                    mean = fma(load_tail(out, at, count), share, mean)
            store(moments[PIVOT], k, mean)
        pivot = load(moments[PIVOT], k)
        total, square = load(moments[TOTAL], k), load(moments[SQUARE], k)
        for i in range(rows):
            for j in range(columns):
                at = corner + (i * width + j) * channels + k
                if count == LANES:
                    value = load(out, at) - pivot
                else:
                    value = load_tail(out, at, count) - pivot
                total = total + value
                square = fma(value, value, square)
        store(moments[TOTAL], k, total)
        store(moments[SQUARE], k, square)
    return rows * columns


@jit
def flush(moments: np.ndarray, totals: np.ndarray, first: int, last: int, pixels: int) -> None:
    """Add the sums of so many pixels to totals, and begin anew."""
    for k in range(first, last):
        totals[TOTAL, k] += moments[TOTAL, k]
        totals[SQUARE, k] += moments[SQUARE, k]
        totals[PIXELS, k] += pixels
        moments[TOTAL, k] = moments[SQUARE, k] = 0


@jit
def add_pixels(
    out: np.ndarray,
    outs: np.ndarray,
    count: int,
    channels: int,
    first: int,
    last: int,
    moments: np.ndarray,
    totals: np.ndarray,
) -> None:
    """Add the pixels that begin at the first `count` offsets, channels first to last, to totals."""
    for k in range(first, last, LANES):
        lanes = min(LANES, channels - k)
        if totals[PIXELS, k] == 0:  # the first pixels of this part
            some = min(count, TILE * TILE)
            share, mean = splat(1.0 / some), splat(0.0)
            for pixel in range(some):
                mean = fma(load_tail(out, outs[pixel] + k, lanes), share, mean)
            store(moments[PIVOT], k, mean)
        pivot = load(moments[PIVOT], k)
        for begin in range(0, count, FLUSH * TILE * TILE):
            stop = min(begin + FLUSH * TILE * TILE, count)
            # Two sums of each kind: an addition need not wait for the one before.
            total_a = total_b = square_a = square_b = splat(0.0)
            pixel = begin
            if lanes == LANES:
                while pixel + 1 < stop:
                    a = load(out, outs[pixel] + k) - pivot
                    b = load(out, outs[pixel + 1] + k) - pivot
                    total_a, total_b = total_a + a, total_b + b
                    square_a, square_b = fma(a, a, square_a), fma(b, b, square_b)
                    pixel += 2
            while pixel < stop:
                a = load_tail(out, outs[pixel] + k, lanes) - pivot
                total_a, square_a = total_a + a, fma(a, a, square_a)
                pixel += 1
            store(moments[TOTAL], k, total_a + total_b)
            store(moments[SQUARE], k, square_a + square_b)
            flush(moments, totals, k, k + LANES, stop - begin)


def sums_for(parts: int, padded: int) -> Sums:
    """Return moments and totals for so many parts, with room for `padded` channels."""
    return np.zeros((parts, 3, padded), np.float32), np.zeros((parts, 3, padded))


def given(parts: int, padded: int) -> tuple[Given, Given]:
    """Return what stands for the sums of `sums_for` in a prepared call."""
    shape = (parts, 3, padded)
    return Given(shape), Given(shape, DOUBLE)


@jit
def _finish(
    part: int, parts: int, moments: np.ndarray, totals: np.ndarray, channels: int, found: np.ndarray
) -> None:
    """Write the means of all channels, then their variances, and last the sum of these.

    The parts of the work have pivots of their own; what each adds to the squares is taken about
    the mean of all: sum (x - mean)^2 = sum ((x - pivot) + away)^2 with away = pivot - mean.
    """
    everything = 0.0
    for c in range(channels):
        pixels = total = square = 0.0
        for each in range(totals.shape[0]):
            number = totals[each, PIXELS, c]
            pixels += number
            total += totals[each, TOTAL, c] + number * moments[each, PIVOT, c]
        mean = total / pixels
        for each in range(totals.shape[0]):
            away = moments[each, PIVOT, c] - mean
            twice = 2 * totals[each, TOTAL, c] + totals[each, PIXELS, c] * away
            square += totals[each, SQUARE, c] + twice * away
        everything += square
        found[c], found[channels + c] = mean, max(square / pixels, 0.0)
    found[2 * channels] = everything


@functools.lru_cache(maxsize=REMEMBERED)
def _prepare_finish(parts: int, padded: int, channels: int) -> Prepared:
    return Prepared(_finish, 1, *given(parts, padded), channels, Given((2 * channels + 1,), DOUBLE))


def mean_and_variance(sums: Sums, channels: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the mean and the biased variance of each channel, or None if they are not finite."""
    moments, _ = sums
    found = np.empty(2 * channels + 1)
    _prepare_finish(moments.shape[0], moments.shape[2], channels).run(NO_FLOATS, *sums, found)
    if not math.isfinite(found[2 * channels]):
        return None
    return found[:channels], found[channels : 2 * channels]
