"""The front door of the losses: what may come in, and how it is laid out for the kernels.

Logits have their classes on axis 1, or on axis 0 when they are one vector (K,). The kernels take
rows, (R, K) and C-contiguous; nothing is copied that has that layout already.

An error names the function that was called, the argument, what came, what was expected and, where
there is one, the fix.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinysmooth.checks import check_array, check_floating, check_real, describe
from tinysmooth.graph import Array

__all__ = [
    "check_logits",
    "check_smoothing",
    "class_axis",
    "class_rows",
    "from_rows",
    "probability_rows",
    "to_rows",
    "weight_row",
]

NEGATIVE = (
    "Negative smoothing undoes label noise and makes the loss unbounded below; pass "
    "allow_negative=True if it is meant"
)


def check_smoothing(
    where: str, value: object, allow_negative: bool = False, name: str = "label_smoothing"
) -> float:
    """Return epsilon as a float in [0, 1], or as any finite number up to 1 if allowed."""
    if type(value) is float and 0.0 <= value <= 1.0:  # the usual case, at no cost
        return value
    if isinstance(value, float | np.floating):  # NaN is among them and gets its message below
        number = float(value)
    else:
        number = check_real(where, name, value)
    if not math.isfinite(number) or number > 1 or (number < 0 and not allow_negative):
        low = "a finite number <= 1" if allow_negative else "a number in [0, 1]"
        fix = f". {NEGATIVE}" if number < 0 and math.isfinite(number) else ""
        raise ValueError(f"{where}: {name} is {number:g}; expected {low}{fix}")
    return number


def check_logits(where: str, logits: object, name: str = "logits") -> Array:
    """Return logits as float32 or float64 with at least one axis and one class."""
    array = logits if type(logits) is np.ndarray else check_array(where, name, logits)
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    check_floating(where, name, array, "Convert with array.astype(numpy.float32)")
    if array.ndim == 0:
        raise ValueError(f"{where}: {name} has shape (); expected (K,), (N, K) or (N, K, d1, ...)")
    if array.shape[class_axis(array)] == 0:
        raise ValueError(
            f"{where}: {name} has shape {array.shape}, no classes; expected at least one class "
            f"on axis {class_axis(array)}"
        )
    return array


def class_axis(logits: Array) -> int:
    """Return the axis of the classes: 1, or 0 for a single vector."""
    return 0 if logits.ndim == 1 else 1


def to_rows(array: Array) -> Array:
    """Lay out (K,), (N, K) or (N, K, d1, ...) as C-contiguous rows (R, K)."""
    if array.ndim > 2:
        array = np.moveaxis(array, 1, -1)
    # 0 is no -1: a shape without elements does not say how many rows it has.
    rows = math.prod(array.shape[:-1])
    return np.ascontiguousarray(array).reshape(rows, array.shape[-1])


def from_rows(rows: Array, shape: tuple[int, ...]) -> Array:
    """Give rows (R, K) back the shape they had before `to_rows`, as a view."""
    if len(shape) == 2:
        return rows
    if len(shape) == 1:
        return rows.reshape(shape)
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def class_rows(where: str, targets: Array, logits: Array) -> Array:
    """Return integer targets as a C-contiguous int64 vector (R,), values not yet checked."""
    shape = logits.shape[:1] + logits.shape[2:] if logits.ndim > 1 else ()
    if targets.shape != shape:
        if targets.shape == logits.shape:
            raise TypeError(
                f"{where}: targets has dtype {targets.dtype} and the shape of logits, "
                f"{logits.shape}; expected integer class indices of shape {shape}, or floating "
                "class probabilities. Use targets.argmax(axis) or targets.astype(logits.dtype)"
            )
        raise ValueError(
            f"{where}: targets has shape {targets.shape}; expected {shape}, one class index for "
            f"each row of logits of shape {logits.shape}"
        )
    if targets.dtype == np.uint64:  # a number beyond int64 is no class and must not wrap to one
        targets = np.minimum(targets, np.uint64(np.iinfo(np.int64).max))
    return np.ascontiguousarray(targets, dtype=np.int64).reshape(-1)


def probability_rows(where: str, targets: Array, logits: Array, check: bool) -> Array:
    """Return probability targets as rows (R, K) in the dtype of the logits."""
    if targets.shape != logits.shape:
        indices = logits.shape[:1] + logits.shape[2:] if logits.ndim > 1 else ()
        if targets.shape == indices:
            first = f" (first value {targets.flat[0]:g})" if targets.size else ""
            raise TypeError(
                f"{where}: targets has dtype {targets.dtype}{first}; expected integer class "
                f"indices of shape {indices}, or class probabilities of shape {logits.shape}. "
                "If the values are indices, use targets.astype(numpy.int64)"
            )
        raise ValueError(
            f"{where}: targets has shape {targets.shape}; expected class probabilities of the "
            f"shape of logits, {logits.shape}, or integer class indices of shape {indices}"
        )
    rows = to_rows(targets)
    if check and rows.size:
        _check_distributions(where, rows)
    return rows.astype(logits.dtype, copy=False)


def _check_distributions(where: str, rows: Array) -> None:
    """Refuse rows that are no distributions, beyond what rounding in their dtype explains."""
    # A float32 softmax adds up to 1 within a few rounding errors, times sqrt(K) as they add up.
    tolerance = 1e-6 + 8 * float(np.finfo(rows.dtype).eps) * math.sqrt(rows.shape[1])
    sums = rows.sum(axis=1, dtype=np.float64)
    fix = "Pass check_probabilities=False if that is meant"
    close = np.abs(sums - 1) <= tolerance  # False for NaN
    if not close.all():
        row = int(close.argmin())
        raise ValueError(
            f"{where}: targets has a sum of {sums[row]:.9g} in row {row}; expected probabilities "
            f"that add up to 1 over the classes. {fix}"
        )
    if rows.min() < 0:
        row, column = divmod(int(rows.argmin()), rows.shape[1])
        raise ValueError(
            f"{where}: targets has {rows[row, column]:g} for class {column} in row {row}; expected "
            f"probabilities, none negative. {fix}"
        )


def weight_row(where: str, weight: object, num_classes: int, dtype: np.dtype[Any]) -> Array:
    """Return class weights as a contiguous vector (K,) in the dtype of the logits."""
    array = check_array(where, "weight", weight)
    if array.dtype.kind == "b":
        raise TypeError(f"{where}: weight is {describe(array)}; expected numbers")
    if array.shape != (num_classes,):
        raise ValueError(
            f"{where}: weight has shape {array.shape}; expected ({num_classes},), one weight for "
            "each class"
        )
    with np.errstate(over="ignore"):
        row = np.ascontiguousarray(array, dtype=dtype)
    if not (np.isfinite(row).all() and row.min() >= 0):
        column = int((np.isfinite(row) & (row >= 0)).argmin())
        raise ValueError(
            f"{where}: weight is {array[column]:g} for class {column}; expected finite weights, "
            "none negative"
        )
    return row
