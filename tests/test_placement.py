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
def test_a_thread_keeps_off_one_cpu_and_the_caller_off_none(sleeper):
    allowed = os.sched_getaffinity(0)
    cpu = min(allowed)
    placement.keep_off(sleeper, cpu)
    assert os.sched_getaffinity(sleeper) == (allowed - {cpu} or allowed)
    assert os.sched_getaffinity(0) == allowed
    placement.keep_off(sleeper, max(allowed) + 1)  # one that is none of the caller's
    assert os.sched_getaffinity(sleeper) == allowed


@placeable
def test_the_only_cpu_is_shared(sleeper, monkeypatch):
    cpu = min(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {cpu})
    placement.keep_off(sleeper, cpu)
    monkeypatch.undo()
    assert os.sched_getaffinity(sleeper) == {cpu}


def test_what_is_not_to_be_known_or_refused_is_left_alone(sleeper):
    before = getattr(os, "sched_getaffinity", lambda thread: None)(sleeper)
    placement.keep_off(sleeper, -1)
    placement.keep_off(2**22 + 1, 0)  # no such thread
    assert getattr(os, "sched_getaffinity", lambda thread: None)(sleeper) == before


@placeable
@pytest.mark.skipif(not jit.ENABLED, reason="nothing runs in threads")
@pytest.mark.skipif(thread_count.usable_cpus() < 2, reason="there is one CPU")
def test_a_worker_that_fell_asleep_is_woken_beside_its_caller(monkeypatch):
    asked = []
    monkeypatch.setattr(threads, "this_cpu", lambda: asked.append(0) or cpu)

    @jit.jit
    def write(part, parts, out):
        out[part] = part + 1

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
        assert asked and os.sched_getaffinity(worker) == allowed - {cpu}
