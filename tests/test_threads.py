"""The thread pool: every part runs once, errors arrive, forks and concurrent callers are safe."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from tinysmooth.kernels import threads


@pytest.fixture(autouse=True)
def keep_num_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def mark(part, parts, seen):
    seen.append((part, parts, threading.current_thread().name))


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_part_runs_exactly_once(parts):
    seen = []
    threads.run_parallel(mark, seen, parts=parts)
    assert sorted(part for part, _, _ in seen) == list(range(parts))
    assert {total for _, total, _ in seen} == {parts}


def test_part_0_runs_in_the_callers_thread_and_the_others_do_not():
    seen = []
    threads.run_parallel(mark, seen, parts=3)
    here = threading.current_thread().name
    assert {part for part, _, name in seen if name == here} == {0}


def test_small_work_stays_in_the_callers_thread():
    threads.set_num_threads(4)
    seen = []
    threads.run_parallel(mark, seen, work=threads.SMALLEST_PART)
    assert [parts for _, parts, _ in seen] == [1]


def test_work_decides_the_number_of_parts():
    threads.set_num_threads(4)
    unit = threads.SMALLEST_PART
    assert [threads.plan_parts(n * unit) for n in (0, 1, 2, 3, 4, 100)] == [1, 1, 2, 3, 4, 4]
    assert threads.plan_parts(100 * unit, limit=2) == 2
    assert threads.plan_parts(100 * unit, limit=0) == 1


@pytest.mark.parametrize("bad", [0, 2])
def test_an_error_in_any_part_reaches_the_caller_after_all_parts_ended(bad):
    ended = []

    def kernel(part, parts):
        if part == bad:
            raise ArithmeticError("part failed")
        ended.append(part)

    with pytest.raises(ArithmeticError, match="part failed"):
        threads.run_parallel(kernel, parts=3)
    assert sorted(ended) == sorted({0, 1, 2} - {bad})
    threads.run_parallel(mark, seen := [], parts=3)  # the pool still works
    assert len(seen) == 3


def test_callers_from_several_threads_get_their_own_results():
    def fill(part, parts, out, value):
        out[part::parts] = value

    def caller(value, results):
        for _ in range(200):
            out = np.zeros(12)
            threads.run_parallel(fill, out, value, parts=3)
            results.append(bool((out == value).all()))

    results = []
    callers = [threading.Thread(target=caller, args=(v, results)) for v in (1, 2, 3)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(timeout=60)
    assert len(results) == 600 and all(results)


def test_a_call_inside_a_part_runs_without_waiting_for_the_pool():
    seen = []

    def outer(part, parts):
        threads.run_parallel(mark, seen, parts=2)

    threads.run_parallel(outer, parts=2)
    assert len(seen) == 4


def test_finished_work_is_not_kept_alive():
    import weakref

    class Payload:
        pass

    def kernel(part, parts, payload):
        pass

    payload = Payload()
    reference = weakref.ref(payload)
    threads.run_parallel(kernel, payload, parts=3)
    del payload
    # A worker lets go of its task just before it reports back.
    assert reference() is None


FORK = """
import os, sys
from tinysmooth.kernels import threads

def mark(part, parts, seen):
    seen.append(part)

seen = []
threads.run_parallel(mark, seen, parts=3)
child = os.fork()
if child == 0:
    seen = []
    threads.run_parallel(mark, seen, parts=3)
    os._exit(0 if sorted(seen) == [0, 1, 2] else 3)
_, status = os.waitpid(child, 0)
seen = []
threads.run_parallel(mark, seen, parts=3)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_working_threads():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "value, kind",
    [
        (0, ValueError),
        (-3, ValueError),
        (2.0, TypeError),
        ("2", TypeError),
        (True, TypeError),
        (None, TypeError),
    ],
)
def test_set_num_threads_names_what_it_refuses(value, kind):
    with pytest.raises(kind, match="set_num_threads: n is .*expected an integer of at least 1"):
        threads.set_num_threads(value)


def test_set_num_threads_is_what_get_num_threads_returns():
    threads.set_num_threads(np.int64(3))
    assert threads.get_num_threads() == 3


@pytest.mark.parametrize("text, expected", [("3", 3), (" 2 ", 2)])
def test_the_environment_sets_the_number_of_threads(monkeypatch, text, expected):
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.setenv("TINYSMOOTH_NUM_THREADS", text)
    assert threads.get_num_threads() == expected


@pytest.mark.parametrize("text", ["0", "many", "1.5"])
def test_a_wrong_number_in_the_environment_is_named(monkeypatch, text):
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.setenv("TINYSMOOTH_NUM_THREADS", text)
    with pytest.raises(ValueError, match="TINYSMOOTH_NUM_THREADS is"):
        threads.get_num_threads()


def test_by_default_there_is_a_thread_for_each_usable_cpu(monkeypatch):
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.delenv("TINYSMOOTH_NUM_THREADS", raising=False)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert threads.get_num_threads() == usable
