"""Keeping a thread that is woken off the CPU of the one that wakes it.

Linux wakes a thread where it ran last, or where its waker runs; in virtual machines it often does
not look for an idle CPU beside them. After a pause, in which the threads of a program may have
moved, worker and caller then share a CPU while another idles, and each spins away the other's time,
until the scheduler evens it out: 50 milliseconds, in which LeNet's training step took 14 instead
of 3. So a worker is told, before it is woken, to run on any CPU but the caller's.

Elsewhere than on Linux nothing is done.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

__all__ = ["keep_off", "this_cpu"]


def _find() -> Callable[[], int]:
    if sys.platform.startswith("linux") and hasattr(os, "sched_setaffinity"):
        try:
            # Without letting go of Python's lock: the answer takes less time than that.
            found: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
            return found
        except (OSError, AttributeError):  # another C library
            pass
    return lambda: -1


this_cpu: Callable[[], int] = _find()
"""Return the number of the CPU that the caller runs on; -1 where that is not to be known."""


def keep_off(thread: int, cpu: int) -> None:
    """Let a thread run on all CPUs that the caller may use but one, if there is another.

    Parameters
    ----------
    thread : int
        Its number in the system.
    cpu : int
        As `this_cpu` gives it. With -1 nothing is done.

    Notes
    -----
    Where the system refuses it, as to a thread that has ended, nothing is done either.
    """
    if cpu < 0:
        return
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(thread, allowed - {cpu} or allowed)
    except OSError:
        pass
