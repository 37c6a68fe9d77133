"""Adding two large arrays in all threads: where a residual joins, the walk back adds gradients.

The sum of two numbers is rounded once, so these are the bits that ``numpy.add`` gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import ENABLED, jit
from tinysmooth.kernels.normalisation.lanes import LANES, read, write
from tinysmooth.kernels.threads import plan_parts, run_parallel

__all__ = ["add"]

Array = NDArray[Any]

NANOSECONDS_PER_FLOAT = 0.5
"""Rough cost, one core, from main memory."""


@jit
def _add_parts(part: int, parts: int, one: Array, other: Array, out: Array) -> None:
    stop = one.size * (part + 1) // parts
    for i in range(one.size * part // parts, stop, LANES):
        write(out, i, read(one, i, stop - i) + read(other, i, stop - i), stop - i)


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
    alike = one.strides == other.strides == out.strides
    parts = plan_parts(one.size * NANOSECONDS_PER_FLOAT) if alike else 1
    if parts > 1 and ENABLED and one.dtype == other.dtype == out.dtype == np.float32:
        flat = [_in_memory_order(array) for array in (one, other, out)]
        if flat[0].flags.c_contiguous:
            run_parallel(_add_parts, *(array.reshape(-1) for array in flat), parts=parts)
            return out
    np.add(one, other, out=out)
    return out


def _in_memory_order(array: Array) -> Array:
    """Return a view whose axes go from the longest step to the shortest."""
    return array.transpose(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
