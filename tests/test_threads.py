"""The threads: every part runs once, side by side; failures, interrupts and forks are survived."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from tinysmooth.kernels import handover, thread_count, threads
from tinysmooth.kernels.jit import ENABLED, jit

needs_compilation = pytest.mark.skipif(not ENABLED, reason="without a compiler parts run in turn")


@jit
def count(part, parts, seen, totals):
    seen[part] += 1
    totals[part] = parts


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_part_runs_exactly_once(parts):
    seen, totals = np.zeros(9, np.int64), np.zeros(9, np.int64)
    threads.run_parallel(count, seen, totals, parts=parts)
    assert seen.tolist() == [1] * parts + [0] * (9 - parts)
    assert set(totals[:parts]) == {parts}


def test_parts_beyond_the_most_workers_run_too(monkeypatch):
    monkeypatch.setattr(threads, "MOST_WORKERS", 2)
    monkeypatch.setattr(threads, "_team", None)
    seen, totals = np.zeros(9, np.int64), np.zeros(9, np.int64)
    threads.run_parallel(count, seen, totals, parts=9)
    assert seen.tolist() == [1] * 9


if ENABLED:

    @jit
    def meet(part, parts, box, met):
        handover._publish(box, part * handover.LINE, 1)
        others = 0
        for other in range(parts):
            # Some seconds at most: with one thread, part 0 would wait for a part that comes later.
            others += handover.spin(box, other * handover.LINE, 0, 100_000_000)
        met[part] = others


@needs_compilation
@pytest.mark.parametrize("parts", [2, 3])
def test_parts_run_at_the_same_time(parts):
    for _ in range(5):  # a worker may fall asleep just while its part is posted
        box, met = np.zeros(parts * handover.LINE, np.int64), np.zeros(parts, np.int64)
        threads.run_parallel(meet, box, met, parts=parts)
        if met.tolist() == [parts] * parts:
            break
    assert met.tolist() == [parts] * parts


@needs_compilation
def test_a_thread_that_wakes_before_its_caller_goes_on_finds_its_part(monkeypatch):
    """On a busy machine the caller may have to wait for a CPU right after it has woken others."""
    wake = threads._Worker.wake

    def wake_and_wait(worker):
        wake(worker)
        time.sleep(0.02)

    monkeypatch.setattr(threads._Worker, "wake", wake_and_wait)
    box, met = np.zeros(2 * handover.LINE, np.int64), np.zeros(2, np.int64)
    threads.run_parallel(meet, box, met, parts=2)  # there is a worker
    time.sleep(0.1)  # and it sleeps
    box[:] = 0
    threads.run_parallel(meet, box, met, parts=2)
    assert met.tolist() == [2, 2]


@needs_compilation
def test_threads_that_fell_asleep_are_woken():
    rng = np.random.default_rng(0)
    for wait in rng.uniform(0, 2 * threads.PATIENCE, 400):
        seen, totals = np.zeros(2, np.int64), np.zeros(2, np.int64)
        threads.run_parallel(count, seen, totals, parts=2)
        assert seen.tolist() == [1, 1]
        time.sleep(wait)


@needs_compilation
def test_a_thread_falls_asleep_when_nothing_comes():
    threads.run_parallel(count, np.zeros(2, np.int64), np.zeros(2, np.int64), parts=2)
    worker = threads._the_team().workers[0]
    give_up = time.monotonic() + 30
    while not worker.sleeping and time.monotonic() < give_up:
        time.sleep(0.01)
    assert worker.sleeping


def test_small_work_stays_in_the_callers_thread():
    thread_count.set_num_threads(4)
    seen, totals = np.zeros(4, np.int64), np.zeros(4, np.int64)
    threads.run_parallel(count, seen, totals, work=thread_count.SMALLEST_PART)
    assert seen.tolist() == [1, 0, 0, 0]


def test_work_decides_the_number_of_parts():
    thread_count.set_num_threads(4)
    unit = thread_count.SMALLEST_PART
    assert [thread_count.plan_parts(n * unit) for n in (0, 1, 2, 3, 4, 100)] == [1, 1, 2, 3, 4, 4]
    assert thread_count.plan_parts(100 * unit, limit=2) == 2
    assert thread_count.plan_parts(100 * unit, limit=0) == 1


def test_a_python_function_runs_its_parts_in_turn_and_its_error_arrives():
    seen = []

    def function(part, parts):
        seen.append((part, threading.current_thread()))
        if part == 2:
            raise ArithmeticError("part failed")

    with pytest.raises(ArithmeticError, match="part failed"):
        threads.run_parallel(function, parts=4)
    assert seen == [(part, threading.current_thread()) for part in range(3)]


if ENABLED:

    @jit
    def fail_in(part, parts, bad, ended):
        if part == bad:
            raise ValueError("no such number")
        ended[part] = 1


@needs_compilation
@pytest.mark.parametrize("bad", [0, 2])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_failure_in_any_part_is_told_after_all_parts_ended(bad, parts):
    ended = np.zeros(3, np.int64)
    if bad >= parts:
        threads.run_parallel(fail_in, bad, ended, parts=parts)
    else:
        with pytest.raises(RuntimeError, match="fail_in: 1 of its parts failed"):
            threads.run_parallel(fail_in, bad, ended, parts=parts)
    assert ended.tolist() == [int(part != bad and part < parts) for part in range(3)]
    test_every_part_runs_exactly_once(3)  # the threads still work


if ENABLED:

    @jit
    def work_long(part, parts, rounds, box, ended):
        if part == 1:
            handover.spin(box, 0, 0, rounds)
        ended[part] = 1


def assert_nothing_runs(ended):
    """Parts that an interrupt came before have not begun, and those that began have ended."""
    boxes, at_once = threads._the_team().boxes, ended.copy()
    assert (boxes[:, handover.POSTED] == boxes[:, handover.DONE]).all()
    time.sleep(0.5)
    assert ended.tolist() == at_once.tolist()


@needs_compilation
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_an_interrupt_arrives_when_no_part_is_running_any_more():
    def interrupt(number, frame):
        raise InterruptedError("now")

    rounds = max(handover.rounds_in(0.4) for _ in range(5))  # a trial may be interrupted too
    box, ended = np.zeros(1, np.int64), np.zeros(2, np.int64)
    threads.run_parallel(work_long, 1, box, ended, parts=2)  # compiles, and makes the worker
    ended[:] = 0
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(InterruptedError, match="now"):
            threads.run_parallel(work_long, rounds, box, ended, parts=2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert_nothing_runs(ended)
    test_every_part_runs_exactly_once(3)


@needs_compilation
@pytest.mark.parametrize("where", ["_is_at_work", "wake", "wait", "failures"])
def test_no_interrupt_lets_go_of_a_running_part_wherever_it_comes(where, monkeypatch):
    rounds = handover.rounds_in(0.2)
    box, ended = np.zeros(1, np.int64), np.zeros(2, np.int64)
    threads.run_parallel(work_long, 1, box, ended, parts=2)  # compiles, and makes the worker
    ended[:] = 0
    team, real, count = threads._the_team(), getattr(threads._Worker, where), itertools.count()

    def interrupted(self, *args):
        if next(count) < 3:
            raise InterruptedError("now")
        return real(self, *args)

    monkeypatch.setattr(threads._Worker, where, interrupted)
    monkeypatch.setattr(team, "long", 1)  # hardly any spinning: Python waits
    monkeypatch.setattr(team, "short", 1)
    with pytest.raises(InterruptedError, match="now"):
        threads.run_parallel(work_long, rounds, box, ended, parts=2)
    assert_nothing_runs(ended)
    assert next(count) > 3
    monkeypatch.undo()
    test_every_part_runs_exactly_once(3)


@jit
def fill(part, parts, out, value):
    for i in range(part, out.size, parts):
        out[i] = value


def test_callers_from_several_threads_get_their_own_results():
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


def test_finished_work_is_not_kept_alive():
    out = np.zeros(12)
    reference = weakref.ref(out)
    threads.run_parallel(fill, out, 1, parts=3)
    del out
    assert reference() is None


FORK = """
import os, sys
import numpy as np
from tinysmooth.kernels import threads
from tinysmooth.kernels.jit import jit

@jit
def mark(part, parts, seen):
    seen[part] += 1

def works():
    seen = np.zeros(3, np.int64)
    threads.run_parallel(mark, seen, parts=3)
    return seen.tolist() == [1, 1, 1]

if not works():
    sys.exit(4)
child = os.fork()
if child == 0:
    os._exit(0 if works() else 3)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) or (0 if works() else 5))
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
        thread_count.set_num_threads(value)
    with (
        pytest.raises(kind, match="use_threads: n is .*expected an integer of at least 1"),
        thread_count.use_threads(value),
    ):
        pass


def test_use_threads_counts_in_its_own_thread_and_until_its_end():
    """Two of them that overlap as two runs of a pool do, and a setting for all meanwhile."""
    turns, seen = [threading.Barrier(2, timeout=30) for _ in range(4)], {}

    def first():
        with thread_count.use_threads(1):
            turns[0].wait()
            turns[1].wait()
            seen["inside"] = thread_count.get_num_threads()
        seen["outside"] = thread_count.get_num_threads()
        turns[2].wait()
        turns[3].wait()

    thread_count.set_num_threads(5)
    thread = threading.Thread(target=first)
    thread.start()
    turns[0].wait()
    with thread_count.use_threads(2):
        thread_count.set_num_threads(4)
        assert thread_count.get_num_threads() == 2
        with thread_count.use_threads(3):
            assert thread_count.get_num_threads() == 3
        turns[1].wait()
        turns[2].wait()
        assert seen == {"inside": 1, "outside": 4}
        assert thread_count.plan_parts(1e9) == 2
    turns[3].wait()
    thread.join()
    assert thread_count.get_num_threads() == 4


def test_an_error_ends_use_threads():
    thread_count.set_num_threads(4)
    with pytest.raises(OSError), thread_count.use_threads(2):
        raise OSError
    assert thread_count.get_num_threads() == 4


def test_set_num_threads_is_what_get_num_threads_returns():
    thread_count.set_num_threads(np.int64(3))
    assert thread_count.get_num_threads() == 3


@pytest.mark.parametrize("text, expected", [("3", 3), (" 2 ", 2)])
def test_the_environment_sets_the_number_of_threads(monkeypatch, text, expected):
    monkeypatch.setattr(thread_count, "_num_threads", None)
    monkeypatch.setenv("TINYSMOOTH_NUM_THREADS", text)
    assert thread_count.get_num_threads() == expected


@pytest.mark.parametrize("text", ["0", "many", "1.5"])
def test_a_wrong_number_in_the_environment_is_named(monkeypatch, text):
    monkeypatch.setattr(thread_count, "_num_threads", None)
    monkeypatch.setenv("TINYSMOOTH_NUM_THREADS", text)
    with pytest.raises(ValueError, match="TINYSMOOTH_NUM_THREADS is"):
        thread_count.get_num_threads()


def test_by_default_there_is_a_thread_for_each_usable_cpu(monkeypatch):
    monkeypatch.setattr(thread_count, "_num_threads", None)
    monkeypatch.delenv("TINYSMOOTH_NUM_THREADS", raising=False)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert thread_count.get_num_threads() == usable


class InterruptedOnce:
    """Calls to a sleeping worker, the first of which is interrupted before it is made."""

    def __init__(self, calls):
        self.calls, self.interrupted = calls, False

    def put(self, item):
        if not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt
        self.calls.put(item)

    def empty(self):
        return self.calls.empty()

    def get(self):
        return self.calls.get()


@needs_compilation
def test_an_interrupt_while_a_worker_is_woken_does_not_let_it_sleep_for_ever(monkeypatch):
    seen, totals = np.zeros(2, np.int64), np.zeros(2, np.int64)
    threads.run_parallel(count, seen, totals, parts=2)
    worker = threads._the_team().workers[0]
    while not worker.sleeping:
        time.sleep(0.01)
    monkeypatch.setattr(worker, "_calls", InterruptedOnce(worker._calls))
    with pytest.raises(KeyboardInterrupt):
        threads.run_parallel(count, seen, totals, parts=2)
    assert seen[1] == 2  # posted before, so waited for
    test_every_part_runs_exactly_once(2)


@needs_compilation
def test_a_worker_whose_start_was_interrupted_serves_nobody(monkeypatch):
    monkeypatch.setattr(threads, "_team", None)
    monkeypatch.setattr(threads, "PATIENCE", 0.1)  # it would still watch its box
    real = threading.Thread.start

    def start(self):
        real(self)
        if self.name == "tinysmooth-1":
            monkeypatch.setattr(threading.Thread, "start", real)
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start)
    seen, totals = np.zeros(2, np.int64), np.zeros(2, np.int64)
    with pytest.raises(KeyboardInterrupt):
        threads.run_parallel(count, seen, totals, parts=2)
    time.sleep(0.02)  # until it does
    seen[:], calls = 0, 0
    until = time.monotonic() + 0.5  # so long that two threads on one CPU have their turns
    while time.monotonic() < until:
        threads.run_parallel(count, seen, totals, parts=2)
        calls += 1
    assert seen.tolist() == [calls, calls]


@pytest.mark.parametrize("allowed", [0, 1])
def test_where_the_system_gives_no_threads_the_caller_does_all_parts(allowed, monkeypatch):
    monkeypatch.setattr(threads, "_team", None)
    real, started = threading.Thread.start, []

    def start(self):
        if self.name.startswith("tinysmooth-"):
            if len(started) >= allowed:
                raise RuntimeError("can't start new thread")
            started.append(self)
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(3):
        test_every_part_runs_exactly_once(3)


@needs_compilation
def test_a_trial_that_is_cut_short_of_its_cpu_does_not_decide_how_long_to_spin(monkeypatch):
    usual = max(handover.rounds_in(1e-3) for _ in range(5))
    clock, late = time.perf_counter, iter([0, 0.01] + [0.01] * 99)  # the first trial takes longer
    monkeypatch.setattr(handover.time, "perf_counter", lambda: clock() + next(late))
    assert handover.rounds_in(1e-3) > usual / 5
