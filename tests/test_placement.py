"""Where woken threads run: off the caller's CPU, and nobody else is moved."""

import os
import threading
import time

import numpy as np
import pytest

from tinysmooth.kernels import jit, placement, thread_count, threads

placeable = pytest.mark.skipif(placement.this_cpu() < 0, reason="the system does not tell CPUs")


@pytest.fixture
def sleeper():
    """The number of a thread that waits."""
    event = threading.Event()
    thread = threading.Thread(target=event.wait, daemon=True)
    thread.start()
    yield thread.native_id
    event.set()
    thread.join()


@placeable
def test_the_cpu_is_one_of_those_allowed():
    assert placement.this_cpu() in os.sched_getaffinity(0)


@placeable
def test_a_thread_keeps_to_what_it_is_told_and_the_caller_to_nothing(sleeper):
    allowed = os.sched_getaffinity(0)
    assert placement.allowed_cpus() == allowed
    for cpus in ({min(allowed)}, {max(allowed)}, allowed):
        placement.keep_to(sleeper, frozenset(cpus))
        assert os.sched_getaffinity(sleeper) == cpus
    placement.keep_to(2**22 + 1, frozenset(allowed))  # there is no such thread
    assert os.sched_getaffinity(0) == allowed


def test_where_no_cpu_is_known_none_are_allowed(monkeypatch):
    monkeypatch.setattr(placement, "this_cpu", lambda: -1)
    assert placement.allowed_cpus() == frozenset()


class Told:
    def __init__(self):
        self.cpus = None

    def keep_to(self, cpus):
        self.cpus = cpus


@pytest.mark.parametrize(
    ("allowed", "here", "workers", "expected"),
    [
        ({0, 1}, 0, 1, [{1}]),
        ({0, 1}, 1, 1, [{0}]),
        ({0, 1}, 0, 3, [{1}, {0, 1}, {0, 1}]),
        ({2, 4, 5}, 4, 2, [{2, 5}, {2, 5}]),
        ({3}, 3, 2, [{3}, {3}]),
        ({0, 1}, 7, 1, [{0, 1}]),
        (set(), -1, 2, [None, None]),
    ],
)
def test_workers_leave_the_callers_cpu_to_it(allowed, here, workers, expected, monkeypatch):
    monkeypatch.setattr(threads, "allowed_cpus", lambda: frozenset(allowed))
    monkeypatch.setattr(threads, "this_cpu", lambda: here)
    helpers = [Told() for _ in range(workers)]
    threads._Team()._place(helpers)
    assert [helper.cpus for helper in helpers] == expected


@placeable
@pytest.mark.skipif(not jit.ENABLED, reason="nothing runs in threads")
@pytest.mark.skipif(thread_count.usable_cpus() < 2, reason="there is one CPU")
def test_a_worker_that_fell_asleep_is_woken_beside_its_caller(monkeypatch):
    @jit.jit
    def write(part, parts, out):
        out[part] = part + 1

    monkeypatch.setattr(threads, "this_cpu", lambda: cpu)
    out, allowed = np.zeros(2), os.sched_getaffinity(0)
    for cpu in (min(allowed), max(allowed)):
        deadline = time.monotonic() + 20
        team = threads._the_team()
        while any(worker.sleeping is False for worker in team.workers):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        out[:] = 0
        threads.run_parallel(write, out, parts=2)
        assert out.tolist() == [1, 2]
        worker = team.workers[0]._thread.native_id
        assert os.sched_getaffinity(worker) == allowed - {cpu}
