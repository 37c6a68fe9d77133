"""Right or wrong, and how likely the right answer was."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinysmooth.metrics.scores import (
    IntArray,
    check_predictions,
    check_probs,
    check_scores,
    check_targets,
    log_softmax,
)


def accuracy(predictions: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Share of right predictions.

    Parameters
    ----------
    predictions : array, (N, K) or (N,)
        Logits or probabilities, whose largest entry is the prediction (the first of equals), or
        class indices.
    targets : array of integers, (N,)

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    TypeError, ValueError, IndexError
        For a wrong dtype, for shapes that do not fit, for a class index out of range.

    Examples
    --------
    >>> accuracy([[2.0, 1.0], [0.0, 3.0]], [0, 0])
    0.5
    >>> accuracy([0, 1, 2], [0, 1, 1])  # doctest: +ELLIPSIS
    0.666...
    """
    predicted, targets, _ = check_predictions("accuracy", predictions, targets, None)
    return float(np.mean(predicted == targets))


def negative_log_likelihood(logits: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Plain cross-entropy with the hard labels, mean over the rows, in nats.

    Comparable across values of label smoothing, which the training loss is not: that one has
    ``tinysmooth.loss_floor`` below it.

    Parameters
    ----------
    logits : array of float, (N, K)
    targets : array of integers, (N,)

    Returns
    -------
    float, nats

    Raises
    ------
    TypeError, ValueError, IndexError
        For a wrong dtype, for shapes that do not fit, for a class index out of range.

    Examples
    --------
    >>> negative_log_likelihood([[2.0, 1.0, 0.0, -1.0, 0.5]], [0])  # doctest: +ELLIPSIS
    0.57443793...
    """
    where = "negative_log_likelihood"
    scores = check_scores(where, "logits", logits)
    targets = check_targets(where, targets, *scores.shape)
    return float(-np.mean(log_softmax(scores)[np.arange(len(scores)), targets]))


def brier_score(probs: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean squared distance between the probabilities and the one-hot target, in [0, 2].

    The sum over the classes, averaged over the rows (Brier 1950, the original definition).

    Parameters
    ----------
    probs : array of float, (N, K)
        Probabilities, not logits.
    targets : array of integers, (N,)

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError, IndexError
        For a wrong dtype, for rows that are not probabilities, for a class index out of range.

    Examples
    --------
    >>> brier_score([[1.0, 0.0], [0.5, 0.5]], [0, 0])
    0.25
    """
    probs = check_probs("brier_score", probs)
    targets = check_targets("brier_score", targets, *probs.shape)
    right = probs[np.arange(len(probs)), targets]
    # sum_k (p_k - q_k)^2 = sum_k p_k^2 - 2 p_y + 1: no one-hot array is built.
    return float(np.mean(np.sum(probs**2, axis=1) - 2.0 * right + 1.0))


def confusion_matrix(
    predictions: npt.ArrayLike, targets: npt.ArrayLike, *, num_classes: int | None = None
) -> IntArray:
    """Count predictions by true class (rows) and predicted class (columns).

    Parameters
    ----------
    predictions : array, (N, K) scores or (N,) class indices
    targets : array of integers, (N,)
    num_classes : int, optional
        Needed with class indices only if the last classes may be missing.

    Returns
    -------
    ndarray of int64, (K, K)

    Raises
    ------
    TypeError, ValueError, IndexError
        For a wrong dtype, for shapes that do not fit, for a class index out of range.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1], [0, 1, 0])
    array([[1, 1],
           [0, 1]])
    """
    where = "confusion_matrix"
    predicted, targets, classes = check_predictions(where, predictions, targets, num_classes)
    counts = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)
