"""Pictures of gradients: what they pull on, how long they get, how curved the loss is, checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import MARKS, legend
from tinysmooth.plots.style import INK, LIMIT, MUTED, ONE_HOT, SERIES, SMOOTHED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "gradient_check_errors",
    "gradient_lengths",
    "hessian_eigenvalues",
    "logit_forces",
    "walk_lengths",
]


def logit_forces(probs: npt.ArrayLike, targets: Mapping[str, npt.ArrayLike]) -> Figure:
    """Bars of output and target, and below them of their difference, one column a target.

    Parameters
    ----------
    probs : array of float, (K,)
    targets : mapping of str to array of float, (K,)
        Distributions by the name that stands above their column.
    """
    probs = np.asarray(probs)
    classes = np.arange(probs.size)
    figure, axes = new_figure(
        2, len(targets), width=4.3 * len(targets), height=4.8, sharex=True, sharey="row"
    )
    for (above, below), (name, values) in zip(axes.T, targets.items(), strict=True):
        target = np.asarray(values)
        colour = ONE_HOT if target.max() == 1 else SMOOTHED
        above.bar(classes - 0.2, probs, 0.4, color=MUTED, label="output p")
        above.bar(classes + 0.2, target, 0.4, color=colour, label="target q")
        above.set(title=name, ylim=(0, 1.05))
        bars = below.bar(classes, probs - target, 0.55, color=INK)
        below.bar_label(bars, fmt="{:+.2f}", fontsize=8.5, color=INK, padding=2)
        below.axhline(0.0, color=MUTED, linewidth=0.8)
        below.set(xlabel="class k", xticks=classes)
        below.margins(y=0.2)
        for each in (above, below):
            each.grid(False, axis="x")
        legend(above)
    axes[0, 0].set_ylabel("probability")
    axes[1, 0].set_ylabel("gradient p - q")
    return figure


def gradient_lengths(
    misses: npt.ArrayLike, lengths: npt.ArrayLike, lower_slope: float, upper_slope: float
) -> Figure:
    """Length of the one-hot gradient against 1 - p_y, between its two straight bounds.

    Parameters
    ----------
    misses, lengths : array of float, (N,)
        Probability missing from the right class, and the Euclidean length of the gradient.
    lower_slope, upper_slope : float
    """
    figure, axes = new_figure()
    axis = axes[0, 0]
    ends = np.array([0.0, 1.0])
    axis.scatter(misses, lengths, s=7, color=ONE_HOT, alpha=0.35, label="random outputs")
    axis.plot(
        ends, upper_slope * ends, "--", color=LIMIT, label="one rival has all that is missing"
    )
    axis.plot(ends, lower_slope * ends, "-.", color=LIMIT, label="all rivals share it evenly")
    axis.set(
        title="The more is missing, the longer the gradient",
        xlabel=r"missing probability, $1 - p_y$",
        ylabel=r"length of the gradient, $\|p - q\|_2$",
    )
    legend(axis)
    return figure


def hessian_eigenvalues(probs: npt.ArrayLike, curves: Mapping[str, npt.ArrayLike]) -> Figure:
    """Curvatures of the loss against the probability of the leading class.

    Parameters
    ----------
    probs : array of float, (M,)
    curves : mapping of str to array of float, (M,)
        Eigenvalues of the Hessian by name.
    """
    figure, axes = new_figure(height=3.8)
    axis = axes[0, 0]
    for k, (name, values) in enumerate(curves.items()):
        axis.plot(probs, values, MARKS[k], color=SERIES[k], linewidth=2.0, label=name)
    axis.axhline(0.5, color=LIMIT, linestyle="--", linewidth=1.6, label="upper limit, 1/2")
    axis.set(
        title="Certainty makes the loss flat",
        xlabel=r"probability of one class; the others share the rest evenly",
        ylabel="curvature (eigenvalue)",
        ylim=(-0.02, 0.72),
    )
    legend(axis, loc="upper right")
    return figure


def gradient_check_errors(
    steps: npt.ArrayLike, errors: Mapping[str, npt.ArrayLike], floor: float = 1e-17
) -> Figure:
    """Relative error of numerical slopes against the step, for several ways to compute them.

    Parameters
    ----------
    steps : array of float, (M,)
    errors : mapping of str to array of float, (M,)
        NaN where there is no value.
    floor : float
        Errors below it, exact zeros among them, are drawn there.
    """
    figure, axes = new_figure(width=7.0, height=4.6)
    axis = axes[0, 0]
    for k, (name, values) in enumerate(errors.items()):
        shown = np.maximum(np.asarray(values), floor)
        axis.plot(steps, shown, MARKS[k % 4] + "o", color=SERIES[k], markersize=3.5, label=name)
    axis.set(
        title="A numerical slope: too long a step bends, too short a step rounds",
        xlabel="step h",
        ylabel="relative error of the gradient",
        xscale="log",
        yscale="log",
    )
    axis.invert_xaxis()
    legend(axis, loc="lower left")
    return figure


def walk_lengths(depths: npt.ArrayLike, counts: Mapping[str, npt.ArrayLike]) -> Figure:
    """Visits that a walk through a graph needs, against the depth of the graph.

    Parameters
    ----------
    depths : array of integers, (M,)
    counts : mapping of str to array of integers, (M,)
        Visits by the name of the walk.
    """
    figure, axes = new_figure(height=3.6)
    axis = axes[0, 0]
    for k, (name, values) in enumerate(counts.items()):
        axis.plot(depths, values, MARKS[k] + "o", color=SERIES[k], markersize=4.5, label=name)
    axis.set(
        title="Following every path, or visiting every node",
        xlabel="doublings a + a, one after the other",
        ylabel="visits",
        yscale="log",
    )
    legend(axis)
    return figure
