"""Where compiled kernels are kept between two runs, and who may write there.

Numba's own cache (``cache=True``) has three traps: an edited helper in another file leaves its
callers stale, cache files next to the source outlive an uninstall, and a source folder that cannot
be written raises at import. One folder in the *user's* cache, named after everything the machine
code depends on, has none of them::

    <user cache>/tinysmooth/<digest>/        digest = hash of the source of this package, and the
                                             versions of Python, Numba, LLVM and NumPy, the CPU,
                                             and Numba's settings in the environment

An edited source file gives another digest, hence an empty folder. Folders that nobody used for a
month are deleted when a new one is made. ``TINYSMOOTH_CACHE`` names another place, or ``off``.

Processes that start together share the folder: whoever misses a function first takes the lock of
that function, compiles and saves; the others wait and then load. This saves their time, keeps
Numba's index of the function, which is read, changed and written back, from being changed by two
processes at once, and lets two processes compile different functions side by side.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding as llvm
from numba.core import config
from numba.core.caching import FunctionCache

from tinysmooth.kernels.linking import steps_before_loading
from tinysmooth.kernels.seal import SealedFiles

DAYS_UNUSED_BEFORE_DELETION = 30
LONGEST_WAIT_FOR_ANOTHER_PROCESS = 120.0  # seconds; afterwards this process compiles for itself

SETTINGS = ("OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT")
"""Numba's settings (``NUMBA_OPT`` and so on) that its own cache does not tell apart."""


def cpu_description() -> tuple[str, str]:
    """Return the name and the features of the CPU that Numba generates code for.

    Returns
    -------
    tuple of str
        ``("znver5", "+avx512f,...")``; the environment's ``NUMBA_CPU_NAME`` and
        ``NUMBA_CPU_FEATURES`` are honoured.
    """
    name = config.CPU_NAME
    if name is None:
        name = llvm.get_host_cpu_name()
    features = config.CPU_FEATURES
    if features is None:
        try:
            features = llvm.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM does not know this machine
            features = ""
    return name, features


def _source_digest() -> str:
    """Hash the source of this package and the versions that machine code depends on."""
    digest = hashlib.sha256()
    here = Path(__file__).resolve().parent
    for path in sorted(here.rglob("*.py")):
        digest.update(path.relative_to(here).as_posix().encode())
        digest.update(path.read_bytes())
    versions = (numba.__version__, llvmlite.__version__, np.__version__)
    facts = (sys.implementation.cache_tag, platform.machine(), *versions, *cpu_description())
    settings = [str(getattr(config, name, None)) for name in SETTINGS]
    digest.update(repr((*facts, *settings)).encode())
    return digest.hexdigest()[:20]


def _user_cache() -> Path:
    """Return the folder in which this user's programs keep what can be made again."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and must be ignored.
    return Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache"


def _delete_unused(parent: Path, keep: Path) -> None:
    """Delete the folders of other versions that no process has used for a month."""
    oldest = time.time() - DAYS_UNUSED_BEFORE_DELETION * 86400
    for folder in parent.iterdir():
        # The marker shows that the folder is ours: `parent` may be a place the user chose.
        marker = folder / "last-used"
        try:
            if folder != keep and marker.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder of the compiled kernels, made if need be.

    Returns
    -------
    pathlib.Path or None
        None where the cache is switched off (``TINYSMOOTH_CACHE=off``), or where nothing can be
        written: kernels are then compiled by every process.
    """
    chosen = os.environ.get("TINYSMOOTH_CACHE", "")
    if chosen.lower() in ("off", "0", "none"):
        return None
    try:
        parent = Path(chosen).expanduser() if chosen else _user_cache() / "tinysmooth"
        folder = parent.resolve() / _source_digest()
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        (folder / "last-used").touch()
        if is_new:
            _delete_unused(folder.parent, keep=folder)
    except (OSError, RuntimeError):  # RuntimeError: Path.home() found no home
        return None
    return folder


class _MachineLocks:
    """Locks between processes, one for each function, each held through an open file.

    A function is compiled while its caller is: the locks of this process form a stack. Every
    process takes them in the order of the calls, callers first, so no two wait for each other.
    The operating system releases a lock when its process ends, however that ends. Where files
    cannot be locked, or another process holds a lock for too long, work goes on without it: each
    save is still one atomic rename.
    """

    def __init__(self) -> None:
        self.held: list[tuple[Path, IO[bytes] | None]] = []

    def acquire(self, path: Path) -> None:
        """Wait for the lock with this name, unless this process has it already."""
        file = None
        try:
            if all(path != held or file is None for held, file in self.held):
                file = open(path, "ab")
        except OSError:
            pass
        self.held.append((path, file))
        give_up = time.monotonic() + LONGEST_WAIT_FOR_ANOTHER_PROCESS
        while file and not _try_to_lock(file) and time.monotonic() < give_up:
            time.sleep(0.02)

    def release(self, path: Path) -> None:
        """Release a lock, and those taken after it, whose compilations have failed."""
        places = [place for place, (held, _) in enumerate(self.held) if held == path]
        if places:
            self._release_from(places[-1])

    def reset(self) -> None:
        """Release everything, after a compilation that failed."""
        self._release_from(0)

    def _release_from(self, place: int) -> None:
        while len(self.held) > place:
            _, file = self.held.pop()
            if file is not None:
                file.close()  # unlocks it


def _try_to_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except PermissionError:  # what Windows says when another process holds it
        return sys.platform != "win32"
    except (OSError, ImportError):  # a file system without locks
        return True
    return True


machine_locks = _MachineLocks()


class SharedCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function, safe when several processes find it empty at once.

    Numba calls `load_overload`, compiles on a miss, then calls `save_overload`, all under its own
    lock between threads; the lock between processes is held from the miss to the save.
    """

    def __init__(self, function: Any, folder: Path) -> None:
        name = f"{function.__module__}.{function.__qualname__}"
        self.lock = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"
        before = config.CACHE_DIR
        try:
            # Read by the constructor only: other code's caches must not move to our folder.
            config.CACHE_DIR = str(folder)
            super().__init__(function)
        finally:
            config.CACHE_DIR = before
        self._cache_file = SealedFiles(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load machine code; on a miss, wait for others who may be compiling it, and look again."""
        found = super().load_overload(sig, target_context)
        if found is None:
            machine_locks.acquire(self.lock)
            try:
                found = super().load_overload(sig, target_context)
            finally:
                if found is not None:
                    machine_locks.release(self.lock)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save machine code; a full disk or a vanished folder costs the cache, not the run."""
        try:
            data.reload_init.extend(steps_before_loading(data))
            super().save_overload(sig, data)
        except OSError:
            pass
        finally:
            machine_locks.release(self.lock)
