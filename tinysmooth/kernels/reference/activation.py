"""ReLU in NumPy: ``max(x, 0)``, and the gradient where x is not at or below 0.

Written with ``not (x <= 0)`` so that NaN, which is neither above nor below, passes on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["relu_backward", "relu_forward"]

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
