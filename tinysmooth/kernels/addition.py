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
from tinysmooth.kernels.thread_count import plan_parts
from tinysmooth.kernels.threads import run_parallel

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
    parts = _parts(one, other, out)
    if parts == 1:
        np.add(one, other, out=out)
    else:
        _run(one, other, True, out, parts)
    return out


def copy(array: Array) -> Array:
    """Return a copy, its axes in the same order in memory, from the pool of `memory`."""
    out = memory.empty_like(array)
    parts = _parts(array, array, out)
    # To compile this first would hold up the second process, which the first convolution starts.
    if parts == 1 or not is_rehearsed():
        np.copyto(out, array)
    else:
        _run(array, array, False, out, parts)
    return out


def _parts(one: Array, other: Array, out: Array) -> int:
    """Return the parts that pay for arrays that lie alike, without gaps; 1 for all others."""
    if not (ENABLED and one.dtype == other.dtype == out.dtype == np.float32):
        return 1
    parts = plan_parts(one.size * NANOSECONDS_PER_FLOAT)
    if parts == 1 or not one.strides == other.strides == out.strides:
        return 1
    return parts if one.transpose(_outermost_first(one)).flags.c_contiguous else 1


def _outermost_first(array: Array) -> list[int]:
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])


def _run(one: Array, other: Array, both: bool, out: Array, parts: int) -> None:
    axes = _outermost_first(one)
    one, other, out = (array.transpose(axes).reshape(-1) for array in (one, other, out))
    run_parallel(add_parts, one, other, int(both), out, parts=parts)
