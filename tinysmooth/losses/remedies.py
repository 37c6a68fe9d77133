"""Other cures for overconfidence and wrong labels, each small enough to compare with smoothing.

====================  =====================================  ==================================
remedy                term                                   where free logits come to rest
====================  =====================================  ==================================
label smoothing       ``eps H(u, p)`` replaces ``eps H(y, p)``  ``exp(G) = K (1 - eps)/eps + 1``
confidence penalty    ``- beta H(p)``                        ``G p_y = 1 / beta``
logit penalty         ``(lambda/2) sum z^2``                 ``G (exp(G) + K - 1) = K / lambda``
====================  =====================================  ==================================

(G is the gap between the true logit and the others.) Temperature scaling, the cure after training,
is `tinysmooth.metrics.fit_temperature`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinysmooth import kernels
from tinysmooth.checks import check_array, check_choice, check_real
from tinysmooth.graph import Array
from tinysmooth.losses.cross_entropy import cross_entropy
from tinysmooth.losses.inputs import check_logits, class_axis, class_rows, from_rows, to_rows
from tinysmooth.losses.targets import check_classes
from tinysmooth.primitive import Recorded, primitive
from tinysmooth.tensor import Tensor

__all__ = ["backward_correction", "confidence_penalty", "forward_correction", "logit_penalty"]

_LARGEST_CONDITION = 1e12
"""Of a noise matrix; beyond it the inverse has no digit left but those of rounding."""

REDUCTIONS = ("mean", "sum", "none")


@primitive
def confidence_penalty(logits: Any, strength: float, *, reduction: str = "mean") -> Recorded:
    """Minus the entropy of the prediction, times ``strength``: to be added to a loss.

    ``-beta H(p) = beta sum_k p_k log p_k``; its gradient is ``beta p_k (log p_k + H(p))``.

    Parameters
    ----------
    logits : Tensor or array, (K,), (N, K) or (N, K, d1, ...)
        Classes on axis 1 (0 for (K,)).
    strength : float >= 0
        beta.
    reduction : {"mean", "sum", "none"}
        Over the rows.

    Returns
    -------
    Tensor
        In nats, between ``-beta log K`` and 0; dtype of the logits.

    Raises
    ------
    TypeError, ValueError
        For a wrong dtype, no classes, a negative strength, an unknown reduction.

    Notes
    -----
    Pereyra et al., *Regularizing Neural Networks by Penalizing Confident Output Distributions*,
    2017. It is ``KL(p || u)`` up to a constant where smoothing has ``KL(u || p)``: the force of the
    first dies out as the prediction gets certain, that of the second does not.

    Examples
    --------
    >>> print(round(confidence_penalty([[0.0, 0.0]], 0.1).item(), 9))  # -0.1 log 2
    -0.069314718
    """
    where = "confidence_penalty"
    logits = check_logits(where, logits)
    beta = check_real(where, "strength", strength, low=0, high=np.inf, open_high=True)
    rows = to_rows(logits)
    log_probs, probs = kernels.log_softmax_rows(rows), kernels.softmax_rows(rows)
    # p log p -> 0 as p -> 0, where the logarithm is -inf.
    products = np.where(probs > 0, probs * np.where(probs > 0, log_probs, 0), probs)
    negative_entropy = products.sum(axis=1, dtype=np.float64)

    def slope() -> Array:
        return np.asarray(beta * (products - probs * negative_entropy[:, None]))

    return _finish(where, beta * negative_entropy, slope, logits, reduction)


@primitive
def logit_penalty(logits: Any, strength: float, *, reduction: str = "mean") -> Recorded:
    """Half the squared length of the logits, times ``strength``: to be added to a loss.

    ``(lambda/2) sum_k z_k^2``; its gradient is ``lambda z``. Unlike smoothing it also sees the
    shift that softmax does not.

    Parameters
    ----------
    logits : Tensor or array, (K,), (N, K) or (N, K, d1, ...)
        Classes on axis 1 (0 for (K,)).
    strength : float >= 0
        lambda.
    reduction : {"mean", "sum", "none"}
        Over the rows.

    Returns
    -------
    Tensor
        At least 0; dtype of the logits.

    Raises
    ------
    TypeError, ValueError
        As `confidence_penalty`.

    Notes
    -----
    Logit squeezing: Kannan et al., *Adversarial Logit Pairing*, 2018.

    Examples
    --------
    >>> logit_penalty([[3.0, 4.0]], 0.1).item()
    1.25
    """
    where = "logit_penalty"
    logits = check_logits(where, logits)
    lam = check_real(where, "strength", strength, low=0, high=np.inf, open_high=True)
    rows = to_rows(logits)
    squares = np.einsum("rk,rk->r", rows, rows, dtype=np.float64)
    return _finish(where, lam / 2 * squares, lambda: lam * rows, logits, reduction)


@primitive
def forward_correction(
    logits: Any, targets: Any, noise: Any, *, reduction: str = "mean"
) -> Recorded:
    """Cross-entropy with noisy labels, the noise applied to the prediction.

    The model predicts the clean class, ``p``; the label was seen through the noise ``T``, so its
    probability is ``(p T)_y`` and the loss ``-log (p T)_y``. The gradient is ``p - r`` with ``r``
    the posterior of the true class given the label: ``r_k = p_k T[k, y] / (p T)_y``.

    Parameters
    ----------
    logits : Tensor or array, (K,), (N, K) or (N, K, d1, ...)
        Classes on axis 1 (0 for (K,)).
    targets : array of integers, () or (N,) or (N, d1, ...)
        The noisy labels.
    noise : float in [0, 1], or array of float, (K, K)
        The rate rho of symmetric noise (with probability rho the label is drawn anew from all
        classes), or ``T[true, seen]``, whose rows are distributions.
    reduction : {"mean", "sum", "none"}
        Over the rows.

    Returns
    -------
    Tensor
        In nats; bounded where every entry of the noise is positive (by ``log(K / rho)`` for
        symmetric noise). Dtype of the logits.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `tinysmooth.cross_entropy`; ValueError if ``noise`` is no rate and no such matrix.

    Notes
    -----
    Patrini et al., *Making Deep Neural Networks Robust to Label Noise: a Loss Correction
    Approach*, 2017, section 4.2.

    Examples
    --------
    >>> print(round(forward_correction([[50.0, 0.0]], [1], 0.2).item(), 9))  # -log(0.2 / 2)
    2.302585093
    """
    where = "forward_correction"
    logits, indices, num_classes = _noisy_inputs(where, logits, targets)
    matrix, rate = _noise(where, noise, num_classes, highest=1.0)
    rows = to_rows(logits).astype(np.float64)
    log_probs, probs = kernels.log_softmax_rows(rows), kernels.softmax_rows(rows)
    if matrix is None:
        seen = np.full(rows.shape, rate / num_classes)
        seen[np.arange(len(rows)), indices] += 1 - rate
    else:
        seen = matrix[:, indices].T
    with np.errstate(divide="ignore"):
        joint = log_probs + np.log(seen)  # log p_k T[k, y]
    top = joint.max(axis=1, keepdims=True, initial=-np.inf)
    exps = np.exp(joint - np.where(np.isfinite(top), top, 0.0))
    total = exps.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        losses = -(top + np.log(total))[:, 0]

    def slope() -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(probs - exps / total)

    return _finish(where, losses, slope, logits, reduction)


def backward_correction(
    logits: Tensor | ArrayLike, targets: ArrayLike, noise: Any, *, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy with noisy labels, the noise undone in the loss.

    The row of losses is multiplied by the inverse of the noise: ``sum_k T^-1[y, k] (-log p_k)``,
    whose mean over the noise is the loss with the clean label. For symmetric noise at rate rho
    that is cross-entropy with the *negative* smoothing ``-rho / (1 - rho)``.

    Parameters
    ----------
    logits : Tensor or array, (K,), (N, K) or (N, K, d1, ...)
        Classes on axis 1 (0 for (K,)).
    targets : array of integers, () or (N,) or (N, d1, ...)
        The noisy labels.
    noise : float in [0, 1), or array of float, (K, K)
        As in `forward_correction`; a matrix must be invertible.
    reduction : {"mean", "sum", "none"}
        Over the rows.

    Returns
    -------
    Tensor
        In nats, unbiased but **unbounded below**: gradient descent on it does not converge.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `forward_correction`; ValueError if the matrix has no inverse.

    Notes
    -----
    Patrini et al. 2017, section 4.1 (see `forward_correction`); that this is negative label
    smoothing: Wei et al., *To Smooth or Not? When Label Smoothing Meets Noisy Labels*, 2022.

    Examples
    --------
    >>> print(round(backward_correction([[1.0, 0.0]], [0], 0.5).item(), 9))
    -0.186738312
    """
    where = "backward_correction"
    array = logits.data if isinstance(logits, Tensor) else logits
    plain, indices, num_classes = _noisy_inputs(where, array, targets)
    matrix, rate = _noise(where, noise, num_classes, highest=np.nextafter(1.0, 0.0))
    if matrix is None:
        eps = -rate / (1 - rate)
        return cross_entropy(
            logits, targets, label_smoothing=eps, reduction=reduction, allow_negative=True
        )
    if not np.linalg.cond(matrix) < _LARGEST_CONDITION:
        raise ValueError(
            f"{where}: noise has no inverse; expected a matrix that keeps the classes apart"
        )
    rows = from_rows(np.linalg.inv(matrix)[indices], plain.shape)
    return cross_entropy(logits, rows, reduction=reduction, check_probabilities=False)


def _noisy_inputs(where: str, logits: Any, targets: Any) -> tuple[Array, Array, int]:
    """Return the logits, the class index of every row, and K."""
    array = check_logits(where, logits)
    num_classes = array.shape[class_axis(array)]
    classes = check_classes(where, "targets", targets, num_classes)
    return array, class_rows(where, classes, array), num_classes


def _noise(where: str, noise: Any, num_classes: int, highest: float) -> tuple[Array | None, float]:
    """Return a noise matrix, or None and a rate."""
    array = check_array(where, "noise", noise).astype(np.float64)
    if array.ndim == 0:
        rate = float(array)
        if not 0 <= rate <= highest:
            end = "]" if highest == 1 else ")"
            raise ValueError(f"{where}: noise is {rate:g}; expected a rate in [0, 1{end}")
        return None, rate
    if array.shape != (num_classes, num_classes):
        raise ValueError(
            f"{where}: noise has shape {array.shape}; expected a rate, or a matrix of shape "
            f"({num_classes}, {num_classes})"
        )
    if not ((array >= 0).all() and (np.abs(array.sum(axis=1) - 1) <= 1e-6).all()):
        raise ValueError(
            f"{where}: noise has rows that are no distributions; expected T[true, seen], no entry "
            "negative, each row adding up to 1. If the columns do, pass noise.T"
        )
    return array, 0.0


def _finish(where: str, losses: Array, slope: Any, logits: Array, reduction: str) -> Recorded:
    """Reduce float64 losses of rows, and make the rule from the gradient of each row."""
    check_choice(where, "reduction", reduction, REDUCTIONS)
    scale = 1.0
    if reduction == "none":
        value = losses.reshape(logits.shape[:1] + logits.shape[2:] if logits.ndim > 1 else ())
    elif reduction == "sum":
        value = losses.sum()
    else:
        scale = 1 / len(losses) if len(losses) else np.nan
        value = losses.mean() if len(losses) else np.array(np.nan)

    def rule(grad: Array) -> Array:
        if reduction == "none" and logits.ndim > 1:
            grad = np.expand_dims(grad, 1)
        return np.asarray(from_rows(slope(), logits.shape) * (scale * grad))

    return np.asarray(value).astype(logits.dtype), {"logits": rule}
