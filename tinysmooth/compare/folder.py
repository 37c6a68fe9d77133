"""The folder of a comparison: whether a grid may be trained in it, and on which images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tinysmooth.compare.cell import read_result
from tinysmooth.compare.grid import Grid
from tinysmooth.data import Source, choose_source
from tinysmooth.training import OptionError, RunFolder

__all__ = ["check_folder", "check_images", "choose_images", "images_of"]

# Where the images lie and how many threads there are is no part of the question.
_OF_THE_MACHINE = ("root", "threads")
# Every cell has such a name, of whatever grid.
_CELLS = "eps*-noise*-seed*"


def check_folder(grid: Grid, out: str | os.PathLike[str]) -> int:
    """Count the finished cells of ``grid`` in a folder, which may be missing; changes nothing.

    Raises
    ------
    OptionError
        If the folder cannot be made or written, is that of a single run or holds no comparison, or
        a cell in it has other options, or other images than the rest.
    ValueError
        If a file in it is damaged.
    """
    path = Path(out)
    _check_place(path)
    finished = 0
    for cell in grid.cells():
        folder = RunFolder(path / cell.name)
        if not folder.config.exists():
            continue
        there, _ = folder.read_config()
        for name, value in there.to_dict().items():
            # What "auto" finds now is compared once it is known: by choose_images.
            known = (value, "auto") if name == "data" else (value,)
            if name not in _OF_THE_MACHINE and getattr(cell.config, name) not in known:
                raise OptionError(
                    "out",
                    f"compare: out is {str(out)!r}, where {cell.name} has {name} = {value!r}; "
                    f"expected {getattr(cell.config, name)!r}. Choose another --out",
                )
        finished += read_result(folder.path) is not None
    images = images_of(grid, path)
    for first, kind in list(images.items())[:1]:
        check_images(images, kind, "out", f"{str(out)!r}, where {first} has the images")
    return finished


def _check_place(path: Path) -> None:
    """Refuse a folder in which no comparison can be, or go on."""
    if RunFolder(path).config.exists():
        raise OptionError(
            "out",
            f"compare: out is {str(path)!r}, the folder of a single run; expected a new folder or "
            "that of a comparison",
        )
    if path.is_dir() and not os.access(path, os.W_OK):
        raise OptionError(
            "out",
            f"compare: out is {str(path)!r}, which is read-only; expected a folder that can be "
            "written",
        )
    if any(path.glob(_CELLS)):
        return
    try:
        RunFolder.check_new(path)
    except OptionError as error:
        text = str(error).replace("train:", "compare:", 1)
        text = text.replace("a new folder.", "a new folder or that of a comparison.")
        raise OptionError("out", text) from None


def images_of(grid: Grid, out: str | os.PathLike[str]) -> dict[str, str]:
    """Return the kind of images that the cells in a folder have, by the name of the cell."""
    folders = {cell.name: RunFolder(Path(out) / cell.name) for cell in grid.cells()}
    return {
        name: str(folder.read_config()[1]["data"]["source"])
        for name, folder in folders.items()
        if folder.config.exists()
    }


def check_images(images: Mapping[str, str], kind: str, option: str, what: str) -> None:
    """Refuse photographs beside drawings.

    Parameters
    ----------
    images : mapping of str to str
        Kinds of images by what has them, as of ``images_of``.
    kind : str
        The kind that all must have.
    option, what : str
        What asks for that kind, for the message.

    Raises
    ------
    OptionError
        Names both kinds.
    """
    for name, other in images.items():
        if other != kind:
            raise OptionError(
                option,
                f"compare: {option} is {what} {kind!r}, but {name} has {other!r}; expected the "
                "same images for all runs. Choose another --out or --data",
            )


def choose_images(grid: Grid, images: Mapping[str, str]) -> Source:
    """Decide where the images of the unfinished cells come from, which may mean a download.

    Parameters
    ----------
    grid : Grid
    images : mapping of str to str
        Kinds of images that cells have already.

    Raises
    ------
    OptionError
        If those are others.
    FetchError, ArchiveError, FileNotFoundError
        As ``tinysmooth.data.choose_source``.
    """
    wish = grid.base.data
    source = choose_source(wish, grid.base.root)
    check_images(images, source.kind, "data", f"{wish!r}, which now means the images")
    return source
