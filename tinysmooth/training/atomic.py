"""Writing a file so that a crash at any moment leaves the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

__all__ = ["remove_leftovers", "write_atomically"]

_SUFFIX = ".tinysmooth-tmp"


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the file at ``path`` by ``content`` in one step.

    The bytes go to a temporary file in the same folder, are forced to the disk (``fsync``), and
    only then take the name (``os.replace``, atomic within a file system); the folder is synced
    too, so that the new name survives a power cut. A symbolic link stays a link.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If the folder is missing, or ``path`` is a folder.
    OSError
        If ``path`` is a device, pipe or socket, which stays; or if writing fails (disk full, no
        permission): the previous file is whole, and the message says so.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"write: path is {str(path)!r}, a folder; expected a file name")
    if target.exists() and not target.is_file():
        raise OSError(
            errno.EINVAL,
            f"write: path is {str(path)!r}, a device, pipe or socket; expected the name of a file",
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"write: path is {str(path)!r}, whose folder {str(target.parent)!r} does not exist; "
            "expected an existing folder. Create it first"
        )
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_SUFFIX}")
    had_previous = target.exists()
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        kept = (
            "; the previous file is whole and unchanged"
            if had_previous
            else "; nothing was written under that name"
        )
        reason = error.strerror or str(error)
        raise type(error)(
            error.errno, f"write: {str(path)!r} could not be written ({reason}){kept}"
        ) from error
    finally:
        # After a success the name is gone already; after any failure, Ctrl-C included, tidy up.
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete temporary files that a killed process left in ``folder``."""
    for leftover in Path(folder).glob(f".*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def _sync_folder(folder: Path) -> None:
    """Force the folder's list of names to the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no handle for a folder
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse
            os.fsync(handle)
    finally:
        os.close(handle)
