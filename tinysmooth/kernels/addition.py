"""Adding two large arrays in all threads, and copying one: what the graph itself does with arrays.

Where a residual joins, the walk back adds gradients. The sum of two numbers is rounded once, so
these are the bits that ``numpy.add`` gives. A batch that comes as a plain array is copied, because
the caller may change it before the walk back; by then the other threads, which mostly have fallen
asleep since the step before, are awake for the first layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.ahead import is_rehearsed
from tinysmooth.kernels.jit import ENABLED, jit
from tinysmooth.kernels.normalisation.lanes import LANES, read, write
from tinysmooth.kernels.threads import plan_parts, run_parallel

__all__ = ["add", "add_parts", "copy"]

Array = NDArray[Any]

NANOSECONDS_PER_FLOAT = 0.5
"""Rough cost, one core, from main memory."""


@jit
def add_parts(part: int, parts: int, one: Array, other: Array, both: int, out: Array) -> None:
    """Write one, plus other if `both`, to this part's share of out."""
    stop = one.size * (part + 1) // parts
    for i in range(one.size * part // parts, stop, LANES):
        value = read(one, i, stop - i)
        if both:
            value = value + read(other, i, stop - i)
        write(out, i, value, stop - i)


def add(one: Array, other: Array, out: Array | None = None) -> Array:
    """Return ``one + other``, of equal shapes and dtypes.

    Parameters
    ----------
    one, other : ndarray
    out : ndarray, optional
        Where to write it; may be one of the two. From the pool of `memory` if left out.
    """
    if out is None:
        out = memory.empty_like(one)
    if not _in_parts(one, other, True, out):
        np.add(one, other, out=out)
    return out


def copy(array: Array) -> Array:
    """Return a copy, its axes in the same order in memory, from the pool of `memory`."""
    out = memory.empty_like(array)
    # To compile this first would hold up the second process, which the first convolution starts.
    if not is_rehearsed() or not _in_parts(array, array, False, out):
        np.copyto(out, array)
    return out


def _in_parts(one: Array, other: Array, both: bool, out: Array) -> bool:
    """Do it in several threads and return True, if that pays and the arrays lie alike."""
    if not (ENABLED and one.strides == other.strides == out.strides):
        return False
    parts = plan_parts(one.size * NANOSECONDS_PER_FLOAT)
    if parts == 1 or not one.dtype == other.dtype == out.dtype == np.float32:
        return False
    outermost_first = sorted(range(one.ndim), key=lambda axis: -one.strides[axis])
    one, other, out = (array.transpose(outermost_first) for array in (one, other, out))
    if not one.flags.c_contiguous:
        return False
    flat = (one.reshape(-1), other.reshape(-1), int(both), out.reshape(-1))
    run_parallel(add_parts, *flat, parts=parts)
    return True
