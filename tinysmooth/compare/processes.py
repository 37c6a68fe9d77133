"""Worker processes of this machine that stop when they are told to, and never stay behind."""

from __future__ import annotations

import _thread
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from multiprocessing.synchronize import Event
from typing import Any

__all__ = ["open_processes"]


@contextlib.contextmanager
def open_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes, which end when this one does, however it ends.

    Ctrl-C, or any other error inside the context, stops every call as Ctrl-C would in this process:
    a training saves what it has between two steps. A second Ctrl-C does not wait for that, and a
    third one for nothing.

    Parameters
    ----------
    count : int
        How many processes.

    Yields
    ------
    ProcessPoolExecutor
    """
    # Spawned, not forked: threads of the kernels do not survive a fork.
    context = multiprocessing.get_context("spawn")
    stop, hurry = context.Event(), context.Event()
    others = set(multiprocessing.active_children())
    pool = _Pool(count, context, initializer=_begin, initargs=(stop, hurry))
    try:
        yield pool
    except BaseException:
        stop.set()
        raise
    finally:
        try:
            wait(pool.calls)
        except KeyboardInterrupt:
            stop.set()
            hurry.set()
            try:
                wait(pool.calls)
            except KeyboardInterrupt:
                for worker in set(multiprocessing.active_children()) - others:
                    worker.terminate()  # the checkpoints are whole
            raise
        finally:
            # Short now. Ctrl-C in it would make Python forget a thread that still has work to do.
            with _deaf():
                pool.shutdown()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Put Ctrl-C off until the end, where the system can do that; so do processes begun here."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Pool(ProcessPoolExecutor):
    """Processes that hear of Ctrl-C from this one only, where the system can do that.

    The terminal would tell them all, idle ones and those that are still importing too, and they
    would die with a traceback each, or be told twice.
    """

    calls: tuple[Future[Any], ...] = ()
    """Those that are not done, and some that are."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand over a call, for which a worker may be started."""
        with _deaf():
            future = super().submit(_stoppable, fn, *args, **kwargs)
        self.calls = (*(call for call in self.calls if not call.done()), future)
        return future


_stop: Event | None = None
"""In a worker: whether it has been told to stop."""


def _begin(stop: Event, hurry: Event) -> None:
    """Prepare a worker, which is idle: it hears nothing, and ends when its parent is gone.

    Otherwise it would train on unseen after a SIGKILL of the parent, and be in the way of the
    comparison when that goes on.
    """
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    def interrupt() -> None:
        for told in (stop, hurry):
            told.wait()
            _thread.interrupt_main()

    for watch in (end_with_parent, interrupt):
        threading.Thread(target=watch, name=watch.__name__, daemon=True).start()


def _stoppable(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a call in a worker so that being told to stop is Ctrl-C for it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if _stop is not None and _stop.is_set():
            raise KeyboardInterrupt
        return work(*args, **kwargs)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
