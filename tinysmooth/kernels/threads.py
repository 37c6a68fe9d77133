"""A small team of threads for kernels that run without Python's global lock.

A parallel kernel is a *serial* kernel that is told which share of the work is its own::

    @jit
    def add_one(part, parts, values, out):
        here = slice(values.size * part // parts, values.size * (part + 1) // parts)
        values, out = values[here], out[here]
        for i in range(values.size):
            out[i] = values[i] + 1

    run_parallel(add_one, values, out, work=values.size)

`run_parallel` calls ``kernel(part, parts, ...)`` once for each part: part 0 in the caller's thread,
the others in those of the team, and returns when all are done. What this buys over Numba's
``prange``: a kernel compiles as a serial one, nothing depends on a threading layer, a forked
process works, and the bits of a result depend on the number of threads alone, never on timing.

Workers and caller meet in compiled code (`tinysmooth.kernels.handover`), which costs one to three
microseconds. For that a worker must be awake: after each task it watches its box for `PATIENCE`,
because in a network one kernel follows the other closely, and only then goes to sleep. Waking it
takes 10 to 60 microseconds::

    caller   --post--[wake]--+---- part 0 ----+--waits--+--> returns
    worker 1   serve ........+------- part 1 -----done--+-- serve ... sleep

How many threads there are, and how much work is worth one: `tinysmooth.kernels.thread_count`.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinysmooth.kernels import handover
from tinysmooth.kernels.calls import Code
from tinysmooth.kernels.jit import ENABLED, Kernel
from tinysmooth.kernels.placement import allowed_cpus, keep_to, this_cpu
from tinysmooth.kernels.thread_count import plan_parts, usable_cpus

__all__ = ["run_parallel", "run_prepared"]

PATIENCE = 400e-6
"""Seconds that a worker watches its box. Python needs 30 to 100 microseconds between two kernels of
a training step, and 300 after one that has filled the caches; a worker that has fallen asleep by
then costs as much again to wake. More would take the CPU from other libraries for longer."""

LONGEST_SPIN = 5
"""Patience of the caller, in units of `PATIENCE`, for workers that were awake."""

NAP = 50e-6
"""Seconds that the caller sleeps between two looks at workers that take longer."""

MOST_WORKERS = 255
"""Further parts run in the caller's thread."""


class _Worker:
    """A thread that serves a box, and sleeps while nothing is posted there.

    It is asleep to begin with: one whose start was interrupted, so that nobody knows it, is never
    woken and serves no box that another serves, too.
    """

    def __init__(self, number: int, box: np.ndarray, rounds: int) -> None:
        self.box, self.rounds = box, rounds
        self.sleeping = True  # or about to; only the thread itself changes it later
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._cpus: frozenset[int] = frozenset()  # that it keeps to, if it was told any
        name = f"tinysmooth-{number}"
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while True:
            # Looked at after `sleeping` was set: who posts later than this look finds it set.
            if self.box[handover.POSTED] == self.box[handover.DONE]:
                self._calls.get()
            self.sleeping = False
            handover.serve.wrapped(self.box, self.rounds)
            self.sleeping = True

    def wake(self) -> None:
        """Wake the thread if it sleeps; an interrupt may come at any line.

        To call again mends it, and a call too many only makes the thread look once more.
        """
        if self.sleeping and self._calls.empty():
            self._calls.put(None)

    def keep_to(self, cpus: frozenset[int]) -> None:
        """Let the thread run on these CPUs only."""
        thread = self._thread.native_id
        if cpus != self._cpus and thread is not None:
            keep_to(thread, cpus)
            self._cpus = cpus

    def failures(self, task: int) -> int:
        """Return 1 if the worker's part of a task failed, else 0."""
        return int(self.box[handover.DONE] == task and self.box[handover.FAILED] != 0)

    def _is_at_work(self, task: int) -> bool:
        """Tell whether a posted task is not done yet; if it is, its results can be seen."""
        return bool(handover.spin.wrapped(self.box, handover.DONE, task, 1))

    def wait(self, task: int) -> None:
        """Wait until a task is done, if it was posted; an interrupt may come at any line."""
        while self.box[handover.POSTED] == task and self._is_at_work(task):
            self.wake()  # if it fell asleep, or an interrupt came, before it was woken
            time.sleep(NAP)


class _Team:
    """The workers, made when they are first needed, used by one caller at a time."""

    def __init__(self) -> None:
        self.in_use = threading.Lock()
        self.workers: list[_Worker] = []
        self.boxes = handover.boxes_for(MOST_WORKERS)
        self.tasks = 0
        self.patience = self.short = self.long = 0
        self.run_task = handover.run.wrapped

    def run(self, code: Code, numbers: np.ndarray, parts: int) -> int:
        """Run all parts of a kernel; return how many failed, or raise what interrupted, at the end.

        Workers write to the caller's arrays, so nothing may leave before. Python raises interrupts
        wherever a call begins or ends: all calls are inside the `try`.
        """
        helpers = self._helpers(min(parts - 1, MOST_WORKERS))
        self.tasks += 1
        task = (code.entry, code.address, numbers, parts, self.boxes[: len(helpers)], self.tasks)
        failed, error = 0, None
        unsettled = 1  # this call's own part, at first
        while unsettled:
            try:
                if error is None:
                    failed, unsettled = self._hand_over(helpers, task)
                if unsettled:
                    failed += self._settle(helpers)
                    unsettled = 0
            except BaseException as raised:
                error = raised
        if error is not None:
            raise error
        return failed

    def _hand_over(self, helpers: list[_Worker], task: tuple[Any, ...]) -> tuple[int, int]:
        """Post a task, do the caller's part; see `handover.run`."""
        rounds = self.long
        if any(worker.sleeping for worker in helpers):
            # Posted first: a worker that woke before would find nothing and sleep again.
            handover.post.wrapped(*task)
            self._place(helpers)
            for worker in helpers:
                worker.wake()
            # It may wait for this very CPU: then spinning would keep it from working.
            rounds = self.short
        return self.run_task(*task, rounds)

    def _place(self, helpers: list[_Worker]) -> None:
        """Leave the caller's CPU to the caller, as far as workers can have CPUs of their own."""
        if allowed := allowed_cpus():
            others = allowed - {this_cpu()}
            for number, worker in enumerate(helpers):
                worker.keep_to(others if number < len(others) else allowed)

    def _settle(self, helpers: list[_Worker]) -> int:
        """Wait for the workers; return how many of their parts failed.

        Among them, rarely, is one that fell asleep while the task was posted.
        """
        self._place(helpers)
        for worker in helpers:
            worker.wait(self.tasks)
        return sum(worker.failures(self.tasks) for worker in helpers)

    def _helpers(self, count: int) -> list[_Worker]:
        """Return so many workers; make those that are missing, as far as that is possible."""
        if not self.patience:
            self.patience, self.short = (handover.rounds_in(s) for s in (PATIENCE, NAP))
            self.long = LONGEST_SPIN * self.patience
        while len(self.workers) < count:
            number = len(self.workers) + 1
            # A thread without a CPU of its own would keep another from working.
            rounds = self.patience if number < usable_cpus() else 1
            try:
                self.workers.append(_Worker(number, self.boxes[number - 1], rounds))
            except RuntimeError:  # the system gives no more threads: the caller does their parts
                break
        return self.workers[:count]


_team: _Team | None = None
_making = threading.Lock()


def _the_team() -> _Team:
    global _team
    with _making:
        _team = _team or _Team()
        return _team


def _forget_team() -> None:
    """Start anew in a forked child: threads do not survive a fork, and a lock may be held."""
    global _team, _making
    _team, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)

_NO_BOXES = np.zeros((0, 2 * handover.LINE), np.int64)


def run_parallel(
    kernel: Callable[..., Any], *args: Any, work: float = 0.0, parts: int | None = None
) -> None:
    """Run ``kernel(part, parts, *args)`` for each part, in as many threads.

    Parameters
    ----------
    kernel : Kernel
        Does its share of the work and returns nothing. Two parts must not write to the same place.
        A plain Python function is accepted too, and runs its parts one after the other.
    *args
        Passed to the kernel as they are.
    work : float
        Cost of the whole in nanoseconds of one core; `plan_parts` makes the number of parts of it.
    parts : int, optional
        The number of parts, for a caller that has laid out a workspace for each; `work` is then
        not looked at.

    Raises
    ------
    RuntimeError
        If a part failed in compiled code.
    BaseException
        Whatever interrupted the caller, after all parts have ended.

    Notes
    -----
    When the workers are busy with another Python thread's call, this call runs its parts one after
    the other in its own thread: the same partition, hence the same bits, and no waiting.
    """
    if parts is None:
        parts = plan_parts(work)
    if not ENABLED or not isinstance(kernel, Kernel):
        for part in range(parts):
            kernel(part, parts, *args)
        return
    code, numbers, _kept_alive = kernel.prepare(args, parallel=True)
    run_prepared(kernel, code, numbers, parts)


def run_prepared(kernel: Kernel, code: Code, numbers: np.ndarray, parts: int) -> None:
    """Run all parts of a kernel whose arguments are written out, as `run_parallel` does."""
    team = _team or _the_team()
    if parts == 1 or not team.in_use.acquire(blocking=False):
        failed, _ = team.run_task(code.entry, code.address, numbers, parts, _NO_BOXES, 0, 0)
    else:
        try:
            failed = team.run(code, numbers, parts)
        finally:
            team.in_use.release()
    if failed:
        raise RuntimeError(f"{kernel.name}: {failed} of its parts failed in compiled code")
