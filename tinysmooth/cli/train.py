"""Train a convnet with label smoothing on a small part of Imagenette, and report on it.

Without options: 100 images a class at 64 pixels, label smoothing 0.1, resnet9. If Imagenette is
neither on disk nor to be had, pictures drawn by the program stand in, and the report says so.
Ctrl-C stops a run whole; --resume goes on with it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from tinysmooth.cli.options import UsageError, count_or_all, real, whole
from tinysmooth.data import KINDS
from tinysmooth.models import MODELS
from tinysmooth.report import write_report, write_stopped_report
from tinysmooth.training import (
    PRESETS,
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

_UNSET = argparse.SUPPRESS  # what was not given is not in the namespace, so presets can tell


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    default = TrainConfig()

    def option(flag: str, kind: Any, meta: str, text: str) -> None:
        value = getattr(default, flag.removeprefix("--").replace("-", "_"))
        shown = "" if value is None else f" (default {value})"
        parser.add_argument(flag, type=kind, metavar=meta, default=_UNSET, help=text + shown)

    option("--data", str, "KIND", f"{', '.join(KINDS)}: where the images come from")
    option("--root", str, "DIR", "folder of Imagenette (default: the usual places)")
    option("--per-class", count_or_all, "N", "training images a class, or all")
    option("--val-per-class", count_or_all, "N", "validation images a class, or all")
    option("--size", whole, "PX", "side of the images in pixels")
    option("--noise", whole, "PERCENT", "wrong training labels on purpose: 0, 1, 5, 25 or 50")
    option("--epochs", whole, "E", "how often to go through the training images")
    option("--batch-size", whole, "B", "images a step")
    option("--lr", real, "LR", "highest learning rate of the one-cycle schedule")
    option("--warmup", real, "SHARE", "share of the steps in which the learning rate rises")
    option("--momentum", real, "M", "Nesterov momentum")
    option("--weight-decay", real, "WD", "spares BatchNorm and biases")
    option("--label-smoothing", real, "EPS", "epsilon in [0, 1]; 0 trains on one-hot targets")
    option("--zoom", real, "SHARE", "least share of an image that is enlarged; 1 only moves it")
    option("--mixup", real, "A", "above 0: mix images in pairs, shares from Beta(A, A)")
    option("--ema", real, "DECAY", "keep the running mean of the weights; 0 keeps the last ones")
    option("--start-size", whole, "PX", "let the training images grow from this side to --size")
    option("--model", str, "NAME", f"network: {', '.join(MODELS)}")
    option("--seed", whole, "S", "of all randomness")
    option("--threads", whole, "T", "threads of the kernels (default: all)")
    parser.add_argument(
        "--no-augment",
        dest="augment",
        action="store_false",
        default=_UNSET,
        help="no random crops and flips",
    )
    parser.add_argument(
        "--test-flip",
        action=argparse.BooleanOptionalAction,
        default=_UNSET,
        help="evaluate on each image and its mirror image",
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        choices=sorted(PRESETS),
        default=_UNSET,
        help="; ".join(
            f"{name}: "
            + ", ".join(f"{key.replace('_', '-')} {_show(value)}" for key, value in options.items())
            for name, options in PRESETS.items()
        ),
    )
    parser.add_argument(
        "--out", metavar="DIR", default=_UNSET, help="new run folder (default: one under runs/)"
    )
    parser.add_argument(
        "--resume",
        metavar="DIR",
        default=_UNSET,
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
    config = _read_config(given)
    out = Path(given.get("out") or _free_folder(config))
    try:
        RunFolder.check_new(out)
    except OptionError as error:
        raise UsageError(_name_option(error)) from None
    return _finish(lambda: train(config, out, progress=not args.quiet), out)


def _go_on(given: dict[str, Any], *, quiet: bool) -> int:
    others = sorted(set(given) - {"resume"})
    if others:
        flags = ", ".join(_flag(name) for name in others)
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
            rows = read_history(folder.history)
            write_stopped_report(folder, folder.read_config()[0], rows)
        print(f"Go on with: tinysmooth train --resume {out}", file=sys.stderr)
        raise
    report = write_report(done)
    last = done.history[-1]
    print(
        f"{100 * last.val_accuracy:.1f} % of {len(done.val.targets):,} validation images right, "
        f"plain loss {last.val_loss:.3f}, calibration error {last.val_ece:.3f}."
    )
    if done.val.is_stand_in:
        print("The images were drawn by the program, as a stand-in; they are not photographs.")
    print(f"Report: {report}")
    return 0


def _read_config(given: dict[str, Any]) -> TrainConfig:
    options = dict(PRESETS[given["preset"]]) if "preset" in given else {}
    options.update((k, v) for k, v in given.items() if k not in ("preset", "out"))
    try:
        return TrainConfig.from_dict(options)
    except OptionError as error:
        raise UsageError(_name_option(error)) from None


def _name_option(error: OptionError) -> str:
    """Replace the name of the field by the option that the user typed."""
    return str(error).replace(f"train: {error.option} is", f"{_flag(error.option)} is", 1)


def _flag(name: str) -> str:
    return "--no-augment" if name == "augment" else "--" + name.replace("_", "-")


def _show(value: object) -> str:
    return "all" if value is None else str(value)


def _free_folder(config: TrainConfig) -> Path:
    """Name a folder that does not exist yet."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{config.model}-eps{config.label_smoothing:g}-{stamp}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path
