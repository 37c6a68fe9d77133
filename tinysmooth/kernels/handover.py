"""Handing parts of a kernel to threads that are awake, without Python in between.

Two Python threads cannot start a kernel at the same moment: each needs Python's global lock to read
its arguments, and a thread that waits for the lock goes to sleep. Waking it takes 10 microseconds,
or 50 where an idle CPU of a virtual machine has to be started first, and a small convolution is
done by then. So the threads meet in compiled code, which does not hold the lock::

    caller     run: post --+-- part 0 -----------+-- spin until done --> return
    worker     spin -------+-- serve: part 1 ----+-- done, spin until the next is posted

*Spinning* is reading one number again and again: it sees a change within a fraction of a
microsecond, and keeps a CPU from everybody else. So both sides give up after a while and leave the
waiting to `tinysmooth.kernels.threads`, which knows how to sleep.

**Memory order.** What is posted must be visible before the number that says so. `_publish` stores
with "release": all that this thread wrote before is visible to whoever sees the number. `spin`
loads with "acquire": nothing it reads later is older. Plain loads and stores promise neither.

The caller's kernel and the worker's are called through an entry (`tinysmooth.kernels.calls`), with
the arguments as numbers in memory that the caller keeps until all is done.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinysmooth.kernels.calls import ENTRY_TYPE
from tinysmooth.kernels.jit import jit
from tinysmooth.kernels.vectors import element

__all__ = [
    "DONE",
    "FAILED",
    "LINE",
    "POSTED",
    "boxes_for",
    "post",
    "rounds_in",
    "run",
    "serve",
    "spin",
]

# A worker's box, in int64. Numbers that two threads write lie on cache lines of their own.
LINE = 8
POSTED, ENTRY, ADDRESS, NUMBERS, PART, PARTS = range(6)  # the caller writes these
DONE, FAILED = LINE, LINE + 1  # and the worker these

_X86 = binding.get_process_triple().startswith(("x86_64", "i386", "i686"))
_TRIAL = 2_000
_TRIALS = 4


# ------------------------------------------------------------------ intrinsics


@intrinsic
def _load_acquire(context: Any, box: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(element(context, builder, box, args[0], args[1]), "acquire", 8)

    return types.int64(box, types.intp), generate


@intrinsic
def _publish(context: Any, box: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = element(context, builder, box, args[0], args[1])
        builder.store_atomic(args[2], place, "release", 8)
        return context.get_dummy_value()

    return types.void(box, types.intp, types.int64), generate


@intrinsic
def _relax(context: Any) -> Any:
    """Tell the CPU that this is a waiting loop: it saves power and leaves the loop faster."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if _X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _enter(context: Any, entry: Any, numbers: Any, address: Any, part: Any, parts: Any) -> Any:
    """Call an entry: ``_enter(entry, numbers, address, part, parts)``; 0 if all went well."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function = builder.inttoptr(args[0], ENTRY_TYPE.as_pointer())
        memory = builder.inttoptr(args[1], ENTRY_TYPE.args[0])
        return builder.call(function, [memory, *args[2:]])

    return types.int64(*[types.int64] * 5), generate


# ------------------------------------------------------------------ kernels


@jit(wrapper=True)
def spin(box: np.ndarray, index: int, value: int, rounds: int) -> bool:
    """Wait while ``box[index]`` is `value`, for so many rounds at most; tell whether it changed."""
    for _ in range(rounds):
        if _load_acquire(box, index) != value:
            return True
        _relax()
    return False


@jit(wrapper=True)
def serve(box: np.ndarray, rounds: int) -> None:
    """Do what is posted in a worker's box, until nothing new comes for a while."""
    done = box[DONE]
    while spin(box, POSTED, done, rounds):
        done = box[POSTED]
        box[FAILED] = _enter(box[ENTRY], box[NUMBERS], box[ADDRESS], box[PART], box[PARTS])
        _publish(box, DONE, done)


@jit(wrapper=True)
def post(
    entry: int, address: int, numbers: np.ndarray, parts: int, boxes: np.ndarray, task: int
) -> None:
    """Post parts 1, 2, ... of a kernel in as many boxes; to do so twice changes nothing.

    The arguments are those of `run`.
    """
    for worker in range(boxes.shape[0]):
        box = boxes[worker]
        box[ENTRY], box[ADDRESS], box[NUMBERS] = entry, address, numbers.ctypes.data
        box[PART], box[PARTS] = worker + 1, parts
        _publish(box, POSTED, task)


@jit(wrapper=True)
def run(
    entry: int,
    address: int,
    numbers: np.ndarray,
    parts: int,
    boxes: np.ndarray,
    task: int,
    rounds: int,
) -> tuple[int, int]:
    """Post parts of a kernel, run the others, then spin, at most so long, for the workers.

    One call from Python does it all, because a call costs several microseconds when a kernel before
    has filled the caches.

    Parameters
    ----------
    entry, address : int
        Of the kernel.
    numbers : ndarray of int64
        Its arguments behind part and parts.
    parts : int
        Part 0 and the parts that have no worker are run here.
    boxes : ndarray of int64, (workers, 2 LINE)
    task : int
        Larger than that of any task before.
    rounds : int

    Returns
    -------
    failed : int
        Parts run here that failed.
    unsettled : int
        Workers that have not done their parts yet, or failed. What became of a worker's part is in
        its box as soon as `DONE` there is `task`.
    """
    memory, workers = numbers.ctypes.data, boxes.shape[0]
    post(entry, address, numbers, parts, boxes, task)
    failed = _enter(entry, memory, address, 0, parts)
    for part in range(workers + 1, parts):
        failed += _enter(entry, memory, address, part, parts)
    unsettled = 0
    for worker in range(workers):
        box = boxes[worker]
        done = _load_acquire(box, DONE)
        at_work = done != task and not spin(box, DONE, done, rounds)
        if at_work or box[FAILED] != 0:
            unsettled += 1
    return failed, unsettled


def rounds_in(seconds: float) -> int:
    """Return how many rounds of `spin` take this long.

    Processors differ tenfold in how long they relax, so a trial of some microseconds decides: the
    shortest of a few, because another process may take the CPU during one.
    """
    box = boxes_for(1)[0]
    spin.wrapped(box, POSTED, 0, 1)  # compiles or loads
    shortest = math.inf
    for _ in range(_TRIALS):
        started = time.perf_counter()
        spin.wrapped(box, POSTED, 0, _TRIAL)
        shortest = min(shortest, time.perf_counter() - started)
    return max(1, int(seconds / shortest * _TRIAL))


def boxes_for(workers: int) -> np.ndarray:
    """Return boxes for so many workers, each on cache lines of its own."""
    raw = np.zeros((2 * workers + 1) * LINE, np.int64)
    start = -raw.ctypes.data // 8 % LINE
    return raw[start : start + 2 * workers * LINE].reshape(workers, 2 * LINE)
