"""Pictures of surprise: one event's, its average, and where the average is smallest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import MARKS, label_end, legend
from tinysmooth.plots.style import GROUND, INK, LIMIT, MUTED, SERIES, new_figure, sequential_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["expected_surprise", "monte_carlo_errors", "simplex_loss", "surprise_curve"]


def surprise_curve(
    probs: npt.ArrayLike, surprise: npt.ArrayLike, marked: npt.ArrayLike, heights: npt.ArrayLike
) -> Figure:
    """Surprise -log p against probability, with some points named.

    Parameters
    ----------
    probs, surprise : array of float, (M,)
    marked, heights : array of float, (S,)
        Probabilities to name, and their surprise in nats.
    """
    figure, axes = new_figure(height=3.8)
    axis = axes[0, 0]
    axis.plot(probs, surprise, color=INK, linewidth=2.2)
    axis.plot(marked, heights, "o", color=SERIES[2], markersize=6)
    for prob, height in zip(np.asarray(marked), np.asarray(heights), strict=True):
        text = f"p = {prob:g}: {height:.3f} nats"
        label_end(axis, prob, height, text, INK, xytext=(8, 5))
    axis.set(
        title="The surprise of an event of probability p",
        xlabel="probability p",
        ylabel="surprise, -log p (nats)",
        xlim=(-0.02, 1.2),
        xticks=np.linspace(0, 1, 6),
    )
    return figure


def monte_carlo_errors(
    counts: npt.ArrayLike, errors: npt.ArrayLike, theory: npt.ArrayLike
) -> Figure:
    """Error of an average of N draws against N, for several seeds, with its theoretical size.

    Parameters
    ----------
    counts : array of integers, (M,)
    errors : array of float, (S, M)
        Absolute errors, one row a seed.
    theory : array of float, (M,)
        Standard deviation divided by the square root of N.
    """
    counts, errors = np.asarray(counts), np.asarray(errors)
    figure, axes = new_figure()
    axis = axes[0, 0]
    for row, values in enumerate(errors):
        label = "one seed each" if row == 0 else None
        axis.plot(counts, values, color=MUTED, linewidth=0.8, alpha=0.6, label=label)
    typical = np.sqrt((errors**2).mean(axis=0))
    axis.plot(counts, typical, "o-", color=INK, markersize=4.5, label="root mean square of all")
    axis.plot(
        counts, theory, "--", color=LIMIT, linewidth=2.0, label=r"standard error, $s/\sqrt{N}$"
    )
    axis.set(
        title="Averaging N labels: four times the draws, half the error",
        xlabel="labels drawn, N",
        ylabel="distance from the sum (nats)",
        xscale="log",
        yscale="log",
    )
    axis.set_ylim(bottom=float(np.min(theory)) / 30)
    legend(axis)
    return figure


def expected_surprise(
    probs: npt.ArrayLike, losses: npt.ArrayLike, shares: Sequence[float], floors: npt.ArrayLike
) -> Figure:
    """Draw expected surprise against the forecast, for several true shares, with the lowest points.

    Parameters
    ----------
    probs : array of float, (M,)
        Forecast probability of the event.
    losses : array of float, (S, M)
        Expected surprise in nats, one row a share.
    shares : sequence of float, S of them
        How often the event really happens.
    floors : array of float, (S,)
        Least expected surprise of each: the entropy.
    """
    figure, axes = new_figure()
    axis = axes[0, 0]
    for k, (share, row) in enumerate(zip(shares, np.asarray(losses), strict=True)):
        style = {"color": SERIES[k % len(SERIES)], "linestyle": MARKS[k % len(MARKS)]}
        axis.plot(
            probs, row, linewidth=2.0, label=f"happens {100 * share:g} % of the time", **style
        )
    axis.plot(shares, floors, "D", color=LIMIT, markersize=7, label="lowest point: the entropy")
    axis.set(
        title="The honest forecast is the cheapest one",
        xlabel="forecast probability p",
        ylabel="expected surprise (nats)",
        ylim=(0, 2.5),
    )
    legend(axis, loc="upper center")
    return figure


def simplex_loss(
    probs: npt.ArrayLike, losses: npt.ArrayLike, target: npt.ArrayLike, floor: float
) -> Figure:
    """Loss over all distributions of three classes, drawn as a triangle, with its lowest point.

    Parameters
    ----------
    probs : array of float, (M, 3)
        Distributions; each corner of the triangle is the certainty of one class.
    losses : array of float, (M,)
        In nats.
    target : array of float, (3,)
    floor : float
        The loss at the target.
    """
    probs, losses, target = (np.asarray(each) for each in (probs, losses, target))
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
    figure, axes = new_figure(width=6.0, height=5.0)
    axis = axes[0, 0]
    axis.axis("off")
    axis.set_aspect("equal")
    x, y = (probs @ corners).T
    levels = np.linspace(floor, floor + 2.0, 11)
    # Dark is low: the eye falls into the valley.
    filled = axis.tricontourf(
        x, y, losses, levels=levels, cmap=sequential_map().reversed(), extend="max"
    )
    outline = np.vstack([corners, corners[:1]])
    axis.plot(outline[:, 0], outline[:, 1], color=INK, linewidth=1.2)
    here = target @ corners
    axis.plot(*here, "D", color=LIMIT, markersize=9, markeredgecolor=GROUND)
    label_end(axis, here[0], here[1], f"target: {floor:.4f}", GROUND, xytext=(9, 0))
    for k, (x_corner, y_corner) in enumerate(corners):
        above = y_corner > 0
        place = {"xytext": (0, 8 if above else -8), "va": "bottom" if above else "top"}
        label_end(axis, x_corner, y_corner, f"$p_{k + 1} = 1$", INK, ha="center", **place)
    bar = figure.colorbar(filled, ax=axis, shrink=0.8, format="%.1f")
    bar.set_label("expected surprise (nats)", color=INK, fontsize=9.5)
    bar.ax.tick_params(colors=INK, labelsize=9)
    axis.set_title("Three classes: the target is the bottom of a bowl", pad=16)
    return figure
