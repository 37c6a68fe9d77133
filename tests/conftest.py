"""What all tests share."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # helpers such as gradient_cases
os.environ["TINYSMOOTH_OFFLINE"] = "1"  # no test may download anything

collect_ignore_glob = ["frozen/*.py"]  # scripts that made the frozen numbers; they need PyTorch


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    """Commands that a test runs in this process set the number of threads for all of it."""
    from tinysmooth.kernels import thread_count

    before = thread_count._num_threads
    yield
    thread_count._num_threads = before


@pytest.fixture
def kernels_run(monkeypatch):
    """The names of the prepared kernels that run."""
    from tinysmooth.kernels.prepared import Prepared

    names, run = [], Prepared.run

    def spy(call, *args):
        names.append(call.kernel.name)
        run(call, *args)

    monkeypatch.setattr(Prepared, "run", spy)
    return names
