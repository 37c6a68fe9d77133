"""Arithmetic of arrays, element by element, with NumPy's broadcasting.

Derivatives are written for one element; ``unbroadcast`` adds up what came back from the copies that
broadcasting made.
"""

from __future__ import annotations

import numpy as np

from tinysmooth.graph import Array
from tinysmooth.kernels import addition
from tinysmooth.primitive import Recorded, primitive, unbroadcast

__all__ = ["add", "check_broadcast", "divide", "multiply", "negative", "power", "subtract"]


@primitive
def add(a: Array, b: Array) -> Recorded:
    """Sum ``a + b`` of two arrays that broadcast together; both slopes are 1."""
    check_broadcast("add", a, b)
    a_shape, b_shape = a.shape, b.shape
    # Arrays that lie alike, such as a residual and its branch, are added in all threads.
    alike = a_shape == b_shape and a.dtype == b.dtype
    return addition.add(a, b) if alike else a + b, {
        "a": lambda grad: unbroadcast(grad, a_shape),
        "b": lambda grad: unbroadcast(grad, b_shape),
    }


@primitive
def subtract(a: Array, b: Array) -> Recorded:
    """Difference ``a - b`` of two arrays that broadcast together; slopes 1 and -1."""
    check_broadcast("subtract", a, b)
    a_shape, b_shape = a.shape, b.shape
    return np.subtract(a, b), {
        "a": lambda grad: unbroadcast(grad, a_shape),
        "b": lambda grad: -unbroadcast(grad, b_shape),
    }


@primitive
def multiply(a: Array, b: Array) -> Recorded:
    """Product ``a * b`` of two arrays that broadcast together; each slope is the other factor."""
    check_broadcast("multiply", a, b)
    a_shape, b_shape = a.shape, b.shape
    return a * b, {
        "a": lambda grad: unbroadcast(grad * b, a_shape),
        "b": lambda grad: unbroadcast(grad * a, b_shape),
    }


@primitive
def divide(a: Array, b: Array) -> Recorded:
    """Quotient ``a / b`` of two arrays that broadcast together; slopes 1/b and -a/b**2."""
    check_broadcast("divide", a, b)
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
    and at ``a = 0`` the second is 0 for ``b > 0``, the limits of both; for ``0 ** 0`` it is set to
    0 as well.

    Raises
    ------
    ValueError
        If an integer array comes with a negative integer power (NumPy's rule).
    """
    check_broadcast("power", a, b)
    a_shape, b_shape = a.shape, b.shape
    out = a**b

    def a_rule(grad: Array) -> Array:
        slope = np.where(b == 0, 0, b * np.power(a, np.where(b == 0, 1, b - 1)))
        return unbroadcast(grad * slope, a_shape)

    def b_rule(grad: Array) -> Array:
        flat = (a == 0) & (b >= 0)
        return unbroadcast(grad * np.where(flat, 0, np.log(np.where(flat, 1, a)) * out), b_shape)

    return out, {"a": a_rule, "b": b_rule}


@primitive
def negative(x: Array) -> Recorded:
    """Minus ``x``; the slope is -1."""
    return -x, {"x": lambda grad: -grad}


def check_broadcast(where: str, *arrays: Array) -> None:
    """Refuse shapes that do not broadcast together, in the name of the operation ``where``."""
    try:
        np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise ValueError(
            f"{where}: the shapes are {shapes}; expected shapes that broadcast together"
        ) from None
