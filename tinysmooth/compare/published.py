"""Comparisons that were measured before: one small JSON file each, and the tables made of it.

A file holds the options that all cells share, the values that were varied, and for each finished
cell its name, what it came to and what it ran on. No images and no weights. A later comparison can
start from it, so that nothing has to be measured twice.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinysmooth.compare.cell import CellResult, read_result, write_result
from tinysmooth.compare.content import FORMAT, check_content
from tinysmooth.compare.driver import Comparison
from tinysmooth.compare.folder import check_folder, check_images, choose_images, images_of
from tinysmooth.compare.grid import Cell, Grid
from tinysmooth.compare.tables import tables
from tinysmooth.training import OptionError, RunFolder
from tinysmooth.training.atomic import write_atomically

__all__ = ["Published", "check_publish", "fill_in", "publish", "read_published", "start_from"]

# Of one machine and its folders, no part of what was found.
_PRIVATE = ("root", "platform")
_MARK = "<!-- measured: {} -->"
_END = "<!-- end of measured -->"


@dataclass(frozen=True, eq=False)
class Published:
    """A comparison as it was read from a file.

    Attributes
    ----------
    comparison : Comparison
        Its ``path`` is the file.
    data : dict
        What the images are, as in the ``config.json`` of a run.
    environments : dict of str to dict
        By the name of a cell: what it ran on.
    """

    comparison: Comparison
    data: dict[str, Any]
    environments: dict[str, dict[str, Any]]


def check_publish(path: str | os.PathLike[str]) -> None:
    """Find out before any training whether a comparison can be published at ``path``.

    Raises
    ------
    OptionError
        If it is a folder or another file, or no file can be written there.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        reason = "a folder; expected the name of a file"
    elif not target.parent.is_dir():
        reason = "whose folder does not exist; expected a file in an existing folder"
    elif not os.access(target.parent, os.W_OK):
        reason = "whose folder is read-only; expected a file in a folder that can be written"
    elif target.exists() and not _is_published(target):
        reason = "another file; expected a new name, or a file that --publish wrote"
    else:
        return
    raise OptionError("publish", f"compare: publish is {str(path)!r}, {reason}")


def publish(done: Comparison, path: str | os.PathLike[str]) -> None:
    """Write every finished cell of a comparison to a file, atomically.

    Parameters
    ----------
    done : Comparison
        Of ``compare``; its folder still holds the runs.
    path : path
        The JSON file; one that is there is replaced.

    Raises
    ------
    ValueError
        If no cell is finished.
    OSError
        If the file cannot be written; a previous one is whole.
    """
    if not done.results:
        raise ValueError("publish: no cell is finished; expected at least one")
    base = done.grid.base.to_dict()
    cells, data = [], {}
    for cell, result in done.results.items():
        config, content = RunFolder.open(done.path / cell.name).read_config()
        data = {**content["data"], "root": None, "reason": ""}
        # The folder of the images is in this sentence.
        data["description"] = data["description"].partition(" from ")[0]
        cells.append(
            {
                "name": cell.name,
                "threads": config.threads,
                "measured": dataclasses.asdict(result),
                "environment": _without(content["environment"]),
            }
        )
    content = {
        "format": FORMAT,
        "base": _without(base),
        "axes": {name: list(values) for name, values in done.grid.axes.items()},
        "data": data,
        "cells": cells,
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode("utf-8"))


def _is_published(path: Path) -> bool:
    try:
        return path.is_file() and bool(read_published(path))
    except (OSError, ValueError):
        return False


def _without(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in _PRIVATE}


def read_published(path: str | os.PathLike[str]) -> Published:
    """Read what ``publish`` wrote.

    Parameters
    ----------
    path : path

    Returns
    -------
    Published

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, holds a cell that its own grid does not have, or a number that no run can
        come to; names the field.
    """
    try:
        content = check_content(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"read_published: {str(path)!r} is damaged ({error}); expected a file that "
            "`tinysmooth compare --publish` wrote"
        ) from None
    grid, measured = content.grid, content.measured
    results = {cell: measured[cell.name] for cell in grid.cells() if cell.name in measured}
    return Published(Comparison(Path(path), grid, results), content.data, content.environments)


def start_from(path: str | os.PathLike[str], grid: Grid, out: str | os.PathLike[str]) -> int:
    """Put the published cells that a grid has into the folder of its comparison, as finished.

    Cells that are in the folder already are left alone.

    Parameters
    ----------
    path : path
        A file that ``publish`` wrote.
    grid : Grid
    out : path
        Folder of the comparison, which need not exist.

    Returns
    -------
    int
        How many cells were put there.

    Raises
    ------
    OptionError
        If a published cell has the name of one in the grid and other options, or the published
        images are others than those of this comparison; then nothing is written. Also as
        ``check_folder``.
    FileNotFoundError, ValueError
        As ``read_published``.
    """
    published = read_published(path)
    check_folder(grid, out)
    known = {cell.name: cell for cell in published.comparison.results}
    wanted: list[tuple[Cell, CellResult]] = []
    for cell in grid.cells():
        there = known.get(cell.name)
        if there is None or RunFolder(Path(out) / cell.name).config.exists():
            continue
        for name, value in there.config.to_dict().items():
            mine = getattr(cell.config, name)
            if name not in ("root", "threads", "data") and value != mine:
                raise OptionError(
                    "start_from",
                    f"compare: start_from is {str(path)!r}, where {cell.name} has {name} = "
                    f"{value!r}; expected {mine!r}, as in this comparison",
                )
        wanted.append((there, published.comparison.results[there]))
    if wanted:
        _check_images(published, wanted, grid, out)
    for cell, result in wanted:
        folder = RunFolder(Path(out) / cell.name)
        environment = published.environments[cell.name]
        config = dataclasses.replace(cell.config, data=published.data["source"])
        folder.create(config, {"data": published.data, "environment": environment})
        write_result(folder.path, config, result, environment)
    return len(wanted)


def _check_images(
    published: Published,
    wanted: list[tuple[Cell, CellResult]],
    grid: Grid,
    out: str | os.PathLike[str],
) -> None:
    """Refuse photographs beside drawings, also those that are yet to be trained on."""
    file, kind = str(published.comparison.path), str(published.data["source"])
    images = images_of(grid, out)
    if grid.base.data != "auto":
        images["this comparison"] = grid.base.data
    check_images(images, kind, "start_from", f"{file!r}, whose runs have the images")
    finished = {cell.name for cell, _ in wanted}
    finished.update(name for name in images if read_result(Path(out) / name) is not None)
    if any(cell.name not in finished for cell in grid.cells()):
        choose_images(grid, {f"{wanted[0][0].name} of {file!r}": kind})


def fill_in(text: str, folder: Path) -> str:
    """Return a Markdown text with its tables made anew from the published files.

    A table stands between the lines ``<!-- measured: NAME -->`` and ``<!-- end of measured -->``
    and comes from ``NAME.json`` in the folder. A word after the name chooses its form: "means"
    for one short row a label smoothing, else everything that a report has.

    Parameters
    ----------
    text : str
    folder : Path
        Of the published files.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If a table is not closed.
    FileNotFoundError
        If a file is missing.
    """
    before, *parts = text.split(_MARK.partition("{}")[0])
    out = [before]
    for part in parts:
        title, closed, rest = part.partition(_MARK.partition("{}")[2])
        _, ended, after = rest.partition(_END)
        if not closed or not ended:
            raise ValueError(f"fill_in: the table {title!r} is not closed; expected {_END}")
        name, *form = title.split()
        done = read_published(folder / f"{name}.json").comparison
        table = tables(done, short="means" in form)
        out.append(f"{_MARK.format(title)}\n\n{table}\n\n{_END}{after}")
    return "".join(out)
