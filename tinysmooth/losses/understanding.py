"""What a loss value means: its floor, where the logits come to rest, and its parts.

With the smoothed target ``q' = (1 - eps) delta_y + eps u`` (u uniform unless said) and
``p = softmax(z)``, three ways of cutting the same number::

    H(q', p) = (1 - eps) H(delta_y, p) + eps H(u, p)       hard part + uniform part
             = H(q')  + KL(q' || p)                        entropy + what training can remove
             = -log p_y + eps (z_y - sum_k u_k z_k)        plain loss + charge on the gap
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tinysmooth import kernels
from tinysmooth.checks import check_int
from tinysmooth.graph import Array
from tinysmooth.losses.inputs import check_logits, check_smoothing, class_axis, class_rows, to_rows
from tinysmooth.losses.targets import check_classes, check_prior, smooth_targets

__all__ = ["LossParts", "decompose_loss", "loss_floor", "resting_gap"]


def loss_floor(
    num_classes: int, label_smoothing: float, *, prior: ArrayLike | None = None
) -> float | Array:
    """Smallest value the smoothed loss can take: the entropy H(q') of the target, in nats.

    Never compare losses at different eps without taking their floors away.

    Parameters
    ----------
    num_classes : int
        K.
    label_smoothing : float in [0, 1]
        eps. 0 gives 0; 1 gives log K.
    prior : array of float, (K,), optional
        A distribution instead of the uniform one.

    Returns
    -------
    float or ndarray of float64, (K,)
        With a prior, one floor for each true class. 0 for one class.

    Raises
    ------
    TypeError, ValueError
        If K is not a positive integer, eps is out of range, ``prior`` is no distribution.

    Notes
    -----
    ``H(q', p) = H(q') + KL(q' || p)`` and the divergence is 0 exactly at ``p = q'``.

    Examples
    --------
    >>> print(round(loss_floor(10, 0.1), 9), loss_floor(10, 0.0))
    0.500288035 0.0
    """
    num_classes, eps, share = _checked("loss_floor", num_classes, label_smoothing, prior)
    if prior is None:
        # The mass off the true class first: 1 - eps + eps/K would round away a tiny eps.
        wrong = eps * (num_classes - 1) / num_classes
        floor = -(1 - wrong) * math.log1p(-wrong)
        return floor - (wrong * (math.log(eps) - math.log(num_classes)) if wrong else 0.0)
    rows = smooth_targets(np.arange(num_classes), num_classes, eps, prior=share)
    return np.asarray(-_x_log_y(rows, rows).sum(axis=1))


def resting_gap(
    num_classes: int, label_smoothing: float, *, prior: ArrayLike | None = None
) -> float | Array:
    """Distance between the true logit and the others where the smoothed loss is smallest.

    There ``p = q'``, hence ``z = log q' + constant`` and the gap is
    ``log((K (1 - eps) + eps) / eps)``: finite for every eps > 0. It grows with log K.

    Parameters
    ----------
    num_classes : int
        K, at least 2: one class has no gap.
    label_smoothing : float in [0, 1]
        eps. 0 gives infinity (the gap never rests), 1 gives 0.
    prior : array of float, (K,), optional
        A distribution u instead of the uniform one.

    Returns
    -------
    float or ndarray of float64, (K, K)
        With a prior, ``gaps[y, k] = log((1 - eps + eps u_y) / (eps u_k))``: one number for each
        true class y and other class k, 0 on the diagonal.

    Raises
    ------
    TypeError, ValueError
        If K is not an integer of at least 2, eps is out of range, ``prior`` is no distribution.

    Examples
    --------
    >>> print(round(resting_gap(10, 0.1), 9))  # log 91
    4.510859507
    """
    num_classes, eps, share = _checked("resting_gap", num_classes, label_smoothing, prior)
    if num_classes == 1:
        raise ValueError(
            "resting_gap: num_classes is 1; expected at least 2: one class has no gap to another"
        )
    if prior is None:
        odds = num_classes * (1 - eps) / eps if eps else math.inf
        if math.isinf(odds) and eps:
            return math.log(num_classes) - math.log(eps)
        return math.log1p(odds)
    rows = smooth_targets(np.arange(num_classes), num_classes, eps, prior=share)
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps = np.asarray(np.log(np.diagonal(rows))[:, None] - np.log(rows))
    np.fill_diagonal(gaps, 0.0)
    return gaps


@dataclass(frozen=True)
class LossParts:
    """A smoothed cross-entropy cut into parts; means over the rows, in nats.

    ``total = hard + uniform = entropy + kl = cross_entropy + gap_charge``, up to rounding.

    Attributes
    ----------
    total : float
        ``H(q', p)``, the value of `tinysmooth.cross_entropy`.
    hard : float
        ``(1 - eps) H(delta_y, p)``: the weighted plain loss.
    uniform : float
        ``eps H(u, p)``: what confidence costs; without bound as p tends to a corner.
    entropy : float
        ``H(q')``, the floor (`loss_floor`): no training removes it.
    kl : float
        ``KL(q' || p)``: what training can still remove, at least 0.
    cross_entropy : float
        ``-log p_y``, the plain loss: comparable across values of eps.
    gap_charge : float
        ``eps (z_y - sum_k u_k z_k)``: eps times the mean distance of the true logit from all.
    """

    total: float
    hard: float
    uniform: float
    entropy: float
    kl: float
    cross_entropy: float
    gap_charge: float


def decompose_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    label_smoothing: float,
    *,
    prior: ArrayLike | None = None,
) -> LossParts:
    """Cut a mean smoothed cross-entropy into its parts, each computed by its own formula.

    Parameters
    ----------
    logits : Tensor or array, (K,), (N, K) or (N, K, d1, ...)
        Classes on axis 1 (0 for (K,)). Everything is computed in float64.
    targets : array of integers, () or (N,) or (N, d1, ...)
        Class indices in [0, K).
    label_smoothing : float in [0, 1]
        eps. 0 leaves ``hard = cross_entropy = kl`` and zeros elsewhere.
    prior : array of float, (K,), optional
        A distribution u instead of the uniform one.

    Returns
    -------
    LossParts
        NaN for no rows.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `tinysmooth.cross_entropy`.

    Examples
    --------
    >>> parts = decompose_loss([[2.0, 1.0, 0.0, -1.0, 0.5]], [0], 0.1)
    >>> print(round(parts.total, 9), round(parts.hard + parts.uniform, 9))
    0.72443794 0.72443794
    >>> print(round(parts.entropy, 9), round(parts.kl, 9))
    0.389672921 0.334765019
    """
    where = "decompose_loss"
    array = check_logits(where, logits)
    num_classes = array.shape[class_axis(array)]
    _, eps, share = _checked(where, num_classes, label_smoothing, prior)
    classes = check_classes(where, "targets", targets, num_classes)
    true = class_rows(where, classes, array)
    z = to_rows(array.astype(np.float64))
    if not len(z):
        return LossParts(*[math.nan] * 7)
    rows = np.arange(len(z))
    log_probs, probs = kernels.log_softmax_rows(z), kernels.softmax_rows(z)
    target = smooth_targets(true, num_classes, eps, prior=share)
    plain = -log_probs[rows, true]
    hard = (1 - eps) * plain if eps < 1 else np.zeros(len(z))
    uniform = -_times(eps * share, log_probs).sum(axis=1)
    with np.errstate(invalid="ignore"):
        spread = np.where(share > 0, z[rows, true][:, None] - z, 0.0)
        charge = _times(eps * share, spread).sum(axis=1)
        divergence = _divergence_terms(target, log_probs, probs)
    parts = (
        -_times(target, log_probs).sum(axis=1),
        hard,
        uniform,
        -_x_log_y(target, target).sum(axis=1),
        divergence.sum(axis=1),
        plain,
        charge,
    )
    return LossParts(*(float(part.mean()) for part in parts))


def _checked(
    where: str, num_classes: int, label_smoothing: float, prior: ArrayLike | None
) -> tuple[int, float, Array]:
    """Return K, eps and the prior, uniform if none came."""
    count = check_int(where, "num_classes", num_classes, minimum=1)
    eps = check_smoothing(where, label_smoothing)
    if prior is None:
        return count, eps, np.full(count, 1 / count)
    return count, eps, check_prior(where, prior, count)


def _times(factor: Array, values: Array) -> Array:
    """Multiply; 0 times an infinity is 0, the limit of every product here."""
    with np.errstate(invalid="ignore"):
        return np.where(factor == 0, 0.0, factor * values)


def _divergence_terms(target: Array, log_probs: Array, probs: Array) -> Array:
    """Return q log(q/p) - q + p, whose sum is KL(q || p).

    With x = log(p/q) a term is q (exp(x) - 1 - x). None is negative, so that a small divergence
    is no difference of large numbers.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = log_probs - np.log(target)
        terms = target * np.maximum(np.expm1(x) - x, 0.0)
    return np.where(target > 0, terms, probs)


def _x_log_y(x: Array, y: Array) -> Array:
    with np.errstate(divide="ignore"):
        return _times(x, np.log(y))
