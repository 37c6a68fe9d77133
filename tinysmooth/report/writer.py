"""Writing ``report.md`` and its pictures into a run folder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinysmooth import metrics, plots
from tinysmooth.report.inside import draw_inside
from tinysmooth.report.sentences import PICTURES, compose, compose_stopped
from tinysmooth.training import EpochRow, RunFolder, TrainConfig, TrainedRun
from tinysmooth.training.atomic import write_atomically
from tinysmooth.training.history import columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save_figure", "write_report", "write_stopped_report"]


def write_report(run: TrainedRun) -> Path:
    """Write ``report.md`` and its pictures into the folder of a finished run.

    Parameters
    ----------
    run : TrainedRun
        What ``tinysmooth.training.train`` or ``resume`` returned.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    OSError
        If a file cannot be written; a previous one is whole.
    """
    for name, figure in _draw(run).items():
        save_figure(figure, run.folder.path / PICTURES[name])
    text = compose(run)
    write_atomically(run.folder.report, text.encode("utf-8", "surrogateescape"))
    return run.folder.report


def write_stopped_report(
    folder: RunFolder, config: TrainConfig, rows: Sequence[EpochRow], *, stand_in: bool
) -> Path:
    """Write a short ``report.md`` for a run that was stopped: how far it came, how to go on.

    ``stand_in`` tells whether the images are drawings.
    """
    text = compose_stopped(folder, config, rows, stand_in)
    write_atomically(folder.report, text.encode("utf-8", "surrogateescape"))
    return folder.report


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically, without a date inside: same figure, same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _draw(run: TrainedRun) -> dict[str, Figure]:
    epsilon, judged, last = run.config.label_smoothing, run.evaluation, run.history[-1]
    names = run.val.class_names
    return {
        "curves": plots.training_curves(
            columns(run.history),
            label_smoothing=epsilon,
            loss_floor=last.train_floor,
            resting_gap=last.resting_gap,
        ),
        "reliability": plots.reliability_diagram(
            judged.probs, judged.targets, label_smoothing=epsilon
        ),
        "gaps": plots.gap_histogram(
            judged.gaps, label_smoothing=epsilon, resting_gap=last.resting_gap
        ),
        "confusion": plots.confusion_matrix(
            metrics.confusion_matrix(judged.logits, judged.targets, num_classes=len(names)), names
        ),
        "mistakes": plots.confident_mistakes(run.val.images, judged.probs, judged.targets, names),
        **draw_inside(run),
    }
