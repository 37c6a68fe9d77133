"""Pictures of the smoothed target and its loss: bars, the valley, and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import MARKS, label_end, legend, limit
from tinysmooth.plots.style import INK, LIMIT, MUTED, ONE_HOT, SERIES, SMOOTHED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["loss_along_gap", "loss_parts", "penalty_forces", "target_bars"]


def target_bars(one_hot: npt.ArrayLike, smoothed: npt.ArrayLike) -> Figure:
    """Draw a one-hot target and its smoothed version as bars with their values.

    Parameters
    ----------
    one_hot, smoothed : array of float, (K,)
    """
    figure, axes = new_figure(1, 2, width=9.2, height=3.3, sharey=True)
    panels = (("One-hot target", one_hot, ONE_HOT), ("Smoothed target", smoothed, SMOOTHED))
    for axis, (title, target, colour) in zip(axes[0], panels, strict=True):
        values = np.asarray(target)
        places = np.arange(len(values))
        axis.bar(places, values, width=0.7, color=colour)
        for place, value in zip(places, values, strict=True):
            axis.annotate(
                f"{value:.2g}",
                (place, value),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=INK,
            )
        axis.set_xticks(places)
        axis.set(title=title, xlabel="class", ylim=(0, 1.12))
        axis.grid(False, axis="x")
    axes[0, 0].set_ylabel("target probability")
    return figure


def loss_along_gap(
    gaps: npt.ArrayLike,
    losses: Mapping[float, npt.ArrayLike],
    minima: Mapping[float, tuple[float, float]],
) -> Figure:
    """Loss against the gap of equal wrong logits, for several epsilons, with the minima marked.

    Parameters
    ----------
    gaps : array of float, (M,)
    losses : mapping of float to array of float, (M,)
        For each label smoothing, the loss in nats.
    minima : mapping of float to (gap, loss)
        The lowest point of each curve that has one.
    """
    grid = np.asarray(gaps)
    figure, axes = new_figure(height=4.4)
    axis = axes[0, 0]
    marks = iter(MARKS)
    for smoothing, values in losses.items():
        curve = np.asarray(values)
        colour = SMOOTHED if smoothing else ONE_HOT
        axis.plot(grid, curve, next(marks), color=colour, linewidth=2.0)
        label_end(axis, grid[-1], curve[-1], f"eps = {smoothing:g}", colour)
    for number, (gap, loss) in enumerate(minima.values()):
        name = "lowest point: the resting gap" if number == 0 else None
        axis.plot(gap, loss, "o", color=LIMIT, markersize=8, label=name)
        axis.annotate(
            f"{gap:.2f}",
            (gap, loss),
            xytext=(0, -14),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            color=INK,
        )
    axis.set(
        title="Smoothing gives the endless slope a valley",
        xlabel="gap: right logit above the equal others",
        ylabel="loss (nats)",
        xlim=(grid[0], grid[-1] + 0.17 * (grid[-1] - grid[0])),
        ylim=(0, None),
    )
    legend(axis)
    return figure


def loss_parts(
    gaps: npt.ArrayLike, hard: npt.ArrayLike, uniform: npt.ArrayLike, floor: float
) -> Figure:
    """Draw the two parts of the smoothed loss stacked upon each other, with the floor.

    Parameters
    ----------
    gaps, hard, uniform : array of float, (M,)
        Gaps, (1 - eps) H(q, p) and eps H(u, p) in nats.
    floor : float
        The entropy of the smoothed target.
    """
    grid, lower = np.asarray(gaps), np.asarray(hard)
    total = lower + np.asarray(uniform)
    figure, axes = new_figure(height=4.0)
    axis = axes[0, 0]
    name = "(1 - eps) H(q, p): be right"
    axis.fill_between(grid, 0.0, lower, color=ONE_HOT, alpha=0.55, linewidth=0, label=name)
    name = "eps H(u, p): do not be sure"
    axis.fill_between(grid, lower, total, color=MUTED, alpha=0.55, linewidth=0, label=name)
    axis.plot(grid, total, color=SMOOTHED, linewidth=2.2, label="their sum, the smoothed loss")
    limit(axis, floor, f"floor, {floor:.4f}")
    axis.set(
        title="Two losses that want opposite things",
        xlabel="gap: right logit above the equal others",
        ylabel="loss (nats)",
        xlim=(grid[0], grid[-1]),
        ylim=(0, None),
    )
    legend(axis)
    return figure


def penalty_forces(
    gaps: npt.ArrayLike, smoothing: npt.ArrayLike, confidence: npt.ArrayLike
) -> Figure:
    """Draw the force with which two penalties close a gap.

    Parameters
    ----------
    gaps : array of float, (M,)
    smoothing, confidence : array of float, (M,)
        Gradient entry at the right logit minus that at a wrong one, for H(u, p) and for -H(p).
    """
    figure, axes = new_figure(height=3.7)
    axis = axes[0, 0]
    axis.plot(gaps, smoothing, color=SMOOTHED, linewidth=2.2, label="smoothing: KL(u, p)")
    axis.plot(gaps, confidence, color=SERIES[1], linewidth=2.2, label="entropy: KL(p, u)")
    axis.set(
        title="One force stays, the other one dies",
        xlabel="gap: right logit above the equal others",
        ylabel="force against the gap",
        ylim=(0, 1.08),
    )
    legend(axis)
    return figure
