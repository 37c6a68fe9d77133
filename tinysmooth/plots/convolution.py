"""Pictures of convolution: filters at work, the matrix behind, pooling, normalisation, speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinysmooth.plots.drawing import MARKS, legend
from tinysmooth.plots.style import GROUND, INK, LIMIT, MUTED, SERIES, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "channel_histograms",
    "filter_results",
    "kernel_times",
    "linear_map",
    "pooling_winners",
]


def filter_results(
    image: npt.ArrayLike, filters: Mapping[str, npt.ArrayLike], results: Sequence[npt.ArrayLike]
) -> Figure:
    """Show a grey image, and for each filter its weights and what it makes of the image.

    Parameters
    ----------
    image : array of float, (H, W)
    filters : mapping of str to array of float, (R, S)
    results : sequence of array of float, one for each filter
        Dark is negative, light positive, the middle grey is 0.
    """
    figure, axes = new_figure(
        2, 1 + len(filters), width=2.3 * (1 + len(filters)), height=3.6, height_ratios=(1, 2.2)
    )
    axes[0, 0].axis("off")
    _picture(axes[1, 0], image, "image", cmap="gray")
    for (name, weights), result, column in zip(
        filters.items(), results, range(1, 1 + len(filters)), strict=True
    ):
        weights, result = np.asarray(weights), np.asarray(result)
        largest = float(np.abs(weights).max())
        axis = axes[0, column]
        _picture(axis, weights, name, cmap="gray", vmin=-largest, vmax=largest)
        for (row, place), value in np.ndenumerate(weights):
            colour = GROUND if value < 0.2 * largest else INK
            axis.text(
                place, row, f"{value:.3g}", color=colour, fontsize=8, ha="center", va="center"
            )
        bound = float(np.abs(result).max())
        _picture(axes[1, column], result, "", cmap="gray", vmin=-bound, vmax=bound)
    return figure


def linear_map(
    matrix: npt.ArrayLike, out_shape: tuple[int, int], in_shape: tuple[int, int]
) -> Figure:
    """Draw the matrix that takes the pixels of an image to the pixels of its convolution.

    Parameters
    ----------
    matrix : array of float, (outputs, inputs)
        Entries that are 0 are left blank.
    out_shape, in_shape : (int, int)
        Rows and columns of the two images, named in the labels.
    """
    table = np.asarray(matrix)
    # One shade for each different weight: rank them, since only the pattern matters.
    ranks = np.searchsorted(np.unique(table[table != 0]), table).astype(np.float64)
    figure, axes = new_figure(width=6.4, height=1.3 + 5.0 * table.shape[0] / table.shape[1])
    axis = axes[0, 0]
    axis.grid(False)
    axis.imshow(np.where(table != 0, ranks, np.nan), cmap="viridis", interpolation="nearest")
    axis.set(
        title="The matrix of a convolution: mostly empty, few different entries",
        xlabel=f"pixel of the image ({in_shape[0]} x {in_shape[1]}, row by row)",
        ylabel=f"pixel of the result ({out_shape[0]} x {out_shape[1]})",
    )
    return figure


def pooling_winners(
    image: npt.ArrayLike, pooled: npt.ArrayLike, gradient: npt.ArrayLike, window: int
) -> Figure:
    """Show numbers before and after max-pooling, and where a gradient of ones goes back to.

    Parameters
    ----------
    image, gradient : array of float, (H, W)
        Before pooling, and the gradient there.
    pooled : array of float, (H / window, W / window)
    window : int
    """
    figure, axes = new_figure(1, 3, width=8.4, height=3.0)
    won = np.asarray(gradient) != 0
    panels = [
        ("before: the winners are framed", image, window),
        ("after: the winners alone", pooled, 1),
        ("a gradient of ones, sent back", gradient, window),
    ]
    for axis, (title, values, block) in zip(axes.flat, panels, strict=True):
        table = np.asarray(values)
        _picture(axis, np.zeros(table.shape), title, cmap="gray_r", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(table):
            axis.text(column, row, f"{value:g}", color=INK, fontsize=9, ha="center", va="center")
            if table.shape == won.shape and won[row, column]:
                _frame(axis, row, column)
        for edge in range(0, table.shape[0] + 1, block):
            axis.axhline(edge - 0.5, color=MUTED, linewidth=1.0)
        for edge in range(0, table.shape[1] + 1, block):
            axis.axvline(edge - 0.5, color=MUTED, linewidth=1.0)
    return figure


def channel_histograms(before: npt.ArrayLike, after: npt.ArrayLike) -> Figure:
    """Histograms of the numbers of each channel, before and after batch normalisation.

    Parameters
    ----------
    before, after : array of float, (C, M)
        All numbers of each channel.
    """
    figure, axes = new_figure(1, 2, width=8.4, height=3.2)
    titles = ("before: every channel its own range", "after: mean 0, variance 1")
    for axis, title, values in zip(axes.flat, titles, (before, after), strict=True):
        for k, channel in enumerate(np.asarray(values)):
            axis.hist(
                channel,
                bins=40,
                density=True,
                histtype="step",
                linewidth=1.8,
                color=SERIES[k % len(SERIES)],
                linestyle=MARKS[k % len(MARKS)],
                label=f"channel {k}",
            )
        axis.set(title=title, xlabel="value", ylabel="density")
    legend(axes[0, 0])
    return figure


def kernel_times(
    names: Sequence[str], milliseconds: npt.ArrayLike, floor: float, title: str
) -> Figure:
    """Bars of the time that several ways to do the same need, on a logarithmic axis.

    Parameters
    ----------
    names : sequence of str
    milliseconds : array of float, (M,)
        One for each name.
    floor : float
        A limit that none can beat, in milliseconds; marked if positive.
    title : str
    """
    times = np.asarray(milliseconds)
    figure, axes = new_figure(width=7.4, height=0.9 + 0.48 * len(names))
    axis = axes[0, 0]
    places = np.arange(len(names))[::-1]
    axis.barh(places, times, 0.6, color=SERIES[3])
    for place, value in zip(places, times, strict=True):
        axis.text(value * 1.12, place, _duration(value), va="center", fontsize=9, color=INK)
    if floor > 0:
        axis.axvline(floor, color=LIMIT, linestyle="--", linewidth=1.7)
    axis.set_yticks(places, names)
    axis.grid(False, axis="y")
    axis.set(title=title, xlabel="milliseconds", xscale="log")
    low = min(float(times.min()), floor if floor > 0 else np.inf)
    axis.set_xlim(low / 2, float(times.max()) * 6)
    return figure


def _duration(milliseconds: float) -> str:
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.3g} s"
    return f"{milliseconds:.3g} ms"


def _picture(axis: Axes, values: Any, title: str, **options: Any) -> None:
    axis.imshow(np.asarray(values), interpolation="nearest", **options)
    axis.set_title(title)
    axis.grid(False)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _frame(axis: Axes, row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    axis.add_patch(
        Rectangle(
            (column - 0.42, row - 0.42), 0.84, 0.84, fill=False, edgecolor=SERIES[2], linewidth=2.2
        )
    )
