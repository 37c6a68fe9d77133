"""Calibration: does a confidence of 0.9 mean being right nine times in ten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinysmooth.checks import check_int
from tinysmooth.metrics.scores import (
    FloatArray,
    IntArray,
    check_probs,
    check_scores,
    check_targets,
    log_softmax,
)


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Confidence and accuracy of predictions, grouped by confidence.

    Attributes
    ----------
    edges : ndarray of float64, shape (B + 1,)
        Bin b holds the confidences in (edges[b], edges[b + 1]].
    counts : ndarray of int64, shape (B,)
        Predictions in each bin.
    confidence, accuracy : ndarray of float64, shape (B,)
        Means over each bin; NaN where the bin is empty.
    """

    edges: FloatArray
    counts: IntArray
    confidence: FloatArray
    accuracy: FloatArray

    @property
    def expected_calibration_error(self) -> float:
        """Mean of ``|accuracy - confidence|`` over the predictions, bin by bin."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float(np.sum(gaps * self.counts[filled]) / self.counts.sum())

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy over all predictions: positive means over-confident."""
        filled = self.counts > 0
        gaps = self.confidence[filled] - self.accuracy[filled]
        return float(np.sum(gaps * self.counts[filled]) / self.counts.sum())


def softmax(logits: npt.ArrayLike) -> FloatArray:
    """Probabilities of (N, K) logits, in float64.

    The plain-array twin of ``tinysmooth.softmax`` for measuring; no graph.

    Parameters
    ----------
    logits : array of float, (N, K)

    Returns
    -------
    ndarray of float64, (N, K)

    Raises
    ------
    TypeError, ValueError
        If ``logits`` is not a non-empty (N, K) array of finite real numbers.

    Examples
    --------
    >>> softmax([[0.0, 0.0]])
    array([[0.5, 0.5]])
    """
    return np.exp(log_softmax(check_scores("softmax", "logits", logits)))


def reliability_bins(
    probs: npt.ArrayLike, targets: npt.ArrayLike, *, num_bins: int = 15
) -> ReliabilityBins:
    """Group predictions by confidence into bins of equal width, closed on the right.

    Parameters
    ----------
    probs : array of float, (N, K)
        Probabilities (not logits); the confidence of a row is its largest entry.
    targets : array of integers, (N,)
    num_bins : int

    Returns
    -------
    ReliabilityBins

    Raises
    ------
    TypeError, ValueError, IndexError
        For a wrong dtype, for rows that are not probabilities, for a class index out of range.

    Examples
    --------
    >>> bins = reliability_bins([[0.6, 0.4], [0.3, 0.7]], [0, 0], num_bins=5)
    >>> bins.counts.tolist()
    [0, 0, 1, 1, 0]
    """
    return _bins("reliability_bins", probs, targets, num_bins)


def _bins(
    where: str, probs: npt.ArrayLike, targets: npt.ArrayLike, num_bins: int
) -> ReliabilityBins:
    probs = check_probs(where, probs)
    targets = check_targets(where, targets, *probs.shape)
    num_bins = check_int(where, "num_bins", num_bins, minimum=1)
    confidence = probs.max(axis=1)
    correct = probs.argmax(axis=1) == targets
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    # Comparing with the inner edges keeps 0 in the first bin and rounding above 1 in the last.
    which = np.digitize(confidence, edges[1:-1], right=True)
    counts = np.bincount(which, minlength=num_bins)
    safe = np.where(counts > 0, counts, 1)

    def mean_of(values: FloatArray) -> FloatArray:
        sums = np.bincount(which, weights=values, minlength=num_bins)
        return np.where(counts > 0, sums / safe, np.nan)

    return ReliabilityBins(
        edges, counts.astype(np.int64), mean_of(confidence), mean_of(correct.astype(np.float64))
    )


def expected_calibration_error(
    probs: npt.ArrayLike, targets: npt.ArrayLike, *, num_bins: int = 15
) -> float:
    """Measure how far confidence is from accuracy, in [0, 1].

    Bins of equal width, closed on the right; the mean over the predictions of
    ``|accuracy - confidence|`` of their bin (Guo et al. 2017, equation 3). It depends on the
    number of bins, so state it beside the value.

    Parameters
    ----------
    probs : array of float, (N, K)
        Probabilities, not logits.
    targets : array of integers, (N,)
    num_bins : int
        At least 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError, IndexError
        For a wrong dtype, for rows that are not probabilities, for a class index out of range.

    Examples
    --------
    >>> error = expected_calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1])
    >>> round(error, 12)
    0.4
    """
    bins = _bins("expected_calibration_error", probs, targets, num_bins)
    return bins.expected_calibration_error


def fit_temperature(
    logits: npt.ArrayLike, targets: npt.ArrayLike, *, low: float = 0.05, high: float = 20.0
) -> float:
    """Temperature T in [low, high] that minimises the cross-entropy of ``logits / T``.

    Fit it on held-out rows, never on the rows that are then judged. The loss is convex in 1/T,
    hence has one valley in log T, which golden-section search walks down (Guo et al. 2017,
    section 4.2, for the method). T > 1 softens an over-confident network; a value
    at either end means that there is no valley between them.

    Parameters
    ----------
    logits : array of float, (N, K)
    targets : array of integers, (N,)
    low, high : float
        Positive ends of the interval.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError, IndexError
        For a wrong dtype, for shapes that do not fit, for a class index out of range.

    Examples
    --------
    >>> logits = np.log([[0.7, 0.3]] * 10)
    >>> round(fit_temperature(4 * logits, [0] * 7 + [1] * 3), 4)
    4.0
    """
    where = "fit_temperature"
    scores = check_scores(where, "logits", logits)
    targets = check_targets(where, targets, *scores.shape)
    if not 0 < low < high < np.inf:
        raise ValueError(f"{where}: low, high are {low!r}, {high!r}; expected 0 < low < high")
    row = np.arange(len(scores))

    def loss(log_temperature: float) -> float:
        cooled = scores / np.exp(log_temperature)
        return float(-log_softmax(cooled)[row, targets].mean())

    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    left, right = float(np.log(low)), float(np.log(high))
    inner, outer = right - ratio * (right - left), left + ratio * (right - left)
    loss_inner, loss_outer = loss(inner), loss(outer)
    while right - left > 1e-7:
        if loss_inner <= loss_outer:
            right, outer, loss_outer = outer, inner, loss_inner
            inner = right - ratio * (right - left)
            loss_inner = loss(inner)
        else:
            left, inner, loss_inner = inner, outer, loss_outer
            outer = left + ratio * (right - left)
            loss_outer = loss(outer)
    return float(np.exp((left + right) / 2.0))
