"""What is noted after each epoch, as rows, as a CSV file and as a table on the screen."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tinysmooth.training.atomic import write_atomically

__all__ = [
    "SPREAD",
    "EpochRow",
    "columns",
    "format_header",
    "format_measured",
    "format_row",
    "read_history",
    "write_history",
]

SPREAD = ("val_gap_p05", "val_gap_p25", "val_gap_p50", "val_gap_p75", "val_gap_p95")
"""Columns with percentiles of the gaps."""


@dataclass(frozen=True)
class EpochRow:
    """One epoch. Losses and gaps are in nats; NaN stands for what was not measured.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    learning_rate : float
        At the last step of the epoch.
    train_loss, train_floor : float
        Mean training loss over the epoch, and H(q'), the least it could be.
    train_gap : float
        Mean logit gap (right logit minus mean of the others) over the training batches.
    resting_gap : float
        Where that gap rests for a perfectly fitted example; infinity without smoothing.
    val_loss : float
        Plain cross-entropy on the validation images, comparable across label smoothing.
    val_accuracy, val_ece, val_gap, val_top_gap : float
        Accuracy, calibration error (15 bins), mean gap and top-two gap on the validation images.
    val_gap_p05, val_gap_p25, val_gap_p50, val_gap_p75, val_gap_p95 : float
        Percentiles of the mean gaps of the validation images.
    images_per_second : float
        Training images; of this process alone if the epoch was resumed. Not reproducible.
    seconds : float
        Of the epoch, evaluation included. Not reproducible.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_floor: float
    train_gap: float
    resting_gap: float
    val_loss: float
    val_accuracy: float
    val_ece: float
    val_gap: float
    val_top_gap: float
    images_per_second: float
    seconds: float
    val_gap_p05: float = math.nan
    val_gap_p25: float = math.nan
    val_gap_p50: float = math.nan
    val_gap_p75: float = math.nan
    val_gap_p95: float = math.nan

    @property
    def measured(self) -> tuple[float, ...]:
        """All that a repeated run must reproduce: everything but the times."""
        times = ("images_per_second", "seconds")
        return tuple(value for name, value in asdict(self).items() if name not in times)


_NAMES = [field.name for field in fields(EpochRow)]


def columns(rows: Sequence[EpochRow]) -> dict[str, list[float]]:
    """Turn rows into columns by name, as the plots take them."""
    return {name: [getattr(row, name) for row in rows] for name in _NAMES}


def write_history(path: str | os.PathLike[str], rows: Iterable[EpochRow]) -> None:
    """Write rows to a CSV file, atomically; floats are written so that they read back exactly."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_NAMES)
    for row in rows:
        writer.writerow([repr(value) for value in asdict(row).values()])
    write_atomically(path, text.getvalue().encode("utf-8"))


def read_history(path: str | os.PathLike[str]) -> list[EpochRow]:
    """Read the rows of a CSV file that ``write_history`` wrote.

    Parameters
    ----------
    path : path

    Returns
    -------
    list of EpochRow

    Raises
    ------
    FileNotFoundError
        If it does not exist.
    ValueError
        If it is not such a file.
    """
    try:
        lines = list(csv.reader(io.StringIO(Path(path).read_text(encoding="utf-8"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"read_history: {str(path)!r} is damaged ({error}); expected the text that training "
            "wrote"
        ) from None
    if not lines or lines[0] != _NAMES:
        came = lines[0] if lines else "nothing"
        raise ValueError(f"read_history: {str(path)!r} begins with {came}; expected {_NAMES}")
    try:
        return [
            EpochRow(int(epoch), *(float(value) for _, value in zip(_NAMES[1:], rest, strict=True)))
            for epoch, *rest in lines[1:]
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"read_history: {str(path)!r} has a damaged row ({error}); "
            f"expected {len(_NAMES)} numbers in each"
        ) from None


def format_header(floor: float, resting_gap: float) -> str:
    """Two lines above the table: what the columns are, and the limits they approach."""
    rests = f"rests {resting_gap:.2f}" if math.isfinite(resting_gap) else "no rest"
    titles = _cells("epoch", "train loss", "val loss", "accuracy", "ECE", "train gap", "val gap")
    limits = _cells("", f"floor {floor:.3f}", "plain", "", "", rests, "")
    return f"{titles}  images/s\n{limits}"


def format_row(row: EpochRow, epochs: int) -> str:
    """One line of the table."""
    cells = _cells(
        f"{row.epoch}/{epochs}",
        f"{row.train_loss:.4f}",
        format_measured(row.val_loss, "{:.4f}"),
        format_measured(100 * row.val_accuracy, "{:.1f} %"),
        format_measured(row.val_ece, "{:.3f}"),
        format_measured(row.train_gap, "{:.2f}"),
        format_measured(row.val_gap, "{:.2f}"),
    )
    return f"{cells}  {row.images_per_second:8.0f}"


def format_measured(value: float, form: str) -> str:
    """Format a number; nothing for one that was not measured."""
    return "" if math.isnan(value) else form.format(value)


def _cells(*texts: str) -> str:
    return "  ".join(text.rjust(width) for text, width in zip(texts, _WIDTHS, strict=True))


_WIDTHS = (7, 11, 8, 8, 6, 10, 8)
