"""The recorded cross-entropy: one call of a kernel gives the losses and the gradient.

`tinysmooth.losses.cross_entropy` is the room to read first; here is what both its functions share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinysmooth import kernels
from tinysmooth.checks import check_array, check_choice, check_flag, check_int
from tinysmooth.graph import Array, fresh
from tinysmooth.losses.inputs import (
    check_logits,
    check_smoothing,
    class_axis,
    class_rows,
    from_rows,
    probability_rows,
    to_rows,
    weight_row,
)
from tinysmooth.primitive import Recorded, primitive

__all__ = ["Evaluation", "cross_entropy", "evaluate"]

REDUCTIONS = ("mean", "sum", "none")
LARGEST = 2**63 - 1
"""Classes are 64-bit integers."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(slots=True)
class Options:
    """The keyword arguments of `tinysmooth.cross_entropy`, as they came."""

    label_smoothing: float
    weight: Any
    ignore_index: int
    reduction: str
    allow_negative: bool
    check_probabilities: bool


class Evaluation(NamedTuple):
    """A loss, its gradient, and what the rule of the targets needs."""

    value: Array
    gradient: Array | None
    rows: Array
    weight: Array | None
    label_smoothing: float
    scale: float


def evaluate(
    where: str,
    logits: Any,
    targets: Any,
    options: Options,
    want_gradient: bool,
) -> Evaluation:
    """Check everything, then compute; ``where`` is the function that errors name."""
    logits = check_logits(where, logits)
    if type(options.allow_negative) is not bool:
        check_flag(where, "allow_negative", options.allow_negative)
    if type(options.check_probabilities) is not bool:
        check_flag(where, "check_probabilities", options.check_probabilities)
    eps = check_smoothing(where, options.label_smoothing, options.allow_negative)
    reduction, ignore_index, weight = options.reduction, options.ignore_index, options.weight
    if reduction not in REDUCTIONS:
        check_choice(where, "reduction", reduction, REDUCTIONS)
    if type(ignore_index) is not int or not -LARGEST <= ignore_index <= LARGEST:
        ignore_index = check_int(
            where, "ignore_index", ignore_index, minimum=-LARGEST, maximum=LARGEST
        )
    if not isinstance(targets, np.ndarray):
        targets = check_array(where, "targets", targets)
        if not targets.size:  # an empty list has no dtype of its own
            targets = targets.astype(np.int64)
    num_classes = logits.shape[class_axis(logits)]
    if weight is not None:
        weight = weight_row(where, weight, num_classes, logits.dtype)
    kind = targets.dtype.kind
    if kind in "iu":
        indices = class_rows(where, targets, logits)
        bad_row, divisor = kernels.scan_targets(indices, num_classes, ignore_index, weight)
        if bad_row >= 0:
            _refuse_class(where, targets, bad_row, num_classes, ignore_index)
    elif kind == "f":
        probs = probability_rows(where, targets, logits, options.check_probabilities)
        divisor = float(len(probs))
        if ignore_index >= 0:
            raise ValueError(
                f"{where}: ignore_index is {ignore_index}; expected a negative one, or integer "
                "targets: with class probabilities no row has an index that could be ignored"
            )
    else:
        first = f" (first value {targets.flat[0]})" if targets.size else ""
        raise TypeError(
            f"{where}: targets has dtype {targets.dtype}{first}; expected integer class indices or "
            "floating class probabilities. If the values are indices, use "
            "targets.astype(numpy.int64)"
        )
    scale = 1.0
    if reduction == "mean":
        scale = 1.0 / divisor if divisor else math.nan
    rows = to_rows(logits)
    if kind == "f":
        losses, gradient = kernels.soft_cross_entropy_rows(
            rows, probs, weight, eps, scale, want_gradient
        )
    else:
        losses, gradient = kernels.cross_entropy_rows(
            rows, indices, weight, eps, ignore_index, scale, want_gradient
        )
    value = _reduced(losses, divisor, reduction, logits)
    if gradient is not None:
        gradient = from_rows(gradient, logits.shape)
    return Evaluation(value, gradient, rows, weight, eps, scale)


def _reduced(losses: Array, divisor: float, reduction: str, logits: Array) -> Array:
    """Reduce float64 losses of rows; float32 is only what leaves."""
    if reduction == "none":
        shape = logits.shape[:1] + logits.shape[2:] if logits.ndim > 1 else ()
        with np.errstate(over="ignore"):  # a loss may be too large for a float32
            return losses.reshape(shape).astype(logits.dtype)
    total = float(np.add.reduce(losses))
    if reduction == "mean":
        total = total / divisor if divisor else math.nan
    if logits.dtype == np.float32 and abs(total) > FLOAT32_MAX:
        total = math.copysign(math.inf, total)
    return np.array(total, logits.dtype)


def _refuse_class(
    where: str, targets: Array, row: int, num_classes: int, ignore_index: int
) -> None:
    index = np.unravel_index(row, targets.shape) if targets.ndim else ()
    place = f"row {row}" if targets.ndim == 1 else f"row {tuple(map(int, index))}"
    place = f" in {place}" if targets.ndim else ""
    raise IndexError(
        f"{where}: targets is {targets[index]}{place}; expected a class index in "
        f"[0, {num_classes}), or ignore_index ({ignore_index})"
    )


@primitive
def cross_entropy(
    logits: Any, targets: Any, options: Options, want_gradient: bool = True
) -> Recorded:
    """Record a cross-entropy; the function to call is `tinysmooth.cross_entropy`.

    ``want_gradient=False`` saves the work for logits that need no gradient.
    """
    done = evaluate("cross_entropy", logits, targets, options, want_gradient)
    gradient = done.gradient

    def logits_rule(grad: Array) -> Array:
        assert gradient is not None
        if grad.ndim < gradient.ndim - 1 or gradient.ndim == 1:  # one number for all rows
            return gradient if grad == 1 else gradient * grad
        return np.asarray(gradient * np.expand_dims(grad, class_axis(gradient)))

    rules = {"logits": fresh(logits_rule)}
    if isinstance(targets, np.ndarray) and targets.dtype.kind == "f":
        rules["targets"] = lambda grad: _targets_gradient(done, targets, grad)
    return done.value, rules


def _targets_gradient(done: Evaluation, targets: Array, grad: Array) -> Array:
    """Return dL/dP = -(1 - eps) w log p: what a class would cost if it got more of the target."""
    slope = kernels.log_softmax_rows(done.rows)
    slope *= -(1 - done.label_smoothing) * done.scale
    if done.weight is not None:
        with np.errstate(invalid="ignore"):  # weight 0 times an infinite slope is 0, as in the loss
            slope = np.where(done.weight == 0, 0, slope * done.weight)
    shaped = from_rows(slope, targets.shape)
    if grad.ndim == targets.ndim - 1 and targets.ndim > 1:
        grad = np.expand_dims(grad, 1)
    return np.asarray(shaped * grad)
