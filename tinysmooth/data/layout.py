"""The folders of Imagenette: recognising them, listing the files, reading the noisy labels."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinysmooth.data.classes import NUM_CLASSES, WNIDS
from tinysmooth.data.dataset import SPLITS
from tinysmooth.data.places import search_folders

__all__ = [
    "NOISY_LABELS",
    "Listing",
    "check_layout",
    "find_imagenette",
    "list_split",
    "read_noisy_labels",
]

NOISY_LABELS = "noisy_imagenette.csv"
_EXPECTED = (
    f"train/ and val/ with the class folders {WNIDS[0]} ... {WNIDS[-1]} in each, as the official "
    "imagenette2-160.tgz unpacks"
)


@dataclass(frozen=True)
class Listing:
    """The files of one split, by class and then by name, whatever order the disk has them in."""

    root: Path
    split: str
    #: Paths relative to ``root``, with forward slashes.
    names: tuple[str, ...]
    targets: NDArray[np.int64]
    #: Size in bytes and time of the last change (nanoseconds) of each file.
    sizes: tuple[int, ...]
    times: tuple[int, ...]


def _folders(folder: Path) -> list[Path]:
    """Return ``folder`` and what archives unpack to inside it."""
    try:
        inside = sorted(child for child in folder.glob("imagenette*") if child.is_dir())
    except OSError:
        inside = []
    # The 160-pixel version first, if there are several.
    return [folder, *sorted(inside, key=lambda path: path.name != "imagenette2-160")]


def _missing(folder: Path) -> list[str]:
    wanted = [f"{split}/{wnid}" for split in SPLITS for wnid in WNIDS]
    return [name for name in wanted if not os.path.isdir(folder / name)]


def check_layout(root: Path) -> Path:
    """Return the folder of Imagenette: ``root``, or the one inside it.

    Raises
    ------
    FileNotFoundError
        Saying what was expected and what was found.
    """
    for folder in _folders(root):
        if not _missing(folder):
            return folder
    if not os.path.exists(root):  # nor where we may not look
        found = "no such folder"
    elif not os.path.isdir(root):
        found = "a file"
    else:
        # Complain about the folder that comes closest.
        root = min(_folders(root), key=lambda folder: len(_missing(folder)))
        missing = _missing(root)
        if len(missing) < 2 * NUM_CLASSES:
            found = "all of it but " + ", ".join(missing[:4]) + (", ..." if missing[4:] else "")
        else:
            found = _content(root)
    raise FileNotFoundError(
        f"Imagenette is not at {root}: expected {_EXPECTED}; found {found}. "
        "`tinysmooth fetch` downloads it"
    )


def _content(folder: Path) -> str:
    try:
        names = sorted(child.name + "/" * child.is_dir() for child in folder.iterdir())
    except OSError as error:
        return f"a folder that cannot be read ({error.strerror})"
    return ", ".join(names[:6]) + (", ..." if names[6:] else "") or "an empty folder"


def find_imagenette(root: str | Path | None = None) -> Path:
    """Return the folder that holds Imagenette.

    Parameters
    ----------
    root : str or Path, optional
        The folder, or its parent. By default the usual places are searched, in this order:
        ``$TINYSMOOTH_DATA``, ``data`` in the working folder, the user's data folder.

    Returns
    -------
    Path
        The folder with ``train``, ``val`` and (for noisy labels) ``noisy_imagenette.csv``.

    Raises
    ------
    FileNotFoundError
        If it is not there; the message says what was expected and what was found.
    TypeError
        If ``root`` is not a path.
    """
    if root is not None and not isinstance(root, str | Path):
        raise TypeError(
            f"find_imagenette: root is a {type(root).__name__}; expected a path or None"
        )
    places = search_folders(None if root is None else Path(root).expanduser())
    complaints = []
    for place in places:
        try:
            return check_layout(place)
        except FileNotFoundError as error:
            complaints.append(str(error))
    if len(complaints) == 1:
        raise FileNotFoundError(complaints[0])
    searched = ", ".join(str(place) for place in places)
    raise FileNotFoundError(
        f"Imagenette is in none of {searched}: expected {_EXPECTED}. `tinysmooth fetch` downloads "
        "it; --root or TINYSMOOTH_DATA says where it is"
    )


def list_split(root: Path, split: str) -> Listing:
    """List the files of a split, by class and name. Hidden files (``.DS_Store``) do not count."""
    names, targets, sizes, times = [], [], [], []
    for label, wnid in enumerate(WNIDS):
        for path in sorted((root / split / wnid).iterdir(), key=lambda path: path.name):
            if path.name.startswith("."):
                continue
            names.append(f"{split}/{wnid}/{path.name}")
            targets.append(label)
            size, changed = _facts(path)
            sizes.append(size)
            times.append(changed)
    return Listing(
        root, split, tuple(names), np.array(targets, np.int64), tuple(sizes), tuple(times)
    )


def _facts(path: Path) -> tuple[int, int]:
    """Return size and time of a file; -1 for one that is not there, as at the end of a link."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def read_noisy_labels(root: Path, noise: int, names: list[str]) -> NDArray[np.int64]:
    """Return the label that the official list gives each of the files ``names``.

    Source: ``noisy_imagenette.csv`` of fast.ai's archive; column ``noisy_labels_25`` has 25 % of
    the training labels wrong.

    Raises
    ------
    FileNotFoundError
        If the list is not there.
    ValueError
        If the list lacks the column or one of the files, or names an unknown class.
    """
    path, column = root / NOISY_LABELS, f"noisy_labels_{noise}"
    if not path.is_file():
        raise FileNotFoundError(
            f"load_imagenette: noise={noise} needs {path}, which is missing; expected the list "
            "of the official archive. Use noise=0, or `tinysmooth fetch` into another folder"
        )
    index = {wnid: label for label, wnid in enumerate(WNIDS)}
    listed: dict[str, int] = {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        columns = list(rows.fieldnames or ())
        if "path" not in columns or column not in columns:
            raise ValueError(
                f"load_imagenette: {path} has the columns {columns}; expected 'path' and {column!r}"
            )
        for row in rows:
            label = index.get(row[column] or "")
            if label is None:
                raise ValueError(
                    f"load_imagenette: {path}, line {rows.line_num}, has the label "
                    f"{row[column]!r}; expected one of {', '.join(WNIDS)}"
                )
            listed[row["path"]] = label
    absent = [name for name in names if name not in listed]
    if absent:
        raise ValueError(
            f"load_imagenette: {path} lists no label for {absent[0]} (and {len(absent) - 1} more); "
            "expected every training image. Use noise=0"
        )
    return np.array([listed[name] for name in names], np.int64)
