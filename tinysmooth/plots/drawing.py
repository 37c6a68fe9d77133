"""Small strokes that several pictures share: legends, limits, labels at the end of a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinysmooth.plots.style import GROUND, LIMIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MARKS", "Array", "hide_zeros", "label_end", "legend", "legend_below", "limit"]

Array = np.ndarray[Any, Any]

MARKS = ("-", "--", ":", "-.")
"""Line styles for curves that share a colour because they share a meaning."""


def legend(axis: Axes, **options: Any) -> None:
    """Put a legend on the ground colour, small and quiet."""
    style: dict[str, Any] = {"facecolor": GROUND, "edgecolor": "#DDDDDD", "framealpha": 0.9}
    axis.legend(**{"fontsize": 8.5, "frameon": True, **style, **options})


def legend_below(axis: Axes, columns: int) -> None:
    """Put the legend of ``axis`` below everything: the data may fill any corner inside."""
    figure: Any = axis.figure
    style: dict[str, Any] = {"facecolor": GROUND, "edgecolor": "#DDDDDD", "fontsize": 8.5}
    figure.legend(
        *axis.get_legend_handles_labels(), loc="outside lower center", ncols=columns, **style
    )


def limit(axis: Axes, value: float, label: str | None = None, *, vertical: bool = False) -> None:
    """Draw a derived limit: green and dashed in every picture."""
    draw = axis.axvline if vertical else axis.axhline
    draw(value, color=LIMIT, linestyle="--", linewidth=1.7, label=label)


def label_end(axis: Axes, x: float, y: float, text: str, colour: str, **options: Any) -> None:
    """Write ``text`` just right of the point (x, y), where a line ends."""
    place: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
    axis.annotate(text, (x, y), color=colour, fontsize=9, **{**place, **options})


def hide_zeros(values: Array) -> Array:
    """Put NaN for values that are not positive: a logarithmic axis has no place for them."""
    return np.where(values > 0, values, np.nan)
