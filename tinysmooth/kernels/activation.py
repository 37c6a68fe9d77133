"""ReLU, compiled: one pass over memory, in threads.

NumPy needs a mask and a selection for the backward, each a pass of its own. Here the loop is plain;
LLVM turns the comparison into a blend of whole registers, and memory sets the pace.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.threads import run_parallel

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


def relu_forward(x: Array) -> Array:
    """Return the elementwise larger of ``x`` and 0, a flat array of the same dtype."""
    out = memory.empty(x.shape, x.dtype)
    run_parallel(_forward_parts, x, out, x.dtype.type(0), work=NANOSECONDS * x.size)
    return out


def relu_backward(grad: Array, x: Array) -> Array:
    """Return ``grad`` where ``x`` is not at or below 0, and 0 elsewhere; both flat."""
    out = memory.empty(grad.shape, grad.dtype)
    run_parallel(_backward_parts, grad, x, out, x.dtype.type(0), work=NANOSECONDS * x.size)
    return out
