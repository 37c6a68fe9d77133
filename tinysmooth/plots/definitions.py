"""Pictures of the loss's definitions: class weights against smoothing, variants, mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import MARKS, Array, label_end, legend, limit
from tinysmooth.plots.style import LIMIT, MUTED, SERIES, SMOOTHED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["mistaken_losses", "weighted_optimum"]


def weighted_optimum(
    ratios: npt.ArrayLike, right: npt.ArrayLike, rare: npt.ArrayLike, tie: float
) -> Figure:
    """Draw the best prediction under class weights, as the weight of a rare class grows.

    Parameters
    ----------
    ratios : array of float, (M,)
        Weight of the rare class, the others having 1.
    right, rare : array of float, (M,)
        Best probability of the right class, which is not the rare one, and of the rare class.
    tie : float
        The ratio at which both are equal.
    """
    grid = np.asarray(ratios)
    curves: tuple[tuple[str, Array, str], ...] = (
        ("right class", np.asarray(right), SMOOTHED),
        ("rare class", np.asarray(rare), SERIES[1]),
    )
    figure, axes = new_figure(height=4.0)
    axis = axes[0, 0]
    for name, values, colour in curves:
        axis.plot(grid, values, color=colour, linewidth=2.2)
        label_end(axis, grid[-1], values[-1], name, colour)
    limit(axis, tie, f"tie at a weight of {tie:.0f}", vertical=True)
    axis.set(
        title="A heavy class becomes the answer to every question",
        xlabel="weight of the rare class (others: 1)",
        ylabel="best probability, for examples of another class",
        xscale="log",
        xlim=(grid[0], grid[-1] * 4),
        ylim=(0, 1),
    )
    legend(axis, loc="center left")
    return figure


def mistaken_losses(
    gaps: npt.ArrayLike, right: npt.ArrayLike, mistakes: Mapping[str, npt.ArrayLike]
) -> Figure:
    """Draw the right loss against the gap, and mistaken ones, each with its lowest point.

    Parameters
    ----------
    gaps, right : array of float, (M,)
        Gaps, and the smoothed loss in nats.
    mistakes : mapping of str to array of float, (M,)
        What each mistake computes instead.
    """
    grid = np.asarray(gaps)
    figure, axes = new_figure(height=4.6)
    axis = axes[0, 0]
    axis.axhline(0.0, color=MUTED, linewidth=1.0)
    looks = ((SERIES[1], "--"), (SERIES[2], "-."), (SERIES[3], ":"), (SERIES[0], MARKS[0]))
    rows = [("right", np.asarray(right), SMOOTHED, "-", 3.0)]
    for (name, values), (colour, mark) in zip(mistakes.items(), looks, strict=False):
        rows.append((name, np.asarray(values), colour, mark, 1.8))
    for name, values, colour, mark, width in rows:
        axis.plot(grid, values, mark, color=colour, linewidth=width, label=name)
        best = int(np.argmin(values))
        if 0 < best < len(values) - 1:
            axis.plot(grid[best], values[best], "o", color=LIMIT, markersize=6)
    axis.set(
        title="Mistakes seen in public code; dots are lowest points",
        xlabel="gap: right logit above the equal others",
        ylabel="what the code calls its loss (nats)",
        xlim=(grid[0], grid[-1]),
        ylim=(-0.2, 4.0),
    )
    legend(axis, loc="upper right")
    return figure
