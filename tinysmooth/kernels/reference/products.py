"""Matrix products in plain NumPy."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

__all__ = ["matmul"]

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
