"""Pictures of the last chapters: one-hot beside smoothed in real training, and the scoreboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import legend, limit
from tinysmooth.plots.style import GROUND, INK, LIMIT, MUTED, ONE_HOT, SMOOTHED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tinysmooth.metrics.calibration import ReliabilityBins

__all__ = [
    "compare_curves",
    "compare_gaps",
    "compare_reliability",
    "compare_runs",
    "examples",
    "verdict_counts",
]

NAMES = {ONE_HOT: "one-hot", SMOOTHED: "smoothed"}


def examples(
    images: npt.ArrayLike, targets: npt.ArrayLike, class_names: Sequence[str], columns: int = 8
) -> Figure:
    """Show the first images of each class, a row a class.

    Parameters
    ----------
    images : array of uint8, (N, 3, H, W)
    targets : array of integers, (N,)
    class_names : sequence of str, K of them
    columns : int
        Images of each class.
    """
    pictures, labels = np.asarray(images), np.asarray(targets)
    side = pictures.shape[-1]
    wall = np.full((len(class_names) * (side + 2), columns * (side + 2), 3), 252, np.uint8)
    for row, _ in enumerate(class_names):
        for column, index in enumerate(np.flatnonzero(labels == row)[:columns]):
            top, left = row * (side + 2) + 1, column * (side + 2) + 1
            wall[top : top + side, left : left + side] = pictures[index].transpose(1, 2, 0)
    figure, axes = new_figure(width=6.2, height=6.4)
    axis = axes[0, 0]
    axis.imshow(wall, interpolation="nearest")
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.set_xticks([])
    middles = (np.arange(len(class_names)) + 0.5) * (side + 2)
    axis.set_yticks(middles, class_names, parse_math=False)
    axis.tick_params(length=0)
    axis.set_title("What the network sees")
    return figure


def compare_curves(
    one_hot: Sequence[Mapping[str, Sequence[float]]],
    smoothed: Sequence[Mapping[str, Sequence[float]]],
    *,
    loss_floor: float,
    resting_gap: float,
) -> Figure:
    """Four curves by epoch for two kinds of targets, a thin line a seed and a strong mean.

    Parameters
    ----------
    one_hot, smoothed : sequence of mapping of str to sequence of float
        One a seed, with the columns "train_loss", "train_gap", "val_loss" and "val_accuracy".
    loss_floor, resting_gap : float
        Of the smoothed runs.
    """
    figure, axes = new_figure(2, 2, width=9.0, height=6.4, sharex=True)
    panels = {
        "train_loss": ("Training loss, as optimised", "nats"),
        "val_loss": ("Validation, plain cross-entropy", "nats"),
        "val_accuracy": ("Validation accuracy", "share right"),
        "train_gap": ("Mean gap in training", "right logit - mean of the others"),
    }
    for axis, (column, (title, unit)) in zip(axes.flat, panels.items(), strict=True):
        for colour, runs in ((ONE_HOT, one_hot), (SMOOTHED, smoothed)):
            table = np.array([run[column] for run in runs], dtype=np.float64)
            epochs = np.arange(1, table.shape[1] + 1)
            for row in table:
                axis.plot(epochs, row, color=colour, linewidth=0.8, alpha=0.5)
            axis.plot(epochs, table.mean(axis=0), color=colour, linewidth=2.4, label=NAMES[colour])
        axis.set(title=title, ylabel=unit)
    limit(axes[0, 0], loss_floor, f"floor H(q') = {loss_floor:.4f}")
    limit(axes[1, 1], resting_gap, f"log 91 = {resting_gap:.2f}")
    axes[0, 0].set_ylim(bottom=0.0)
    for axis in axes.flat:
        legend(axis)
    for axis in axes[1]:
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def compare_gaps(
    one_hot: Mapping[str, npt.ArrayLike],
    smoothed: Mapping[str, npt.ArrayLike],
    *,
    resting_gap: float,
) -> Figure:
    """Histograms of the gap of every example, one panel a set of examples.

    Parameters
    ----------
    one_hot, smoothed : mapping of str to array of float, (N,)
        Gaps by the name of the set, the same names in both.
    resting_gap : float
        Marked.
    """
    figure, axes = new_figure(1, len(one_hot), width=9.0, height=3.8, sharex=True)
    for axis, name in zip(axes.flat, one_hot, strict=True):
        both = {ONE_HOT: np.asarray(one_hot[name]), SMOOTHED: np.asarray(smoothed[name])}
        low = min(float(values.min()) for values in both.values())
        high = max(float(values.max()) for values in both.values())
        edges = np.linspace(low, high, 61)
        for colour, values in both.items():
            label = f"{NAMES[colour]}, mean {values.mean():.2f}"
            axis.hist(values, edges, color=colour, alpha=0.6, label=label)
        axis.axvline(
            resting_gap, color=LIMIT, linestyle="--", label=f"resting gap {resting_gap:.2f}"
        )
        axis.set(title=f"Gaps, {name}", xlabel="right logit - mean of the others")
        axis.set_ylabel("examples")
        legend(axis)
    return figure


def compare_reliability(one_hot: ReliabilityBins, smoothed: ReliabilityBins) -> Figure:
    """Accuracy against confidence for two kinds of targets, with the share of each bin.

    Parameters
    ----------
    one_hot, smoothed : ReliabilityBins
        From ``tinysmooth.metrics.reliability_bins``.
    """
    figure, axes = new_figure(1, 2, width=9.0, height=4.3, sharey=True)
    for axis, colour, bins in zip(axes.flat, (ONE_HOT, SMOOTHED), (one_hot, smoothed), strict=True):
        filled = bins.counts > 0
        shares = bins.counts / bins.counts.sum()
        centre, width = (bins.edges[:-1] + bins.edges[1:]) / 2, np.diff(bins.edges)
        axis.bar(centre, shares, 0.9 * width, color=MUTED, alpha=0.45, label="share of predictions")
        axis.plot([0, 1], [0, 1], "--", color=LIMIT, linewidth=1.6, label="calibrated")
        axis.plot(
            bins.confidence[filled], bins.accuracy[filled], "o-", color=colour, label="accuracy"
        )
        error = bins.expected_calibration_error
        axis.set(
            title=f"{NAMES[colour]}: calibration error {error:.3f}",
            xlabel="confidence",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        legend(axis, loc="upper left")
    axes[0, 0].set_ylabel("share right")
    return figure


def compare_runs(
    measures: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> Figure:
    """One panel a measure: a line a seed from its one-hot run to its smoothed run.

    Parameters
    ----------
    measures : mapping of str to (one_hot, smoothed)
        Values by seed, in the same order.
    """
    figure, axes = new_figure(1, len(measures), width=2.3 * len(measures) + 0.6, height=3.6)
    for axis, (name, (hard, soft)) in zip(axes.flat, measures.items(), strict=True):
        for before, after in zip(hard, soft, strict=True):
            axis.plot([0, 1], [before, after], color=MUTED, linewidth=1.2, zorder=1)
        axis.scatter([0] * len(hard), hard, color=ONE_HOT, zorder=2)
        axis.scatter([1] * len(soft), soft, color=SMOOTHED, zorder=2)
        axis.set_xticks([0, 1], ["one-hot", "smoothed"])
        values = np.array([*hard, *soft], dtype=np.float64)
        middle = (values.min() + values.max()) / 2
        # At least a tenth of the value from bottom to top: a small difference shall look small.
        reach = 0.6 * max(float(np.ptp(values)), 0.1 * abs(float(middle)))
        axis.set(xlim=(-0.4, 1.4), ylim=(middle - reach, middle + reach), title=name)
    return figure


def verdict_counts(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Bars of how many claims hold, hold under a condition, fail or were not tested.

    Parameters
    ----------
    counts : mapping of str to mapping of str to int
        For each text, the number of claims by verdict.
    """
    colours: dict[str, Any] = {
        "holds": LIMIT,
        "holds under a condition": "#E69F00",
        "fails as stated": ONE_HOT,
        "not tested here": MUTED,
    }
    figure, axes = new_figure(width=8.6, height=0.75 * len(counts) + 1.5)
    axis = axes[0, 0]
    start = np.zeros(len(counts))
    for verdict, colour in colours.items():
        values = np.array([row.get(verdict, 0) for row in counts.values()], dtype=float)
        axis.barh(list(counts), values, left=start, color=colour, label=verdict, height=0.6)
        for place, (value, left) in enumerate(zip(values, start, strict=True)):
            if value:
                axis.text(
                    left + value / 2,
                    place,
                    f"{value:.0f}",
                    ha="center",
                    va="center",
                    color=GROUND if verdict != "holds under a condition" else INK,
                    fontweight="bold",
                )
        start = start + values
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    axis.set_xlabel("claims")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=8.5, frameon=False)
    return figure
