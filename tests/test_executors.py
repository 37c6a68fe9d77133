"""Comparisons side by side: every executor gives the numbers of runs in turn, whatever dies."""

import csv
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from test_compare import FLAGS, TINY

from tinysmooth import compare
from tinysmooth.__main__ import main
from tinysmooth.chapters.expect import Wrong
from tinysmooth.compare import Grid, driver, executors, processes
from tinysmooth.compare.executors import check_executor, open_executor
from tinysmooth.gradcheck import GradcheckError, gradcheck
from tinysmooth.training import OptionError, TrainConfig

AXES = ["--epsilons", "0,0.2", "--seeds", "0,1"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two smoothings, two seeds, in turn."""
    grid = Grid(TrainConfig(**TINY), {"label_smoothing": [0.0, 0.2], "seed": [0, 1]})
    return compare.compare(grid, tmp_path_factory.mktemp("compare") / "grid")


def numbers(comparison):
    return [(r.loss, r.ece, r.mean_gap, r.train_gap) for r in comparison.results.values()]


def rows(folder):
    """Read a table of results, without what a clock measured."""
    with open(folder / "results.csv", encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("workers", [1, 2])
def test_any_executor_gives_the_same_numbers(done, tmp_path, workers):
    with ThreadPoolExecutor(workers) as pool:
        again = compare.compare(done.grid, tmp_path / "grid", executor=pool)
    assert numbers(again) == numbers(done)


def test_processes_give_the_same_numbers(done, tmp_path):
    with open_executor("process", 2) as pool:
        again = compare.compare(done.grid, tmp_path / "grid", executor=pool)
    assert not again.failures
    assert numbers(again) == numbers(done)


def test_a_run_that_cannot_begin_does_not_take_the_others_along(done, tmp_path):
    (tmp_path / "grid" / "eps0-noise0-seed0").mkdir(parents=True)
    (tmp_path / "grid" / "eps0-noise0-seed0" / "notes.txt").write_text("hi")
    with open_executor("process", 1) as pool:
        some = compare.compare(done.grid, tmp_path / "grid", executor=pool)
    ((cell, reason),) = some.failures.items()
    assert cell.name == "eps0-noise0-seed0"
    assert reason.startswith("OptionError: train: out is ") and "which is not empty" in reason
    assert numbers(some) == numbers(done)[1:]


def wrong_gradient():
    """Catch what the checker says of a gradient that is off by a constant factor."""
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: 2 * x.detach() * x, np.array([1.0, 2.0]))
    return caught.value


@pytest.mark.parametrize(
    "error", [OptionError("lr", "train: lr is 0"), wrong_gradient(), Wrong("no", "look")], ids=type
)
def test_errors_with_more_than_a_message_survive_the_way_from_a_worker(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert vars(again) == vars(error)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_comparison_takes_its_workers_along_and_goes_on_with_the_same_numbers(tmp_path):
    flags = [*FLAGS, "--epsilons", "0,0.2", "--seeds", "0"]
    flags[flags.index("--epochs") + 1] = "30"
    command = [sys.executable, "-m", "tinysmooth", "compare", *flags, "--out", "killed"]
    with subprocess.Popen(
        [*command, "--executor", "process", "--workers", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        wait_until(
            lambda: (
                len(list(tmp_path.glob("killed/*/history.csv"))) == 2 or process.poll() is not None
            )
        )
        process.kill()
        # The workers have the same output: it ends when the last of them is gone.
        shown, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, shown
    assert not list(tmp_path.glob("killed/*/result.json"))
    for name in ("killed", "whole"):
        assert main(["compare", *flags, "--out", str(tmp_path / name), "--quiet"]) == 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
@pytest.mark.parametrize("whom", ["all", "parent"])
def test_ctrl_c_stops_what_runs_and_nothing_else_begins(tmp_path, whom):
    flags = [*FLAGS, *AXES, "--out", "stopped", "--executor", "process", "--workers", "1"]
    flags[flags.index("--epochs") + 1] = "3000"
    with subprocess.Popen(
        [sys.executable, "-m", "tinysmooth", "compare", *flags], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            wait_until(lambda: list(tmp_path.glob("stopped/*/history.csv")) or process.poll())
            if whom == "all":  # as a terminal does
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.send_signal(signal.SIGINT)
            _, shown = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Go on with the same command" in shown and "Traceback" not in shown
    (run,) = (tmp_path / "stopped").iterdir()
    assert (run / "checkpoint.npz").exists() and not (run / "result.json").exists()


def stubborn(patience, path):
    """Go on through some interrupts, but not for ever."""
    end = time.monotonic() + 20
    for _ in range(patience):
        try:
            path.touch()
            while time.monotonic() < end:
                time.sleep(0.01)
            path.with_suffix(".over").touch()
            return
        except KeyboardInterrupt:
            path.with_suffix(".told").touch()


@pytest.mark.parametrize(("presses", "patience"), [(2, 2), (3, 99)])
def test_a_second_ctrl_c_waits_for_no_step_and_a_third_for_nothing(
    presses, patience, tmp_path, monkeypatch
):
    others = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt), open_executor("process", 1) as pool:
        pool.submit(stubborn, patience, tmp_path / "begun")
        wait_until((tmp_path / "begun").exists)
        plain, further = processes.wait, iter(range(presses - 1))

        def wait(calls):
            if next(further, None) is None:
                return plain(calls)
            wait_until((tmp_path / "begun.told").exists)  # the first one has been heard
            raise KeyboardInterrupt

        monkeypatch.setattr(processes, "wait", wait)
        raise KeyboardInterrupt
    assert set(multiprocessing.active_children()) == others
    assert not (tmp_path / "begun.over").exists()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs blocked signals")
def test_workers_hear_of_ctrl_c_from_their_parent_only():
    with open_executor("process", 1) as pool:
        worker = pool.submit(os.getpid).result()
        slow = pool.submit(time.sleep, 0.5)
        while not slow.done():
            os.kill(worker, signal.SIGINT)
            time.sleep(0.02)
        assert slow.exception() is None
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker


class Clumsy(ThreadPoolExecutor):
    """A pool that cannot cancel what it has taken."""

    def submit(self, *args, **kwargs):
        future = super().submit(*args, **kwargs)
        future.cancel = lambda: False
        return future


def test_a_pool_gets_no_more_cells_than_it_has_workers(done, tmp_path, monkeypatch):
    begun = []

    def stop(options, path):
        begun.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "run_cell", stop)
    with pytest.raises(KeyboardInterrupt), Clumsy(1) as pool:
        compare.compare(done.grid, tmp_path / "grid", executor=pool)
    assert len(begun) == 1


def test_cells_fail_with_words_when_the_workers_are_gone(done, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "run_cell", os._exit)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(os._exit, 1)
        none = compare.compare(done.grid, tmp_path / "grid", executor=pool)
    assert len(none.failures) == 4
    assert all(reason.startswith("BrokenProcessPool: ") for reason in none.failures.values())


# Names


@pytest.mark.parametrize("name", ["thread", "", "dask", "dask://", "dask://host", "process:2"])
def test_an_unknown_executor_is_named(name):
    with pytest.raises(OptionError, match=r"expected one of serial, process, dask://HOST:PORT"):
        check_executor(name)


@pytest.mark.parametrize(("name", "package"), [("dask://a:1", "distributed"), ("mpi", "mpi4py")])
def test_a_missing_package_is_named_with_the_way_to_get_it(name, package, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=f"{package} is not installed; .* pip install"):
        check_executor(name)


@pytest.mark.parametrize("name", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_ranks_that_would_all_do_the_same_are_refused(monkeypatch, name):
    monkeypatch.setattr(executors, "find_spec", lambda name: True)
    monkeypatch.setenv(name, "3")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "tinysmooth", "compare"])
    with pytest.raises(OptionError, match="one of 3 ranks .* -m mpi4py.futures -m tinysmooth"):
        check_executor("mpi")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "mpi4py.futures", "-m", "tinysmooth"])
    assert check_executor("mpi") == "mpi"


# Optional packages


def test_workers_of_dask_give_the_same_numbers(tmp_path):
    pytest.importorskip("distributed")
    port = 40000 + os.getpid() % 20000
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*program, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        stderr=subprocess.DEVNULL,
    )
    # A nanny would give NumPy's matrix products one thread, and thereby other last digits.
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}",
         "--no-nanny", "--nthreads", "1", "--no-dashboard",
         "--local-directory", str(tmp_path / "scratch")],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        address = f"dask://127.0.0.1:{port}"
        command = [sys.executable, "-m", "tinysmooth", "compare", *FLAGS, *AXES]
        again = subprocess.run(
            [*command, "--out", "again", "--executor", address],
            cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait(30)
    assert again.returncode == 0, again.stderr
    assert main(["compare", *FLAGS, *AXES, "--out", str(tmp_path / "turn"), "--quiet"]) == 0
    assert rows(tmp_path / "again") == rows(tmp_path / "turn")


def test_ranks_of_mpi_give_the_same_numbers(tmp_path):
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("mpiexec is not on the path")
    environment = {
        **os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }  # fmt: skip
    again = subprocess.run(
        [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", "-m", "tinysmooth", "compare",
         *FLAGS, *AXES, "--out", "again", "--executor", "mpi"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert main(["compare", *FLAGS, *AXES, "--out", str(tmp_path / "turn"), "--quiet"]) == 0
    assert rows(tmp_path / "again") == rows(tmp_path / "turn")
