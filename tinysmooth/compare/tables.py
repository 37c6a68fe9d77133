"""The tables of a comparison: means over the seeds, and differences of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinysmooth.compare.cell import CellResult
from tinysmooth.compare.driver import Comparison
from tinysmooth.compare.grid import Cell, number_text, setting_name
from tinysmooth.compare.statistics import PairedDifference, paired_difference

__all__ = [
    "MEASURES",
    "Group",
    "differences",
    "epsilons_of",
    "groups_of",
    "table_of_differences",
    "table_of_means",
    "tables",
    "title_of",
]

MEASURES: dict[str, tuple[str, str]] = {
    "accuracy": ("accuracy", "{:.4f}"),
    "loss": ("plain NLL", "{:.4f}"),
    "ece": ("ECE", "{:.4f}"),
    "scaled_loss": ("NLL, scaled", "{:.4f}"),
    "scaled_ece": ("ECE, scaled", "{:.4f}"),
    "temperature": ("temperature", "{:.3f}"),
    "mean_gap": ("mean gap", "{:.3f}"),
    "top_gap": ("top gap", "{:.3f}"),
}
"""Columns of the tables: field of ``CellResult``, title, format."""

_SHORT = (("accuracy", 100, "{:.1f}"), ("loss", 1, "{:.3f}"), ("ece", 1, "{:.3f}"),
          ("mean_gap", 1, "{:.2f}"))  # fmt: skip
_SHORT_TITLES = (
    "accuracy, %", "plain NLL", "ECE", "mean gap", "accuracy against the first, points"
)  # fmt: skip

Group = tuple[tuple[str, Any], ...]
"""Options that runs share, by name: everything varied but the seed and the label smoothing."""


def tables(done: Comparison, *, short: bool = False) -> str:
    """Return the tables of a comparison as Markdown: means and paired differences, by group.

    Parameters
    ----------
    done : Comparison
    short : bool
        One table in place of all: accuracy, plain NLL, ECE and gap, and how the accuracy differs
        from the smallest label smoothing.
    """
    groups = groups_of(done)
    if short:
        return _short_table(done, groups)
    sections = []
    for group, cells in groups.items():
        if len(groups) > 1:
            sections.append(f"**{title_of(group)}**")
        sections += [table_of_means(done, cells), *table_of_differences(done, cells)]
    return "\n\n".join(sections)


def differences(
    done: Comparison, cells: Sequence[Cell], epsilon: float, measure: str
) -> PairedDifference | None:
    """Difference between one label smoothing and the baseline, seed by seed; None without pairs."""
    base = _by_seed(done, cells, done.grid.baseline)
    other = _by_seed(done, cells, epsilon)
    seeds = sorted(set(base) & set(other))
    if not seeds:
        return None
    return paired_difference(
        [getattr(base[seed], measure) for seed in seeds],
        [getattr(other[seed], measure) for seed in seeds],
    )


def _by_seed(done: Comparison, cells: Sequence[Cell], epsilon: float) -> dict[int, CellResult]:
    return {
        cell.config.seed: done.results[cell]
        for cell in cells
        if cell.config.label_smoothing == epsilon
    }


def groups_of(done: Comparison) -> dict[Group, list[Cell]]:
    """Return the finished cells by the options they share."""
    names = [
        name
        for name, values in done.grid.axes.items()
        if name not in ("seed", "label_smoothing") and (len(values) > 1 or values[0])
    ]
    groups: dict[Group, list[Cell]] = {}
    for cell in done.results:
        key = tuple((name, getattr(cell.config, name)) for name in names)
        groups.setdefault(key, []).append(cell)
    return groups


def title_of(group: Group) -> str:
    """Say what the runs of a group have in common."""
    return (
        ", ".join(
            f"{value} % wrong labels" if name == "noise" else setting_name(name, value)
            for name, value in group
        )
        or "All runs"
    )


def epsilons_of(cells: Sequence[Cell]) -> list[float]:
    """Return the label smoothings of some cells, the smallest first."""
    return sorted({cell.config.label_smoothing for cell in cells})


def table_of_means(done: Comparison, cells: Sequence[Cell]) -> str:
    """Mean and standard deviation over the seeds, one row a label smoothing."""
    rows = []
    for epsilon in epsilons_of(cells):
        runs = list(_by_seed(done, cells, epsilon).values())
        row = [number_text(epsilon), str(len(runs))]
        row += [_mean_and_spread(runs, name, 1, form) for name, (_, form) in MEASURES.items()]
        rows.append(row)
    titles = [title for title, _ in MEASURES.values()]
    return _markdown(["epsilon", "runs", *titles], rows)


def _short_table(done: Comparison, groups: dict[Group, list[Cell]]) -> str:
    rows = []
    for group, cells in groups.items():
        for epsilon in epsilons_of(cells):
            runs = list(_by_seed(done, cells, epsilon).values())
            row = [title_of(group)] if len(groups) > 1 else []
            row += [number_text(epsilon), str(len(runs))]
            row += [_mean_and_spread(runs, *column) for column in _SHORT]
            change = differences(done, cells, epsilon, "accuracy")
            paired = change is not None and epsilon != done.grid.baseline
            row.append(_say(change.scaled(100), "{:.1f}") if paired and change else "")
            rows.append(row)
    titles = ["smoothing", "seeds", *_SHORT_TITLES]
    return _markdown(["", *titles] if len(groups) > 1 else titles, rows)


def table_of_differences(done: Comparison, cells: Sequence[Cell]) -> list[str]:
    """Return a sentence and the table of paired differences; nothing if one smoothing alone ran."""
    base = done.grid.baseline
    rows = []
    for epsilon in epsilons_of(cells):
        row = [number_text(epsilon)]
        for name, (_, form) in MEASURES.items():
            change = differences(done, cells, epsilon, name)
            row.append("" if change is None else _say(change, form))
        if epsilon != base:
            rows.append(row)
    if not rows:
        return []
    titles = [title for title, _ in MEASURES.values()]
    return [
        f"Differences to epsilon {number_text(base)} with the same seed, mean and 95 % interval; "
        "a star marks those whose interval does not hold zero:",
        _markdown(["epsilon", *titles], rows),
    ]


def _mean_and_spread(runs: Sequence[CellResult], name: str, scale: float, form: str) -> str:
    """Say the mean over runs, and the standard deviation where there are several."""
    values = scale * np.array([getattr(run, name) for run in runs])
    spread = f" ± {form.format(values.std(ddof=1))}" if len(values) > 1 else ""
    return form.format(values.mean()) + spread


def _say(change: PairedDifference, form: str) -> str:
    signed = form.replace("{:", "{:+")
    if change.count == 1:
        return f"{signed.format(change.mean)} (one pair)"
    star = " *" if change.excludes_zero else ""
    return (
        f"{signed.format(change.mean)} [{signed.format(change.low)}, "
        f"{signed.format(change.high)}]{star}"
    )


def _markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
