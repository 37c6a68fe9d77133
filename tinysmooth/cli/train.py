"""Train a convnet with label smoothing on a small part of Imagenette, and report on it.

Without options: the preset quick, 100 images a class, with label smoothing 0.1. If Imagenette is
neither on disk nor to be had, pictures drawn by the program stand in, and the report says so.
Ctrl-C stops a run whole; --resume goes on with it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from shlex import quote
from typing import Any

from tinysmooth.cli.options import UsageError
from tinysmooth.cli.recipe import UNSET, add_recipe, flag, name_option, read_config
from tinysmooth.report import write_report, write_stopped_report
from tinysmooth.training import (
    OptionError,
    RunFolder,
    TrainConfig,
    TrainedRun,
    TrainingInterrupted,
    read_history,
    resume,
    train,
)

__all__ = ["HELP", "NAME", "configure", "run"]

NAME = "train"
HELP = "train a convnet and write a report"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_recipe(parser)
    parser.add_argument(
        "--out", metavar="DIR", default=UNSET, help="new run folder (default: one under runs/)"
    )
    parser.add_argument(
        "--resume",
        metavar="DIR",
        default=UNSET,
        help="go on with a stopped run, with the options it has; takes no other option",
    )
    parser.add_argument("--quiet", action="store_true", help="print the result only")


def run(args: argparse.Namespace) -> int:
    """Train, or go on, and write the report."""
    given = {
        name: value
        for name, value in vars(args).items()
        if name not in ("command", "debug", "parser", "quiet", "run")
    }
    if "resume" in given:
        return _go_on(given, quiet=args.quiet)
    config = read_config(given)
    out = Path(given["out"]) if "out" in given else _free_folder(config)
    try:
        RunFolder.check_new(out)
    except OptionError as error:
        raise UsageError(name_option(error)) from None
    return _finish(lambda: train(config, out, progress=not args.quiet), out)


def _go_on(given: dict[str, Any], *, quiet: bool) -> int:
    others = sorted(set(given) - {"resume"})
    if others:
        flags = ", ".join(flag(name) for name in others)
        raise UsageError(
            f"--resume came with {flags}; expected it alone: a run goes on with the options it "
            "began with"
        )
    folder = given["resume"]
    try:
        RunFolder.open(folder)
    except FileNotFoundError as error:
        raise UsageError(f"--resume: {error}") from None
    return _finish(lambda: resume(folder, progress=not quiet), Path(folder))


def _finish(work: Any, out: Path) -> int:
    """Train and report; on Ctrl-C leave a folder that can be read and say how to go on."""
    try:
        done: TrainedRun = work()
    except KeyboardInterrupt as error:
        if not (out / "checkpoint.npz").exists():
            raise
        folder = RunFolder(out)
        if isinstance(error, TrainingInterrupted):
            rows, (config, content) = read_history(folder.history), folder.read_config()
            stand_in = content["data"]["stand_in"]
            write_stopped_report(folder, config, rows, stand_in=stand_in)
        print(f"Go on with: tinysmooth train --resume {quote(str(out))}", file=sys.stderr)
        raise
    try:
        report = write_report(done)
    except KeyboardInterrupt:
        print(
            "The training is finished. Write its report with: tinysmooth train --resume "
            f"{quote(str(out))}",
            file=sys.stderr,
        )
        raise
    last = done.history[-1]
    print(
        f"{100 * last.val_accuracy:.1f} % of {len(done.val.targets):,} validation images right, "
        f"plain loss {last.val_loss:.3f}, calibration error {last.val_ece:.3f}."
    )
    if done.val.is_stand_in:
        print("The images were drawn by the program, as a stand-in; they are not photographs.")
    print(f"Report: {report}")
    return 0


def _free_folder(config: TrainConfig) -> Path:
    """Name a folder that does not exist yet."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{config.model}-eps{config.label_smoothing:g}-{stamp}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path
