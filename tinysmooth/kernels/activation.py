"""ReLU, compiled: one pass over memory, in threads.

NumPy needs a mask and a selection for the backward, each a pass of its own. Here the loop is plain;
LLVM turns the comparison into a blend of whole registers, and memory sets the pace.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.prepared import NO_FLOATS, Given, Prepared, remembered
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts

__all__ = ["relu_backward", "relu_forward"]

Array = NDArray[Any]

NANOSECONDS = 0.3
"""Rough cost of one element, one core."""

# The kernels are handed their 0 in the dtype of the array: a literal would make the choice between
# it and a float32 a float64, and the loop half as wide.


@jit
def _forward_parts(part, parts, x, out, zero):  # type: ignore[no-untyped-def]
    here = slice(x.size * part // parts, x.size * (part + 1) // parts)
    values, results = x[here], out[here]
    for i in range(values.size):
        value = values[i]
        results[i] = zero if value <= zero else value


@jit
def _backward_parts(part, parts, grad, x, out, zero):  # type: ignore[no-untyped-def]
    here = slice(x.size * part // parts, x.size * (part + 1) // parts)
    values, grads, results = x[here], grad[here], out[here]
    for i in range(values.size):
        value, passed = values[i], grads[i]  # both are read: only then is there no branch
        results[i] = zero if value <= zero else passed


@remembered
def _prepare(size: int, dtype: np.dtype[Any], backward: bool, threads: int) -> Prepared:
    parts, array = plan_parts(NANOSECONDS * size), Given((size,), dtype)
    if backward:
        return Prepared(_backward_parts, parts, array, array, array, dtype.type(0))
    return Prepared(_forward_parts, parts, array, array, dtype.type(0))


def relu_forward(x: Array) -> Array:
    """Return the elementwise larger of ``x`` and 0; see the reference."""
    out = memory.empty(x.shape, x.dtype)
    _prepare(x.size, x.dtype, False, get_num_threads()).run(NO_FLOATS, x, out)
    return out


def relu_backward(grad: Array, out: Array) -> Array:
    """Return ``grad`` where ``out`` is not at or below 0, and 0 elsewhere; see the reference."""
    slope = memory.empty(grad.shape, grad.dtype)
    _prepare(out.size, out.dtype, True, get_num_threads()).run(NO_FLOATS, grad, out, slope)
    return slope
