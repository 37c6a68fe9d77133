"""Pictures of networks compared: ways of training side by side, slopes, single pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import MARKS, Array, legend
from tinysmooth.plots.style import (
    INK,
    MUTED,
    ONE_HOT,
    SERIES,
    SMOOTHED,
    new_figure,
    run_colour,
    sequential_map,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "certainty_and_generalisation",
    "compare_trainings",
    "probability_on_line",
    "worst_pixels",
]


def compare_trainings(
    names: Sequence[str],
    measured: Mapping[str, npt.ArrayLike],
    units: Mapping[str, str],
    *,
    columns: int = 3,
) -> Figure:
    """Draw bars for each way of training, one panel a measurement, a dot for each seed.

    Parameters
    ----------
    names : sequence of str, G of them
        Ways of training; the first is one-hot, the second smoothed, others are grey.
    measured : mapping of str to array of float, (G, S)
        For each panel's title, the values of S seeds.
    units : mapping of str to str
        The label of each panel's vertical axis.
    columns : int
        Panels in a row.
    """
    rows = -(-len(measured) // columns)
    figure, axes = new_figure(rows, columns, width=3.1 * columns, height=3.2 * rows)
    places = np.arange(len(names))
    colours = [ONE_HOT, SMOOTHED, MUTED, *SERIES][: len(names)]
    for axis in list(axes.flat)[len(measured) :]:
        axis.set_axis_off()
    for axis, (title, table) in zip(axes.flat, measured.items(), strict=False):
        values = np.asarray(table, dtype=np.float64)
        axis.bar(places, values.mean(axis=1), width=0.62, color=colours, alpha=0.8)
        for place, row in zip(places, values, strict=True):
            axis.plot(np.full(len(row), place), row, "o", color=INK, markersize=3.5)
        axis.set_xticks(places, names)
        axis.set(title=title, ylabel=units[title])
        if values.min() >= 0:
            axis.set_ylim(bottom=0)
        axis.grid(False, axis="x")
    return figure


def probability_on_line(distances: npt.ArrayLike, probs: Mapping[float, npt.ArrayLike]) -> Figure:
    """Probability of one class along a straight line across a decision boundary.

    Parameters
    ----------
    distances : array of float, (M,)
        From the boundary, in units of the input.
    probs : mapping of float to array of float, (M,)
        For each factor on the last layer, the probability of the first class against the second.
    """
    figure, axes = new_figure(height=3.8)
    axis = axes[0, 0]
    axis.axvline(0.0, color=INK, linewidth=1.0)
    for (factor, values), mark in zip(probs.items(), MARKS, strict=False):
        axis.plot(distances, values, mark, color=ONE_HOT, label=f"last layer x {factor:g}")
    axis.annotate(
        "decision boundary: the same for all",
        (0.0, 0.04),
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
        color=INK,
    )
    axis.set(
        title="Larger weights make the slope steeper, and move no boundary",
        xlabel="distance from the boundary, along the steepest direction",
        ylabel="probability of the class left of it",
        ylim=(0, 1),
    )
    legend(axis)
    return figure


def worst_pixels(
    images: npt.ArrayLike, drops: Mapping[str, npt.ArrayLike], titles: Sequence[str]
) -> Figure:
    """Show images, and for each pixel how much probability changing it alone can take away.

    Parameters
    ----------
    images : array, (R, H, W)
    drops : mapping of str to array of float, (R, H, W)
        For each network, the largest fall of the predicted class's probability at each pixel.
    titles : sequence of str, R of them
        What each image is.
    """
    pictures = np.asarray(images)
    maps: dict[str, Array] = {name: np.asarray(values) for name, values in drops.items()}
    top = max(float(values.max()) for values in maps.values())
    count = len(pictures)
    figure, axes = new_figure(1 + len(maps), count, width=2.0 * count + 0.9, height=6.0)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    shades: Any = None
    for column in range(count):
        axes[0, column].imshow(pictures[column], cmap="gray", vmin=0, vmax=255)
        axes[0, column].set_title(titles[column], fontsize=9.5)
        for row, values in enumerate(maps.values(), start=1):
            shades = axes[row, column].imshow(
                values[column], cmap=sequential_map(), vmin=0.0, vmax=top
            )
            axes[row, column].set_xlabel(f"worst {values[column].max():.2f}", fontsize=8.5)
    for row, name in enumerate(("picture", *maps)):
        axes[row, 0].set_ylabel(name)
    figure.colorbar(shades, ax=list(axes[1:, :].flat), label="fall of p by one pixel", shrink=0.8)
    return figure


def certainty_and_generalisation(
    epochs: npt.ArrayLike,
    training: Mapping[float, npt.ArrayLike],
    validation: Mapping[float, npt.ArrayLike],
    accuracy: Mapping[float, npt.ArrayLike],
) -> Figure:
    """Plain loss on training and on new pictures, and accuracy, epoch by epoch.

    Parameters
    ----------
    epochs : array of integers, (M,)
    training, validation, accuracy : mapping of float to array of float, (M,)
        For each label smoothing, the plain cross-entropy in nats on training and on new pictures,
        and the share of new pictures classified rightly.
    """
    figure, axes = new_figure(1, 2, width=9.2, height=3.9)
    left, right = axes[0]
    for smoothing in training:
        colour = run_colour(smoothing)
        name = "smoothed" if smoothing else "one-hot"
        left.plot(epochs, validation[smoothing], color=colour, label=f"{name}, new pictures")
        left.plot(epochs, training[smoothing], "--", color=colour, label=f"{name}, training")
        right.plot(epochs, 100 * np.asarray(accuracy[smoothing]), color=colour, label=name)
    left.set(title="Plain cross-entropy", ylabel="nats", xlabel="epoch", ylim=(0, None))
    right.set(title="Accuracy on new pictures", ylabel="per cent", xlabel="epoch", ylim=(0, 100))
    for axis in (left, right):
        legend(axis)
    return figure
