"""Files of the kernel cache with a seal: machine code is never run from a damaged one."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile

_SIZE = hashlib.sha256().digest_size


class SealedFiles(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's index and data files of one function, each with the SHA-256 of its content in front.

    Numba would unpickle whatever is there and run it. A file whose content does not fit is named
    in a line and counts as missing: it is compiled again and replaced.
    """

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        buffer = io.BytesIO()
        yield buffer
        content = buffer.getvalue()
        with super()._open_for_write(filepath) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_index(self) -> dict[Any, str]:
        try:
            file = io.BytesIO(_read(self._index_path))
        except OSError:
            return {}
        if pickle.load(file) != self._version:
            return {}
        stamp, overloads = pickle.load(file)
        return overloads if stamp == self._source_stamp else {}

    def _load_data(self, name: str) -> Any:
        return pickle.loads(_read(self._data_path(name)))


def _read(path: str) -> bytes:
    """Return the content of a sealed file; an OSError, which Numba takes for a miss, if damaged."""
    whole = Path(path).read_bytes()
    content = whole[_SIZE:]
    if hashlib.sha256(content).digest() != whole[:_SIZE]:
        _tell(path)
        raise OSError(f"{path} is damaged")
    return content


@functools.cache  # a miss is looked up twice, before and after waiting for other processes
def _tell(path: str) -> None:
    print(f"tinysmooth: the kernel cache file {path} is damaged; compiling again", file=sys.stderr)
