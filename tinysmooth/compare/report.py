"""What a comparison says, in tables and pictures."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tinysmooth import plots
from tinysmooth.compare.cell import CellResult
from tinysmooth.compare.driver import Comparison
from tinysmooth.compare.grid import Cell
from tinysmooth.compare.tables import (
    Group,
    epsilons_of,
    groups_of,
    table_of_differences,
    table_of_means,
    title_of,
)
from tinysmooth.data import NUM_CLASSES
from tinysmooth.losses import resting_gap
from tinysmooth.report import save_figure
from tinysmooth.training import RunFolder
from tinysmooth.training.atomic import write_atomically

__all__ = ["write_report"]


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
    for number, (group, cells) in enumerate(groups_of(done).items()):
        sections.append(f"## {title_of(group)}")
        sections.append(table_of_means(done, cells))
        sections += table_of_differences(done, cells)
        picture = f"compare-{number + 1}.png"
        save_figure(_draw(done, cells, group), done.path / picture)
        sections.append(f"![Each run, and the mean of its label smoothing]({picture})")
    sections += [_NOTES, _on_failures(done)]
    text = "\n\n".join(section for section in sections if section) + "\n"
    report = done.path / "compare.md"
    write_atomically(report, text.encode("utf-8", "surrogateescape"))
    return report


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
    epsilons = epsilons_of(cells)
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
        title=title_of(group),
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
