"""How many threads kernels use, and into how many parts they cut their work.

The last digits of a result depend on that number, as sums are taken part by part. So there are two
settings: one for the process, and one for what a single thread computes inside a `use_threads`. A
training run computes with the number that its folder remembers, whatever other runs of the same
process have begun or ended meanwhile.
"""

from __future__ import annotations

import contextlib
import operator
import os
import threading
from collections.abc import Iterator

__all__ = ["get_num_threads", "plan_parts", "set_num_threads", "usable_cpus", "use_threads"]

SMALLEST_PART = 15_000
"""Work that repays a hand-over, in nanoseconds of one core: three times what that costs."""

_num_threads: int | None = None


class _Own(threading.local):
    number: int | None = None


_own = _Own()


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use, not that the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _at_least_1(function: str, name: str, number: int) -> int:
    if number < 1:
        raise ValueError(f"{function}: {name} is {number}; expected an integer of at least 1")
    return number


def _check(function: str, n: int) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"{function}: n is {n!r}; expected an integer of at least 1")
    return _at_least_1(function, "n", operator.index(n))


def get_num_threads() -> int:
    """Return the number of threads that kernels use.

    Returns
    -------
    int
        Inside a `use_threads` of the calling thread, its number; else what `set_num_threads` set;
        else the environment's ``TINYSMOOTH_NUM_THREADS``; else the number of CPUs that this
        process may use.

    Raises
    ------
    ValueError
        If ``TINYSMOOTH_NUM_THREADS`` is not an integer of at least 1.
    """
    global _num_threads
    if _own.number is not None:
        return _own.number
    if _num_threads is None:
        name = "TINYSMOOTH_NUM_THREADS"
        wish = os.environ.get(name, "").strip()
        if not wish:
            _num_threads = usable_cpus()
        elif wish.isdecimal():
            _num_threads = _at_least_1("get_num_threads", name, int(wish))
        else:
            raise ValueError(
                f"get_num_threads: {name} is {wish!r}; expected an integer of at least 1"
            )
    return _num_threads


def set_num_threads(n: int) -> None:
    """Set the number of threads that kernels use, for the whole process.

    A training run keeps the number that it began with.

    Parameters
    ----------
    n : int
        At least 1. More than the CPUs makes nothing faster.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is less than 1.
    """
    global _num_threads
    _num_threads = _check("set_num_threads", n)


@contextlib.contextmanager
def use_threads(n: int) -> Iterator[None]:
    """Set the number of threads for what the calling thread computes in the ``with``.

    Other threads of the process, and what they set meanwhile, change nothing here. In a generator
    it would count for who goes through it, too.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        As `set_num_threads`.
    """
    before, _own.number = _own.number, _check("use_threads", n)
    try:
        yield
    finally:
        _own.number = before


def plan_parts(work: float, limit: int | None = None) -> int:
    """Return the number of parts that this much work is worth.

    Parameters
    ----------
    work : float
        Rough cost of the whole in nanoseconds of one core. It decides only whether waking threads
        pays, so a factor of two does not matter; it must depend on shapes alone.
    limit : int, optional
        The most parts the work can be cut into.

    Returns
    -------
    int
        Between 1 and `get_num_threads`.
    """
    parts = min(get_num_threads(), int(work // SMALLEST_PART))
    return max(1, parts if limit is None else min(parts, limit))
