"""Pictures of the inside of a network: weights, features, what its answer hangs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinysmooth.checks import check_array
from tinysmooth.plots.drawing import legend, legend_below, limit
from tinysmooth.plots.style import GROUND, INK, MUTED, SERIES, new_figure, run_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "first_layer_filters",
    "gap_bands",
    "sensitivity_maps",
    "template_clusters",
    "weight_norms",
]

Array = np.ndarray[Any, Any]

_BANDS = ("val_gap_p05", "val_gap_p25", "val_gap_p50", "val_gap_p75", "val_gap_p95")
_CLUSTER_COLOURS = SERIES[1:4]
_LESS, _MORE = SERIES[2], SERIES[3]


def gap_bands(
    history: Mapping[str, Sequence[float]],
    gaps: npt.ArrayLike,
    *,
    label_smoothing: float,
    resting_gap: float,
) -> Figure:
    """Show how the gaps of the validation images spread, epoch by epoch, and their last histogram.

    Parameters
    ----------
    history : mapping of str to sequence of float
        Columns "epoch" and "val_gap_p05", "_p25", "_p50", "_p75", "_p95": percentiles of the mean
        gap.
    gaps : array of float, (N,)
        The gaps at the end.
    label_smoothing : float
    resting_gap : float
        Drawn if finite.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    missing = [name for name in ("epoch", *_BANDS) if name not in history]
    if missing:
        raise ValueError(f"gap_bands: history has no {missing}; expected epoch and {_BANDS}")
    values = check_array("gap_bands", "gaps", gaps)
    columns = np.array([history[name] for name in ("epoch", *_BANDS)], dtype=np.float64)
    # Epochs whose gaps were not measured are left out, and the bands go on.
    epoch, low, lower, middle, upper, high = columns[:, np.isfinite(columns).all(axis=0)]
    colour = run_colour(label_smoothing)
    figure, axes = new_figure(1, 2, width=8.2, height=4.5, sharey=True, width_ratios=(3, 1))
    bands, histogram = axes[0]
    bands.fill_between(epoch, low, high, color=colour, alpha=0.18, linewidth=0, label="5 to 95 %")
    bands.fill_between(
        epoch, lower, upper, color=colour, alpha=0.35, linewidth=0, label="25 to 75 %"
    )
    bands.plot(epoch, middle, color=colour, linewidth=2.0, label="median")
    bands.set(
        title=f"Logit gaps of the validation images, label smoothing {label_smoothing:g}",
        xlabel="epoch",
        ylabel="right logit - mean of the others",
    )
    bands.xaxis.get_major_locator().set_params(integer=True)
    histogram.hist(values, bins=40, orientation="horizontal", color=colour, alpha=0.75)
    histogram.set(title="at the end", xlabel="images")
    for axis in (bands, histogram):
        if np.isfinite(resting_gap):
            name = f"resting gap, {resting_gap:.2f}" if axis is bands else None
            limit(axis, resting_gap, name)
        axis.axhline(0.0, color=MUTED, linewidth=0.8)
    legend_below(bands, 4)
    return figure


def weight_norms(names: Sequence[str], frobenius: npt.ArrayLike, spectral: npt.ArrayLike) -> Figure:
    """Show the size of every weight: root of the sum of squares, and largest singular value.

    Parameters
    ----------
    names : sequence of str, M of them
    frobenius, spectral : array of float, (M,)
        From ``tinysmooth.metrics.weight_norms``.

    Raises
    ------
    ValueError
        If the lengths differ.
    """
    sizes = check_array("weight_norms", "frobenius", frobenius)
    largest = check_array("weight_norms", "spectral", spectral)
    if not sizes.shape == largest.shape == (len(names),) or not names:
        raise ValueError(
            f"weight_norms: frobenius has shape {sizes.shape} and spectral {largest.shape}; "
            f"expected ({len(names)},), one a name"
        )
    place = np.arange(len(names))
    figure, axes = new_figure(height=1.4 + 0.32 * len(names))
    axis = axes[0, 0]
    axis.hlines(place, largest, sizes, color=MUTED, linewidth=1.2)
    axis.plot(sizes, place, "o", color=INK, label="Frobenius: all directions together")
    axis.plot(largest, place, "s", color=SERIES[1], label="spectral: the strongest direction")
    axis.set_yticks(place, list(names))
    axis.invert_yaxis()
    axis.set_xlim(left=0.0)
    axis.grid(False, axis="y")
    axis.set(title="Size of each weight", xlabel="norm")
    legend_below(axis, 2)
    return figure


def first_layer_filters(weight: npt.ArrayLike, *, columns: int = 8) -> Figure:
    """Show every filter of a first convolution as a small colour picture.

    Each is stretched by itself: grey is zero, the largest number in size is black or full colour.

    Parameters
    ----------
    weight : array of float, (K, 3, R, S)
    columns : int

    Raises
    ------
    ValueError
        If the filters do not see three channels.
    """
    filters = check_array("first_layer_filters", "weight", weight)
    if filters.ndim != 4 or filters.shape[1] != 3 or len(filters) == 0:
        raise ValueError(
            f"first_layer_filters: weight has shape {filters.shape}; expected (K, 3, R, S)"
        )
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    pictures = 0.5 + filters / np.where(largest > 0, 2.0 * largest, 1.0)
    # One more line than needed would be an empty row of frames.
    columns = min(columns, len(filters))
    rows = -(-len(filters) // columns)
    figure, axes = new_figure(rows, columns, width=0.72 * columns + 0.3, height=0.72 * rows + 0.6)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture in zip(axes.flat, pictures, strict=False):
        axis.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    figure.suptitle("Filters of the first layer", color=INK, fontsize=11)
    return figure


def template_clusters(
    points: npt.ArrayLike,
    targets: npt.ArrayLike,
    templates: npt.ArrayLike,
    class_names: Sequence[str],
    *,
    label_smoothing: float,
) -> Figure:
    """Show features of three classes in the plane through the templates of these classes.

    Parameters
    ----------
    points : array of float, (N, 2)
        From ``tinysmooth.metrics.template_plane``.
    targets : array of integers, (N,)
        0, 1 or 2: which of the three classes.
    templates : array of float, (3, 2)
    class_names : sequence of three str
    label_smoothing : float

    Raises
    ------
    ValueError
        If the shapes do not fit one another.
    """
    where = "template_clusters"
    features, corners = (
        check_array(where, "points", points),
        check_array(where, "templates", templates),
    )
    labels = check_array(where, "targets", targets)
    if (
        features.ndim != 2
        or features.shape[1] != 2
        or labels.shape != (len(features),)
        or corners.shape != (3, 2)
        or len(class_names) != 3
    ):
        raise ValueError(
            f"{where}: points has shape {features.shape}, targets {labels.shape}, templates "
            f"{corners.shape}; expected (N, 2), (N,), (3, 2) and three class_names"
        )
    figure, axes = new_figure(width=5.8, height=5.0)
    axis = axes[0, 0]
    for label, (name, colour) in enumerate(zip(class_names, _CLUSTER_COLOURS, strict=True)):
        here = features[labels == label]
        axis.plot(here[:, 0], here[:, 1], "o", markersize=3.5, alpha=0.55, color=colour, label=name)
    for number, (corner, colour) in enumerate(zip(corners, _CLUSTER_COLOURS, strict=True)):
        axis.plot(
            *corner, "*", markersize=15, color=colour, markeredgecolor=INK,
            label="template: row of the last weight" if number == 2 else None,
        )  # fmt: skip
    axis.set(
        title=f"Three classes before the last layer, label smoothing {label_smoothing:g}",
        xlabel="in the plane of the three templates",
    )
    axis.set_aspect("equal", adjustable="datalim")
    legend(axis)
    for text in axis.get_legend().get_texts():
        text.set_parse_math(False)
    return figure


def sensitivity_maps(
    images: npt.ArrayLike,
    maps: Mapping[str, npt.ArrayLike],
    titles: Sequence[str],
) -> Figure:
    """Show images beside maps of what the network's answer hangs on.

    Maps with negative numbers are shown from amber (less sure) to sky blue (surer), others from
    the ground to black; each picture has its own range, which its title tells.

    Parameters
    ----------
    images : array of uint8, (N, 3, H, W)
    maps : mapping of str to array of float, (N, h, w)
        For example ``{"saliency": metrics.saliency(...)}``; shown over the whole image whatever
        their size.
    titles : sequence of str, N of them

    Raises
    ------
    ValueError
        If the shapes do not fit one another.
    """
    where = "sensitivity_maps"
    pictures = check_array(where, "images", images)
    tables = {name: check_array(where, f"maps[{name!r}]", table) for name, table in maps.items()}
    shapes = [table.shape for table in tables.values()]
    if (
        pictures.ndim != 4
        or len(titles) != len(pictures)
        or not tables
        or any(len(shape) != 3 or shape[0] != len(pictures) for shape in shapes)
    ):
        raise ValueError(
            f"{where}: images has shape {pictures.shape}, maps {shapes}, {len(titles)} titles; "
            "expected (N, 3, H, W), (N, h, w) and N titles"
        )
    rows, columns = len(pictures), 1 + len(tables)
    figure, axes = new_figure(rows, columns, width=2.2 * columns, height=2.35 * rows + 0.3)
    for axis in axes.flat:
        axis.set_axis_off()
    for row in range(rows):
        axes[row, 0].imshow(pictures[row].transpose(1, 2, 0), interpolation="nearest")
        axes[row, 0].set_title(titles[row], fontsize=9)
        for axis, (name, table) in zip(axes[row, 1:], tables.items(), strict=True):
            _show_map(axis, name, table[row].astype(np.float64))
    return figure


def _show_map(axis: Any, name: str, table: Array) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    reach = float(np.abs(table).max()) or 1.0
    if table.min() < 0:
        colours = LinearSegmentedColormap.from_list("signed", [_LESS, GROUND, _MORE])
        axis.imshow(table, cmap=colours, vmin=-reach, vmax=reach, interpolation="nearest")
        axis.set_title(f"{name}, ±{reach:.2g}", fontsize=9)
    else:
        axis.imshow(table, cmap="Greys", vmin=0.0, vmax=reach, interpolation="nearest")
        axis.set_title(f"{name}, to {reach:.2g}", fontsize=9)
