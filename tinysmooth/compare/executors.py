"""Where the runs of a comparison take place."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from importlib.util import find_spec
from typing import Any

from tinysmooth.checks import check_int
from tinysmooth.compare.processes import open_processes
from tinysmooth.kernels.thread_count import usable_cpus
from tinysmooth.training import OptionError

__all__ = ["EXECUTORS", "check_executor", "count_workers", "open_executor"]

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
        For an unknown name, an address without a port, a package that is not installed, or a
        start by mpiexec in which every rank would do the same.
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
    if name == "mpi" and _ranks_started() > 1 and "mpi4py.futures" not in sys.orig_argv:
        # Every rank would be a comparison of its own, all of them in one folder.
        raise OptionError(
            "executor",
            f"compare: executor is 'mpi' in one of {_ranks_started()} ranks that all do the same; "
            "expected a start by mpiexec -n N python -m mpi4py.futures -m tinysmooth compare ...",
        )
    return name


@contextlib.contextmanager
def open_executor(name: str, workers: int | None = None) -> Iterator[Executor | None]:
    """Open an executor by name; None for "serial", which is no executor.

    Parameters
    ----------
    name : str
        "serial"; "process": processes of this machine, which end when this one does, however it
        ends, and which Ctrl-C stops between two steps; "dask://HOST:PORT": the workers of a running
        Dask scheduler, which must see the same folders; "mpi": the ranks of a program that was
        started by ``mpiexec -n N python -m mpi4py.futures -m tinysmooth compare ...``.
    workers : int, optional
        Number of processes, for "process" only; by default the CPUs that this process may use.

    Yields
    ------
    concurrent.futures.Executor or None

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
        with open_processes(workers or usable_cpus()) as pool:
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


def count_workers(executor: Executor, otherwise: int) -> int:
    """Say how many calls a pool runs at once, or ``otherwise`` where it does not tell.

    A pool of processes takes some calls ahead, and can then not be kept from running them. Dask and
    MPI, which do not tell, know what has not begun.
    """
    count = getattr(executor, "_max_workers", None)
    return count if isinstance(count, int) and count > 0 else otherwise


def _ranks_started() -> int:
    """Count the ranks that mpiexec started, by what it leaves in the environment."""
    counts = (os.environ.get(name, "") for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"))
    return max(int(count) if count.isdecimal() else 1 for count in counts)
