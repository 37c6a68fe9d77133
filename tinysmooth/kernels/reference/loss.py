"""Label-smoothed cross-entropy and its gradient in one sweep, row by row, in plain NumPy.

Everything is computed in float64, for float32 logits too, and cast at the end: this is what the
compiled kernels are tested against.

One row, ``m`` its largest logit at index ``j``, ``d = z - m`` (every ``d_k <= 0``)::

    rest     = sum of exp(d_k) over k != j             the winner's own exp(0) = 1 is left out
    log_norm = log1p(rest)                             so -log p_k = log_norm - d_k, for every k
    loss     = log_norm - (1 - eps) d_y - eps mean(d)  three terms, none negative: no cancellation
    gradient = p_k - eps/K,   and at y   eps (1 - 1/K) - sum of the other p_k

Leaving the winner out of the sum is what keeps a confident right answer exact: ``log(1 + rest)``
forgets ``rest`` when it is below the rounding error of 1, ``log1p(rest)`` does not. The entry at y
is written with the sum of the others for the same reason: ``p_y - 1`` would be a difference of two
almost equal numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysmooth.kernels import memory

__all__ = [
    "cross_entropy_rows",
    "log_softmax_rows",
    "scan_targets",
    "soft_cross_entropy_rows",
    "softmax_rows",
]

Array = NDArray[Any]


def scan_targets(
    targets: Array, num_classes: int, ignore_index: int, weight: Array | None
) -> tuple[int, float]:
    """Look over integer targets once, before any row is computed.

    Parameters
    ----------
    targets : int64, (N,)
    num_classes : int
        K.
    ignore_index : int
        Rows with this target do not count.
    weight : (K,) or None
        Class weights.

    Returns
    -------
    bad_row : int
        The first row whose target is neither in [0, K) nor ``ignore_index``; -1 if there is none.
    divisor : float
        Rows that count, or the sum of the weights of their true classes: what a mean divides by.
        0.0 if a target is bad.
    """
    counted = targets != ignore_index
    bad = counted & ((targets < 0) | (targets >= num_classes))
    if bad.any():
        return int(bad.argmax()), 0.0
    if weight is None:
        return -1, float(np.count_nonzero(counted))
    return -1, float(weight[targets[counted]].sum(dtype=np.float64))


def cross_entropy_rows(
    logits: Array,
    targets: Array,
    weight: Array | None,
    label_smoothing: float,
    ignore_index: int,
    scale: float,
    want_gradient: bool,
) -> tuple[Array, Array | None]:
    """Loss of every row, and its gradient, for integer targets.

    Parameters
    ----------
    logits : float32 or float64, (N, K), C-contiguous, K >= 1
    targets : int64, (N,)
        Checked: in [0, K) or ``ignore_index``.
    weight : same dtype as logits, (K,), or None
    label_smoothing : float
        eps: the target is 1 - eps + eps/K on the true class and eps/K on the others.
    ignore_index : int
        Rows with this target have loss 0 and gradient 0, whatever their logits hold.
    scale : float
        The gradient is multiplied by it (the losses are not): 1 over the divisor of a mean.
    want_gradient : bool

    Returns
    -------
    losses : float64, (N,)
    gradient : dtype of the logits, (N, K), or None
    """
    rows = np.arange(len(logits))
    num_classes = logits.shape[1]
    counted = targets != ignore_index
    true = np.where(counted, targets, 0)
    with np.errstate(invalid="ignore", over="ignore"):
        shifted, exps, rest = _shifted_exps(logits)
        log_norm = np.log1p(rest)
        share = label_smoothing / num_classes
        class_weight = np.ones(num_classes) if weight is None else weight.astype(np.float64)
        hard, total = class_weight[true], class_weight.sum()
        mass = (1 - label_smoothing) * hard + share * total  # sum of the weighted target
        if weight is None:
            mass = np.ones(len(rows))  # exactly, not up to rounding
        losses = mass * log_norm - _product((1 - label_smoothing) * hard, shifted[rows, true])
        if label_smoothing != 0:
            losses -= share * _product(class_weight, shifted).sum(axis=1)
        losses[~counted] = 0.0
        if not want_gradient:
            return losses, None
        gradient = (mass / (1 + rest))[:, None] * exps - share * class_weight
        others = (rest + (1 - exps[rows, true])) / (1 + rest)
        gradient[rows, true] = share * (total - hard) - mass * others
        gradient *= scale
        gradient[~counted] = 0.0
    return losses, _cast(gradient, logits.dtype)


def soft_cross_entropy_rows(
    logits: Array,
    probs: Array,
    weight: Array | None,
    label_smoothing: float,
    scale: float,
    want_gradient: bool,
) -> tuple[Array, Array | None]:
    """Loss of every row, and its gradient, for targets that are a distribution over the classes.

    Parameters
    ----------
    logits, weight, label_smoothing, scale, want_gradient
        As in `cross_entropy_rows`.
    probs : same dtype as logits, (N, K), C-contiguous
        Smoothed here: the target is (1 - eps) probs + eps/K, times the class weight.

    Returns
    -------
    losses, gradient
        As in `cross_entropy_rows`. A target of 0 leaves its class out even where the logit is -inf.
    """
    rows = np.arange(len(logits))
    with np.errstate(invalid="ignore", over="ignore"):
        shifted, exps, rest = _shifted_exps(logits)
        target = (1 - label_smoothing) * probs.astype(np.float64)
        target += label_smoothing / logits.shape[1]
        if weight is not None:
            target *= weight.astype(np.float64)
        mass = target.sum(axis=1)
        losses = _product(mass, np.log1p(rest)) - _product(target, shifted).sum(axis=1)
        if not want_gradient:
            return losses, None
        gradient = (mass / (1 + rest))[:, None] * exps - target
        # At the winner p is 1 minus the others: the same difference without the cancellation.
        winner = logits.argmax(axis=1)
        target[rows, winner] = 0.0
        gradient[rows, winner] = target.sum(axis=1) - mass * (rest / (1 + rest))
        gradient *= scale
    return losses, _cast(gradient, logits.dtype)


def log_softmax_rows(logits: Array) -> Array:
    """Return log(softmax) of every row of (N, K) logits, K >= 1, with full relative accuracy."""
    with np.errstate(invalid="ignore", over="ignore"):
        shifted, _, rest = _shifted_exps(logits)
        return _cast(shifted - np.log1p(rest)[:, None], logits.dtype)


def softmax_rows(logits: Array) -> Array:
    """Return the softmax of every row of (N, K) logits, K >= 1."""
    with np.errstate(invalid="ignore", over="ignore"):
        _, exps, rest = _shifted_exps(logits)
        return _cast(exps / (1 + rest)[:, None], logits.dtype)


def _shifted_exps(logits: Array) -> tuple[Array, Array, Array]:
    """Return d = z - max(z), exp(d), and the sum of exp(d) without the winner's 1."""
    rows = np.arange(len(logits))
    winner = logits.argmax(axis=1)  # a NaN wins
    shifted = logits.astype(np.float64)
    shifted -= shifted[rows, winner][:, None]
    exps = np.exp(shifted)
    losers = exps.copy()
    # 0, unless the winner is infinite or NaN: then the whole row has to become NaN.
    losers[rows, winner] = shifted[rows, winner]
    return shifted, exps, losers.sum(axis=1)


def _product(factor: Array | float, values: Array) -> Array:
    """Multiply, with 0 times an infinity being 0: a class without mass does not count."""
    return np.where(np.equal(factor, 0), 0.0, factor * values)


def _cast(array: Array, dtype: np.dtype[Any]) -> Array:
    """Copy into pooled memory of another dtype; what is too large there becomes infinite."""
    out = memory.empty(array.shape, dtype)
    with np.errstate(over="ignore"):
        out[...] = array
    return out
