"""What an epoch came to, as a row; and how far it is, as a bar."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from tqdm import tqdm

from tinysmooth.losses import resting_gap
from tinysmooth.training.checkpoint import Progress
from tinysmooth.training.evaluation import Evaluation
from tinysmooth.training.history import SPREAD, EpochRow

__all__ = ["epoch_row", "progress_bar"]


def epoch_row(
    now: Progress,
    judged: Evaluation | None,
    *,
    learning_rate: float,
    label_smoothing: float,
    images_per_second: float,
    seconds: float,
) -> EpochRow:
    """Return the row of the epoch that ``now`` stands at the end of.

    Parameters
    ----------
    now : Progress
        With the sums of the epoch.
    judged : Evaluation or None
        On the validation images; without it those columns are NaN.
    learning_rate, label_smoothing, images_per_second, seconds : float
    """
    several = now.num_classes > 1
    spread = [math.nan] * 5
    if judged and several:
        spread = np.percentile(judged.gaps, (5, 25, 50, 75, 95)).tolist()
    rests = several and label_smoothing
    return EpochRow(
        epoch=now.epoch + 1,
        learning_rate=learning_rate,
        train_loss=now.loss_sum / now.images,
        train_floor=now.floor_sum / now.images,
        train_gap=now.gap_sum / now.images if several else math.nan,
        resting_gap=float(resting_gap(now.num_classes, label_smoothing)) if rests else math.inf,
        val_loss=judged.loss if judged else math.nan,
        val_accuracy=judged.accuracy if judged else math.nan,
        val_ece=judged.calibration_error if judged else math.nan,
        val_gap=judged.mean_gap if judged and several else math.nan,
        val_top_gap=judged.top_gap if judged and several else math.nan,
        images_per_second=images_per_second,
        seconds=seconds,
        **dict(zip(SPREAD, spread, strict=True)),
    )


def progress_bar(total: int, done: int, title: str, show: bool) -> Any:
    """Show a bar that is redrawn at once on a terminal, and seldom in a file."""
    patience = 0.2 if sys.stderr.isatty() else 5.0
    return tqdm(
        total=total, initial=done, desc=title, leave=False, disable=not show, mininterval=patience
    )
