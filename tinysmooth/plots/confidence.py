"""Pictures of a confident prediction: what it costs, what it needs, where rounding ends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import MARKS, hide_zeros, label_end, legend
from tinysmooth.plots.style import INK, LIMIT, ONE_HOT, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["gap_for_nines", "loss_between_bounds", "rounded_away"]


def loss_between_bounds(
    smallest_gaps: npt.ArrayLike,
    losses: npt.ArrayLike,
    grid: npt.ArrayLike,
    lower: npt.ArrayLike,
    upper: npt.ArrayLike,
) -> Figure:
    """Losses of many logit vectors against their smallest gap, between two proven curves.

    Parameters
    ----------
    smallest_gaps, losses : array of float, (N,)
        Right logit minus the largest other one, and the one-hot loss in nats.
    grid, lower, upper : array of float, (M,)
        Gaps, and the least and the greatest loss that each allows.
    """
    figure, axes = new_figure()
    axis = axes[0, 0]
    axis.scatter(smallest_gaps, losses, s=7, color=ONE_HOT, alpha=0.35, label="random logits")
    axis.plot(grid, upper, "--", color=LIMIT, label="all wrong logits as close as the closest")
    axis.plot(grid, lower, "-.", color=LIMIT, label="only one wrong logit counts")
    axis.set(
        title="The smallest gap pins the loss down, and never to 0",
        xlabel="smallest gap: right logit - largest other",
        ylabel="one-hot loss (nats)",
        yscale="log",
    )
    legend(axis)
    return figure


def gap_for_nines(nines: npt.ArrayLike, gaps_by_classes: Mapping[int, npt.ArrayLike]) -> Figure:
    """Gap that a probability of 0.9, 0.99, 0.999, ... needs, for several numbers of classes.

    Parameters
    ----------
    nines : array of integers, (M,)
        How many nines the probability has.
    gaps_by_classes : mapping of int to array of float, (M,)
        For each number of classes, the gap of equal wrong logits at each probability.
    """
    counts = np.asarray(nines)
    figure, axes = new_figure(height=3.9)
    axis = axes[0, 0]
    for (num_classes, gaps), mark in zip(gaps_by_classes.items(), MARKS, strict=False):
        values = np.asarray(gaps)
        axis.plot(counts, values, mark, marker="o", markersize=5, color=ONE_HOT)
        label_end(axis, counts[-1], values[-1], f"K = {num_classes}", ONE_HOT)
    axis.set_xticks(counts, ["0." + "9" * int(count) for count in counts])
    axis.set_xlim(counts[0] - 0.3, counts[-1] + 0.9)
    axis.set(
        title="Each further nine asks for 2.3 more, for ever",
        xlabel="probability of the right class",
        ylabel="gap needed",
        ylim=(0, None),
    )
    return figure


def rounded_away(
    gaps: npt.ArrayLike,
    exact: npt.ArrayLike,
    plain: Mapping[str, npt.ArrayLike],
    shares: Mapping[str, npt.ArrayLike],
) -> Figure:
    """Loss of a confident right answer, and what the plain formula leaves of its slope.

    Parameters
    ----------
    gaps, exact : array of float, (M,)
        Gaps between two logits, and the true loss in nats.
    plain : mapping of str to array of float, (M,)
        The plain formula's loss in each number format; a line ends where that is exactly 0.
    shares : mapping of str to array of float, (M,)
        The plain formula's slope divided by the true one, with the same keys.
    """
    grid = np.asarray(gaps)
    figure, axes = new_figure(1, 2, width=9.2, height=4.0)
    left, right = axes[0]
    left.plot(grid, exact, color=LIMIT, linewidth=1.6, label="true value, and the library's")
    right.axhline(1.0, color=LIMIT, linewidth=1.6)
    looks = ((ONE_HOT, 4.0), (INK, 1.2))  # the first lies below the second where both are right
    for (name, values), (colour, width) in zip(plain.items(), looks, strict=False):
        column = np.asarray(values, dtype=np.float64)
        last = np.flatnonzero(column > 0)[-1]
        left.plot(grid, hide_zeros(column), color=colour, linewidth=width, label=name)
        left.plot(grid[last], column[last], "X", color=colour, markersize=9)
        note = f"exactly 0\nafter {grid[last]:.1f}"
        label_end(left, grid[last], column[last], note, colour, xytext=(9, 6))
        right.plot(grid, shares[name], color=colour, linewidth=1.6)
    left.set(title="Loss of the right class", ylabel="nats", yscale="log")
    right.set(
        title="Slope: plain formula against the truth",
        ylabel="plain / true",
        ylim=(-0.1, 2.1),
    )
    for axis in (left, right):
        axis.set_xlabel("gap between two logits")
    legend(left, loc="lower left")
    return figure
