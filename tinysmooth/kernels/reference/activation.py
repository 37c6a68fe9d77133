"""ReLU and the sigmoid in NumPy.

ReLU is written with ``not (x <= 0)`` so that NaN, which is neither above nor below, passes on. The
sigmoid is 1 / (1 + e^-x), and as well e^x / (1 + e^x): each side of 0 takes the exponential that is
at most 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["relu_backward", "relu_forward", "sigmoid_backward", "sigmoid_forward"]

Array = NDArray[Any]


def relu_forward(x: Array) -> Array:
    """Return the elementwise larger of ``x`` and 0.

    Parameters
    ----------
    x : ndarray of float32 or float64
        By rows, of any shape.

    Returns
    -------
    ndarray, shape and dtype of ``x``
    """
    return np.maximum(x, 0)


def relu_backward(grad: Array, out: Array) -> Array:
    """Return ``grad`` where ``out`` is not at or below 0, and 0 elsewhere.

    Parameters
    ----------
    grad, out : ndarray
        Of one shape and dtype, by rows; ``out`` is what `relu_forward` gave, or its argument: the
        one is above 0 where the other is.

    Returns
    -------
    ndarray, shape and dtype of both
    """
    return np.where(out <= 0, 0, grad)


def sigmoid_forward(x: Array) -> tuple[Array, Array]:
    """Return ``1 / (1 + exp(-x))``, without overflow, and ``exp(-|x|)`` for the backward.

    Parameters
    ----------
    x : ndarray, floating
        By rows, of any shape.

    Returns
    -------
    out, small : ndarray, shape and dtype of ``x``
    """
    small = np.exp(-np.abs(x))
    # The maximum with a truth value, 0 or 1, chooses the numerator.
    return np.maximum(x >= 0, small) / (1 + small), small


def sigmoid_backward(grad: Array, small: Array) -> Array:
    """Return ``grad s (1 - s)``, without subtracting: the slope keeps its digits far out.

    Parameters
    ----------
    grad, small : ndarray
        Of one shape and dtype, by rows; ``small`` is what `sigmoid_forward` gave.

    Returns
    -------
    ndarray, shape and dtype of both
    """
    out: Array = grad * (small / ((1 + small) * (1 + small)))
    return out
