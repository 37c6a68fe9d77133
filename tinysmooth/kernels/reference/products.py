"""Matrix products in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["linear", "matmul"]

Array = NDArray[Any]


def matmul(a: Array, b: Array) -> Array:
    """Return ``a @ b``.

    Parameters
    ----------
    a : ndarray (M, P)
    b : ndarray (P, Q)
        Both may lie in memory either way: by rows, or by columns as a transposed view does.

    Returns
    -------
    ndarray (M, Q)
    """
    # NumPy takes three times as long for @ where the inner length is 1: it does not call BLAS then.
    out: Array = a * b if a.shape[1] == 1 else a @ b
    return out


def linear(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    """Return ``x @ weight.T + bias``, and the larger of that and 0 if asked for.

    Parameters
    ----------
    x : ndarray (N, P)
    weight : ndarray (Q, P)
    bias : ndarray (Q,), optional
        Of the dtype of the product.
    relu : bool

    Returns
    -------
    ndarray (N, Q)
    """
    out = matmul(x, weight.T)
    if bias is not None:
        out += bias
    return np.maximum(out, 0, out=out) if relu else out
