"""Functions that treat each element by itself, with NumPy's broadcasting.

Where a function has a kink the rule takes the value PyTorch takes, and says so.
"""

from __future__ import annotations

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
    order = _memory_order(x)
    back = tuple(map(order.index, range(x.ndim)))
    out = kernels.relu_forward(np.asarray(x.transpose(order), order="C"))

    def rule(grad: Array) -> Array:
        same_order = np.asarray(grad.transpose(order), out.dtype, order="C")
        return kernels.relu_backward(same_order, out).transpose(back)

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
    # s(x) is 1 / (1 + e^-x), and as well e^x / (1 + e^x): each side of 0 takes the exponential that
    # is at most 1. The maximum with a truth value, 0 or 1, chooses the numerator. The rest to 1 is
    # computed without subtracting, so that the slope keeps its digits far out.
    small = np.exp(-np.abs(x))
    out = np.maximum(x >= 0, small) / (1 + small)
    rest = np.maximum(x < 0, small) / (1 + small)
    return out, {"x": lambda grad: grad * out * rest}


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
    return out, {"x": lambda grad: grad * (1 - out * out)}


def _memory_order(x: Array) -> tuple[int, ...]:
    """Return the axes from the slowest to the fastest in memory, so that images stay NHWC."""
    if x.flags.c_contiguous:
        return tuple(range(x.ndim))
    slowest_first = np.argsort([-np.abs(stride) for stride in x.strides], kind="stable")
    return tuple(int(axis) for axis in slowest_first)


def _won(grad: Array, tied: Array, lost: Array) -> Array:
    """Return the gradient of a side: half of it at a tie, exactly 0 where the side lost."""
    return np.where(lost, 0, np.where(tied, grad / 2, grad))
