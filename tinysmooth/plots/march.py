"""Pictures of one-hot training on free logits: the gap that grows like the logarithm of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import label_end, legend
from tinysmooth.plots.style import INK, LIMIT, ONE_HOT, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["gap_march", "time_for_nines", "wrong_logits_meet"]


def gap_march(
    times: npt.ArrayLike,
    gaps: Mapping[int, npt.ArrayLike],
    tangents: Mapping[int, npt.ArrayLike],
    descent: Mapping[int, tuple[npt.ArrayLike, npt.ArrayLike]],
) -> Figure:
    """Gap against time on a logarithmic axis: exact curve, its tangent at infinity, and descent.

    Parameters
    ----------
    times : array of float, (M,)
        Learning rate times steps.
    gaps, tangents : mapping of int to array of float, (M,)
        For each number of classes, the solution of the flow, and log(K t).
    descent : mapping of int to (times, gaps)
        Points that gradient descent passed through.
    """
    grid = np.asarray(times)
    figure, axes = new_figure(width=7.0)
    axis = axes[0, 0]
    for number, (num_classes, values) in enumerate(gaps.items()):
        first = number == 0
        curve, tangent = np.asarray(values), np.asarray(tangents[num_classes])
        shown = tangent > 0.0
        axis.plot(grid, curve, color=ONE_HOT, linewidth=2.0, label="exact" if first else None)
        axis.plot(grid[shown], tangent[shown], "--", color=LIMIT, linewidth=1.3)
        label_end(axis, grid[-1], curve[-1], f"K = {num_classes}", ONE_HOT)
        if num_classes in descent:
            at, seen = descent[num_classes]
            name = "gradient descent" if first else None
            axis.plot(at, seen, "o", color=INK, markersize=4.5, label=name)
    axis.plot([], [], "--", color=LIMIT, label="log(K t)")
    axis.set(
        title="Ten times the training, 2.3 more of gap, without end",
        xlabel="time t = learning rate x steps",
        ylabel="gap between right and wrong logits",
        xscale="log",
        xlim=(grid[0], grid[-1] * 6),
        ylim=(0, None),
    )
    legend(axis, loc="upper left")
    return figure


def time_for_nines(nines: npt.ArrayLike, times: npt.ArrayLike, shares: npt.ArrayLike) -> Figure:
    """Time that one-hot training takes to a probability of 0.9, 0.99, ... and what is left to pull.

    Parameters
    ----------
    nines : array of integers, (M,)
    times : array of float, (M,)
        Learning rate times steps.
    shares : array of float, (M,)
        Sum of the absolute gradient entries there: the pull that is left.
    """
    counts = np.asarray(nines)
    names = ["0." + "9" * int(count) for count in counts]
    figure, axes = new_figure(1, 2, width=9.2, height=3.7)
    panels = (
        (axes[0, 0], times, "Time to get there (K = 10)", "learning rate x steps"),
        (axes[0, 1], shares, "Pull that is left there", "sum of |p - q|, per unit of logit"),
    )
    for axis, values, title, unit in panels:
        heights = np.asarray(values)
        axis.plot(counts, heights, "o-", color=ONE_HOT, markersize=7)
        for x, height in zip(counts, heights, strict=True):
            axis.annotate(
                f"{height:,.0f}" if height >= 10 else f"{height:.2g}",
                (x, height),
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                color=INK,
            )
        axis.set_xticks(counts, names)
        axis.set(title=title, ylabel=unit, yscale="log", xlabel="probability of the right class")
        low, high = axis.get_ylim()
        axis.set_ylim(low, high * 2)
        axis.set_xlim(counts[0] - 0.5, counts[-1] + 0.5)
    return figure


def wrong_logits_meet(
    times: npt.ArrayLike, differences: npt.ArrayLike, law: npt.ArrayLike, exponent: float
) -> Figure:
    """Difference between two wrong logits against time, both logarithmic, beside a power law.

    Parameters
    ----------
    times, differences, law : array of float, (M,)
    exponent : float
        Of the law, for the legend.
    """
    figure, axes = new_figure(height=3.7)
    axis = axes[0, 0]
    axis.plot(times, differences, color=ONE_HOT, linewidth=2.2, label="gradient descent")
    axis.plot(times, law, "--", color=LIMIT, label=f"power law, exponent {exponent:.3f}")
    axis.set(
        title="Wrong logits draw together, ever more slowly",
        xlabel="time t = learning rate x steps",
        ylabel="difference of two wrong logits",
        xscale="log",
        yscale="log",
    )
    legend(axis)
    return figure
