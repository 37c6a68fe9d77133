"""Operations that move elements without changing them; each adjoint moves them back.

``reshape``, ``transpose`` and basic indexing return views where NumPy does. A gradient for elements
that were taken several times adds up; one for elements that were not taken is 0.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_axis, check_int, check_real, describe
from tinysmooth.graph import Array
from tinysmooth.primitive import Recorded, primitive

__all__ = ["concatenate", "getitem", "pad", "reshape", "stack", "transpose"]

_NO_COPY: dict[str, Any] = {} if np.__version__.startswith("2.0.") else {"copy": False}
"""Asks ``numpy.reshape`` for a view or an error; NumPy 2.0 copies unasked."""


@primitive
def reshape(x: Array, shape: int | Sequence[int]) -> Recorded:
    """Give ``x`` another shape with as many elements; one length may be -1 (worked out).

    Parameters
    ----------
    x : array
        Any shape.
    shape : int or sequence of int

    Returns
    -------
    Tensor of that shape, a view where NumPy gives one

    Raises
    ------
    TypeError, ValueError
        If the shape is not made of integers or does not hold as many elements.
    """
    given = shape if isinstance(shape, tuple | list | np.ndarray) else (shape,)
    lengths = tuple(check_int("reshape", "shape", n, minimum=-1) for n in given)
    before = x.shape
    if not _holds(lengths, x.size):
        raise ValueError(
            f"reshape: shape is {lengths}; expected one with the {x.size} elements of {before}"
        )
    return _reshaped(x, lengths), {"x": lambda grad: _reshaped(grad, before)}


def _holds(lengths: tuple[int, ...], size: int) -> bool:
    """Tell whether a shape, one of whose lengths may be -1, has so many elements."""
    known = math.prod(n for n in lengths if n != -1)
    left = lengths.count(-1)
    return known == size if not left else left == 1 and known > 0 and size % known == 0


def _reshaped(x: Array, shape: tuple[int, ...]) -> Array:
    """Return a view or, where there is none, a copy by the kernel that turns images."""
    try:
        return np.reshape(x, shape, **_NO_COPY)
    except ValueError:  # it would be a copy
        return kernels.contiguous(x).reshape(shape)


@primitive
def transpose(x: Array, axes: Sequence[int] | None = None) -> Recorded:
    """Reorder the axes: ``axes[i]`` says which old axis becomes axis i; ``None`` reverses them.

    Parameters
    ----------
    x : array
        Any shape.
    axes : sequence of int, optional

    Returns
    -------
    Tensor, a view

    Raises
    ------
    TypeError, ValueError
        If ``axes`` is not a permutation of the axes of ``x``.
    """
    if axes is None:
        order = tuple(reversed(range(x.ndim)))
    else:
        if not isinstance(axes, tuple | list):
            raise TypeError(f"transpose: axes is {describe(axes)}; expected a tuple of integers")
        order = tuple(check_axis("transpose", "axes", axis, x.ndim) for axis in axes)
        if sorted(order) != list(range(x.ndim)):
            raise ValueError(
                f"transpose: axes is {tuple(axes)}; expected each of the {x.ndim} axes once"
            )
    back = tuple(int(i) for i in np.argsort(order))
    return x.transpose(order), {"x": lambda grad: grad.transpose(back)}


@primitive
def getitem(x: Array, key: Any) -> Recorded:
    """Index as NumPy does: integers, slices, ``None``, ``...``, integer and boolean arrays.

    Raises
    ------
    IndexError
        If an index is out of range or of no valid kind.
    """
    shape = x.shape
    plain = _is_basic(key)
    if not plain:  # the rule keeps index arrays, which may be the caller's
        key = copy.deepcopy(key)

    def rule(grad: Array) -> Array:
        back = np.zeros(shape, grad.dtype)
        if plain:
            back[key] = grad
        else:
            np.add.at(back, key, grad)  # an element taken twice receives twice
        return back

    return x[key], {"x": rule}


@primitive
def concatenate(arrays: Sequence[Array], axis: int = 0) -> Recorded:
    """Join arrays along an existing axis; the gradient is cut at the seams.

    Parameters
    ----------
    arrays : sequence of array
        Shapes that differ at most along ``axis``.
    axis : int
        Along which they are joined; it gets the sum of the lengths.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        If there is nothing to join, or shapes differ off the axis.
    """
    axis = _check_sequence("concatenate", arrays, axis, extra=0)
    first = arrays[0].shape
    for i, array in enumerate(arrays):
        other = array.shape
        if len(other) != len(first) or other[:axis] + other[axis + 1 :] != (
            first[:axis] + first[axis + 1 :]
        ):
            raise ValueError(
                f"concatenate: arrays[{i}] has shape {other}; expected {first} except along "
                f"axis {axis}"
            )
    seams = np.cumsum([array.shape[axis] for array in arrays])[:-1]
    return np.concatenate(arrays, axis=axis), {
        "arrays": lambda grad: np.split(grad, seams, axis=axis)
    }


@primitive
def stack(arrays: Sequence[Array], axis: int = 0) -> Recorded:
    """Join arrays of one shape along a new axis; the gradient is dealt out along it.

    Parameters
    ----------
    arrays : sequence of array
        All of one shape.
    axis : int
        Where the new axis goes; its length is the number of arrays.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        If there is nothing to join, or the shapes differ.
    """
    axis = _check_sequence("stack", arrays, axis, extra=1)
    for i, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise ValueError(
                f"stack: arrays[{i}] has shape {array.shape}; expected {arrays[0].shape}"
            )
    return np.stack(arrays, axis=axis), {"arrays": lambda grad: list(np.moveaxis(grad, axis, 0))}


@primitive
def pad(x: Array, widths: Sequence[Any] | int, value: float = 0.0) -> Recorded:
    """Surround ``x`` with a constant; the gradient of the frame is dropped.

    Parameters
    ----------
    x : array
        Any shape.
    widths : int, or (before, after) for each axis
        How many elements to add; one integer stands for every side.
    value : float
        What to put there.

    Returns
    -------
    Tensor, each axis longer by its two widths

    Raises
    ------
    TypeError, ValueError
        If a width is negative or not an integer, or there is not one pair an axis.
    """
    pairs = _pad_widths(widths, x.ndim)
    number = check_real("pad", "value", value)
    inside = tuple(slice(a, a + n) for (a, _), n in zip(pairs, x.shape, strict=True))
    if x.dtype.kind != "f" and np.asarray(number).astype(x.dtype) != number:
        raise ValueError(f"pad: value is {number:g}; expected one that {x.dtype} can hold")
    out = np.full([a + n + b for (a, b), n in zip(pairs, x.shape, strict=True)], number, x.dtype)
    out[inside] = x
    return out, {"x": lambda grad: grad[inside]}


def _pad_widths(widths: Sequence[Any] | int, ndim: int) -> list[tuple[int, int]]:
    if not isinstance(widths, tuple | list):
        width = check_int("pad", "widths", widths, minimum=0)
        return [(width, width)] * ndim
    if len(widths) != ndim or any(not isinstance(w, tuple | list) or len(w) != 2 for w in widths):
        raise ValueError(
            f"pad: widths is {widths!r}; expected one (before, after) pair for each of {ndim} axes"
        )
    return [
        (
            check_int("pad", "widths", before, minimum=0),
            check_int("pad", "widths", after, minimum=0),
        )
        for before, after in widths
    ]


def _is_basic(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return all(
        part is None
        or part is Ellipsis
        or isinstance(part, slice)
        or (isinstance(part, int | np.integer) and not isinstance(part, bool))
        for part in parts
    )


def _check_sequence(where: str, arrays: object, axis: object, *, extra: int) -> int:
    if not isinstance(arrays, tuple | list):
        raise TypeError(f"{where}: arrays is {describe(arrays)}; expected a list of Tensors")
    if not arrays:
        raise ValueError(f"{where}: arrays is empty; expected at least one")
    return check_axis(where, "axis", axis, np.ndim(arrays[0]) + extra)
