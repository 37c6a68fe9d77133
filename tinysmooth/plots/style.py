"""One look for every picture: colours that keep their meaning, and figures without global state.

The three colours are from the set of Okabe and Ito (2008), told apart with any common colour
blindness; each stands for one thing throughout the project. Figures have an opaque near-white
ground, so they read the same on a light and on a dark page.

Matplotlib is imported when the first figure is made, not before, and never through ``pyplot``:
no window opens, and a figure is freed with its last reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GROUND",
    "INK",
    "LIMIT",
    "MUTED",
    "ONE_HOT",
    "SERIES",
    "SMOOTHED",
    "as_written",
    "new_figure",
    "run_colour",
    "sequential_map",
]

ONE_HOT = "#D55E00"
"""Vermilion: training with one-hot targets."""
SMOOTHED = "#0072B2"
"""Blue: training with smoothed targets."""
LIMIT = "#009E73"
"""Green, dashed: a limit derived on paper (loss floor, resting gap, perfect calibration)."""
INK = "#222222"
"""Text and axes."""
MUTED = "#8A8A8A"
"""What is shown for comparison only."""
GROUND = "#FCFCFC"
"""The ground of every figure, opaque."""
SERIES = ("#222222", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
"""Curves that stand for none of the three meanings above, in this order."""


def run_colour(label_smoothing: float) -> str:
    """Colour of a run: one for one-hot targets, one for smoothed ones.

    Parameters
    ----------
    label_smoothing : float

    Returns
    -------
    str
        ``ONE_HOT`` for 0, else ``SMOOTHED``.

    Examples
    --------
    >>> run_colour(0.0) == ONE_HOT, run_colour(0.1) == SMOOTHED
    (True, True)
    """
    return SMOOTHED if label_smoothing > 0 else ONE_HOT


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = 6.4,
    height: float = 4.2,
    **options: Any,
) -> tuple[Figure, np.ndarray[Any, Any]]:
    """Make a figure with (rows, columns) axes in the house style.

    Parameters
    ----------
    rows, columns : int
    width, height : float
        Inches.
    **options
        Passed to ``Figure.subplots``, for example ``sharex`` or ``height_ratios``.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : ndarray of matplotlib.axes.Axes, shape (rows, columns)
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor=GROUND)
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.08, h_pad=0.08)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for each in axes.flat:
        _dress(each)
    return figure, axes


def as_written(name: str) -> str:
    """Return the name of a file or class as a font can show it; draw it with ``parse_math=False``.

    Such a name is nobody's formula: a dollar is a dollar. What the system could not decode in the
    name of a file (surrogates) becomes a question mark.

    >>> as_written(f"a$b{chr(0xDCFF)}.jpg")
    'a$b?.jpg'
    """
    return name.encode("utf-8", "replace").decode("utf-8")


def sequential_map() -> Any:
    """Colour map from the ground to the blue of ``SMOOTHED``, for counts and probabilities."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("tinysmooth", [GROUND, "#8EBBD9", SMOOTHED, "#00304D"])


def _dress(axes: Axes) -> None:
    axes.set_facecolor(GROUND)
    axes.grid(True, color="#E3E3E3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    axes.title.set_color(INK)
    axes.title.set_fontsize(11)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(9.5)
