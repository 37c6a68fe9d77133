"""Bring Imagenette (160 pixels, 99 MB) to this machine: download, verify, unpack.

What is already there is not fetched again; nothing half-done stays.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tinysmooth import data
from tinysmooth.cli.options import UsageError

__all__ = ["HELP", "NAME", "configure", "run"]

NAME = "fetch"
HELP = "download Imagenette, or unpack an archive of it"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="folder to unpack into (default: $TINYSMOOTH_DATA, else data/, else the user's data)",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--archive", metavar="PATH", help="an archive on disk, not a download")
    source.add_argument("--url", metavar="URL", help="another place to download from")
    parser.add_argument("--sha256", metavar="HEX", help="the checksum the archive must have")


def run(args: argparse.Namespace) -> int:
    """Fetch, and say where."""
    if args.archive is not None and not Path(args.archive).expanduser().is_file():
        raise UsageError(f"--archive is {args.archive}, which is no file; expected a .tgz file")
    if args.root is not None and Path(args.root).expanduser().is_file():
        raise UsageError(f"--root is {args.root}, a file; expected a folder")
    try:
        folder = data.fetch(args.root, url=args.url, archive=args.archive, sha256=args.sha256)
    except data.ArchiveError:
        raise
    except ValueError as error:  # what is left of these: an address or checksum of wrong form
        raise UsageError(str(error).replace("fetch: ", "--", 1)) from None
    print(f"Imagenette is in {folder}")
    return 0
