"""Pictures of what it costs to unlearn a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import label_end, legend
from tinysmooth.plots.style import LIMIT, ONE_HOT, SERIES, SMOOTHED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["bounded_or_vanishing", "flip_after_training", "flip_cost"]


def flip_cost(
    scaled_gaps: npt.ArrayLike, scaled_steps: npt.ArrayLike, grid: npt.ArrayLike
) -> Figure:
    """Draw the cost of flipping a prediction against its gap, between its two bounds.

    Parameters
    ----------
    scaled_gaps : array of float, (N,)
        Gap between the old and the new label.
    scaled_steps : array of float, (N,)
        Learning rate times the steps until the new label had the largest logit.
    grid : array of float, (M,)
        Gaps at which the two bounds, gap/2 and gap, are drawn.
    """
    line = np.asarray(grid)
    figure, axes = new_figure()
    axis = axes[0, 0]
    axis.fill_between(line, line / 2.0, line, color=LIMIT, alpha=0.12, linewidth=0)
    axis.plot(line, line / 2.0, "--", color=LIMIT, label="bounds: gap/2 and gap")
    axis.plot(line, line, "--", color=LIMIT)
    axis.scatter(
        scaled_gaps, scaled_steps, s=14, color=ONE_HOT, alpha=0.6, label="gradient descent"
    )
    axis.set(
        title="Unlearning costs time in proportion to the gap",
        xlabel="gap between the old label and the new",
        ylabel="learning rate x steps until the prediction flips",
        xlim=(0, line[-1]),
        ylim=(0, None),
    )
    legend(axis, loc="upper left")
    return figure


def flip_after_training(
    lengths: npt.ArrayLike, one_hot: npt.ArrayLike, smoothed: npt.ArrayLike
) -> Figure:
    """Draw steps of unlearning against steps of training, for one-hot and smoothed targets.

    Parameters
    ----------
    lengths : array of integers, (M,)
        Steps of training before the label changed.
    one_hot, smoothed : array of integers, (M,)
        Steps until the prediction followed.
    """
    figure, axes = new_figure(height=3.8)
    axis = axes[0, 0]
    steps = np.asarray(lengths)
    for values, colour, name in ((one_hot, ONE_HOT, "one-hot"), (smoothed, SMOOTHED, "smoothed")):
        counts = np.asarray(values)
        axis.plot(steps, counts, "o-", color=colour)
        label_end(axis, steps[-1], counts[-1], name, colour)
        above = colour == ONE_HOT
        for x, y in zip(steps, counts, strict=True):
            axis.annotate(
                str(y),
                (x, y),
                color=colour,
                ha="center",
                fontsize=8.5,
                xytext=(0, 7 if above else -14),
                textcoords="offset points",
            )
    axis.set(
        title="A thousand times the training, twice the unlearning",
        xlabel="steps of training",
        ylabel="steps of unlearning",
        xscale="log",
        xlim=(steps[0] * 0.7, steps[-1] * 4),
        ylim=(0, 1.15 * float(np.max(one_hot))),
    )
    return figure


def bounded_or_vanishing(gaps: npt.ArrayLike, curves: Mapping[str, npt.ArrayLike]) -> Figure:
    """Time to give up a confident wrong logit under several losses, logarithmic.

    Parameters
    ----------
    gaps : array of float, (M,)
        The logit at the start; the target is 0.
    curves : mapping of str to array of float, (M,)
        Time until the probability is one half, for each loss; the first is the cross-entropy.
    """
    grid = np.asarray(gaps)
    figure, axes = new_figure(height=3.8)
    axis = axes[0, 0]
    for (name, values), colour in zip(curves.items(), (ONE_HOT, *SERIES), strict=False):
        axis.plot(grid, values, color=colour, linewidth=2.0, label=name)
    axis.set(
        title="A bounded gradient is slow; a vanishing one is stuck",
        xlabel="logit of a confident wrong answer",
        ylabel="time until p = 1/2",
        yscale="log",
    )
    legend(axis, loc="upper left")
    return figure
