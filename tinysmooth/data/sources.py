"""Which images to use: photographs if they can be had, drawings otherwise, and never in silence."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tinysmooth.checks import check_choice
from tinysmooth.data.archive import ArchiveError
from tinysmooth.data.dataset import Dataset
from tinysmooth.data.download import fetch, probe
from tinysmooth.data.drawn import load_drawn
from tinysmooth.data.imagenette import load_imagenette
from tinysmooth.data.layout import find_imagenette

__all__ = ["KINDS", "Source", "choose_source", "load"]

#: What ``--data`` may say.
KINDS: tuple[str, ...] = ("auto", "imagenette", "drawn")

#: Drawings of each class where all of them are asked for: about as many as Imagenette has.
_ALL_DRAWN = {"train": 947, "val": 393}


@dataclass(frozen=True)
class Source:
    """A choice of images, made once and used for all splits of a run.

    Attributes
    ----------
    kind : str
        ``"imagenette"`` or ``"drawn"``.
    root : Path or None
        The folder of Imagenette.
    reason : str
        Why these images, where it was not the user's own choice; may be empty.
    """

    kind: str
    root: Path | None = None
    reason: str = ""


def choose_source(
    kind: str = "auto", root: str | Path | None = None, *, progress: bool | None = None
) -> Source:
    """Decide where the images come from, downloading them if that is allowed and possible.

    Parameters
    ----------
    kind : {"auto", "imagenette", "drawn"}, optional
        ``"imagenette"``: from the disk, else a download, else an error. ``"drawn"``: drawings.
        ``"auto"``: as ``"imagenette"``, but drawings in place of an error, with one line on
        standard error that says so.
    root : str or Path, optional
        The folder of Imagenette or its parent; see `find_imagenette`. One that is named but does
        not hold Imagenette is where a download goes.
    progress : bool, optional
        Whether to show progress bars; by default, if standard error is a terminal.

    Returns
    -------
    Source

    Raises
    ------
    FetchError, ArchiveError, FileNotFoundError
        If ``kind`` is ``"imagenette"`` and there is no way to get it.
    TypeError, ValueError
        If an argument does not fit.
    """
    wish = check_choice("choose_source", "kind", kind, KINDS)
    if wish == "drawn":
        return Source("drawn")
    try:
        return Source("imagenette", find_imagenette(root))
    except FileNotFoundError as error:
        absent = error
    try:
        if wish == "auto":
            probe()  # one quick question, so that a machine without a network does not wait
        return Source("imagenette", fetch(root, progress=progress))
    except (OSError, ArchiveError) as error:
        if wish == "imagenette":
            raise type(error)(f"{absent}. The download failed: {error}") from error
        reason = f"Imagenette is not on disk and cannot be downloaded: {error}"
    print(f"tinysmooth: {reason}. Using the drawn stand-in.", file=sys.stderr)
    return Source("drawn", reason=reason)


def load(
    source: Source | str = "auto",
    root: str | Path | None = None,
    size: int = 64,
    per_class: int | None = None,
    split: str = "train",
    noise: int = 0,
    *,
    seed: int = 0,
    progress: bool | None = None,
) -> Dataset:
    """Load one split of whatever images there are.

    A run that loads several splits makes its choice once, with `choose_source`, so that it cannot
    train on one kind and validate on another.

    Parameters
    ----------
    source : Source or {"auto", "imagenette", "drawn"}, optional
        What `choose_source` returned, or its argument ``kind``.
    root, size, per_class, split, noise, seed, progress
        As `load_imagenette` and `load_drawn` have them; ``per_class=None`` is all photographs, or
        947 drawings of each class for training and 393 for validation.

    Returns
    -------
    Dataset
        Its ``is_stand_in`` and ``description`` say what was loaded.

    Raises
    ------
    FetchError, ArchiveError, FileNotFoundError, TypeError, ValueError
        As `choose_source` and the loaders.

    Examples
    --------
    >>> data = load("drawn", per_class=1, size=16)
    >>> data.is_stand_in, data.num_images
    (True, 10)
    """
    if not isinstance(source, Source):
        source = choose_source(source, root, progress=progress)
    if source.kind == "imagenette":
        return load_imagenette(
            source.root, size, per_class, split, noise, seed=seed, progress=progress
        )
    count = _ALL_DRAWN.get(split, 1) if per_class is None else per_class
    drawn = load_drawn(count, size, split, seed=seed, noise=noise)
    return drawn if not source.reason else replace(
        drawn, description=f"{drawn.description} ({source.reason})"
    )  # fmt: skip
