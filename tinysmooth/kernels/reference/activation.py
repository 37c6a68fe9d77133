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
    """Return the elementwise larger of ``x`` and 0, a flat array of the same dtype."""
    return np.maximum(x, 0)


def relu_backward(grad: Array, x: Array) -> Array:
    """Return ``grad`` where ``x`` is not at or below 0, and 0 elsewhere; both flat."""
    return np.where(x <= 0, 0, grad)
