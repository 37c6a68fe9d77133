"""Keeping threads that are woken off the CPU of the one that wakes them.

Linux wakes a thread where it ran last, or where its waker runs; in virtual machines it often does
not look for an idle CPU beside them. After a pause, in which the threads of a program may have
moved, worker and caller then share a CPU while another idles, and each spins away the other's time,
until the scheduler evens it out: for 50 milliseconds a training step of LeNet took four times as
long. So a worker is told, before it is woken, to run on any CPU but the caller's. That holds until
it is told again; a caller that meanwhile moves to the worker's CPU tells it as soon as it has
waited for it in vain.

Elsewhere than on Linux no CPU is known, and nothing is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable

__all__ = ["allowed_cpus", "keep_to", "this_cpu"]


def _find() -> Callable[[], int]:
    if sys.platform.startswith("linux") and hasattr(os, "sched_setaffinity"):
        # Without letting go of Python's lock: the answer takes less time than that.
        with contextlib.suppress(OSError, AttributeError):  # another C library
            found: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
            return found
    return lambda: -1


this_cpu: Callable[[], int] = _find()
"""Return the number of the CPU that the caller runs on; -1 where that is not to be known."""


def allowed_cpus() -> frozenset[int]:
    """Return the CPUs that the caller may run on; none where they are not to be known."""
    if this_cpu() >= 0:
        with contextlib.suppress(OSError):
            return frozenset(os.sched_getaffinity(0))
    return frozenset()


def keep_to(thread: int, cpus: frozenset[int]) -> None:
    """Let a thread run on these CPUs only; where the system refuses it, nothing is done.

    Parameters
    ----------
    thread : int
        Its number in the system.
    cpus : frozenset of int
        Of `allowed_cpus`.
    """
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, cpus)
