"""Pictures that compare runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinysmooth.plots.drawing import legend
from tinysmooth.plots.style import GROUND, INK, LIMIT, MUTED, new_figure, run_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison"]

Array = np.ndarray[Any, Any]

_NEEDED = ("label_smoothing", "seed", "accuracy", "loss", "ece", "scaled_ece", "mean_gap")


def comparison(
    runs: Mapping[str, Sequence[float]],
    *,
    resting_gaps: Sequence[float] = (),
    title: str = "",
) -> Figure:
    """Show each run as a dot over its label smoothing, runs of one seed joined, and the means.

    Parameters
    ----------
    runs : mapping of str to sequence of float
        Columns "label_smoothing", "seed", "accuracy", "loss" (plain, nats), "ece", "scaled_ece"
        (after temperature scaling) and "mean_gap", one entry a run.
    resting_gaps : sequence of float, optional
        One for each label smoothing that occurs, in rising order; infinity is not drawn.
    title : str

    Raises
    ------
    ValueError
        If a column is missing, empty or of another length.
    """
    column = _columns(runs)
    epsilons = np.unique(column["label_smoothing"])
    if len(resting_gaps) not in (0, len(epsilons)):
        raise ValueError(
            f"comparison: resting_gaps has {len(resting_gaps)} entries; expected none or "
            f"{len(epsilons)}, one for each label smoothing"
        )
    place = np.searchsorted(epsilons, column["label_smoothing"])
    figure, axes = new_figure(2, 2, width=9.0, height=6.6)
    accuracy, loss, calibration, gap = axes.flat
    _strip(accuracy, place, 100 * column["accuracy"], column["seed"], epsilons)
    accuracy.set(title="Validation accuracy", ylabel="per cent right")
    _strip(loss, place, column["loss"], column["seed"], epsilons)
    loss.set(title="Validation loss (plain cross-entropy)", ylabel="nats")
    _strip(calibration, place - 0.12, column["ece"], column["seed"], epsilons, "as trained")
    _strip(
        calibration, place + 0.12, column["scaled_ece"], column["seed"], epsilons,
        "after temperature scaling", hollow=True,
    )  # fmt: skip
    calibration.set(title="Calibration error (15 bins)", ylabel="mean |accuracy - confidence|")
    calibration.set_ylim(0.0, 1.2 * calibration.get_ylim()[1])  # leaves room for the legend
    legend(calibration, loc="upper center", ncols=2)
    _strip(gap, place, column["mean_gap"], column["seed"], epsilons)
    rests = [(k, rest) for k, rest in enumerate(resting_gaps) if np.isfinite(rest)]
    for number, (k, rest) in enumerate(rests):
        name = "resting gap" if number == 0 else None
        gap.plot([k - 0.35, k + 0.35], [rest, rest], "--", color=LIMIT, linewidth=1.7, label=name)
    gap.set(title="Mean logit gap", ylabel="right logit - mean of the others")
    if rests:
        low, high = gap.get_ylim()
        gap.set_ylim(low, high + 0.2 * (high - low))
        legend(gap, loc="upper center")
    for each in axes.flat:
        each.set_xticks(range(len(epsilons)), [f"{epsilon:g}" for epsilon in epsilons])
        each.set_xlim(-0.5, len(epsilons) - 0.5)
        each.grid(False, axis="x")
    for each in axes[1]:
        each.set_xlabel("label smoothing")
    figure.suptitle(title, color=INK, fontsize=12)
    return figure


def _strip(
    axis: Axes,
    place: Array,
    values: Array,
    seeds: Array,
    epsilons: Array,
    label: str | None = None,
    *,
    hollow: bool = False,
) -> None:
    """Draw runs as dots, joined by seed, and the mean of each column as a bar."""
    for seed in np.unique(seeds):
        same = np.flatnonzero(seeds == seed)
        same = same[np.argsort(place[same])]
        axis.plot(place[same], values[same], color=MUTED, linewidth=0.7, alpha=0.6, zorder=1)
    for number, where in enumerate(np.unique(place)):
        here = place == where
        colour = run_colour(float(epsilons[round(float(where))]))
        axis.plot(
            place[here], values[here], "o", markersize=5, color=colour,
            markerfacecolor=GROUND if hollow else colour, zorder=2,
            label=label if number == len(np.unique(place)) - 1 else None,
        )  # fmt: skip
        mean = float(values[here].mean())
        axis.plot([where - 0.1, where + 0.1], [mean, mean], color=INK, linewidth=2.2, zorder=3)


def _columns(runs: Mapping[str, Sequence[float]]) -> dict[str, Array]:
    missing = [name for name in _NEEDED if name not in runs]
    if missing:
        raise ValueError(f"comparison: runs has no {missing}; expected the columns {_NEEDED}")
    columns = {name: np.asarray(runs[name], dtype=np.float64) for name in _NEEDED}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"comparison: runs has columns of lengths {sorted(lengths)}; expected one length, at "
            "least 1"
        )
    return columns
