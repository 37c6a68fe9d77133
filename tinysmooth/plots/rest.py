"""Pictures of the resting gap: how it is reached, how fast, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import MARKS, label_end, legend, limit
from tinysmooth.plots.style import INK, LIMIT, ONE_HOT, SMOOTHED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["distance_to_rest", "gap_settles", "network_gaps", "resting_gaps"]


def gap_settles(
    steps: npt.ArrayLike,
    one_hot: npt.ArrayLike,
    smoothed: Mapping[float, npt.ArrayLike],
    resting: Mapping[float, float],
) -> Figure:
    """Draw gaps against steps: the one-hot gap that marches on, smoothed ones that settle.

    Parameters
    ----------
    steps : array of float, (M,)
    one_hot : array of float, (M,)
    smoothed : mapping of float to array of float, (M,)
        For each label smoothing.
    resting : mapping of float to float
        The resting gap of each.
    """
    grid = np.asarray(steps)
    figure, axes = new_figure(height=4.4)
    axis = axes[0, 0]
    end = np.asarray(one_hot)
    axis.plot(grid, end, color=ONE_HOT, linewidth=2.0)
    label_end(axis, grid[-1], end[-1], "one-hot", ONE_HOT)
    for number, ((smoothing, values), mark) in enumerate(
        zip(smoothed.items(), MARKS, strict=False)
    ):
        curve = np.asarray(values)
        limit(axis, resting[smoothing], "derived resting gap" if number == 0 else None)
        axis.plot(grid, curve, mark, color=SMOOTHED, linewidth=2.0)
        text = f"eps = {smoothing:g}: {resting[smoothing]:.2f}"
        label_end(axis, grid[-1], curve[-1], text, SMOOTHED, xytext=(5, 7))
    axis.set(
        title="One marches on, the others come to rest",
        xlabel="steps of gradient descent",
        ylabel="gap",
        xscale="log",
        xlim=(grid[0], grid[-1] * 9),
        ylim=(0, None),
    )
    legend(axis, loc="upper left")
    return figure


def distance_to_rest(
    times: npt.ArrayLike, distances: Mapping[str, npt.ArrayLike], law: npt.ArrayLike, rate: float
) -> Figure:
    """Draw how far the gap still is from its resting value, on a logarithmic axis.

    Parameters
    ----------
    times : array of float, (M,)
        Learning rate times steps.
    distances : mapping of str to array of float, (M,)
        What is left, for each of several curves.
    law : array of float, (M,)
        The straight line that the theory draws for the first.
    rate : float
        Its rate, for the legend.
    """
    figure, axes = new_figure(height=3.9)
    axis = axes[0, 0]
    for (name, values), mark in zip(distances.items(), MARKS, strict=False):
        axis.plot(times, values, mark, color=SMOOTHED, linewidth=2.2, label=name)
    axis.plot(times, law, "--", color=LIMIT, label=f"proportional to exp(-{rate:g} t)")
    axis.set(
        title="The gap settles quickly, the wrong logits more slowly",
        xlabel="time t = learning rate x steps",
        ylabel="distance that is left",
        yscale="log",
    )
    legend(axis)
    return figure


def resting_gaps(
    smoothings: npt.ArrayLike, gaps: Mapping[int, npt.ArrayLike], marked: tuple[float, float]
) -> Figure:
    """Draw the resting gap against epsilon for several numbers of classes.

    Parameters
    ----------
    smoothings : array of float, (M,)
    gaps : mapping of int to array of float, (M,)
        For each number of classes.
    marked : (float, float)
        An epsilon and a gap to point at.
    """
    grid = np.asarray(smoothings)
    figure, axes = new_figure(height=4.0)
    axis = axes[0, 0]
    for (num_classes, values), mark in zip(gaps.items(), MARKS, strict=False):
        curve = np.asarray(values)
        axis.plot(grid, curve, mark, color=SMOOTHED, linewidth=2.0, label=f"K = {num_classes}")
    axis.plot(*marked, "o", color=LIMIT, markersize=8)
    axis.annotate(
        f"{marked[1]:.2f}", marked, xytext=(8, 6), textcoords="offset points", color=INK, fontsize=9
    )
    axis.set(
        title="Where the gap rests: more classes, more gap",
        xlabel="label smoothing, eps",
        ylabel="resting gap",
        xscale="log",
        ylim=(0, None),
    )
    legend(axis)
    return figure


def network_gaps(gaps: Mapping[float, npt.ArrayLike], resting: Mapping[float, float]) -> Figure:
    """Draw histograms of every training example's mean gap: smoothed left, one-hot right.

    Parameters
    ----------
    gaps : mapping of float to array of float, (N,)
        For each label smoothing, 0 among them, the gaps of a trained network.
    resting : mapping of float to float
        The derived resting gap of each smoothing above 0.
    """
    figure, axes = new_figure(1, 2, width=9.2, height=3.8)
    left, right = axes[0]
    softened = {smoothing: np.asarray(values) for smoothing, values in gaps.items() if smoothing}
    top = max(float(values.max()) for values in softened.values())
    bins = np.linspace(0.0, 1.1 * top, 80)
    for (smoothing, values), alpha in zip(softened.items(), (0.85, 0.4, 0.25), strict=False):
        left.hist(values, bins=bins, color=SMOOTHED, alpha=alpha, label=f"eps = {smoothing:g}")
    right.hist(np.asarray(gaps[0.0]), bins=60, color=ONE_HOT, alpha=0.85, label="one-hot")
    for axis in (left, right):
        for number, value in enumerate(resting.values()):
            limit(axis, value, "derived resting gap" if number == 0 else None, vertical=True)
        axis.set(xlabel="right logit - mean of the others", ylabel="training pictures")
        axis.set_xlim(left=0)
        legend(axis)
    left.set_title("Smoothed: where theory puts them")
    right.set_title("One-hot: nowhere in particular")
    return figure
