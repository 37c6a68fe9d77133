"""Decoded images, kept as ``.npy`` in the user's cache, so that they are decoded once.

One file for each folder, split and size, with a small ``.json`` beside it::

    <cache>/images/train-64px-<folder>-<fingerprint>.npy     uint8 (N, size, size, 3)
    <cache>/images/train-64px-<folder>-<fingerprint>.json    unreadable files, CRC-32 of all

The *fingerprint* is a hash of the names, sizes and times of all files of the split, so a changed
source has another name and is decoded anew. The CRC tells a damaged file from a whole one. Both
files are written under other names and renamed when complete: a process that is killed leaves
nothing that could be mistaken for a cache, and two processes that write at once write the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinysmooth.data.decode import DECODER, decode_files
from tinysmooth.data.layout import Listing
from tinysmooth.data.places import cache_folder

__all__ = ["decoded"]

Array = np.ndarray[Any, Any]

_TEMPORARY = ".writing-"


def decoded(
    listing: Listing, size: int, progress: bool | None = None
) -> tuple[Array, dict[int, str]]:
    """Return all images of a split at ``size`` pixels, from the cache if it has them.

    Parameters
    ----------
    listing : Listing
        The files.
    size : int
        Pixels along each side.
    progress : bool, optional
        Whether to show a progress bar while decoding.

    Returns
    -------
    images : ndarray of uint8, shape (N, size, size, 3)
        Perhaps mapped from the disk, and read-only then: take what is needed, and let it go.
    faults : dict of int to str
        What is wrong with the files that cannot be read, by row.
    """

    def decode(out: Array) -> dict[int, str]:
        paths = [listing.root / name for name in listing.names]
        label = f"decoding {listing.split} at {size} px"
        return decode_files(paths, out, progress=progress, label=label)

    shape = (len(listing.names), size, size, 3)
    folder = cache_folder()
    if folder is not None:
        try:
            path = folder / f"{_prefix(listing, size)}-{_fingerprint(listing, size)}.npy"
            found = _load(path, shape)
            return found if found is not None else _store(path, shape, decode)
        except OSError as error:
            print(
                f"tinysmooth: decoded images are not kept: {folder} cannot be written "
                f"({error.strerror or error})",
                file=sys.stderr,
            )
    images = np.empty(shape, np.uint8)
    return images, decode(images)


def _prefix(listing: Listing, size: int) -> str:
    place = hashlib.sha256(os.fsencode(listing.root.resolve())).hexdigest()[:8]
    return f"{listing.split}-{size}px-{place}"


def _fingerprint(listing: Listing, size: int) -> str:
    digest = hashlib.sha256(f"{DECODER} {size}\n".encode())
    for facts in zip(listing.names, listing.sizes, listing.times, strict=True):
        digest.update(repr(facts).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _crc(images: Array, faults: dict[int, str]) -> int:
    """CRC-32 of all there is to know, a block at a time: a mapped file need not fit into memory."""
    flat, crc = images.reshape(-1), zlib.crc32(json.dumps(sorted(faults.items())).encode())
    for start in range(0, flat.size, 1 << 24):
        crc = zlib.crc32(flat[start : start + (1 << 24)].data, crc)
    return crc


def _load(path: Path, shape: tuple[int, ...]) -> tuple[Array, dict[int, str]] | None:
    """Return the cached images, or None if there are none or they are damaged."""
    note = path.with_suffix(".json")
    if not (path.is_file() and note.is_file()):
        return None
    header = _header(shape)
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
        faults = {int(row): str(fault) for row, fault in facts["faults"].items()}
        with open(path, "rb") as file:
            whole = file.read(len(header)) == header
        if whole and path.stat().st_size == len(header) + math.prod(shape):
            images = np.memmap(path, np.uint8, "r", len(header), shape)
            if _crc(images, faults) == facts["crc32"]:
                return images, faults
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    print(f"tinysmooth: {path} is damaged; decoding the images again", file=sys.stderr)
    return None


def _store(
    path: Path, shape: tuple[int, ...], decode: Callable[[Array], dict[int, str]]
) -> tuple[Array, dict[int, str]]:
    """Decode into a new file of the cache; return the images as they can be read from there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as file:
        header = _header(shape)
        file.write(header)
        file.flush()
        # Claim the room now: writing to a mapped file on a full disk would kill the process.
        _reserve(file, len(header) + math.prod(shape))
        images = np.memmap(file, np.uint8, "r+", len(header), shape)
        faults = decode(images)
        images.flush()
        facts = {"crc32": _crc(images, faults), "faults": faults}
        del images
    with _replacing(path.with_suffix(".json")) as file:
        file.write(json.dumps(facts).encode())
    _prune(path)
    return np.memmap(path, np.uint8, "r", len(header), shape), faults


def _prune(path: Path) -> None:
    """Delete the cache of earlier states of the same source, and what killed processes left."""
    for old in path.parent.glob(f"{path.name.rsplit('-', 1)[0]}-*"):
        if old.stem != path.stem and old.suffix in (".npy", ".json"):
            with suppress(OSError):
                old.unlink()
    for old in path.parent.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > 86_400:
                old.unlink()


def _header(shape: tuple[int, ...]) -> bytes:
    """Return what an ``.npy`` file of pixels with this shape begins with."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


def _reserve(file: IO[bytes], size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the name ``path`` if the block ends well."""
    handle, name = tempfile.mkstemp(prefix=_TEMPORARY, suffix=path.suffix, dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
