"""The bias of a convolution or a linear layer, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["add_bias", "bias_gradient"]

Array = NDArray[Any]


def add_bias(out: Array, bias: Array) -> None:
    """Add one number a channel to every pixel, in place.

    Parameters
    ----------
    out : ndarray (..., K)
    bias : ndarray (K,)
        It is rounded to the dtype of ``out``, if that is narrower.
    """
    np.add(out, bias, out=out)


def bias_gradient(grad: Array) -> Array:
    """Return the gradient of the bias: the sum over all pixels, in float64 and then rounded.

    The compiled version adds up some numbers at a time in float32.

    Parameters
    ----------
    grad : ndarray (..., K)

    Returns
    -------
    ndarray (K,)
    """
    pixels = tuple(range(grad.ndim - 1))
    total: Array = grad.sum(axis=pixels, dtype=np.float64).astype(grad.dtype)
    return total
