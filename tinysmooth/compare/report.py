"""What a comparison says, in tables and pictures."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinysmooth import plots
from tinysmooth.compare.cell import CellResult
from tinysmooth.compare.driver import Comparison
from tinysmooth.compare.grid import Cell, number_text, setting_name
from tinysmooth.compare.statistics import PairedDifference, paired_difference
from tinysmooth.data import NUM_CLASSES
from tinysmooth.losses import resting_gap
from tinysmooth.report import save_figure
from tinysmooth.training import RunFolder
from tinysmooth.training.atomic import write_atomically

__all__ = ["MEASURES", "differences", "tables", "write_report"]

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


def write_report(done: Comparison) -> Path:
    """Write ``compare.md``, ``results.csv`` and the pictures into the comparison's folder.

    Parameters
    ----------
    done : Comparison

    Returns
    -------
    Path
        Of ``compare.md``.

    Raises
    ------
    ValueError
        If no cell is finished.
    OSError
        If a file cannot be written; a previous one is whole.
    """
    if not done.results:
        raise ValueError("compare: no cell is finished; expected at least one to report on")
    write_atomically(done.path / "results.csv", _as_csv(done).encode("utf-8"))
    sections = ["# Label smoothing compared", _on_grid(done)]
    for number, (group, cells) in enumerate(_groups(done).items()):
        sections.append(f"## {_group_title(group)}")
        sections.append(_table_of_means(done, cells))
        sections += _on_differences(done, cells)
        picture = f"compare-{number + 1}.png"
        save_figure(_draw(done, cells, group), done.path / picture)
        sections.append(f"![Each run, and the mean of its label smoothing]({picture})")
    sections += [_NOTES, _on_failures(done)]
    text = "\n\n".join(section for section in sections if section) + "\n"
    report = done.path / "compare.md"
    write_atomically(report, text.encode("utf-8"))
    return report


def tables(done: Comparison, *, short: bool = False) -> str:
    """Return the tables of a comparison as Markdown: means and paired differences, by group.

    Parameters
    ----------
    done : Comparison
    short : bool
        One table in place of all: accuracy, plain NLL, ECE and gap, and how the accuracy differs
        from the smallest label smoothing.
    """
    groups = _groups(done)
    if short:
        return _short_table(done, groups)
    sections = []
    for group, cells in groups.items():
        if len(groups) > 1:
            sections.append(f"**{_group_title(group)}**")
        sections += [_table_of_means(done, cells), *_on_differences(done, cells)]
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


def _groups(done: Comparison) -> dict[Group, list[Cell]]:
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


def _group_title(group: Group) -> str:
    return (
        ", ".join(
            f"{value} % wrong labels" if name == "noise" else setting_name(name, value)
            for name, value in group
        )
        or "All runs"
    )


def _epsilons(cells: Sequence[Cell]) -> list[float]:
    return sorted({cell.config.label_smoothing for cell in cells})


def _on_grid(done: Comparison) -> str:
    results = done.results
    configs = [cell.config for cell in results]
    models = _each(config.model for config in configs)
    epochs = _each(str(config.epochs) for config in configs)
    sides = _each(f"{config.judged_size} x {config.judged_size}" for config in configs)
    first = next(iter(results))
    _, content = RunFolder.open(done.path / first.name).read_config()
    data = content["data"]
    minutes = sum(result.seconds for result in results.values()) / 60
    text = (
        f"{len(results)} of {len(done.grid.cells())} runs are finished; they took "
        f"{minutes:.1f} minutes of training in all. {models}, {epochs} epochs, images of "
        f"{sides} pixels, {data['num_train']:,} to train on and "
        f"{data['num_val']:,} to validate on (of the first run). Where they come from: "
        f"{str(data['description']).rstrip('.')}."
    )
    if data["stand_in"]:
        text += (
            "\n\n**The images are drawings made by the program itself, a stand-in for Imagenette; "
            "they are not photographs.** These numbers say nothing about real images."
        )
    return text


def _each(texts: Iterable[str]) -> str:
    """Name every value that some run had."""
    return " or ".join(dict.fromkeys(texts))


def _table_of_means(done: Comparison, cells: Sequence[Cell]) -> str:
    """Mean and standard deviation over the seeds, one row a label smoothing."""
    rows = []
    for epsilon in _epsilons(cells):
        runs = list(_by_seed(done, cells, epsilon).values())
        row = [number_text(epsilon), str(len(runs))]
        for name, (_, form) in MEASURES.items():
            values = np.array([getattr(run, name) for run in runs])
            spread = f" ± {form.format(values.std(ddof=1))}" if len(values) > 1 else ""
            row.append(form.format(values.mean()) + spread)
        rows.append(row)
    titles = [title for title, _ in MEASURES.values()]
    return _markdown(["epsilon", "runs", *titles], rows)


def _short_table(done: Comparison, groups: dict[Group, list[Cell]]) -> str:
    rows = []
    for group, cells in groups.items():
        for epsilon in _epsilons(cells):
            runs = _by_seed(done, cells, epsilon)
            row = [_group_title(group)] if len(groups) > 1 else []
            row += [number_text(epsilon), str(len(runs))]
            for name, scale, form in _SHORT:
                values = scale * np.array([getattr(run, name) for run in runs.values()])
                spread = f" ± {form.format(values.std(ddof=1))}" if len(values) > 1 else ""
                row.append(form.format(values.mean()) + spread)
            change = differences(done, cells, epsilon, "accuracy")
            paired = change is not None and epsilon != done.grid.baseline
            row.append(_say(change.scaled(100), "{:.1f}") if paired and change else "")
            rows.append(row)
    titles = ["smoothing", "seeds", *_SHORT_TITLES]
    return _markdown(["", *titles] if len(groups) > 1 else titles, rows)


def _on_differences(done: Comparison, cells: Sequence[Cell]) -> list[str]:
    base = done.grid.baseline
    rows = []
    for epsilon in _epsilons(cells):
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


def _say(change: PairedDifference, form: str) -> str:
    signed = form.replace("{:", "{:+")
    if change.count == 1:
        return f"{signed.format(change.mean)} (one pair)"
    star = " *" if change.excludes_zero else ""
    return (
        f"{signed.format(change.mean)} [{signed.format(change.low)}, "
        f"{signed.format(change.high)}]{star}"
    )


_NOTES = """## How to read this

Plain NLL is the cross-entropy with hard labels, in nats: it can be compared across label
smoothing, the training loss cannot. ECE is the calibration error over 15 bins. "Scaled" divides
the logits by a temperature: each half of the validation images by the one that was fitted on the
other half. The mean gap is the right logit minus the mean of the others, the top gap is the right
logit minus the largest other one. Intervals are Student's, over the seeds: runs with the same seed
share their initial weights and the order of their images. With twenty differences, one star is to
be expected by chance. With all validation images, these are the same for all runs, and the
intervals speak of other seeds, not of other images; with some of them, the seed picks which."""


def _on_failures(done: Comparison) -> str:
    if not done.failures:
        return ""
    lines = [f"- {cell.name}: {' '.join(text.split())}" for cell, text in done.failures.items()]
    return "\n".join(["## Runs that failed", "", *lines])


def _draw(done: Comparison, cells: Sequence[Cell], group: Group) -> Any:
    epsilons = _epsilons(cells)
    return plots.comparison(
        {
            "label_smoothing": [cell.config.label_smoothing for cell in cells],
            "seed": [float(cell.config.seed) for cell in cells],
            **{
                name: [float(getattr(done.results[cell], name)) for cell in cells]
                for name in ("accuracy", "loss", "ece", "scaled_ece", "mean_gap", "temperature")
            },
        },
        resting_gaps=[
            float(resting_gap(NUM_CLASSES, epsilon)) if 0 < epsilon < 1 else float("inf")
            for epsilon in epsilons
        ],
        title=_group_title(group),
    )


def _as_csv(done: Comparison) -> str:
    """One row a run: what was varied, then what was measured, in full precision."""
    varied = list(dict.fromkeys(("label_smoothing", "noise", "seed", *done.grid.axes)))
    measured = [field.name for field in dataclasses.fields(CellResult)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *varied, *measured])
    for cell, result in done.results.items():
        options = [getattr(cell.config, name) for name in varied]
        writer.writerow([cell.name, *options, *(getattr(result, name) for name in measured)])
    return text.getvalue()


def _markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
