"""Measure speed and memory: equality first, then time, both sides in turn.

Without names every part runs (some minutes). PyTorch and other libraries are compared with where
they are installed. Leave the machine alone meanwhile. With convolution or layers, limits are
measured too, for the share of them that is reached.

parts: PARTS
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tinysmooth.bench.driver import (
    PARTS,
    Wishes,
    describe_machine,
    find_torch,
    format_rows,
    run_parts,
)
from tinysmooth.cli.options import UsageError, whole
from tinysmooth.kernels.thread_count import set_num_threads
from tinysmooth.plots import benchmark_ratios
from tinysmooth.report import save_figure
from tinysmooth.training import PRESETS

__all__ = ["HELP", "NAME", "configure", "run"]

NAME = "bench"
HELP = "measure speed and memory, beside PyTorch where it is installed"

__doc__ = (__doc__ or "").replace(
    "PARTS", "".join(f"\n  {name:<12} {what}" for name, (what, _) in PARTS.items())
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("parts", metavar="PART", nargs="*", help="which parts (default: all)")
    parser.add_argument("--out", metavar="DIR", help="write bench.json and bench.png here")
    parser.add_argument("--threads", type=whole, metavar="T", help="threads of both sides")
    parser.add_argument("--no-torch", action="store_true", help="ours alone")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too (slow)")
    parser.add_argument(
        "--preset",
        metavar="NAME",
        choices=sorted(PRESETS),
        help="recipe that the part training follows to its end (default: 16 epochs of quick)",
    )
    parser.add_argument("--root", metavar="DIR", help="folder of Imagenette, for the part training")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table a part, and write the files if asked."""
    unknown = [name for name in args.parts if name not in PARTS]
    if unknown:
        raise UsageError(f"part is {unknown[0]!r}; expected some of {', '.join(PARTS)}")
    if args.threads is not None:
        if args.threads < 1:
            raise UsageError(f"--threads: {args.threads} came; expected at least 1")
        set_num_threads(args.threads)
    if args.out is not None:
        _make_folder(args.out)
    torch = None if args.no_torch else find_torch()
    machine = describe_machine(torch)
    print("\n".join(f"{name:<10} {value}" for name, value in machine.items()))
    results, wishes = {}, Wishes(args.compile, args.preset, args.root)

    def announce(name: str) -> None:
        print(f"\n{PARTS[name][0]}", flush=True)

    for name, rows in run_parts(args.parts or list(PARTS), torch, wishes, announce):
        results[name] = rows
        print(format_rows(rows), flush=True)
    if args.out is not None:
        folder = Path(args.out)
        content = json.dumps({"machine": machine, "parts": results}, indent=1)
        (folder / "bench.json").write_text(content + "\n", encoding="utf-8")
        if any(row.get("ratio") for rows in results.values() for row in rows):
            save_figure(benchmark_ratios(results), folder / "bench.png")
        print(f"\nwritten to {folder}")
    return 0


def _make_folder(out: str) -> None:
    """Make the folder of the results before anything is measured."""
    folder = Path(out)
    if folder.is_file():
        raise UsageError(f"--out is {out}, a file; expected a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--out is {out}, which cannot be made ({error.strerror}); expected a folder"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--out is {out}, which is read-only; expected a folder to write into")
