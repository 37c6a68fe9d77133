"""Running the cells of a comparison, wherever they run, and keeping what is finished."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tinysmooth.compare.cell import CellResult, read_result, run_cell
from tinysmooth.compare.grid import Cell, Grid
from tinysmooth.data import choose_source
from tinysmooth.training import OptionError, RunFolder, TrainConfig

__all__ = ["Comparison", "Listener", "check_folder", "compare"]

# Where the images lie and how many threads there are is no part of the question.
_OF_THE_MACHINE = ("root", "threads")

Listener = Callable[[Cell, CellResult | str], None]
"""Called with each cell that is done and its result, or the reason why it failed."""


@dataclass(frozen=True)
class Comparison:
    """What came of a grid.

    Attributes
    ----------
    path : Path
        Folder of the comparison; each cell has a run folder in it, by its name.
    grid : Grid
    results : dict of Cell to CellResult
        Finished cells, in the order of the grid.
    failures : dict of Cell to str
        The others, with the reason.
    seconds : float
        Of this call.
    """

    path: Path
    grid: Grid
    results: dict[Cell, CellResult]
    failures: dict[Cell, str] = field(default_factory=dict)
    seconds: float = 0.0


def check_folder(grid: Grid, out: str | os.PathLike[str]) -> int:
    """Count the finished cells of ``grid`` in a folder, which may be missing; changes nothing.

    Raises
    ------
    OptionError
        If the folder cannot be made or written, is that of a single run, or a cell in it has other
        options.
    ValueError
        If a file in it is damaged.
    """
    path = Path(out)
    finished = 0
    if RunFolder(path).config.exists():
        raise OptionError(
            "out",
            f"compare: out is {str(out)!r}, the folder of a single run; expected a new folder or "
            "that of a comparison",
        )
    if not path.is_dir() or not os.access(path, os.W_OK):
        try:
            RunFolder.check_new(path)
        except OptionError as error:
            raise OptionError("out", str(error).replace("train:", "compare:", 1)) from None
    for cell in grid.cells():
        folder = RunFolder(path / cell.name)
        if not folder.config.exists():
            continue
        there, _ = folder.read_config()
        for name, value in there.to_dict().items():
            # "auto" finds the same images as it did then, or training refuses to go on.
            known = (value, "auto") if name == "data" else (value,)
            if name not in _OF_THE_MACHINE and getattr(cell.config, name) not in known:
                raise OptionError(
                    "out",
                    f"compare: out is {str(out)!r}, where {cell.name} has {name} = {value!r}; "
                    f"expected {getattr(cell.config, name)!r}. Choose another --out",
                )
        finished += read_result(folder.path) is not None
    return finished


def compare(
    grid: Grid,
    out: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    listener: Listener | None = None,
) -> Comparison:
    """Train all cells of a grid that are not finished yet.

    Stopped at any moment, a second call with the same arguments keeps the finished cells and goes
    on with the unfinished ones from their checkpoints. A grid may grow: its old cells are kept.

    Parameters
    ----------
    grid : Grid
    out : path
        New, or the folder of the same comparison.
    executor : concurrent.futures.Executor, optional
        Runs the cells, one kernel thread a cell; the workers must see the same folders. Without
        one, the cells run in turn in this process, with ``grid.base.threads``.
    listener : callable, optional
        ``listener(cell, result)`` as each cell is done; the result is a text if it failed. Cells
        that were finished before come first.

    Returns
    -------
    Comparison

    Raises
    ------
    OptionError
        Before any work, as ``check_folder``.
    TrainingInterrupted, KeyboardInterrupt
        On Ctrl-C; everything can be gone on with.
    """
    started = time.monotonic()
    check_folder(grid, out)
    path, tell = Path(out), listener or (lambda cell, result: None)
    path.mkdir(parents=True, exist_ok=True)
    results: dict[Cell, CellResult] = {}
    failures: dict[Cell, str] = {}
    open_cells = []
    for cell in grid.cells():
        kept = read_result(path / cell.name)
        if kept is None:
            open_cells.append(cell)
        else:
            results[cell] = kept
            tell(cell, kept)

    def note(cell: Cell, work: Callable[[], dict[str, float]]) -> None:
        """Keep what a cell came to; only its own trouble is caught, not Ctrl-C."""
        try:
            results[cell] = CellResult(**work())
            tell(cell, results[cell])
        except Exception as error:
            failures[cell] = f"{type(error).__name__}: {error}"
            tell(cell, failures[cell])

    if open_cells:
        # Chosen once, here: no worker may download, or fall back to other images than the rest.
        source = choose_source(grid.base.data, grid.base.root)
        place: dict[str, Any] = {"data": source.kind, "root": source.root}
        if executor is None:
            for cell in open_cells:
                note(cell, partial(run_cell, _options(cell.config, place), path / cell.name))
        else:
            _run_aside(executor, open_cells, path, {**place, "threads": 1}, note)
    order = {cell: results[cell] for cell in grid.cells() if cell in results}
    return Comparison(path, grid, order, failures, time.monotonic() - started)


def _run_aside(
    executor: Executor,
    cells: list[Cell],
    path: Path,
    place: dict[str, Any],
    note: Callable[[Cell, Callable[[], dict[str, float]]], None],
) -> None:
    """Hand all cells to an executor; take their results as they come."""
    futures: dict[Future[dict[str, float]], Cell] = {}
    for cell in cells:
        options = _options(cell.config, place)
        futures[executor.submit(run_cell, options, str((path / cell.name).absolute()))] = cell
    try:
        for future in as_completed(futures):
            note(futures[future], future.result)
    finally:
        # After Ctrl-C, what has not begun must not begin.
        for future in futures:
            future.cancel()


def _options(config: TrainConfig, place: dict[str, Any]) -> dict[str, Any]:
    return dataclasses.replace(config, **place).to_dict()
