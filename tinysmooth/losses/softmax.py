"""Softmax, its logarithm, and the logarithm of the sum of exponentials.

All three subtract the largest logit first: softmax does not notice a common shift, and after it no
exponential overflows. The logarithm is taken of the sum *without* the winner's ``exp(0) = 1``,
by ``log1p``, and subtracted from ``z - max``: never ``z - (max + log(...))``, which loses
``|log sum exp|`` rounding errors (Blanchard, Higham & Higham, *Accurately computing the log-sum-exp
and softmax functions*, IMA J. Numer. Anal. 41, 2021).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_array, check_axis, check_flag, check_floating
from tinysmooth.graph import Array
from tinysmooth.primitive import Recorded, primitive

__all__ = ["log_softmax", "logsumexp", "softmax"]


@primitive
def softmax(x: Any, axis: int = -1) -> Recorded:
    """Probabilities ``exp(x_k) / sum_j exp(x_j)`` along an axis.

    Parameters
    ----------
    x : Tensor or array, float32 or float64
        Logits, any shape with at least one axis; integers become float64.
    axis : int
        The axis of the classes, not empty.

    Returns
    -------
    Tensor
        Same shape and dtype. A row that holds NaN or +inf, or -inf only, becomes NaN.

    Raises
    ------
    TypeError
        If ``x`` is not numeric, or is float16 or boolean; if ``axis`` is not an integer.
    ValueError
        If ``axis`` is out of range or empty.

    Notes
    -----
    In float32 every entry is within two units in the last place of the true value, for large
    spreads too. In float64 the relative error of an entry grows with the distance of its logit from
    the largest one, to about that many roundings.

    Its Jacobian is ``diag(p) - p p^T``, so the pullback is ``p * (grad - sum(p * grad))``.

    Examples
    --------
    >>> softmax([1000.0, 1000.0]).data
    array([0.5, 0.5])
    """
    x, axis = _checked("softmax", x, axis)
    rows = _to_rows(x, axis)
    probs = _from_rows(kernels.softmax_rows(rows), x.shape, axis)

    def rule(grad: Array) -> Array:
        weighted = probs * grad
        return np.asarray(weighted - probs * weighted.sum(axis=axis, keepdims=True))

    return probs, {"x": rule}


@primitive
def log_softmax(x: Any, axis: int = -1) -> Recorded:
    """Logarithm of `softmax`, in nats, accurate where the softmax is rounded to 0 or to 1.

    Parameters
    ----------
    x : Tensor or array, float32 or float64
        Logits, any shape with at least one axis; integers become float64.
    axis : int
        The axis of the classes, not empty.

    Returns
    -------
    Tensor
        Same shape and dtype, no entry above 0. The log-probability of a winner keeps full
        relative accuracy: -2e-09 stays -2e-09, where ``log(softmax(x))`` gives 0.

    Raises
    ------
    TypeError, ValueError
        As `softmax`.

    Notes
    -----
    The pullback is ``grad - p * sum(grad)``.

    Examples
    --------
    >>> print(log_softmax([0.0, -20.0]).data)
    [-2.06115362e-09 -2.00000000e+01]
    """
    x, axis = _checked("log_softmax", x, axis)
    rows = _to_rows(x, axis)
    out = _from_rows(kernels.log_softmax_rows(rows), x.shape, axis)

    def rule(grad: Array) -> Array:
        return np.asarray(grad - np.exp(out) * grad.sum(axis=axis, keepdims=True))

    return out, {"x": rule}


@primitive
def logsumexp(x: Any, axis: int = -1, keepdims: bool = False) -> Recorded:
    """Logarithm of the sum of exponentials along an axis: a smooth maximum.

    ``max(x) <= logsumexp(x) <= max(x) + log K``.

    Parameters
    ----------
    x : Tensor or array, float32 or float64
        Any shape with at least one axis; integers become float64.
    axis : int
        The axis to reduce, not empty.
    keepdims : bool
        Keep that axis with length 1.

    Returns
    -------
    Tensor
        Same dtype, without ``axis``. -inf where all entries are -inf; +inf where one is +inf.

    Raises
    ------
    TypeError, ValueError
        As `softmax`; TypeError if ``keepdims`` is not a boolean.

    Notes
    -----
    Its gradient is the softmax.

    Examples
    --------
    >>> print(logsumexp([-200.0, -200.0, -200.0]).item())
    -198.9013877113319
    """
    x, axis = _checked("logsumexp", x, axis)
    keepdims = check_flag("logsumexp", "keepdims", keepdims)
    top = x.max(axis=axis, keepdims=True)
    with np.errstate(invalid="ignore"):
        log_probs = _from_rows(kernels.log_softmax_rows(_to_rows(x, axis)), x.shape, axis)
        out = np.where(np.isinf(top), top, top - log_probs.max(axis=axis, keepdims=True))
    value = out if keepdims else out.squeeze(axis)

    def rule(grad: Array) -> Array:
        probs = _from_rows(kernels.softmax_rows(_to_rows(x, axis)), x.shape, axis)
        return np.asarray(probs * (grad if keepdims else np.expand_dims(grad, axis)))

    return value, {"x": rule}


def _checked(where: str, x: Any, axis: object) -> tuple[Array, int]:
    array = x if isinstance(x, np.ndarray) else check_array(where, "x", x)
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    check_floating(where, "x", array, "Convert with array.astype(numpy.float32)")
    chosen = check_axis(where, "axis", axis, array.ndim)
    if array.shape[chosen] == 0:
        raise ValueError(
            f"{where}: x has shape {array.shape}, no element on axis {chosen}; expected some"
        )
    return array, chosen


def _to_rows(x: Array, axis: int) -> Array:
    """Lay the axis out last, as C-contiguous rows (R, K)."""
    moved = np.moveaxis(x, axis, -1)
    return np.ascontiguousarray(moved).reshape(math.prod(moved.shape[:-1]), moved.shape[-1])


def _from_rows(rows: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Undo `_to_rows`; a view."""
    moved = (*shape[:axis], *shape[axis + 1 :], shape[axis])
    return np.moveaxis(rows.reshape(moved), -1, axis)
