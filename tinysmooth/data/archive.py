"""Unpacking a ``.tgz`` from elsewhere, so that nothing can go wrong outside one folder.

An archive is a list of instructions to write files, and it may come from a stranger or arrive
damaged. Three rules make it harmless:

- every member is looked at before anything of it is written: plain files and folders only, no
  links, no devices, no path that leaves the folder;
- the amount is bounded while it is read (a *decompression bomb* is a few kilobytes that unpack to
  terabytes);
- everything goes into a temporary folder beside the target, which takes the target's name at the
  very end. Whatever fails on the way, the target is untouched and the temporary folder is removed.

``tarfile``'s own ``filter="data"`` does part of the first rule, in some versions of Python.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

__all__ = ["ArchiveError", "Limits", "folder_name", "made", "unpack"]

_CHUNK = 1 << 20
# Bytes that tarfile reads at once.
_AHEAD = 1 << 16
_TEMPORARY = ".unpacking-"
# What reading a damaged archive raises; the last two come from headers that hold nonsense.
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, ValueError, LookupError)


class ArchiveError(ValueError):
    """The archive is damaged, or tries something that it has no business to do."""


@dataclass(frozen=True)
class Limits:
    """What an archive may contain at most; JPEG files hardly compress, so a little is plenty."""

    members: int = 100_000
    #: Bytes of one file.
    file_size: int = 256 << 20
    #: Bytes unpacked for each byte of the archive, beyond `allowance` bytes.
    ratio: float = 20.0
    allowance: int = 64 << 20
    #: Folders within folders, and letters in a path.
    depth: int = 8
    path_length: int = 240


def unpack(
    archive: Path,
    parent: Path,
    *,
    check: Callable[[Path], Path],
    limits: Limits | None = None,
    progress: bool | None = None,
) -> Path:
    """Unpack ``archive`` into a new folder of ``parent``, completely or not at all.

    Parameters
    ----------
    archive : Path
        A gzip-compressed tar file.
    parent : Path
        Where the new folder goes; made if need be.
    check : callable
        Given the temporary folder, returns the folder inside it that is wanted, or raises
        ``FileNotFoundError``.
    limits : Limits, optional
        What the archive may contain at most.
    progress : bool, optional
        Whether to show a progress bar; by default, if standard error is a terminal.

    Returns
    -------
    Path
        The new folder. If another process has just put it there, that one.

    Raises
    ------
    ArchiveError
        If the archive is damaged, too large, holds anything but plain files and folders inside
        one place, or does not hold what ``check`` looks for.
    FileNotFoundError
        If there is no such archive.
    OSError
        If the disk is full or ``parent`` cannot be written.
    """
    if not archive.is_file():
        raise FileNotFoundError(f"unpack: archive {archive} is not a file; expected a .tgz archive")
    with made(parent):
        remove_leftovers(parent, _TEMPORARY)
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=parent))
        try:
            _extract(archive, temporary, limits or Limits(), progress)
            try:
                wanted = check(temporary)
            except FileNotFoundError as error:
                message = str(error).replace(str(temporary), archive.name)
                raise ArchiveError(f"unpack: {archive} holds something else. {message}") from None
            name = wanted.name if wanted != temporary else folder_name(archive.name)
            return _put_in_place(wanted, parent / name, check)
        finally:
            # Also when interrupted: what is half done must not stay.
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make a folder to work in; after an error, remove what of its path is new and empty."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in new:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


def folder_name(archive_name: str) -> str:
    """Return the name of the folder that an archive without a top folder is unpacked to.

    It begins like those that Imagenette is looked for in, whatever the archive is called.

    >>> folder_name("imagenette2-160.tgz"), folder_name("flat.tar.gz")
    ('imagenette2-160', 'imagenette-flat')
    """
    name = archive_name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    return name if name.startswith("imagenette") else f"imagenette-{name}"


def _put_in_place(folder: Path, target: Path, check: Callable[[Path], Path]) -> Path:
    os.chmod(folder, 0o755)  # mkdtemp makes folders that only their owner may enter
    try:
        os.replace(folder, target)
    except OSError:
        try:
            check(target)
        except OSError:
            raise FileExistsError(
                f"unpack: {target} exists and is not what was to be put there; expected it to be "
                "absent. Move it away and try again"
            ) from None
    return target


def remove_leftovers(parent: Path, prefix: str) -> None:
    """Remove temporary folders of processes that were killed, once they are a day old."""
    for folder in parent.glob(f"{prefix}*"):
        try:
            if time.time() - folder.stat().st_mtime > 86_400:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


class _Bounded:
    """The unpacked stream; refuses to hand out more than ``most`` bytes."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, most: int, archive: Path) -> None:
        self._stream, self._most, self._archive = stream, most, archive
        self.position = 0
        #: What was handed out last; more than tarfile reads ahead.
        self.recent = b""

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes; always at most one chunk."""
        block = self._stream.read(min(size, _CHUNK))
        self.position += len(block)
        if self.position > self._most:
            raise ArchiveError(
                f"unpack: {self._archive} unpacks to more than {self._most:,} bytes from "
                f"{self._archive.stat().st_size:,}; expected photographs, which hardly compress"
            )
        self.recent = (self.recent + block)[-2 * _AHEAD :]
        return block


def _extract(archive: Path, folder: Path, limits: Limits, progress: bool | None) -> None:
    packed = archive.stat().st_size
    most = int(packed * limits.ratio) + limits.allowance
    bar = tqdm(
        total=packed,
        desc=f"unpacking {archive.name}",
        unit="B",
        unit_scale=True,
        disable=None if progress is None else not progress,
    )
    count = 0
    try:
        with open(archive, "rb") as file, gzip.GzipFile(fileobj=file) as unzipped, bar:
            stream = _Bounded(unzipped, most, archive)
            with tarfile.open(fileobj=stream, mode="r|", bufsize=_AHEAD) as tar:  # type: ignore[call-overload]
                for count, member in enumerate(tar, start=1):
                    if count > limits.members:
                        raise ArchiveError(
                            f"unpack: {archive} has more than {limits.members:,} members; "
                            "expected fewer"
                        )
                    _write(tar, member, folder, archive, limits)
                    bar.update(file.tell() - bar.n)
                end = tar.offset
            # tarfile stops without a word at a header that it cannot read, or where the members
            # just end: what follows the last one must be zeros, and there must be some.
            rest = stream.recent[end - stream.position + len(stream.recent) :]
            zeros = len(rest) >= tarfile.BLOCKSIZE and not rest.strip(b"\0")
            # gzip compares its checksum at the very end: read on to there.
            while block := stream.read(_CHUNK):
                zeros = zeros and not block.strip(b"\0")
            if not zeros:
                raise ArchiveError(
                    f"unpack: {archive} is damaged: something unreadable follows {count} members"
                )
    except ArchiveError:
        raise
    except _DAMAGED as error:
        raise ArchiveError(
            f"unpack: {archive} is damaged or truncated ({error}); expected a complete .tgz "
            "archive. Fetch it again"
        ) from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArchiveError(
            f"unpack: {archive} contradicts itself: {error.filename!r} is a file and a folder"
        ) from error


def _write(
    tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, archive: Path, limits: Limits
) -> None:
    target = folder.joinpath(*_safe_parts(member, archive, limits))
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    if content is None:
        raise ArchiveError(f"unpack: {archive} has the empty member {member.name!r}")
    # Owner, mode and times of the archive are not taken over.
    with open(target, "wb") as out:
        shutil.copyfileobj(content, out, _CHUNK)
    if target.stat().st_size != member.size:
        raise ArchiveError(f"unpack: {archive} is truncated inside {member.name!r}")


def _safe_parts(member: tarfile.TarInfo, archive: Path, limits: Limits) -> list[str]:
    """Return the parts of a member's path, or refuse the member."""

    def refuse(what: str) -> ArchiveError:
        name = member.name if len(member.name) <= 80 else member.name[:77] + "..."
        return ArchiveError(
            f"unpack: {archive} has the member {name!r}, {what}; expected plain files and "
            "folders inside one place. Nothing was unpacked"
        )

    if member.issym() or member.islnk():
        raise refuse(f"a link to {member.linkname!r}")
    if member.isdev():
        raise refuse("a device or pipe")
    if not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        raise refuse(f"of the special type {member.type!r}")
    if member.sparse is not None:
        raise refuse("a sparse file")
    if member.size > limits.file_size:
        raise refuse(f"of {member.size:,} bytes (at most {limits.file_size:,} are allowed)")
    name = member.name
    if name.startswith("/") or "\\" in name or ":" in name or "\0" in name:
        # Backslashes and colons make a path absolute on Windows.
        raise refuse("an absolute path or one with forbidden characters")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise refuse("a path that leads outside")
    if len(parts) > limits.depth or len(name) > limits.path_length:
        raise refuse("too deep or too long a path")
    if not parts and not member.isdir():
        raise refuse("a file without a name")
    return parts
