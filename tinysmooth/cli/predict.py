"""Name what is on pictures, with the trained network of a run folder.

Images are cropped to the middle square and shrunk to the size the network is judged at. The
pictures with their probabilities are drawn into a PNG file.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tinysmooth import plots
from tinysmooth.cli.options import UsageError, whole
from tinysmooth.data import read_image
from tinysmooth.report import save_figure
from tinysmooth.training import RunFolder, load_model
from tinysmooth.training.evaluation import predict_probs
from tinysmooth.training.mixing import shrink

__all__ = ["HELP", "NAME", "configure", "run"]

NAME = "predict"
HELP = "name what is on pictures, with a trained network"

_MOST_DRAWN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("paths", metavar="PATH", nargs="+", help="image files, or folders of them")
    parser.add_argument("--weights", metavar="RUN", required=True, help="folder that train wrote")
    parser.add_argument(
        "--top", type=whole, metavar="N", default=3, help="classes to name an image (default 3)"
    )
    parser.add_argument(
        "--picture",
        metavar="PNG",
        help=f"file to draw the first {_MOST_DRAWN} images into (default: predictions.png in RUN)",
    )


def run(args: argparse.Namespace) -> int:
    """Print a line an image and draw the picture."""
    if args.top < 1:
        raise UsageError(f"--top is {args.top}; expected a whole number >= 1")
    try:
        folder = RunFolder.open(args.weights)
    except FileNotFoundError as error:
        raise UsageError(f"--weights: {error}") from None
    picture = Path(args.picture) if args.picture else folder.path / "predictions.png"
    _check_picture(picture)
    files, hidden = _find_images(args.paths)
    if picture.exists() and any(picture.samefile(file) for file in files):
        raise UsageError(
            f"--picture is {picture}, one of the images; expected another file: it is written over"
        )
    model, config, names = load_model(args.weights)
    images, readable = _read(files, config.size)
    images = shrink(images, config.judged_size)
    probs = predict_probs(model, images, flip=config.test_flip)
    top = min(args.top, len(names))
    for path, row in zip(readable, probs, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        print(f"{path}: " + ", ".join(f"{names[k]} {100 * row[k]:.1f} %" for k in best))
    shown = slice(0, _MOST_DRAWN)
    figure = plots.predictions(
        images[shown], probs[shown], names, titles=[path.name for path in readable[shown]], top=top
    )
    save_figure(figure, picture)
    print(f"Picture: {picture}")
    if folder.read_config()[1]["data"]["stand_in"]:
        print(
            "note: the network learned from pictures that the program drew, a stand-in; it has "
            "never seen a photograph",
            file=sys.stderr,
        )
    return 0 if len(readable) == len(files) and not hidden else 1


def _check_picture(picture: Path) -> None:
    """Refuse a place that no picture can be written to, before any work."""
    if picture.is_dir():
        raise UsageError(f"--picture is {picture}, a folder; expected a file name")
    if picture.suffix.lower() != ".png":
        raise UsageError(f"--picture is {picture}; expected a name that ends in .png")
    if not picture.parent.is_dir():
        raise UsageError(f"--picture is {picture}; expected a file in an existing folder")
    if not os.access(picture.parent, os.W_OK):
        raise UsageError(
            f"--picture is {picture}, in a read-only folder; expected one to write into"
        )


def _find_images(paths: Sequence[str]) -> tuple[list[Path], bool]:
    """Return the files that were named and the images in the folders that were named.

    Folders that cannot be read are named on standard error; the flag says if there were any.
    """
    files: list[Path] = []
    hidden: list[OSError] = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            before = len(hidden)
            inside = _images_in(path, hidden)
            if not inside and len(hidden) == before:
                raise UsageError(f"PATH is {name}, a folder without images; expected some inside")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            what = "which does not exist"
            if path.is_symlink():
                what = f"a link to {os.readlink(path)}, which does not exist"
            elif path.exists():
                what = "neither a file nor a folder"
            raise UsageError(f"PATH is {name}, {what}; expected an image or a folder")
    for error in hidden:
        print(f"skipped: {error.filename}: {error.strerror}; expected a folder", file=sys.stderr)
    return files, bool(hidden)


def _images_in(folder: Path, hidden: list[OSError]) -> list[Path]:
    """Return the images in a folder and in those inside it; note which cannot be read.

    Hidden files do not count, nor what Pillow only writes.
    """
    known = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = (
        Path(place, name)
        for place, _, names in os.walk(folder, onerror=hidden.append)
        for name in names
        if Path(name).suffix.lower() in known and not name.startswith(".")
    )
    return sorted(path for path in found if path.is_file())


def _read(
    files: Sequence[Path], size: int
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], list[Path]]:
    """Read what can be read; name the rest on standard error."""
    images, readable = [], []
    for path in files:
        try:
            images.append(read_image(path, size))
        except ValueError as error:
            print(f"skipped: {error}", file=sys.stderr)
        else:
            readable.append(path)
    if not images:
        raise ValueError(f"none of {len(files)} files could be read; expected images")
    return np.stack(images).transpose(0, 3, 1, 2), readable
