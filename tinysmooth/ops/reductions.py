"""Operations that reduce axes: sum, mean, largest and smallest element.

The adjoint of adding numbers up is handing the gradient to every one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinysmooth.checks import check_axis, check_flag
from tinysmooth.graph import Array
from tinysmooth.primitive import Recorded, primitive

__all__ = ["max", "mean", "min", "sum"]


@primitive
def sum(x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Recorded:
    """Sum over an axis, several, or all (``axis=None``).

    Parameters
    ----------
    x : array
        Any shape.
    axis : int, tuple of int or None
        Axes to add up; negative numbers count from the end.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Tensor, the shape of ``x`` without the reduced axes

    Raises
    ------
    TypeError, ValueError
        If an axis is not an integer, out of range or given twice.
    """
    axes, keepdims = _checked("sum", x, axis, keepdims)
    shape = x.shape
    return x.sum(axis=axes, keepdims=keepdims), {
        "x": lambda grad: np.broadcast_to(_kept(grad, shape, axes), shape)
    }


@primitive
def mean(x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Recorded:
    """Mean over an axis, several, or all; each element's slope is 1 / (number of elements).

    Parameters
    ----------
    x : array
        Any shape.
    axis : int, tuple of int or None
        Axes to reduce; negative numbers count from the end.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Tensor, the shape of ``x`` without the reduced axes

    Raises
    ------
    ValueError
        If there is nothing to average, or an axis is out of range or given twice.
    """
    axes, keepdims = _checked("mean", x, axis, keepdims)
    shape = x.shape
    count = math.prod(shape[axis] for axis in axes)
    if count == 0:
        raise ValueError(f"mean: shape {shape} has no element along axis {axes}; expected some")
    return x.mean(axis=axes, keepdims=keepdims), {
        "x": lambda grad: np.broadcast_to(_kept(grad, shape, axes) / count, shape)
    }


@primitive
def max(x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Recorded:
    """Largest element along axes (``ts.max``); the gradient is split evenly among ties.

    That is what PyTorch's ``amax`` does; NaN passes on and gets the gradient.

    Parameters
    ----------
    x : array
        Any shape.
    axis : int, tuple of int or None
        Axes to reduce; negative numbers count from the end.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Tensor, the shape of ``x`` without the reduced axes

    Raises
    ------
    ValueError
        If there is no element to choose from, or an axis is out of range or given twice.
    """
    return _extreme("max", np.max, x, axis, keepdims)


@primitive
def min(x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Recorded:
    """Smallest element along axes (``ts.min``); the gradient is split evenly among ties.

    Parameters
    ----------
    x : array
        Any shape.
    axis : int, tuple of int or None
        Axes to reduce; negative numbers count from the end.
    keepdims : bool
        Keep the reduced axes with length 1.

    Returns
    -------
    Tensor, the shape of ``x`` without the reduced axes

    Raises
    ------
    ValueError
        If there is no element to choose from, or an axis is out of range or given twice.
    """
    return _extreme("min", np.min, x, axis, keepdims)


def _extreme(
    where: str, reduce: Callable[..., Any], x: Array, axis: object, keepdims: object
) -> Recorded:
    axes, keep = _checked(where, x, axis, keepdims)
    shape = x.shape
    if math.prod(shape[axis] for axis in axes) == 0:
        raise ValueError(f"{where}: shape {shape} has no element along axis {axes}; expected some")
    kept = reduce(x, axis=axes, keepdims=True)
    out = kept if keep else kept.reshape(tuple(n for i, n in enumerate(shape) if i not in axes))

    def rule(grad: Array) -> Array:
        chosen = (x == kept) | (np.isnan(x) & np.isnan(kept))
        share = chosen / chosen.sum(axis=axes, keepdims=True)
        return np.asarray(_kept(grad, shape, axes) * share.astype(grad.dtype))

    return out, {"x": rule}


def _checked(where: str, x: Array, axis: object, keepdims: object) -> tuple[tuple[int, ...], bool]:
    """Return the axes to reduce as a tuple in [0, ndim)."""
    keep = check_flag(where, "keepdims", keepdims)
    if axis is None:
        return tuple(range(x.ndim)), keep
    given = axis if isinstance(axis, tuple | list) else (axis,)
    axes = tuple(check_axis(where, "axis", one, x.ndim) for one in given)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{where}: axis is {axis!r}; expected each axis once")
    return axes, keep


def _kept(grad: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Give the gradient back its reduced axes, with length 1."""
    return grad.reshape(tuple(1 if i in axes else n for i, n in enumerate(shape)))
