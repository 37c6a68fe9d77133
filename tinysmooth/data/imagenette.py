"""Imagenette from the disk: ten classes of ImageNet that are easy to tell apart.

Source: Jeremy Howard, fast.ai, https://github.com/fastai/imagenette. ImageNet's terms allow
research and education.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinysmooth.checks import check_int
from tinysmooth.data.cache import decoded
from tinysmooth.data.classes import CLASS_NAMES, NUM_CLASSES
from tinysmooth.data.dataset import Dataset
from tinysmooth.data.decode import report_faults
from tinysmooth.data.layout import find_imagenette, list_split, read_noisy_labels
from tinysmooth.data.options import check_noise, check_split

__all__ = ["load_imagenette"]


def load_imagenette(
    root: str | Path | None = None,
    size: int = 64,
    per_class: int | None = None,
    split: str = "train",
    noise: int = 0,
    *,
    seed: int = 0,
    progress: bool | None = None,
) -> Dataset:
    """Load Imagenette from the disk; see `tinysmooth.data.fetch` for how it gets there.

    Images are brought to ``size`` by their shorter side and cropped to the middle square. The
    decoded images are kept in the user's cache. Files that cannot be read are named in one
    `DataWarning` and left out.

    Parameters
    ----------
    root : str or Path, optional
        The folder with ``train`` and ``val``, or its parent. By default ``$TINYSMOOTH_DATA``, then
        ``data`` in the working folder, then the user's data folder.
    size : int, optional
        Pixels along each side, at least 8.
    per_class : int, optional
        So many images of each class, picked at random; all of them by default. A larger pick with
        the same seed contains the smaller one.
    split : {"train", "val"}, optional
        Which part.
    noise : {0, 1, 5, 25, 50}, optional
        Percentage of wrong training labels, from fast.ai's list. Picks go by the true class, so
        they hold the same images at each level. Validation labels are always clean.
    seed : int, optional
        Decides the pick; not negative.
    progress : bool, optional
        Whether to show a progress bar; by default, if standard error is a terminal.

    Returns
    -------
    Dataset
        Unpacks as ``images, targets``: uint8 (N, 3, size, size) and int64 (N,), ordered by class
        and file name.

    Raises
    ------
    FileNotFoundError
        If Imagenette is not there; the message says what was expected and what was found.
    ValueError
        If an argument does not fit, a class has fewer images than asked for, or more than one
        file in twenty cannot be read.
    TypeError
        If an argument has the wrong type.
    """
    where = "load_imagenette"
    side = check_int(where, "size", size, minimum=8)
    count = None if per_class is None else check_int(where, "per_class", per_class, minimum=1)
    part = check_split(where, split)
    percent = check_noise(where, noise) if part == "train" else check_noise(where, noise) * 0
    number = check_int(where, "seed", seed, minimum=0)
    folder = find_imagenette(root)

    listing = list_split(folder, part)
    if not listing.names:
        raise ValueError(
            f"{where}: {folder / part} holds no images; expected some in each of its "
            f"{NUM_CLASSES} folders. Fetch the archive again"
        )
    images, faults = decoded(listing, side, progress)
    report_faults(
        where,
        {listing.names[row]: fault for row, fault in faults.items()},
        len(listing.names),
        folder,
    )
    readable = np.ones(len(listing.names), dtype=bool)
    readable[list(faults)] = False
    rows = _pick(listing.targets, readable, count, number, f"{where}: {folder / part}")
    clean = listing.targets[rows]
    if percent:
        targets = read_noisy_labels(folder, percent, [listing.names[row] for row in rows])
    else:
        targets = clean
    return Dataset(
        images=np.ascontiguousarray(images[rows]).transpose(0, 3, 1, 2),
        targets=targets,
        clean_targets=clean,
        source="imagenette",
        split=part,
        noise=percent,
        description=f"Imagenette, {len(rows):,} photographs of {part} from {folder}"
        + (f", {percent} % of the labels wrong" if percent else ""),
    )


def _pick(
    targets: np.ndarray[tuple[int], np.dtype[np.int64]],
    readable: np.ndarray[tuple[int], np.dtype[np.bool_]],
    per_class: int | None,
    seed: int,
    where: str,
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the rows to load, in order: ``per_class`` of each class, or all."""
    if per_class is None:
        return np.flatnonzero(readable)
    chosen = []
    for label in range(NUM_CLASSES):
        members = np.flatnonzero((targets == label) & readable)
        if len(members) < per_class:
            raise ValueError(
                f"{where}: per_class is {per_class}, but {CLASS_NAMES[label]!r} has only "
                f"{len(members)} images; expected at most that many"
            )
        # Permuted whole, then cut: the first hundred of two hundred are the first hundred.
        order = np.random.default_rng((seed, label)).permutation(len(members))
        chosen.append(members[order[:per_class]])
    return np.sort(np.concatenate(chosen))
