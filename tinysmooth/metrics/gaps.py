"""How far the right logit stands above the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinysmooth.checks import check_choice
from tinysmooth.metrics.scores import check_scores, check_targets


def logit_gap(
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    against: str = "mean",
    reduction: str = "mean",
) -> Any:
    """How far the right logit stands above the others.

    Parameters
    ----------
    logits : array of float, (N, K) with K >= 2
    targets : array of integers, (N,)
    against : {"mean", "top"}
        "mean": ``z_y - mean of the other logits``, the gap that rests at
        ``tinysmooth.resting_gap`` under label smoothing. "top": ``z_y - largest other logit``
        (the top-two gap), negative exactly when the prediction is wrong.
    reduction : {"mean", "none"}
        The mean over the rows as a float, or one value a row, (N,) float64.

    Returns
    -------
    float, or ndarray of float64, (N,)

    Raises
    ------
    TypeError, ValueError, IndexError
        For a wrong dtype, an unknown option, one class only, a class index out of range.

    Examples
    --------
    >>> logit_gap([[3.0, 1.0, -1.0]], [0])
    3.0
    >>> logit_gap([[3.0, 1.0, -1.0]], [0], against="top")
    2.0
    """
    scores = check_scores("logit_gap", "logits", logits)
    rows, num_classes = scores.shape
    if num_classes < 2:
        raise ValueError(
            f"logit_gap: logits has shape {scores.shape}; expected (N, K) with K >= 2: "
            "with one class there is nothing to stand above"
        )
    targets = check_targets("logit_gap", targets, rows, num_classes)
    against = check_choice("logit_gap", "against", against, ("mean", "top"))
    reduction = check_choice("logit_gap", "reduction", reduction, ("mean", "none"))
    row = np.arange(rows)
    right = scores[row, targets]
    others = scores.copy()
    if against == "mean":
        others[row, targets] = 0.0
        gaps = right - others.sum(axis=1) / (num_classes - 1)
    else:
        others[row, targets] = -np.inf
        gaps = right - others.max(axis=1)
    return float(gaps.mean()) if reduction == "mean" else gaps
