"""Describe this installation, or a run folder."""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from shlex import quote

from tinysmooth import __version__, data, kernels
from tinysmooth.cli.options import UsageError
from tinysmooth.kernels import cache, thread_count
from tinysmooth.training import RunFolder, load, read_history
from tinysmooth.training.history import format_header, format_row

__all__ = ["HELP", "NAME", "configure", "run"]

NAME = "info"
HELP = "describe this installation, or a run folder"

_NOTHING = {"root": "the usual places", "per_class": "all", "val_per_class": "all"}
"""What an option means that was not given."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("folder", metavar="RUN", nargs="?", help="a folder that train wrote")
    parser.add_argument("--root", metavar="DIR", help="look for Imagenette here")


def run(args: argparse.Namespace) -> int:
    """Print name and value, line by line."""
    if args.folder is None:
        _print_installation(args.root)
    elif args.root is not None:
        raise UsageError("--root came with RUN; expected one of them")
    else:
        _print_run(args.folder)
    return 0


def _print_installation(root: str | None) -> None:
    processor, features = cache.cpu_description()
    folder = cache.cache_folder()
    try:
        found = f"in {data.find_imagenette(root)}"
    except FileNotFoundError:
        found = "not found; get it with: tinysmooth fetch"
    _line("tinysmooth", __version__)
    _line("Python", f"{platform.python_version()} on {platform.platform()}")
    for name in ("numpy", "numba", "matplotlib", "pillow"):
        try:
            _line(name, version(name))
        except PackageNotFoundError:
            _line(name, "not installed")
    _line("processor", processor)
    _line("CPUs", f"{os.cpu_count()}; kernels use {thread_count.get_num_threads()} threads")
    _line("kernels", kernels.kernels_in_use())
    _line("kernel cache", str(folder) if folder else "none (no folder can be written)")
    _line("Imagenette", found)


def _print_run(path: str) -> None:
    try:
        folder = RunFolder.open(path)
    except FileNotFoundError as error:
        raise UsageError(f"RUN: {error}") from None
    config, content = folder.read_config()
    rows = read_history(folder.history) if folder.history.exists() else []
    _line("run", str(folder.path))
    for name, value in config.to_dict().items():
        _line(name.replace("_", "-"), _NOTHING.get(name, "none") if value is None else str(value))
    found = content.get("data", {})
    _line("images", str(found.get("description", "unknown")))
    _line("counts", f"{found.get('num_train')} to train on, {found.get('num_val')} to validate on")
    made = content.get("environment", {})
    _line("trained with", ", ".join(f"{name} {value}" for name, value in made.items()))
    if folder.weights.exists():
        weights = load(folder.weights)
        total = sum(array.size for array in weights.values())
        _line("weights", f"{total:,} numbers in {len(weights)} arrays")
    if len(rows) == config.epochs:
        state = "finished"
    elif folder.checkpoint.exists():
        state = f"go on with: tinysmooth train --resume {quote(path)}"
    else:
        state = "no checkpoint is here to go on from"
    _line("epochs", f"{len(rows)} of {config.epochs}; {state}")
    if rows:
        print()
        print(format_header(rows[-1].train_floor, rows[-1].resting_gap))
        for row in rows:
            print(format_row(row, config.epochs))


def _line(name: str, value: str) -> None:
    print(f"{name:16} {value}")
