"""A small pool of threads for kernels that run without Python's global lock.

A parallel kernel is a *serial* kernel that is told which share of the work is its own::

    @jit
    def add_one(part, parts, values, out):
        for i in range(values.size * part // parts, values.size * (part + 1) // parts):
            out[i] = values[i] + 1

    run_parallel(add_one, values, out, work=values.size)

`run_parallel` calls ``kernel(part, parts, ...)`` once for each part: part 0 in the caller's thread,
the others in the pool, and returns when all are done. What this buys over Numba's ``prange``: a
kernel compiles as a serial one, nothing depends on a threading layer, a forked process works, and
the bits of a result depend on the number of threads alone, never on timing.

Who waits for whom::

    caller   --wake--+---- part 0 ----+--waits--+--> returns, or raises what a part raised
    worker 1         +------- part 1 -----done--+

Waking a worker and waiting for it are one lock each (a futex on Linux): 10 to 20 microseconds
together, and some 60 in a virtual machine that has put its idle CPU to sleep. Hence a kernel with
less than `SMALLEST_PART` of work for a part runs in fewer parts.
"""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["get_num_threads", "plan_parts", "run_parallel", "set_num_threads"]

SMALLEST_PART = 60_000
"""Work that repays waking a thread, in nanoseconds of one core: what waking costs at worst."""

_num_threads: int | None = None


def _cpus() -> int:
    """Return the number of CPUs that this process may use, not that the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _at_least_1(function: str, name: str, number: int) -> int:
    if number < 1:
        raise ValueError(f"{function}: {name} is {number}; expected an integer of at least 1")
    return number


def get_num_threads() -> int:
    """Return the number of threads that kernels use.

    Returns
    -------
    int
        What `set_num_threads` set; else the environment's ``TINYSMOOTH_NUM_THREADS``; else the
        number of CPUs that this process may use.

    Raises
    ------
    ValueError
        If ``TINYSMOOTH_NUM_THREADS`` is not an integer of at least 1.
    """
    global _num_threads
    if _num_threads is None:
        name = "TINYSMOOTH_NUM_THREADS"
        wish = os.environ.get(name, "").strip()
        if not wish:
            _num_threads = _cpus()
        elif wish.isdecimal():
            _num_threads = _at_least_1("get_num_threads", name, int(wish))
        else:
            raise ValueError(
                f"get_num_threads: {name} is {wish!r}; expected an integer of at least 1"
            )
    return _num_threads


def set_num_threads(n: int) -> None:
    """Set the number of threads that kernels use, for the whole process.

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
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n is {n!r}; expected an integer of at least 1")
    _num_threads = _at_least_1("set_num_threads", "n", operator.index(n))


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


class _Task:
    """One call of `run_parallel`: the kernel, its arguments and the first error of a worker."""

    def __init__(self, kernel: Callable[..., Any], parts: int, args: tuple[Any, ...]) -> None:
        self.kernel, self.parts, self.args = kernel, parts, args
        self.error: BaseException | None = None


class _Worker:
    """A thread that sleeps until it is woken with a task and its part."""

    def __init__(self, number: int) -> None:
        self.wake, self.done = threading.Lock(), threading.Lock()
        self.wake.acquire()
        self.done.acquire()
        self.task: _Task | None = None
        self.part = 0
        name = f"tinysmooth-{number}"
        threading.Thread(target=self._loop, name=name, daemon=True).start()

    def _loop(self) -> None:
        while True:
            self.wake.acquire()
            task = self.task
            assert task is not None
            try:
                task.kernel(self.part, task.parts, *task.args)
            except BaseException as error:  # carried to the caller, which raises it
                task.error = error
            # A sleeping worker must not keep the arrays of its last task alive.
            self.task = task = None
            self.done.release()

    def start(self, task: _Task, part: int) -> None:
        """Let the worker run one part."""
        self.task, self.part = task, part
        self.wake.release()

    def wait(self) -> BaseException | None:
        """Wait for the part to end, through interrupts: it writes to the caller's arrays.

        Returns the interrupt, if there was one.
        """
        interrupt: BaseException | None = None
        while True:
            try:
                self.done.acquire()
                return interrupt
            except BaseException as error:  # KeyboardInterrupt, or whatever a signal handler raises
                interrupt = error


class _Pool:
    """The workers, made when they are first needed, used by one caller at a time."""

    def __init__(self) -> None:
        self.in_use = threading.Lock()
        self.workers: list[_Worker] = []

    def run(self, task: _Task) -> None:
        """Run all parts of a task; return when the last has ended."""
        while len(self.workers) < task.parts - 1:
            self.workers.append(_Worker(len(self.workers) + 1))
        helpers = self.workers[: task.parts - 1]
        started = 0
        error: BaseException | None = None
        try:
            for part, worker in enumerate(helpers, start=1):
                worker.start(task, part)
                started = part
            task.kernel(0, task.parts, *task.args)
        except BaseException as raised:
            error = raised
        for worker in helpers[:started]:
            error = worker.wait() or error
        error = error or task.error
        if error is not None:
            raise error


_pool = _Pool()


def _forget_pool() -> None:
    """Make a new pool in a forked child: threads do not survive a fork, and a lock may be held."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run_parallel(
    kernel: Callable[..., Any], *args: Any, work: float = 0.0, parts: int | None = None
) -> None:
    """Run ``kernel(part, parts, *args)`` for each part, in as many threads.

    Parameters
    ----------
    kernel : callable
        Does its share of the work and returns nothing. Two parts must not write to the same place.
    *args
        Passed to the kernel as they are.
    work : float
        Cost of the whole in nanoseconds of one core; `plan_parts` makes the number of parts of it.
    parts : int, optional
        The number of parts, for a caller that has laid out a workspace for each; `work` is then
        not looked at.

    Raises
    ------
    BaseException
        Whatever a part raised, after all parts have ended.

    Notes
    -----
    When the pool is busy with another Python thread's call, this call runs its parts one after
    the other in its own thread: the same partition, hence the same bits, and no waiting.
    """
    if parts is None:
        parts = plan_parts(work)
    if parts == 1:
        kernel(0, 1, *args)
        return
    pool = _pool
    if not pool.in_use.acquire(blocking=False):
        for part in range(parts):
            kernel(part, parts, *args)
        return
    try:
        pool.run(_Task(kernel, parts, args))
    finally:
        pool.in_use.release()
