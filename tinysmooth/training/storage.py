"""Weights on disk: ``.npz`` files with a seal, never pickle.

A saved file is an ordinary uncompressed ``.npz`` that ``numpy.load`` reads. The zip format leaves
room for a comment at its end; ours holds the SHA-256 of every byte before it (the *seal*), so
that one flipped bit anywhere, or a missing tail, is found on loading. The same state gives the
same bytes: no clock enters the file.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinysmooth.checks import describe
from tinysmooth.training.atomic import write_atomically

__all__ = ["CorruptFileError", "load", "save"]

Array = np.ndarray[Any, Any]

_SEAL = b"tinysmooth sha256 "
_DIGEST_SIZE = 64  # hexadecimal digits of a SHA-256
_END_RECORD = b"PK\x05\x06"  # zip: end of central directory, 22 bytes and then the comment
_END_RECORD_SIZE = 22
_LARGE = 1 << 28  # bytes; what unpacks to less harms nobody
_MOST_GROWTH = 100  # beyond that a compressed file is a decompression bomb


class CorruptFileError(ValueError):
    """A file that was damaged after writing, or is not what its name says."""


def save(path: str | os.PathLike[str], state: Mapping[str, Array]) -> None:
    """Write a dictionary of arrays to an ``.npz`` file, atomically.

    Parameters
    ----------
    path : str or path
        Used exactly as given: no suffix is added.
    state : mapping of str to ndarray
        For example ``model.state_dict()``. Any numeric, boolean or text dtype; names must be
        non-empty and free of backslashes, NUL and a final ``.npy``, which a zip file or
        ``numpy.load`` would not give back unchanged. The name "file" is fine.

    Raises
    ------
    TypeError
        For a value that is not an array, or an array of Python objects (those need pickle).
    ValueError
        For a name that could not be read back.
    FileNotFoundError, IsADirectoryError, OSError
        If the file cannot be written; a previous file is then whole, and the message says so.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.npz"
    >>> save(path, {"weight": np.ones((2, 3), np.float32)})
    >>> load(path)["weight"].shape
    (2, 3)
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"save: state is {describe(state)}; expected a dictionary of NumPy arrays. "
            "For a model, pass model.state_dict()"
        )
    for name, value in state.items():
        _check_entry(name, value)
    write_atomically(path, _pack(state))


def load(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read the dictionary of arrays in an ``.npz`` file, checking every byte.

    Files that ``numpy.savez`` wrote are read too; they carry no seal, so only zip's own CRC-32
    of each array protects them.

    Parameters
    ----------
    path : str or path
        Used exactly as given.

    Returns
    -------
    dict of str to ndarray
        In the order in which they were saved, C-contiguous, dtypes kept.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    CorruptFileError
        If the file is damaged or truncated, is not an ``.npz`` at all, or holds pickled objects,
        which are never unpickled: they could run any code.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"load: path is {str(path)!r}, a folder; expected an .npz file")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"load: path is {str(path)!r}, which does not exist; expected an .npz file"
        ) from None
    return _unpack(content, str(path))


def _check_entry(name: object, value: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"save: state has the key {describe(name)}; expected a string")
    if not name or "\\" in name or "\0" in name or name.endswith(".npy"):
        raise ValueError(
            f"save: state has the key {name!r}; expected a non-empty name without backslash, "
            "NUL or a final '.npy'"
        )
    if not isinstance(value, np.ndarray | np.generic):
        fix = " Pass tensor.numpy()" if hasattr(value, "numpy") else ""
        raise TypeError(f"save: state[{name!r}] is {describe(value)}; expected a NumPy array.{fix}")
    if value.dtype.hasobject:
        raise TypeError(
            f"save: state[{name!r}] has dtype {value.dtype}; expected numbers, booleans or text. "
            "Python objects would need pickle"
        )


def _pack(state: Mapping[str, Array]) -> bytes:
    """Bytes of the sealed .npz file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, value in state.items():
            # A fixed date: the bytes depend on the state alone.
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as file:
                # (ascontiguousarray would turn a 0-d array into a 1-d one)
                array = np.asarray(value, order="C")
                np.lib.format.write_array(file, array, allow_pickle=False)
        archive.comment = _SEAL + b"0" * _DIGEST_SIZE
    packed = buffer.getbuffer()
    packed[-_DIGEST_SIZE:] = _digest(packed[:-_DIGEST_SIZE])
    return packed.tobytes()


def _unpack(content: bytes, name: str) -> dict[str, Array]:
    if not content.startswith((b"PK\x03\x04", _END_RECORD)):
        raise CorruptFileError(
            f"load: {name!r} is not an .npz file ({_first_bytes(content)}); expected a file "
            "written by tinysmooth.save or numpy.savez"
        )
    _check_seal(content, name)
    state: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_growth(archive, len(content), name)
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    array = _read_array(file, name, entry.filename)
                    file.read()  # to the end: zip checks the CRC-32 there
                state[entry.filename.removesuffix(".npy")] = array
    except CorruptFileError:
        raise
    except Exception as error:  # zipfile and NumPy raise half a dozen kinds on damage
        raise CorruptFileError(
            f"load: {name!r} is damaged ({error}); expected a whole .npz file. "
            "Use another copy or an earlier checkpoint"
        ) from error
    return state


def _check_growth(archive: zipfile.ZipFile, size: int, name: str) -> None:
    """Refuse a small compressed file that would fill the memory."""
    total = sum(entry.file_size for entry in archive.infolist())
    if total > max(_LARGE, _MOST_GROWTH * size):
        raise CorruptFileError(
            f"load: {name!r} has {size:,} bytes and would unpack to {total:,}; expected at most "
            f"{_MOST_GROWTH} times as many"
        )


def _read_array(file: Any, name: str, entry: str) -> Array:
    """Read one array; object arrays are refused before anything is unpickled."""
    if not entry.endswith(".npy"):
        raise CorruptFileError(
            f"load: {name!r} holds {entry!r}; expected arrays (.npy) only, as in an .npz file"
        )
    try:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise CorruptFileError(
            f"load: {name!r} holds pickled Python objects in {entry!r}; expected plain arrays. "
            "Pickle can run any code on loading and is never read here"
        ) from None
    return np.asarray(array, order="C")


def _check_seal(content: bytes, name: str) -> None:
    """Compare the SHA-256 in the zip comment with the bytes before it."""
    end = content.rfind(_END_RECORD)
    size = int.from_bytes(content[end + 20 : end + 22], "little")
    if end < 0 or end + _END_RECORD_SIZE + size != len(content):
        raise CorruptFileError(
            f"load: {name!r} is truncated or damaged at its end ({len(content)} bytes); "
            "expected a whole .npz file. Use another copy or an earlier checkpoint"
        )
    if size == 0:  # not ours: numpy.savez writes no comment
        return
    sealed = content[-size:].startswith(_SEAL) and size == len(_SEAL) + _DIGEST_SIZE
    if not sealed or content[-_DIGEST_SIZE:] != _digest(memoryview(content)[:-_DIGEST_SIZE]):
        raise CorruptFileError(
            f"load: {name!r} is damaged: its bytes do not fit the SHA-256 written with them; "
            "expected an unchanged file. Use another copy or an earlier checkpoint"
        )


def _digest(content: memoryview) -> bytes:
    return hashlib.sha256(content).hexdigest().encode("ascii")


def _first_bytes(content: bytes) -> str:
    return f"it begins with {content[:8]!r}" if content else "it is empty"
