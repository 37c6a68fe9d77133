"""Front door of the metrics: scores, probabilities and targets, checked and in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinysmooth.checks import check_array, check_int, check_ndim, describe

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# How far a row of probabilities may be from summing to 1: float32 rounding over 1,000 classes.
SUM_TOLERANCE = 1e-3


def _unwrap(value: Any) -> Any:
    """Give the array inside a Tensor; anything else as it is."""
    data = None if isinstance(value, np.ndarray) else getattr(value, "data", None)
    return data if isinstance(data, np.ndarray) else value


def log_softmax(scores: FloatArray) -> FloatArray:
    """Stable log-probabilities: shifting by the maximum keeps every exponent at or below 0."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    out: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return out


def check_scores(where: str, name: str, value: npt.ArrayLike) -> FloatArray:
    """Return a non-empty (N, K) array of finite numbers as float64."""
    array = check_array(where, name, _unwrap(value))
    check_ndim(where, name, array, 2, "(N, K)")
    if array.dtype.kind == "b":
        raise TypeError(f"{where}: {name} has dtype bool; expected real numbers")
    if array.size == 0:
        raise ValueError(f"{where}: {name} has shape {array.shape}; expected at least one row")
    array = array.astype(np.float64, copy=False)
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{where}: {name} holds NaN or infinity in row {int(np.argmin(finite))}; "
            "expected finite numbers"
        )
    return array


def check_probs(where: str, value: npt.ArrayLike) -> FloatArray:
    """Return rows of probabilities as float64."""
    probs = check_scores(where, "probs", value)
    sums = probs.sum(axis=1)
    worst = int(np.argmax(np.abs(sums - 1.0)))
    if probs.min() < 0.0 or abs(sums[worst] - 1.0) > SUM_TOLERANCE:
        raise ValueError(
            f"{where}: probs has smallest entry {probs.min():g} and row {worst} sums to "
            f"{sums[worst]:g}; expected probabilities (entries >= 0, rows summing to 1). "
            "If these are logits, pass metrics.softmax(logits)"
        )
    return probs


def check_indices(where: str, name: str, value: npt.ArrayLike, rows: int | None) -> IntArray:
    """Return an (N,) array of integers as int64."""
    array = check_array(where, name, _unwrap(value))
    if array.dtype.kind not in "iu":
        raise TypeError(f"{where}: {name} is {describe(array)}; expected integer class indices")
    if array.ndim != 1 or array.size == 0 or (rows is not None and len(array) != rows):
        expected = "(N,) with N >= 1" if rows is None else f"({rows},), one a row of predictions"
        raise ValueError(f"{where}: {name} has shape {array.shape}; expected shape {expected}")
    return array.astype(np.int64, copy=False)


def check_range(where: str, name: str, indices: IntArray, num_classes: int) -> None:
    """Refuse a class index outside [0, num_classes)."""
    bad = (indices < 0) | (indices >= num_classes)
    if bad.any():
        first = int(np.argmax(bad))
        raise IndexError(
            f"{where}: {name}[{first}] is {int(indices[first])}; expected a class index in "
            f"[0, {num_classes})"
        )


def check_targets(where: str, value: npt.ArrayLike, rows: int, num_classes: int) -> IntArray:
    """Return the targets of (rows, num_classes) scores as int64."""
    targets = check_indices(where, "targets", value, rows)
    check_range(where, "targets", targets, num_classes)
    return targets


def check_predictions(
    where: str, predictions: npt.ArrayLike, targets: npt.ArrayLike, num_classes: int | None
) -> tuple[IntArray, IntArray, int]:
    """Return predicted indices, targets and the number of classes."""
    if num_classes is not None:
        num_classes = check_int(where, "num_classes", num_classes, minimum=1)
    array = check_array(where, "predictions", _unwrap(predictions))
    if array.ndim == 2:
        scores = check_scores(where, "predictions", array)
        if num_classes is not None and num_classes != scores.shape[1]:
            raise ValueError(
                f"{where}: num_classes is {num_classes}; expected {scores.shape[1]}, the number "
                "of columns of predictions, or None"
            )
        num_classes = scores.shape[1]
        predicted = scores.argmax(axis=1).astype(np.int64)
    else:
        predicted = check_indices(where, "predictions", array, None)
    wanted = check_indices(where, "targets", targets, len(predicted))
    if num_classes is None:
        num_classes = int(max(predicted.max(), wanted.max())) + 1
    check_range(where, "predictions", predicted, num_classes)
    check_range(where, "targets", wanted, num_classes)
    return predicted, wanted, num_classes
