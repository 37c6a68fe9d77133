"""Compiling on a second CPU what a training step will need later.

On a new machine the first training step compiles some seventy functions, one after the other: Numba
compiles in one thread at a time. A second *process* has a compiler of its own. So a process that
finds the cache cold starts one at its first convolution, or before a training reads its images. It
goes through a small training step, mostly from its far end (`tinysmooth.rehearsal`), while this
process goes on from the near end. Both save to the same cache and wait for what the other is
compiling just then, and they meet in the middle. The helper ends by itself, once and for all: it
leaves a mark in the cache folder.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

from tinysmooth.kernels.cache import cache_folder
from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.thread_count import usable_cpus

__all__ = ["compile_ahead", "is_rehearsed", "mark_as_done", "wait_for_helper"]

_MARK = "rehearsed"
_ROOT = Path(__file__).resolve().parents[2]

_waiting: list[threading.Thread] = []  # for the helper
_starting = threading.Lock()
_rehearsed = False


@functools.cache
def compile_ahead() -> None:
    """Start the helper if the cache is cold; once a process, and only where it can be of use."""
    with _starting:  # several threads may come here first
        if not _waiting:
            _start_helper()


def _start_helper() -> None:
    folder = cache_folder() if ENABLED else None
    if folder is None or (folder / _MARK).exists() or not sys.executable:
        return
    # The helper rehearses with one thread of kernels: with one CPU it would only be in the way.
    if usable_cpus() < 2 or "TINYSMOOTH_REHEARSAL" in os.environ:
        return
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "TINYSMOOTH_REHEARSAL": "1",
        "TINYSMOOTH_NUM_THREADS": "1",
    }
    command = [sys.executable, "-P", "-m", "tinysmooth.rehearsal"]
    quiet = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    # A thread waits for it, so that nobody else has to.
    arguments = (command, environment, quiet)
    thread = threading.Thread(target=_run, args=arguments, name="tinysmooth-ahead", daemon=True)
    thread.start()
    _waiting.append(thread)


def wait_for_helper() -> None:
    """Wait until this process's helper has ended, if there is one: it takes a CPU from others."""
    with _starting:
        threads = list(_waiting)
    for thread in threads:
        thread.join()


def _run(command: list[str], environment: dict[str, str], quiet: dict[str, int]) -> None:
    try:
        subprocess.run(command, env=environment, check=False, **quiet)  # type: ignore[call-overload]
    except OSError:  # no process to be had: everything is compiled here
        pass


def is_rehearsed() -> bool:
    """Tell whether a helper has ended on this machine, or none has anything to save to."""
    global _rehearsed
    if not _rehearsed:
        folder = cache_folder()
        _rehearsed = folder is None or (folder / _MARK).exists()
    return _rehearsed


def mark_as_done() -> None:
    """Leave the mark that nothing is left to compile."""
    folder = cache_folder()
    if folder is not None:
        (folder / _MARK).touch()
