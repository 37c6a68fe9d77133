"""A pool of large aligned arrays, so that a steady training step touches no new memory.

A fresh large array costs more than its name: the system hands it over page by page, each page
zeroed at the first write. A training step asks for the same sizes again and again, so the pool
keeps the blocks that nobody uses any more and hands them out again.

Nobody frees by hand, and nothing that somebody still holds is ever overwritten::

    array  --base-->  lease  --holds-->  block of bytes
      ^                 |
    view, slice,        +-- dies with the last array that needs it, and only then
    transpose, ...          gives its block back to the pool

NumPy keeps the base of an array alive for as long as the array or any view of it lives, which is
exactly the condition under which the bytes may be written again.

What a kernel needs only while it runs is its `workspace`. All kernels take turns with one block,
whose bytes are still in the processor's cache; to fetch those of another free block from main
memory would take about a twentieth of a training step.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ALIGNMENT",
    "Statistics",
    "address_of",
    "empty",
    "empty_like",
    "release",
    "statistics",
    "workspace",
    "zeros",
]

DType = type[Any] | np.dtype[Any] | str

#: Bytes. One cache line, and one vector of sixteen float32: no vector load straddles two lines.
ALIGNMENT = 64

#: Arrays below this many bytes go to NumPy, whose own cache of small blocks is quicker.
SMALLEST_POOLED = 64 * 1024

#: The pool holds at most this multiple of the most bytes ever in use at once. More than one,
#: because the free blocks do not always have the sizes that the next step asks for.
KEEP_RATIO = 1.5

#: Sizes are rounded up to eight steps an octave: at most an eighth of a block is slack, and a
#: batch that is a little smaller than the last one finds a block.
STEPS_PER_OCTAVE = 8

#: A free block of one of the next larger sizes will do too, up to this many steps: an octave. A
#: wider search wastes a little of a block and saves a new one (measured on resnet9 at 64 x 3 x 64 x
#: 64: two steps kept 569 MiB free between steps, eight keep 479).
STEPS_TO_SEARCH = 8


@dataclass(frozen=True)
class Statistics:
    """What the pool has done since the start or the last `release`.

    Attributes
    ----------
    allocated : int
        Blocks requested from the system.
    reused : int
        Requests served by a block that an earlier array had left.
    in_use : int
        Bytes of the blocks that live arrays hold now, and of the workspace.
    peak : int
        The most bytes that were in use at once.
    kept : int
        Bytes of the free blocks that wait for the next request.
    """

    allocated: int
    reused: int
    in_use: int
    peak: int
    kept: int


class _Block(NamedTuple):
    """Aligned bytes, with what NumPy takes a microsecond to say of them."""

    data: NDArray[np.uint8]
    size: int
    address: int


class _Lends:
    """What every lease does: hold a block, and give it back to the pool when it dies."""

    __slots__ = ()
    _block: _Block
    _home: deque[_Block]

    def __del__(self) -> None:
        # A finaliser may run anywhere, even inside the pool's own locked code when the garbage
        # collector starts there. Appending to a deque is atomic and takes no lock.
        self._home.append(self._block)


@functools.lru_cache(maxsize=1024)
def _lease_type(size: int) -> Any:
    """Return the type of the leases of blocks of this size.

    NumPy makes an array on ctypes' array of bytes in a quarter of the time that it takes for an
    object with an ``__array_interface__``.
    """
    return type("_Lease", (_Lends, _BYTE * size), {"__slots__": ("_block", "_home")})


class _Pool:
    """Free blocks by size, and the count of those lent out."""

    def __init__(self) -> None:
        self.returned: deque[_Block] = deque()
        self.workspaces: deque[_Block] = deque()  # those of no running kernel; the last used last
        self._lock = threading.Lock()
        self._free: dict[int, list[_Block]] = {}
        self._last_use: dict[int, int] = {}  # of each size, in blocks returned so far
        self._turn = 0
        self._allocated = self._reused = self._in_use = self._peak = self._kept = 0

    def lend(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int, workspace: bool = False
    ) -> NDArray[Any]:
        """Return an uninitialised array on a block of this pool."""
        size = _round_up(nbytes)
        with self._lock:
            block = self._take_workspace(size) if workspace else None
            if block is None:
                if self.returned:
                    self._collect()
                block = self._take_free(size)
                if block is not None:
                    self._count_in(block)
        if block is None:
            block = self._allocate(size)
            with self._lock:
                self._count_in(block)
        lease = _lease_type(block.size).from_address(block.address)
        lease._block, lease._home = block, self.workspaces if workspace else self.returned
        return np.ndarray(shape, dtype, lease)

    def release(self) -> None:
        """Give every free block back and start counting anew."""
        with self._lock:
            self._forget()
            self._allocated, self._reused, self._peak = 0, 0, self._in_use

    def statistics(self) -> Statistics:
        with self._lock:
            self._collect()
            return Statistics(self._allocated, self._reused, self._in_use, self._peak, self._kept)

    def renew_lock(self) -> None:
        """Replace the lock in a forked child, where its holder may no longer exist."""
        self._lock = threading.Lock()

    def _count_in(self, block: _Block) -> None:
        """Note that a block is in use. Needs the lock."""
        self._in_use += block.size
        if self._in_use > self._peak:
            self._peak = self._in_use

    def _collect(self) -> None:
        """Move returned blocks to the free ones and stay within the bound. Needs the lock."""
        while self.returned:
            block = self.returned.popleft()
            size = block.size
            self._in_use -= size
            self._kept += size
            self._turn += 1
            self._last_use[size] = self._turn
            self._free.setdefault(size, []).append(block)
        while self._kept and self._kept + self._in_use > KEEP_RATIO * self._peak:
            oldest = min(self._free, key=self._last_use.__getitem__)
            self._kept -= self._free[oldest].pop().size
            if not self._free[oldest]:
                del self._free[oldest]

    def _forget(self) -> None:
        """Give every free block back to the system. Needs the lock."""
        self._take_workspace(math.inf)
        self._collect()
        self._free.clear()
        self._kept = 0

    def _take_workspace(self, size: float) -> _Block | None:
        """Return the workspace used last; those too small become ordinary. Needs the lock."""
        while self.workspaces:
            block = self.workspaces.pop()
            if block.size >= size:
                return block
            self.returned.append(block)
        return None

    def _take_free(self, size: int) -> _Block | None:
        """Return a free block of at least ``size`` bytes, or None. Needs the lock."""
        for _ in range(1 + STEPS_TO_SEARCH):
            blocks = self._free.get(size)
            if blocks:
                block = blocks.pop()
                if not blocks:
                    del self._free[size]
                self._kept -= size
                self._reused += 1
                self._last_use[size] = self._turn
                return block
            size = _round_up(size + 1)
        return None

    def _allocate(self, size: int) -> _Block:
        """Get a new aligned block from the system; give the free ones back if it has no more."""
        try:
            block = _aligned_bytes(size)
        except MemoryError:
            with self._lock:
                self._forget()
            block = _aligned_bytes(size)
        with self._lock:
            self._allocated += 1
        return block


def empty(shape: int | Sequence[int], dtype: DType = np.float32) -> NDArray[Any]:
    """Return an uninitialised C-contiguous array whose data starts on a 64-byte boundary.

    Parameters
    ----------
    shape : int or sequence of int
        As in `numpy.empty`.
    dtype : dtype
        Any. Large arrays of a boolean, integer, real or complex type come from the pool.

    Returns
    -------
    numpy.ndarray
        Yours for as long as you hold it or any view of it.

    Examples
    --------
    >>> a = empty((64, 32, 32, 3), np.float32)
    >>> a.shape, a.ctypes.data % 64
    ((64, 32, 32, 3), 0)
    """
    whole = shape if type(shape) is tuple else _as_tuple(shape)
    dims, kind, nbytes = _layout(whole, dtype)  # type: ignore[arg-type]  # dtypes are hashable
    if nbytes is None:
        return np.empty(dims, kind)  # objects need NumPy's care, and negative sizes its error
    if nbytes < SMALLEST_POOLED:
        raw = np.empty(nbytes + ALIGNMENT, np.uint8)
        return np.ndarray(dims, kind, raw, -address_of(raw) % ALIGNMENT)
    return _POOL.lend(dims, kind, nbytes)


def zeros(shape: int | Sequence[int], dtype: DType = np.float32) -> NDArray[Any]:
    """Return an array as `empty` does, filled with zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def empty_like(array: NDArray[Any]) -> NDArray[Any]:
    """Return an uninitialised array with the shape, dtype and order of axes of another.

    The axes follow each other in memory as they do in ``array``: that of a channels-last image
    is channels-last again.
    """
    if array.flags.c_contiguous:
        return empty(array.shape, array.dtype)
    outermost_first = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    block = empty([array.shape[axis] for axis in outermost_first], array.dtype)
    return block.transpose(sorted(range(array.ndim), key=outermost_first.__getitem__))


def workspace(floats: int) -> NDArray[np.float32]:
    """Return room for so many float32, uninitialised, needed only until a kernel has ended.

    Hold it no longer: the next kernel wants the same block. While it is held, others get another.
    """
    return _POOL.lend((floats,), _FLOAT32, 4 * floats, workspace=True)


def release() -> None:
    """Give every block that no array uses back to the system; live arrays are untouched."""
    _POOL.release()


def statistics() -> Statistics:
    """Return the counts of the pool, for tests and for the curious."""
    return _POOL.statistics()


def address_of(array: NDArray[Any]) -> int:
    """Return where the data of an array begin: `array.ctypes.data`, in a fifth of the time."""
    return _ADDRESS(id(array) + _HEAD).value


def _as_tuple(shape: int | Sequence[int]) -> tuple[int, ...]:
    return tuple(shape) if isinstance(shape, Sequence) else (shape,)


@functools.lru_cache(maxsize=1024)
def _layout(
    shape: tuple[int, ...], dtype: DType
) -> tuple[tuple[int, ...], np.dtype[Any], int | None]:
    """Return shape and dtype as NumPy has them, and the bytes, or None for what NumPy must make."""
    dims, kind = tuple(map(int, shape)), np.dtype(dtype)
    if kind.kind not in "biufc" or min(dims, default=0) < 0:
        return dims, kind, None
    return dims, kind, kind.itemsize * math.prod(dims)


@functools.lru_cache(maxsize=1024)
def _round_up(nbytes: int) -> int:
    """Round up to the next size class, for instance to 8, 9, ..., 15, 16, 18, 20, ... times 2^k."""
    step = max(ALIGNMENT, 1 << max((nbytes - 1).bit_length() - STEPS_PER_OCTAVE.bit_length(), 0))
    return -(-nbytes // step) * step


def _aligned_bytes(size: int) -> _Block:
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -address_of(raw) % ALIGNMENT
    return _Block(raw[start : start + size], size, address_of(raw) + start)


_BYTE, _FLOAT32 = ctypes.c_char, np.dtype(np.float32)
# NumPy's C interface fixes the fields of an array object: behind the head that every Python object
# has comes the address of the data.
_HEAD = object.__basicsize__
_ADDRESS = ctypes.c_size_t.from_address
_POOL = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.renew_lock)
