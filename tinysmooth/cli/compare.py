"""Train a grid of runs and report on their differences.

Every combination of --epsilons, --seeds, --noise and --vary is one run with its own folder inside
--out. Stopped at any moment, the same command goes on: finished runs are kept. With --executor the
runs take place side by side, one kernel thread each; all workers must see the same folders:

  --executor process --workers 4
  --executor dask://HOST:8786    after: dask scheduler --port 8786
                                 and:   dask worker tcp://HOST:8786 --nworkers 4 --nthreads 1
  --executor mpi                 as: mpiexec -n 5 python -m mpi4py.futures -m tinysmooth compare ...
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from tinysmooth.cli.options import UsageError, one_line, real, whole
from tinysmooth.cli.recipe import RECIPE, add_recipe, flag, name_option, read_config
from tinysmooth.compare import Cell, CellResult, Comparison, Grid, compare, open_executor
from tinysmooth.compare.executors import EXECUTORS, check_executor
from tinysmooth.compare.folder import check_folder
from tinysmooth.compare.published import check_publish, publish, start_from
from tinysmooth.compare.report import write_report
from tinysmooth.training import OptionError

__all__ = ["HELP", "NAME", "configure", "run"]

NAME = "compare"
HELP = "train a grid of runs and report on their differences"

_OWN_FLAGS = {"label_smoothing": "--epsilons", "seed": "--seeds"}
_VARIABLE = [
    name for name in RECIPE if name not in ("data", "root", "threads", *_OWN_FLAGS, "noise")
]
_SIDES = ("size", "end_size", "start_size")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--epsilons",
        metavar="EPS,...",
        default="0,0.1",
        help="label smoothings; the smallest is what the others are compared with (default 0,0.1)",
    )
    parser.add_argument(
        "--seeds", metavar="S,...", default="0,1,2", help="seeds of the pairs (default 0,1,2)"
    )
    parser.add_argument(
        "--noise",
        metavar="PERCENT,...",
        default="0",
        help="wrong training labels on purpose: any of 0, 1, 5, 25, 50 (default 0)",
    )
    parser.add_argument(
        "--vary",
        metavar="OPTION=VALUE,...",
        action="append",
        default=[],
        help="more values of another option, such as lr=0.02,0.05; may be given several times",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the comparison, new or to go on with (default: a new one under runs/)",
    )
    parser.add_argument(
        "--executor",
        metavar="WHERE",
        default="serial",
        help=f"where runs take place: {', '.join(EXECUTORS)} (default serial: in turn)",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=whole,
        help="processes for --executor process (default: CPUs)",
    )
    parser.add_argument(
        "--start-from",
        metavar="JSON",
        help="take finished runs from a file that --publish wrote, in place of training them",
    )
    parser.add_argument(
        "--publish", metavar="JSON", help="write what the finished runs came to into this file"
    )
    parser.add_argument("--quiet", action="store_true", help="print the result only")
    add_recipe(parser, without=("label_smoothing", "seed", "noise"))


def run(args: argparse.Namespace) -> int:
    """Check everything, train what is missing, write the report."""
    grid = _read_grid(args)
    out = Path(time.strftime("runs/compare-%Y%m%d-%H%M%S") if args.out is None else args.out)
    if args.workers is not None and (args.workers < 1 or args.executor != "process"):
        raise UsageError(
            f"--workers is {args.workers} with --executor {args.executor}; expected a number >= 1, "
            "and --executor process"
        )
    try:
        check_executor(args.executor)
        if args.publish is not None:
            check_publish(args.publish)
        finished = check_folder(grid, out)
        if args.start_from is not None:
            finished += start_from(args.start_from, grid, out)  # the first that writes anything
    except FileNotFoundError:
        raise UsageError(
            f"--start-from is {args.start_from}, which does not exist; expected a file"
        ) from None
    except OptionError as error:
        raise UsageError(name_option(error).removeprefix("compare: ")) from None
    total = len(grid.cells())
    table = _Table(total, finished)
    if not args.quiet:
        kept = f", {finished} of them finished before" if finished else ""
        print(f"{total} runs{kept}, in {out}", flush=True)
        print(table.header(), flush=True)
    try:
        with open_executor(args.executor, args.workers) as pool:
            done = compare(grid, out, executor=pool, listener=None if args.quiet else table.show)
    except OptionError as error:
        raise UsageError(name_option(error)) from None
    except KeyboardInterrupt:
        print(f"Go on with the same command and --out {quote(str(out))}", file=sys.stderr)
        raise
    code = _finish(done)
    if args.publish is not None and done.results:
        publish(done, args.publish)
    return code


def _finish(done: Comparison) -> int:
    for cell, reason in done.failures.items():
        print(f"tinysmooth compare: {cell.name} failed: {one_line(reason)}", file=sys.stderr)
    if not done.results:
        return 1
    print(f"Report: {write_report(done)}")
    return 1 if done.failures else 0


def _read_grid(args: argparse.Namespace) -> Grid:
    axes: dict[str, list[Any]] = {}
    for text in args.vary:
        name, equals, values = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals or name not in _VARIABLE:
            known = ", ".join(known.replace("_", "-") for known in _VARIABLE)
            same = ", but all runs of a comparison have the same data" if name == "data" else ""
            raise UsageError(
                f"--vary is {text!r}{same}; expected OPTION=VALUE,... with one of {known}"
            )
        if name in axes:
            raise UsageError(f"--vary names {name} twice; expected all its values together")
        axes[name] = _read_list("--vary", values, RECIPE[name][0])
    axes["noise"] = _read_list("--noise", args.noise, whole)
    axes["label_smoothing"] = _read_list("--epsilons", args.epsilons, real)
    axes["seed"] = _read_list("--seeds", args.seeds, whole)
    # What fits the largest of varied sides; the grid makes it smaller where they are.
    sides = {name: max(axes[name]) for name in _SIDES if name in axes}
    base = read_config({**vars(args), **sides, "noise": 0})
    try:
        grid = Grid(base, axes)
    except OptionError as error:
        text = name_option(error)
        for name, own in _OWN_FLAGS.items():
            text = text.replace(flag(name), own)
        raise UsageError(text.removeprefix("compare: ")) from None
    _check_sides(args, grid)
    return grid


def _check_sides(args: argparse.Namespace, grid: Grid) -> None:
    """Refuse a side that was asked for and that a cell has no room for."""
    for name in ("end_size", "start_size"):
        asked = getattr(args, name, None)
        for cell in grid.cells():
            side = getattr(cell.config, name)
            if asked is not None and name not in grid.axes and side != asked:
                raise UsageError(
                    f"{flag(name)} is {asked}; expected at most {side}, for all that --vary asks "
                    "for"
                )


def _read_list(option: str, text: str, read: Callable[[str], Any]) -> list[Any]:
    """Read values between commas."""
    try:
        return [read(part.strip()) for part in text.split(",")]
    except argparse.ArgumentTypeError as error:
        raise UsageError(
            f"{option} is {text!r}, where {error}; expected values with commas between them"
        ) from None


class _Table:
    """Rows that appear as runs finish, with a guess of the time that is left."""

    def __init__(self, total: int, finished: int) -> None:
        self.total, self.kept, self.count = total, finished, 0
        self.started = time.monotonic()

    def header(self) -> str:
        """Name the columns."""
        return _cells(("", "accuracy", "NLL", "ECE", "scaled", "gap", "minutes"), "run")

    def show(self, cell: Cell, result: CellResult | str) -> None:
        """Print a row."""
        self.count += 1
        number = f"{self.count}/{self.total}"
        if isinstance(result, str):
            print(f"{number:>9}  {cell.name}: failed", flush=True)
            return
        row = (
            number,
            f"{100 * result.accuracy:.1f} %",
            f"{result.loss:.3f}",
            f"{result.ece:.3f}",
            f"{result.scaled_ece:.3f}",
            f"{result.mean_gap:.2f}",
            f"{result.seconds / 60:.1f}",
        )
        print(_cells(row, cell.name) + self._left(), flush=True)

    def _left(self) -> str:
        new, missing = self.count - self.kept, self.total - self.count
        if new <= 0 or missing == 0:
            return ""
        minutes = (time.monotonic() - self.started) / new * missing / 60
        return f"  (about {minutes:.0f} min left)"


def _cells(texts: Sequence[str], name: str) -> str:
    widths = (9, 8, 7, 6, 6, 6, 7)
    return "  ".join(text.rjust(w) for text, w in zip(texts, widths, strict=True)) + f"  {name}"
