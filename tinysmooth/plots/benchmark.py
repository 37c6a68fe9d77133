"""Bars of the benchmark: how long ours takes where PyTorch takes 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinysmooth.plots.style import GROUND, LIMIT, MUTED, SMOOTHED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["benchmark_ratios"]


def benchmark_ratios(parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Draw every ratio of a benchmark as a bar, grouped by part; shorter is faster.

    Parameters
    ----------
    parts : mapping from part to rows
        Rows with ``name`` and ``ratio`` (ours / PyTorch) are drawn, with their ``direction`` and
        ``shape`` if they have them; the others are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no row has a ratio.
    """
    bars: list[tuple[str, float]] = []
    for rows in parts.values():
        for row in rows:
            if row.get("ratio") is not None:
                words = (row["name"], row.get("direction", ""), row.get("shape", ""))
                threads = (
                    f"{row['threads']} threads"
                    if row["name"] == "resnet9 step" and ("threads" in row)
                    else ""
                )
                label = ", ".join(str(word) for word in (*words, threads) if word)
                bars.append((label, float(row["ratio"])))
    if not bars:
        raise ValueError("benchmark_ratios: parts have no ratio; expected at least one")
    figure, axes = new_figure(width=8.0, height=1.2 + 0.19 * len(bars))
    axis = axes[0, 0]
    labels, ratios = zip(*bars, strict=True)
    colours = [SMOOTHED if ratio <= 1 else MUTED for ratio in ratios]
    positions = range(len(bars))
    axis.barh(positions, ratios, color=colours, height=0.7)
    ground = {"facecolor": GROUND, "edgecolor": "none", "pad": 0.5}  # where the line at 1 crosses
    for position, ratio in zip(positions, ratios, strict=True):
        number = f"{ratio:.2f}"
        axis.text(ratio + 0.01, position, number, va="center", fontsize=7, bbox=ground)
    axis.axvline(1.0, color=LIMIT, linestyle="--", linewidth=1.2, label="as fast as PyTorch")
    axis.set_yticks(positions, labels, fontsize=7)
    axis.set_ylim(len(bars) - 0.4, -0.6)
    axis.set_xlim(0, max(1.1, max(ratios) * 1.08))
    axis.set_xlabel("time or memory, ours / PyTorch's best (shorter is better)")
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0))  # above: a bar may be anywhere
    return figure
