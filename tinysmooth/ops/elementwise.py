"""Functions that treat each element by itself, with NumPy's broadcasting.

Where a function has a kink the rule takes the value PyTorch takes, and says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinysmooth import kernels
from tinysmooth.graph import Array, fresh
from tinysmooth.ops.arithmetic import check_broadcast
from tinysmooth.primitive import Recorded, primitive, unbroadcast

__all__ = [
    "abs",
    "exp",
    "log",
    "maximum",
    "minimum",
    "relu",
    "sigmoid",
    "sqrt",
    "tanh",
    "where",
]


@primitive
def exp(x: Array) -> Recorded:
    """Exponential of ``x``; its own slope.

    Parameters
    ----------
    x : array
        Any shape, any numeric dtype.

    Returns
    -------
    Tensor, shape and floating dtype of ``x``
    """
    out = np.exp(x)
    return out, {"x": lambda grad: grad * out}


@primitive
def log(x: Array) -> Recorded:
    """Natural logarithm; the slope is 1/x. At 0 it is -inf and below NaN, with NumPy's warning.

    Parameters
    ----------
    x : array
        Any shape, any numeric dtype.

    Returns
    -------
    Tensor, shape and floating dtype of ``x``
    """
    return np.log(x), {"x": lambda grad: grad / x}


@primitive
def sqrt(x: Array) -> Recorded:
    """Square root; the slope is 1 / (2 sqrt(x)), infinite at 0.

    Parameters
    ----------
    x : array
        Any shape, any numeric dtype.

    Returns
    -------
    Tensor, shape and floating dtype of ``x``
    """
    out = np.sqrt(x)
    return out, {"x": lambda grad: grad / (2 * out)}


@primitive
def abs(x: Array) -> Recorded:
    """Absolute value; the slope is the sign, 0 at the kink x = 0 (PyTorch's choice).

    Parameters
    ----------
    x : array
        Any shape, any numeric dtype.

    Returns
    -------
    Tensor, shape and dtype of ``x``
    """
    return np.abs(x), {"x": lambda grad: grad * np.sign(x)}


@primitive
def maximum(a: Array, b: Array) -> Recorded:
    """Larger of two arrays that broadcast together, element by element.

    The gradient goes to the larger one; at a tie each gets half, beside NaN both get all of it
    (PyTorch's choices). NaN passes on.

    Parameters
    ----------
    a, b : array
        Any shapes that broadcast together; the wider dtype decides.

    Returns
    -------
    Tensor, the common shape

    Raises
    ------
    ValueError
        If the shapes do not broadcast together.
    """
    check_broadcast("maximum", a, b)
    a_shape, b_shape = a.shape, b.shape
    return np.maximum(a, b), {
        "a": lambda grad: unbroadcast(_won(grad, a == b, a < b), a_shape),
        "b": lambda grad: unbroadcast(_won(grad, a == b, b < a), b_shape),
    }


@primitive
def minimum(a: Array, b: Array) -> Recorded:
    """Smaller of two arrays that broadcast together; at a tie each gets half the gradient.

    Parameters
    ----------
    a, b : array
        Any shapes that broadcast together; the wider dtype decides.

    Returns
    -------
    Tensor, the common shape

    Raises
    ------
    ValueError
        If the shapes do not broadcast together.
    """
    check_broadcast("minimum", a, b)
    a_shape, b_shape = a.shape, b.shape
    return np.minimum(a, b), {
        "a": lambda grad: unbroadcast(_won(grad, a == b, a > b), a_shape),
        "b": lambda grad: unbroadcast(_won(grad, a == b, b > a), b_shape),
    }


@primitive
def where(condition: Array, a: Array, b: Array) -> Recorded:
    """Take ``a`` where ``condition`` is true and ``b`` elsewhere; all three broadcast together.

    The condition is a choice, not a number: no gradient flows to it, and none flows to the side
    that was not taken (it is exactly 0, even where that side is infinite).

    Parameters
    ----------
    condition : array
        Any shape; true where it is not zero.
    a, b : array
        Shapes that broadcast with it and with each other.

    Returns
    -------
    Tensor, the common shape

    Raises
    ------
    ValueError
        If the shapes do not broadcast together.
    """
    check_broadcast("where", condition, a, b)
    chosen, shape, dtype = condition.astype(bool), condition.shape, condition.dtype
    a_shape, b_shape = a.shape, b.shape
    return np.where(chosen, a, b), {
        "condition": lambda grad: np.zeros(shape, dtype),
        "a": lambda grad: unbroadcast(np.where(chosen, grad, 0), a_shape),
        "b": lambda grad: unbroadcast(np.where(chosen, 0, grad), b_shape),
    }


@primitive
def relu(x: Array) -> Recorded:
    """Rectified linear unit ``max(x, 0)``; slope 1 above 0, and 0 at 0 and below. NaN passes on.

    Parameters
    ----------
    x : array
        Any shape, any numeric dtype.

    Returns
    -------
    Tensor, shape and dtype of ``x``
    """
    if x.dtype not in (np.float32, np.float64):
        return np.maximum(x, 0), {"x": lambda grad: np.where(x <= 0, 0, grad)}
    order, back = _memory_order(x)
    out = kernels.relu_forward(_by_rows(x, order, x.dtype))

    def rule(grad: Array) -> Array:
        return kernels.relu_backward(_by_rows(grad, order, out.dtype), out).transpose(back)

    return out.transpose(back), {"x": fresh(rule)}


@primitive
def sigmoid(x: Array) -> Recorded:
    """Logistic function ``1 / (1 + exp(-x))``; slope ``s (1 - s)``. Never overflows.

    Parameters
    ----------
    x : array
        Any shape, any numeric dtype.

    Returns
    -------
    Tensor, shape and floating dtype of ``x``
    """
    if x.dtype.kind != "f":  # unsigned integers have no negative
        x = x.astype(np.float64)
    order, back = _memory_order(x)
    out, small = kernels.sigmoid_forward(_by_rows(x, order, x.dtype))

    def rule(grad: Array) -> Array:
        return kernels.sigmoid_backward(_by_rows(grad, order, small.dtype), small).transpose(back)

    return out.transpose(back), {"x": fresh(rule)}


@primitive
def tanh(x: Array) -> Recorded:
    """Hyperbolic tangent; slope ``1 - tanh(x)**2``.

    Parameters
    ----------
    x : array
        Any shape, any numeric dtype.

    Returns
    -------
    Tensor, shape and floating dtype of ``x``
    """
    out = np.tanh(x)

    def rule(grad: Array) -> Array:
        slope: Array = np.asarray(out * out)
        np.subtract(1, slope, out=slope)
        np.multiply(grad, slope, out=slope)
        return slope

    return out, {"x": fresh(rule)}


def _memory_order(x: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes from the slowest to the fastest in memory, and the way back.

    So images stay NHWC.
    """
    axes = tuple(range(x.ndim))
    if x.flags.c_contiguous:
        return axes, axes
    slowest_first = np.argsort([-np.abs(stride) for stride in x.strides], kind="stable")
    order = tuple(int(axis) for axis in slowest_first)
    return order, tuple(map(order.index, axes))


def _by_rows(array: Array, order: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array with its axes in that order, copied where they do not lie so."""
    return np.asarray(array.transpose(order), dtype, order="C")


def _won(grad: Array, tied: Array, lost: Array) -> Array:
    """Return the gradient of a side: half of it at a tie, exactly 0 where the side lost."""
    return np.where(lost, 0, np.where(tied, grad / 2, grad))
