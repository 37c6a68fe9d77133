"""Pictures that show images: the most confident mistakes, and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinysmooth.checks import check_array, check_int
from tinysmooth.plots.style import INK, MUTED, SMOOTHED, as_written, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confident_mistakes", "predictions"]


def confident_mistakes(
    images: npt.ArrayLike,
    probs: npt.ArrayLike,
    targets: npt.ArrayLike,
    class_names: Sequence[str],
    *,
    count: int = 12,
) -> Figure:
    """Show the wrong predictions of highest confidence, most confident first.

    Parameters
    ----------
    images : array of uint8, (N, 3, H, W)
    probs : array of float, (N, K)
    targets : array of integers, (N,)
    class_names : sequence of str, K of them
    count : int
        At most so many; a figure that says so if there is no mistake at all.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit one another.
    """
    where = "confident_mistakes"
    pictures, table = _check_images(where, images), check_array(where, "probs", probs)
    wanted = check_array(where, "targets", targets)
    count = check_int(where, "count", count, minimum=1)
    _check_together(where, pictures, table, class_names)
    if wanted.shape != (len(table),):
        raise ValueError(
            f"{where}: targets has shape {wanted.shape}; expected ({len(table)},), one an image"
        )
    predicted = table.argmax(axis=1)
    wrong = np.flatnonzero(predicted != wanted)
    # A stable sort: equal confidences keep the order of the data.
    shown = wrong[np.argsort(-table[wrong].max(axis=1), kind="stable")][:count]
    if len(shown) == 0:
        figure, axes = new_figure(height=1.2)
        axes[0, 0].set_axis_off()
        axes[0, 0].text(0.5, 0.5, "no mistakes", ha="center", va="center", color=INK)
        return figure
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = new_figure(rows, columns, width=2.1 * columns, height=2.45 * rows + 0.4)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, index in zip(axes.flat, shown, strict=False):
        axis.imshow(pictures[index].transpose(1, 2, 0), interpolation="nearest")
        guess = int(predicted[index])
        axis.set_title(
            f"{class_names[guess]} {100 * table[index, guess]:.0f} %\n"
            f"is: {class_names[int(wanted[index])]}",
            fontsize=9,
            parse_math=False,
        )
    figure.suptitle("Most confident mistakes: the guess above, the label below", fontsize=11)
    return figure


def predictions(
    images: npt.ArrayLike,
    probs: npt.ArrayLike,
    class_names: Sequence[str],
    *,
    titles: Sequence[str] | None = None,
    top: int = 5,
) -> Figure:
    """Show each image beside bars of its most probable classes.

    Parameters
    ----------
    images : array of uint8, (N, 3, H, W)
    probs : array of float, (N, K)
    class_names : sequence of str, K of them
    titles : sequence of str, optional
        One an image, for example file names; the middle of a long one is left out.
    top : int
        Bars an image.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit one another, or there is no image.
    """
    where = "predictions"
    pictures, table = _check_images(where, images), check_array(where, "probs", probs)
    _check_together(where, pictures, table, class_names)
    top = min(check_int(where, "top", top, minimum=1), len(class_names))
    rows = len(pictures)
    figure, axes = new_figure(rows, 2, width=6.4, height=0.3 + 1.6 * rows, width_ratios=(1, 2))
    for row, (picture, bars) in enumerate(axes):
        picture.set_axis_off()
        picture.imshow(pictures[row].transpose(1, 2, 0), interpolation="nearest")
        if titles is not None:
            title = _shorten(as_written(titles[row]))
            bars.set_title(title, fontsize=9, loc="left", parse_math=False)
        order = np.argsort(-table[row], kind="stable")[:top]
        values = table[row][order]
        colours = [SMOOTHED] + [MUTED] * (len(order) - 1)
        bars.barh(range(len(order)), values, color=colours, height=0.7)
        named = [class_names[int(index)] for index in order]
        bars.set_yticks(range(len(order)), named, parse_math=False)
        bars.invert_yaxis()
        bars.set_xlim(0, 1.12)
        bars.set_xticks([0, 0.5, 1])
        bars.tick_params(labelsize=8.5)
        bars.grid(False, axis="y")
        for place, value in enumerate(values):
            bars.text(value + 0.015, place, f"{100 * value:.1f} %", va="center", fontsize=8.5)
    axes[-1, 1].set_xlabel("probability")
    return figure


def _shorten(title: str, longest: int = 48) -> str:
    """Leave out the middle of a title that would not fit; beginning and suffix tell files apart."""
    half = (longest - 1) // 2
    return title if len(title) <= longest else f"{title[:half]}…{title[-half:]}"


def _check_images(where: str, images: npt.ArrayLike) -> np.ndarray[Any, Any]:
    array = check_array(where, "images", images)
    if array.ndim != 4 or array.shape[1] != 3 or array.dtype != np.uint8 or len(array) == 0:
        raise ValueError(
            f"{where}: images is a {array.dtype} array of shape {array.shape}; "
            "expected uint8 of shape (N, 3, H, W) with N >= 1"
        )
    return array


def _check_together(
    where: str,
    images: np.ndarray[Any, Any],
    probs: np.ndarray[Any, Any],
    class_names: Sequence[str],
) -> None:
    if probs.shape != (len(images), len(class_names)):
        raise ValueError(
            f"{where}: probs has shape {probs.shape}; expected ({len(images)}, "
            f"{len(class_names)}), images by class_names"
        )
