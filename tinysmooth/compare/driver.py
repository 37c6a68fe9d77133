"""Running the cells of a comparison, wherever they run, and keeping what is finished."""

from __future__ import annotations

import collections
import dataclasses
import os
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tinysmooth.compare.cell import CellResult, read_result, run_cell
from tinysmooth.compare.executors import count_workers
from tinysmooth.compare.folder import check_folder, choose_images, images_of
from tinysmooth.compare.grid import Cell, Grid
from tinysmooth.training import TrainConfig

__all__ = ["Comparison", "Listener", "compare"]

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
        Runs the cells, one kernel thread a cell; the workers must see the same folders. A pool gets
        as many cells at once as it has workers, so that no further one begins after Ctrl-C.
        Without an executor, the cells run in turn in this process, with ``grid.base.threads``.
    listener : callable, optional
        ``listener(cell, result)`` as each cell is done; the result is a text if it failed. Cells
        that were finished before come first.

    Returns
    -------
    Comparison

    Raises
    ------
    OptionError
        Before any work, as ``check_folder``, or if the cells that are there have other images than
        ``grid.base.data`` finds now.
    TrainingInterrupted, KeyboardInterrupt
        On Ctrl-C; everything can be gone on with.
    """
    started = time.monotonic()
    check_folder(grid, out)
    path, tell = Path(out), listener or (lambda cell, result: None)
    found = {cell: read_result(path / cell.name) for cell in grid.cells()}
    open_cells = [cell for cell, kept in found.items() if kept is None]
    place: dict[str, Any] = {}
    if open_cells:
        # Chosen once, here: no worker may download, or fall back to other images than the rest.
        source = choose_images(grid, images_of(grid, path))
        place = {"data": source.kind, "root": source.root}
    path.mkdir(parents=True, exist_ok=True)
    results = {cell: kept for cell, kept in found.items() if kept is not None}
    failures: dict[Cell, str] = {}
    for cell, kept in results.items():
        tell(cell, kept)

    def note(cell: Cell, work: Callable[[], dict[str, float]]) -> None:
        """Keep what a cell came to; only its own trouble is caught, not Ctrl-C."""
        try:
            results[cell] = CellResult(**work())
            tell(cell, results[cell])
        except Exception as error:
            failures[cell] = f"{type(error).__name__}: {error}"
            tell(cell, failures[cell])

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
    """Hand the cells to an executor, as many at once as it has workers; take what comes."""
    waiting = collections.deque(cells)
    running: dict[Future[dict[str, float]], Cell] = {}
    try:
        while waiting or running:
            while waiting and len(running) < count_workers(executor, len(cells)):
                cell = waiting.popleft()
                options, folder = _options(cell.config, place), str((path / cell.name).absolute())
                running[_submit(executor, options, folder)] = cell
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                note(running.pop(future), future.result)
    finally:
        # After Ctrl-C, what has not begun must not begin.
        for future in running:
            future.cancel()


def _submit(executor: Executor, options: dict[str, Any], folder: str) -> Future[dict[str, float]]:
    """Hand over a cell; to workers that are gone, it is a cell that failed."""
    try:
        return executor.submit(run_cell, options, folder)
    except BrokenExecutor as error:
        future: Future[dict[str, float]] = Future()
        future.set_exception(error)
        return future


def _options(config: TrainConfig, place: dict[str, Any]) -> dict[str, Any]:
    return dataclasses.replace(config, **place).to_dict()
