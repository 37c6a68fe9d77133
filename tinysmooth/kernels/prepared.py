"""Calls of kernels whose arguments are written out once for all calls of the same shapes.

`tinysmooth.kernels.calls` writes the arguments of a kernel out as numbers: for an array its size,
shape and strides, and where it begins. In a convolution of the same shapes, or a batch norm,
nothing of it changes but the places where arrays begin. So an operation prepares its calls once for
each shape, with stand-ins for the arrays to come, and then fills in addresses::

    0, 0, 864, 4, [weight], 864, 4,    32, 3, 9,    0, 0, 1024, 4, [floats], 1024, 4
    `---- 32 x 3 filters of 3x3 ----'  `-sizes-'    `---- where they are packed ----'

Before, a convolution spent 50 microseconds in Python, two thirds of what PyTorch takes for all of a
small layer; prepared it spends 25. The gradient of a BatchNorm, with what it then did in NumPy
between its sweeps, spent 110, now 40; in a training step, where kernels leave nothing of Python in
the processor's caches, two to three times as much.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from tinysmooth.kernels.calls import take_apart
from tinysmooth.kernels.jit import Kernel
from tinysmooth.kernels.memory import address_of
from tinysmooth.kernels.thread_count import use_threads
from tinysmooth.kernels.threads import run_prepared

__all__ = [
    "DOUBLE",
    "FLOAT",
    "INT",
    "NO_FLOATS",
    "PAGE",
    "REMEMBERED",
    "Calls",
    "Given",
    "Piece",
    "Prepared",
    "flat",
    "remembered",
]

FLOAT, DOUBLE, INT = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)

REMEMBERED = 256
"""Shapes for which an operation remembers its calls: to prepare them takes as long as a small
convolution."""

NO_FLOATS = np.empty(0, np.float32)
"""The workspace of a call that has none."""

PAGE = 1024
"""Numbers between the rows that two parts write again and again, of floats a page. A processor
fetches ahead to the end of one, and so takes lines from the other part. With the sums of filters
side by side, gradients took 1.03 to 1.5 of the time on an Intel processor."""

_ADDRESS = 4
"""Where the address is among the numbers of an array."""

LINE = 16
"""Floats in a cache line."""

_IN_ORDER = 0x0001 | 0x0100
"""NumPy's flags of an array whose rows follow each other, at an address that fits its type."""


P = ParamSpec("P")
R = TypeVar("R")


def remembered(plan: Callable[P, R]) -> Callable[P, R]:
    """Remember what a function plans for shapes and a number of threads, its last argument.

    So many threads there are while it plans, whatever another thread of Python sets meanwhile.
    """

    @functools.lru_cache(maxsize=REMEMBERED)
    @functools.wraps(plan)
    def remembering(*args: P.args, **kwargs: P.kwargs) -> R:
        with use_threads(args[-1]):  # type: ignore[arg-type]
            return plan(*args, **kwargs)

    return remembering  # type: ignore[return-value]


class Given(NamedTuple):
    """Stands for an array that is handed over at each call, whatever its own number of axes is."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any] = FLOAT


def flat(shape: tuple[int, ...]) -> Given:
    """Return what stands for an array of this shape, which the kernel sees as one row."""
    return Given((math.prod(shape),))


class Piece(NamedTuple):
    """Stands for a part of the workspace, from a float on: from 0, or where another stops."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any] = FLOAT

    @property
    def stop(self) -> int:
        """The next float at a multiple of a cache line."""
        return -(-self.end // LINE) * LINE

    @property
    def end(self) -> int:
        """The float behind it."""
        return self.start - (-math.prod(self.shape) * self.dtype.itemsize // FLOAT.itemsize)


class Prepared:
    """A kernel, its parts and its arguments, some of which are still to come.

    Parameters
    ----------
    kernel : Kernel
        As for `tinysmooth.kernels.threads.run_parallel`.
    parts : int
    *args
        Arguments as they are, and a `Given` or a `Piece` in the place of each array to come. Arrays
        among them are those of every call, which no call may write to.
    """

    def __init__(self, kernel: Kernel, parts: int, *args: Any) -> None:
        self.kernel, self.parts = kernel, parts
        self._kept = args
        self._least = max((arg.end for arg in args if isinstance(arg, Piece)), default=0)
        self._pieces: list[tuple[int, int]] = []  # where the address goes, bytes from the start
        self._given: list[tuple[int, np.dtype[Any], int]] = []  # that place, type and size
        key: list[Any] = []
        numbers: list[int] = []
        for arg in args:
            if isinstance(arg, Given | Piece):
                place = len(numbers) + _ADDRESS
                if isinstance(arg, Given):
                    self._given.append((place, arg.dtype, math.prod(arg.shape)))
                else:
                    self._pieces.append((place, arg.start * FLOAT.itemsize))
                key += (arg.dtype, len(arg.shape), "C")
                numbers += _describe(arg.shape, arg.dtype.itemsize)
            else:
                kinds, items, more = take_apart((arg,))
                self._kept += tuple(more)
                key += kinds
                numbers += items
        self._numbers = np.array(numbers, np.int64)
        self._code = kernel.code_for(tuple(key), parallel=True)

    def run(self, floats: np.ndarray, *arrays: np.ndarray) -> None:
        """Run all parts.

        Parameters
        ----------
        floats : ndarray of float32
            The workspace.
        *arrays
            In the order of the `Given`. One that does not lie in order, or at an odd address, is
            copied, which only an input may be.

        Raises
        ------
        TypeError
            If an array has another type or size than the call was prepared for.
        ValueError
            If there are more or fewer arrays, or the workspace is too small.
        RuntimeError
            If a part failed in compiled code.
        """
        if floats.size < self._least:
            raise ValueError(
                f"{self.kernel.name}: the workspace has {floats.size} floats; "
                f"expected at least {self._least}"
            )
        numbers, copies = self._numbers.copy(), []
        start = address_of(floats)
        for place, offset in self._pieces:
            numbers[place] = start + offset
        for (place, dtype, size), array in zip(self._given, arrays, strict=True):
            if array.dtype != dtype or array.size != size:
                raise TypeError(
                    f"{self.kernel.name}: an array has {array.size} numbers of {array.dtype}; "
                    f"expected {size} of {dtype}"
                )
            if array.flags.num & _IN_ORDER != _IN_ORDER:
                array = np.require(array, requirements=["C", "A"])
                copies.append(array)  # which must live until the call has ended
            numbers[place] = address_of(array)
        run_prepared(self.kernel, self._code, numbers, self.parts)
        del copies


class Calls(NamedTuple):
    """The calls of an operation, one after the other with the same workspace."""

    steps: tuple[Prepared, ...]
    floats: int  # of the workspace
    parts: int  # of the step that does most of the work


def _describe(shape: tuple[int, ...], itemsize: int) -> list[int]:
    """Return the numbers of an array whose address is not known yet."""
    strides = list(itertools.accumulate(reversed(shape), initial=itemsize, func=operator.mul))
    return [0, 0, math.prod(shape), itemsize, 0, *shape, *strides[-2::-1]]
