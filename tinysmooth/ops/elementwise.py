"""Operations that treat each element by itself, with NumPy's broadcasting.

Derivatives are written for one element; ``unbroadcast`` adds up what came back from the copies that
broadcasting made. Where a function has a kink the rule takes the value PyTorch takes, and says so.
"""

from __future__ import annotations

import numpy as np

from tinysmooth import kernels
from tinysmooth.graph import Array
from tinysmooth.primitive import Recorded, primitive, unbroadcast

__all__ = [
    "abs",
    "add",
    "divide",
    "exp",
    "log",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "power",
    "relu",
    "sigmoid",
    "sqrt",
    "subtract",
    "tanh",
    "where",
]


@primitive
def add(a: Array, b: Array) -> Recorded:
    """Sum ``a + b`` of two arrays that broadcast together; both slopes are 1."""
    _check_broadcast("add", a, b)
    a_shape, b_shape = a.shape, b.shape
    return a + b, {
        "a": lambda grad: unbroadcast(grad, a_shape),
        "b": lambda grad: unbroadcast(grad, b_shape),
    }


@primitive
def subtract(a: Array, b: Array) -> Recorded:
    """Difference ``a - b`` of two arrays that broadcast together; slopes 1 and -1."""
    _check_broadcast("subtract", a, b)
    a_shape, b_shape = a.shape, b.shape
    return np.subtract(a, b), {
        "a": lambda grad: unbroadcast(grad, a_shape),
        "b": lambda grad: -unbroadcast(grad, b_shape),
    }


@primitive
def multiply(a: Array, b: Array) -> Recorded:
    """Product ``a * b`` of two arrays that broadcast together; each slope is the other factor."""
    _check_broadcast("multiply", a, b)
    a_shape, b_shape = a.shape, b.shape
    return a * b, {
        "a": lambda grad: unbroadcast(grad * b, a_shape),
        "b": lambda grad: unbroadcast(grad * a, b_shape),
    }


@primitive
def divide(a: Array, b: Array) -> Recorded:
    """Quotient ``a / b`` of two arrays that broadcast together; slopes 1/b and -a/b**2."""
    _check_broadcast("divide", a, b)
    a_shape, b_shape = a.shape, b.shape
    out = a / b
    return out, {
        "a": lambda grad: unbroadcast(grad / b, a_shape),
        "b": lambda grad: unbroadcast(-grad * (out / b), b_shape),
    }


@primitive
def power(a: Array, b: Array) -> Recorded:
    """Power ``a ** b`` of two arrays that broadcast together.

    Slopes are ``b * a**(b-1)`` and ``log(a) * a**b``. At ``b = 0`` the first is 0 for every ``a``,
    and at ``a = 0`` the second is 0 for ``b > 0``, the limits of both.

    Raises
    ------
    ValueError
        If an integer array comes with a negative integer power (NumPy's rule).
    """
    _check_broadcast("power", a, b)
    a_shape, b_shape = a.shape, b.shape
    out = a**b

    def a_rule(grad: Array) -> Array:
        slope = np.where(b == 0, 0, b * np.power(a, np.where(b == 0, 1, b - 1)))
        return unbroadcast(grad * slope, a_shape)

    def b_rule(grad: Array) -> Array:
        flat = (a == 0) & (b > 0)
        return unbroadcast(grad * np.where(flat, 0, np.log(np.where(flat, 1, a)) * out), b_shape)

    return out, {"a": a_rule, "b": b_rule}


@primitive
def negative(x: Array) -> Recorded:
    """Minus ``x``; the slope is -1."""
    return -x, {"x": lambda grad: -grad}


@primitive
def exp(x: Array) -> Recorded:
    """Exponential of ``x``; its own slope."""
    out = np.exp(x)
    return out, {"x": lambda grad: grad * out}


@primitive
def log(x: Array) -> Recorded:
    """Natural logarithm; the slope is 1/x. At 0 it is -inf and below NaN, with NumPy's warning."""
    return np.log(x), {"x": lambda grad: grad / x}


@primitive
def sqrt(x: Array) -> Recorded:
    """Square root; the slope is 1 / (2 sqrt(x)), infinite at 0."""
    out = np.sqrt(x)
    return out, {"x": lambda grad: grad / (2 * out)}


@primitive
def abs(x: Array) -> Recorded:
    """Absolute value; the slope is the sign, 0 at the kink x = 0 (PyTorch's choice)."""
    return np.abs(x), {"x": lambda grad: grad * np.sign(x)}


@primitive
def maximum(a: Array, b: Array) -> Recorded:
    """Larger of two arrays that broadcast together, element by element.

    The gradient goes to the larger one; at a tie each gets half (PyTorch's choice). NaN passes on.
    """
    _check_broadcast("maximum", a, b)
    a_shape, b_shape = a.shape, b.shape
    return np.maximum(a, b), {
        "a": lambda grad: unbroadcast(grad * _share(a > b, a == b, grad), a_shape),
        "b": lambda grad: unbroadcast(grad * _share(b > a, a == b, grad), b_shape),
    }


@primitive
def minimum(a: Array, b: Array) -> Recorded:
    """Smaller of two arrays that broadcast together; at a tie each gets half the gradient."""
    _check_broadcast("minimum", a, b)
    a_shape, b_shape = a.shape, b.shape
    return np.minimum(a, b), {
        "a": lambda grad: unbroadcast(grad * _share(a < b, a == b, grad), a_shape),
        "b": lambda grad: unbroadcast(grad * _share(b < a, a == b, grad), b_shape),
    }


@primitive
def where(condition: Array, a: Array, b: Array) -> Recorded:
    """Take ``a`` where ``condition`` is true and ``b`` elsewhere; all three broadcast together.

    The condition is a choice, not a number: no gradient flows to it, and none flows to the side
    that was not taken (it is exactly 0, even where that side is infinite).
    """
    _check_broadcast("where", condition, a, b)
    chosen = condition.astype(bool)
    a_shape, b_shape = a.shape, b.shape
    return np.where(chosen, a, b), {
        "a": lambda grad: unbroadcast(np.where(chosen, grad, 0), a_shape),
        "b": lambda grad: unbroadcast(np.where(chosen, 0, grad), b_shape),
    }


@primitive
def relu(x: Array) -> Recorded:
    """Rectified linear unit ``max(x, 0)``; slope 1 above 0, and 0 at 0 and below. NaN passes on."""
    if x.dtype not in (np.float32, np.float64):
        return np.maximum(x, 0), {"x": lambda grad: np.where(x <= 0, 0, grad)}
    shape, order = x.shape, _memory_order(x)
    flat = np.ascontiguousarray(x.transpose(order)).reshape(-1)
    back = tuple(int(axis) for axis in np.argsort(order))

    def unflatten(out: Array) -> Array:
        return out.reshape([shape[axis] for axis in order]).transpose(back)

    def rule(grad: Array) -> Array:
        same_order = np.ascontiguousarray(grad.transpose(order), flat.dtype).reshape(-1)
        return unflatten(kernels.relu_backward(same_order, flat))

    return unflatten(kernels.relu_forward(flat)), {"x": rule}


@primitive
def sigmoid(x: Array) -> Recorded:
    """Logistic function ``1 / (1 + exp(-x))``; slope ``s (1 - s)``. Never overflows."""
    small = np.exp(-np.abs(x))
    out = np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(small.dtype)
    # 1 - s is computed without subtracting, so that the slope keeps its digits far out.
    rest = np.where(x >= 0, small / (1 + small), 1 / (1 + small)).astype(small.dtype)
    return out, {"x": lambda grad: grad * out * rest}


@primitive
def tanh(x: Array) -> Recorded:
    """Hyperbolic tangent; slope ``1 - tanh(x)**2``."""
    out = np.tanh(x)
    return out, {"x": lambda grad: grad * (1 - out * out)}


def _memory_order(x: Array) -> tuple[int, ...]:
    """Return the axes from the slowest to the fastest in memory, so that images stay NHWC."""
    slowest_first = np.argsort([-np.abs(stride) for stride in x.strides], kind="stable")
    return tuple(int(axis) for axis in slowest_first)


def _share(wins: Array, ties: Array, grad: Array) -> Array:
    return wins.astype(grad.dtype) + ties.astype(grad.dtype) / 2


def _check_broadcast(where: str, *arrays: Array) -> None:
    try:
        np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise ValueError(
            f"{where}: the shapes are {shapes}; expected shapes that broadcast together"
        ) from None
