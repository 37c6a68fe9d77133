"""ReLU and the sigmoid, compiled: one pass over memory, in threads.

NumPy needs a mask and a selection for the backward of ReLU, each a pass of its own. Here the loop
is plain; LLVM turns the comparison into a blend of whole registers, and memory sets the pace.

The sigmoid takes NumPy seven passes. Both directions need one exponential that is at most 1, which
is kept::

    small = exp(-|x|)       s(x) = 1 / (1 + small), or small / (1 + small) for x below 0
                            slope = small / (1 + small)^2, on either side
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory
from tinysmooth.kernels.exponential import exp_of_difference
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.normalisation.lanes import read, write
from tinysmooth.kernels.prepared import NO_FLOATS, Given, Prepared, remembered
from tinysmooth.kernels.reference import activation as reference
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts
from tinysmooth.kernels.vectors import LANES, maximum, select_greater, splat

__all__ = ["relu_backward", "relu_forward", "sigmoid_backward", "sigmoid_forward"]

Array = NDArray[Any]

NANOSECONDS = 0.3
"""Rough cost of one element, one core; what memory takes is most of it."""

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
def _backward_parts(part, parts, grad, out, slope, zero):  # type: ignore[no-untyped-def]
    here = slice(out.size * part // parts, out.size * (part + 1) // parts)
    values, grads, results = out[here], grad[here], slope[here]
    for i in range(values.size):
        value, passed = values[i], grads[i]  # both are read: only then is there no branch
        results[i] = zero if value <= zero else passed


@jit
def _sigmoid_parts(part: int, parts: int, x: Array, out: Array, kept: Array) -> None:
    zero, one, stop = splat(0.0), splat(1.0), x.size * (part + 1) // parts
    for i in range(x.size * part // parts, stop, LANES):
        values = read(x, i, stop - i)
        small = exp_of_difference(zero - maximum(values, zero - values), zero)
        above = select_greater(zero, values, small, one)
        write(out, i, above / (one + small), stop - i)
        write(kept, i, small, stop - i)


@jit
def _slope_parts(part: int, parts: int, grad: Array, kept: Array, out: Array) -> None:
    one, stop = splat(1.0), kept.size * (part + 1) // parts
    for i in range(kept.size * part // parts, stop, LANES):
        small = read(kept, i, stop - i)
        share = one / (one + small)
        write(out, i, read(grad, i, stop - i) * (small * share * share), stop - i)


@remembered
def _prepare(size: int, dtype: np.dtype[Any], name: str, threads: int) -> Prepared:
    parts, array = plan_parts(NANOSECONDS * size), Given((size,), dtype)
    if name == "sigmoid":
        return Prepared(_sigmoid_parts, parts, array, array, array)
    if name == "slope":
        return Prepared(_slope_parts, parts, array, array, array)
    if name == "mask":
        return Prepared(_backward_parts, parts, array, array, array, dtype.type(0))
    return Prepared(_forward_parts, parts, array, array, dtype.type(0))


def _run(name: str, *arrays: Array) -> Array:
    """Run a kernel from arrays of one shape and dtype to another one, which is returned."""
    out = memory.empty(arrays[0].shape, arrays[0].dtype)
    _prepare(out.size, out.dtype, name, get_num_threads()).run(NO_FLOATS, *arrays, out)
    return out


def relu_forward(x: Array) -> Array:
    """Return the elementwise larger of ``x`` and 0; see the reference."""
    return _run("relu", x)


def relu_backward(grad: Array, out: Array) -> Array:
    """Return ``grad`` where ``out`` is not at or below 0, and 0 elsewhere; see the reference."""
    return _run("mask", grad, out)


def sigmoid_forward(x: Array) -> tuple[Array, Array]:
    """Return the sigmoid and ``exp(-|x|)``; see the reference, which runs for all but float32."""
    if x.dtype != np.float32:
        return reference.sigmoid_forward(x)
    out = memory.empty(x.shape, x.dtype)
    return out, _run("sigmoid", x, out)


def sigmoid_backward(grad: Array, small: Array) -> Array:
    """Return ``grad`` times the slope; see the reference, which runs for all but float32."""
    if grad.dtype == small.dtype == np.float32:
        return _run("slope", grad, small)
    return reference.sigmoid_backward(grad, small)
