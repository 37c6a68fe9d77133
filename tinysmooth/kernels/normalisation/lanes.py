"""Sixteen channels of one pixel at a time: what the loops of batch norm are made of.

In NHWC the channels of a pixel lie side by side, so a vector of sixteen channels meets a vector of
sixteen scales and sixteen shifts. Channel counts that are no multiple of sixteen end in a shorter
vector; `read` and `write` know its length, the arithmetic need not. Arrays of one number a channel
are padded to whole vectors (`pad_channels`) and are always read whole.

ReLU without a branch: ``floor`` is a vector of zeros with ReLU and of NaN without. A value counts
as cut off if it is <= floor, which nothing is when floor is NaN. A value that is NaN is not cut off
either, so it comes out as NaN, as from NumPy's ``maximum(x, 0)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import intrinsic
from numpy.typing import NDArray

from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import LANES, load, load_tail, store, store_tail, vector

__all__ = [
    "FOUR",
    "LANES",
    "floor_of",
    "pad_channels",
    "pixels_together",
    "read",
    "repeat_channels",
    "select_above",
    "select_larger",
    "store_four",
    "whole_vectors",
    "write",
]

Array = NDArray[Any]

FOUR = 4 * LANES
"""Channels whose sums are held in registers at a time."""


def pixels_together(pixels: int, channels: int) -> int:
    """Return how many pixels to read as if they were one with as many times the channels.

    Examples
    --------
    >>> pixels_together(100, 16), pixels_together(100, 64), pixels_together(101, 16)
    (4, 1, 1)
    """
    together = FOUR // channels if FOUR % channels == 0 else 1
    return together if pixels % together == 0 else 1


def repeat_channels(
    table: NDArray[np.float32], channels: int, together: int
) -> NDArray[np.float32]:
    """Return a table of `pad_channels` for so many pixels together."""
    return table if together == 1 else np.tile(table[:, :channels], together)


def pad_channels(channels: int, *rows: Any) -> NDArray[np.float32]:
    """Return the rows, each of one number a channel, as float32 padded to whole vectors."""
    padded = np.zeros((len(rows), -(-channels // LANES) * LANES), np.float32)
    for row, values in zip(padded, rows, strict=True):
        row[:channels] = values
    return padded


def whole_vectors(channels: int, values: Any) -> NDArray[np.float32]:
    """Return one number a channel as float32, padded if they do not fill whole vectors."""
    if channels % LANES == 0:
        return np.asarray(values, np.float32)
    return pad_channels(channels, values)[0]


def floor_of(relu: bool) -> np.float32:
    """Return the floor that stands for ReLU or for its absence."""
    return np.float32(0 if relu else np.nan)


@jit
def read(array: Array, offset: int, count: int) -> Any:
    """Read sixteen numbers, or the ``count`` that are left if fewer."""
    if count < LANES:
        return load_tail(array, offset, count)
    return load(array, offset)


@jit
def write(array: Array, offset: int, value: Any, count: int) -> None:
    """Write sixteen numbers, or the ``count`` that are left if fewer."""
    if count < LANES:
        store_tail(array, offset, value, count)
    else:
        store(array, offset, value)


@jit
def store_four(array: Array, offset: int, a: Any, b: Any, c: Any, d: Any) -> None:
    """Write four vectors side by side."""
    store(array, offset, a)
    store(array, offset + LANES, b)
    store(array, offset + 2 * LANES, c)
    store(array, offset + 3 * LANES, d)


@intrinsic
def select_above(context: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """Return, lane by lane, `no` where a <= b and `yes` elsewhere (also where a or b is NaN)."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_unordered(">", args[0], args[1]), args[2], args[3])

    return vector(vector, vector, vector, vector), generate


@intrinsic
def select_larger(context: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """Return, lane by lane, `yes` where a > b or a is NaN, and `no` elsewhere.

    This is the rule by which a later tap of a max-pooling takes over from the best so far.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        larger = builder.fcmp_ordered(">", args[0], args[1])
        not_a_number = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.select(builder.or_(larger, not_a_number), args[2], args[3])

    return vector(vector, vector, vector, vector), generate
