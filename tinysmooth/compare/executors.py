"""Where the runs of a comparison take place."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from importlib.util import find_spec
from typing import Any

from tinysmooth.checks import check_int
from tinysmooth.training import OptionError

__all__ = ["EXECUTORS", "check_executor", "open_executor"]

EXECUTORS = ("serial", "process", "dask://HOST:PORT", "mpi")
"""What ``tinysmooth compare --executor`` takes."""

_NEEDS = {
    "dask": ("distributed", "pip install 'dask[distributed]'"),
    "mpi": ("mpi4py", "pip install mpi4py, and start with mpiexec -n N python -m mpi4py.futures"),
}


def check_executor(name: str) -> str:
    """Return ``name``; nothing is started, connected or imported.

    Raises
    ------
    OptionError
        For an unknown name, an address without a port, a package that is not installed.
    """
    kind = name.split("://")[0] if isinstance(name, str) else ""
    host, _, port = name.removeprefix("dask://").rpartition(":") if kind == "dask" else ("", "", "")
    complete = name in ("serial", "process", "mpi") or (
        name.startswith("dask://") and bool(host) and port.isdecimal()
    )
    if not complete:
        raise OptionError(
            "executor",
            f"compare: executor is {name!r}; expected one of {', '.join(EXECUTORS)}",
        )
    package, fix = _NEEDS.get(kind, ("", ""))
    if package and find_spec(package) is None:
        raise OptionError(
            "executor",
            f"compare: executor is {name!r}, but {package} is not installed; expected it beside "
            f"tinysmooth. Use {fix}",
        )
    return name


@contextlib.contextmanager
def open_executor(name: str, workers: int | None = None) -> Iterator[Executor | None]:
    """Open an executor by name; None for "serial", which is no executor.

    Parameters
    ----------
    name : str
        "serial"; "process": processes of this machine; "dask://HOST:PORT": the workers of a
        running Dask scheduler, which must see the same folders; "mpi": the ranks of a program
        that was started by ``mpiexec -n N python -m mpi4py.futures -m tinysmooth compare ...``.
    workers : int, optional
        Number of processes, for "process" only; by default the CPUs that this process may use.

    Raises
    ------
    OptionError
        As ``check_executor``.
    OSError
        If there is no scheduler at the address.
    """
    check_executor(name)
    if workers is not None:
        check_int("open_executor", "workers", workers, minimum=1)
    if name == "serial":
        yield None
    elif name == "process":
        # Spawned, not forked: threads of the kernels do not survive a fork.
        context = multiprocessing.get_context("spawn")
        count = workers or _usable_cpus()
        with ProcessPoolExecutor(max_workers=count, mp_context=context) as pool:
            yield pool
    elif name == "mpi":
        futures: Any = __import__("mpi4py.futures", fromlist=["MPIPoolExecutor"])
        with futures.MPIPoolExecutor() as pool:
            yield pool
    else:
        distributed: Any = __import__("distributed")
        address = name.replace("dask://", "tcp://")
        with distributed.Client(address, timeout=10) as client, client.get_executor() as pool:
            yield pool


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
