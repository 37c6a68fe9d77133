"""Pictures of one training run: curves, calibration, gaps, confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinysmooth.checks import check_array, check_ndim
from tinysmooth.metrics import reliability_bins
from tinysmooth.plots.style import GROUND, INK, LIMIT, MUTED, new_figure, run_colour, sequential_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix", "gap_histogram", "reliability_diagram", "training_curves"]


def training_curves(
    history: Mapping[str, Sequence[float]],
    *,
    label_smoothing: float,
    loss_floor: float,
    resting_gap: float,
) -> Figure:
    """Four curves by epoch: losses with the floor, accuracy, calibration error, mean gap.

    Parameters
    ----------
    history : mapping of str to sequence of float
        Columns "epoch", "train_loss", "val_loss", "val_accuracy", "val_ece", "train_gap" and
        "val_gap", of one length.
    label_smoothing : float
        Chooses the colour and is named in the legend.
    loss_floor : float
        H(q') in nats, the least training loss there is.
    resting_gap : float
        Where the mean gap of a perfectly fitted example rests; infinity without smoothing.

    Raises
    ------
    ValueError
        If a column is missing or the columns differ in length.
    """
    names = ("epoch", "train_loss", "val_loss", "val_accuracy", "val_ece", "train_gap", "val_gap")
    column = _columns("training_curves", history, names)
    colour = run_colour(label_smoothing)
    epoch = column["epoch"]
    figure, axes = new_figure(2, 2, width=9.0, height=6.2, sharex=True)
    losses, accuracy, calibration, gaps = axes.flat

    _line(losses, epoch, column["train_loss"], colour, "training loss", training=True)
    _line(losses, epoch, column["val_loss"], colour, "validation, plain cross-entropy")
    _limit(losses, loss_floor, f"floor of the training loss, {loss_floor:.3f}")
    losses.set(title="Loss", ylabel="nats")

    _line(accuracy, epoch, 100.0 * column["val_accuracy"], colour, "validation")
    accuracy.set(title="Validation accuracy", ylabel="per cent right")

    _line(calibration, epoch, column["val_ece"], colour, "validation")
    calibration.set(
        title="Validation calibration error (15 bins)", ylabel="mean |accuracy - confidence|"
    )
    # From zero on, and with room above: the usual margin follows the spread, which may be small.
    largest = np.fmax.reduce(column["val_ece"], initial=0.0)
    calibration.set_ylim(0.0, 1.08 * largest if largest > 0 else None)

    _line(gaps, epoch, column["train_gap"], colour, "training", training=True)
    _line(gaps, epoch, column["val_gap"], colour, "validation")
    if np.isfinite(resting_gap):
        _limit(gaps, resting_gap, f"resting gap, {resting_gap:.3f}")
    gaps.set(title="Mean logit gap", ylabel="right logit - mean of the others")

    for each in axes[1]:
        each.set_xlabel("epoch")
        each.xaxis.get_major_locator().set_params(integer=True)
    for each in (losses, gaps):
        _legend(each)
    figure.suptitle(f"label smoothing {label_smoothing:g}", color=INK, fontsize=12)
    return figure


def reliability_diagram(
    probs: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    label_smoothing: float,
    num_bins: int = 15,
) -> Figure:
    """Accuracy against confidence, bin by bin, above the number of predictions in each bin.

    Parameters
    ----------
    probs : array of float, (N, K)
    targets : array of integers, (N,)
    label_smoothing : float
        Of the run, for the colour.
    num_bins : int
        Bins of equal width, closed on the right.

    Raises
    ------
    TypeError, ValueError, IndexError
        As ``tinysmooth.metrics.reliability_bins``.
    """
    bins = reliability_bins(probs, targets, num_bins=num_bins)
    filled = bins.counts > 0
    centre = (bins.edges[:-1] + bins.edges[1:]) / 2.0
    width = 0.92 / num_bins
    colour = run_colour(label_smoothing)
    figure, axes = new_figure(2, 1, width=5.6, height=5.6, sharex=True, height_ratios=(3, 1))
    top, bottom = axes.flat
    top.bar(
        centre[filled], bins.accuracy[filled], width, color=colour, alpha=0.75, label="accuracy"
    )
    top.plot(
        bins.confidence[filled],
        bins.accuracy[filled],
        "o",
        color=INK,
        markersize=4,
        label="at the bin's mean confidence",
        clip_on=False,  # a dot at 1 is whole
        zorder=3,
    )
    top.plot([0, 1], [0, 1], "--", color=LIMIT, label="perfectly calibrated")
    error, bias = bins.expected_calibration_error, bins.overconfidence
    side = "over" if bias > 0 else "under"
    top.set(
        title=f"Calibration error {error:.3f}; on the whole {side}-confident by {abs(bias):.3f}",
        ylabel="share of right predictions",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    _legend(top)
    bottom.bar(centre, bins.counts, width, color=MUTED)
    bottom.set(xlabel="confidence (largest probability)", ylabel="predictions")
    return figure


def gap_histogram(
    gaps: npt.ArrayLike,
    *,
    label_smoothing: float,
    resting_gap: float,
    subject: str = "validation",
    bins: int = 40,
) -> Figure:
    """Histogram of the mean logit gap of every example, with the resting gap marked.

    Parameters
    ----------
    gaps : array of float, (N,)
        One mean gap an example: right logit minus the mean of the others.
    label_smoothing : float
    resting_gap : float
        Marked if finite.
    subject : str
        What the examples are, for the title.
    bins : int

    Raises
    ------
    TypeError, ValueError
        If ``gaps`` is not a non-empty 1-D array of finite numbers.
    """
    values = check_array("gap_histogram", "gaps", gaps)
    check_ndim("gap_histogram", "gaps", values, 1, "(N,)")
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("gap_histogram: gaps is empty or not finite; expected finite numbers")
    figure, axes = new_figure()
    axis = axes[0, 0]
    axis.hist(values, bins=bins, color=run_colour(label_smoothing), alpha=0.75)
    mean = float(values.mean())
    axis.axvline(mean, color=INK, linewidth=1.5, label=f"mean, {mean:.2f}")
    if np.isfinite(resting_gap):
        axis.axvline(
            resting_gap,
            color=LIMIT,
            linestyle="--",
            linewidth=1.8,
            label=f"resting gap, {resting_gap:.2f}",
        )
    axis.set(
        title=f"Logit gaps, {subject}, label smoothing {label_smoothing:g}",
        xlabel="right logit - mean of the others",
        ylabel="examples",
    )
    _legend(axis)
    return figure


def confusion_matrix(counts: npt.ArrayLike, class_names: Sequence[str]) -> Figure:
    """Table of true class (rows) against predicted class (columns).

    Parameters
    ----------
    counts : array of integers, (K, K)
        From ``tinysmooth.metrics.confusion_matrix``.
    class_names : sequence of str, K of them

    Raises
    ------
    TypeError, ValueError
        If the table is not square, or the names do not fit it.
    """
    table = check_array("confusion_matrix", "counts", counts)
    check_ndim("confusion_matrix", "counts", table, 2, "(K, K)")
    classes = len(class_names)
    if table.shape != (classes, classes):
        raise ValueError(
            f"confusion_matrix: counts has shape {table.shape}; expected ({classes}, {classes}) "
            "for that many class_names"
        )
    side = max(4.5, 0.55 * classes + 1.9)
    figure, axes = new_figure(width=side, height=side)
    axis = axes[0, 0]
    axis.grid(False)
    axis.spines[:].set_visible(False)
    # Shade by the share of the true class, so that classes of unlike size compare.
    totals = table.sum(axis=1, keepdims=True)
    shares = table / np.where(totals > 0, totals, 1)
    axis.imshow(shares, cmap=sequential_map(), vmin=0.0, vmax=1.0)
    for row in range(classes):
        for column in range(classes):
            if table[row, column]:
                axis.text(
                    column,
                    row,
                    str(table[row, column]),
                    ha="center",
                    va="center",
                    fontsize=8.5,
                    color=GROUND if shares[row, column] > 0.45 else INK,
                )
    slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axis.set_xticks(range(classes), class_names, parse_math=False, **slanted)
    axis.set_yticks(range(classes), class_names, parse_math=False)
    axis.tick_params(length=0)
    right = np.trace(table) / max(int(table.sum()), 1)
    axis.set(
        title=f"Confusions ({100 * right:.1f} % on the diagonal)",
        xlabel="predicted",
        ylabel="true",
    )
    return figure


def _columns(
    where: str, history: Mapping[str, Sequence[float]], names: Sequence[str]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the named columns as float64 arrays of one length."""
    missing = [name for name in names if name not in history]
    if missing:
        raise ValueError(f"{where}: history has no {missing}; expected the columns {list(names)}")
    columns = {name: np.asarray(history[name], dtype=np.float64) for name in names}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"{where}: history has columns of lengths {sorted(lengths)}; "
            "expected one length, at least 1"
        )
    return columns


def _line(axis: Axes, x: Any, y: Any, colour: str, label: str, *, training: bool = False) -> None:
    """Draw training thin and open, validation strong and filled: one colour a run.

    What was not measured (NaN) is left out, and the line goes on.
    """
    known = np.isfinite(y)
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 2.0}
    if training:
        style = {"marker": "o", "markersize": 4, "linewidth": 1.2, "markerfacecolor": GROUND}
    axis.plot(x[known], y[known], color=colour, label=label, **style)


def _limit(axis: Axes, value: float, label: str) -> None:
    axis.axhline(value, color=LIMIT, linestyle="--", linewidth=1.6, label=label)


def _legend(axis: Axes) -> None:
    axis.legend(fontsize=8, frameon=True, framealpha=0.9, facecolor=GROUND, edgecolor="#DDDDDD")
