"""On a cold cache a second process compiles what training needs later, and no bit depends on it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tinysmooth.bench.timing import alternate
from tinysmooth.kernels import ahead, use_kernels
from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.thread_count import usable_cpus
from tinysmooth.training import TrainConfig, job

ROOT = Path(__file__).resolve().parents[1]

STEP = """
import hashlib, sys
import numpy as np
import tinysmooth as ts
from tinysmooth.kernels import jit

def train(size, batch):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, size, size, 3), np.float32).transpose(0, 3, 1, 2)
    model = ts.models.resnet9(rng=rng)
    optimiser = ts.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    loss = ts.cross_entropy(model(images), np.arange(batch) % 10, label_smoothing=0.1)
    loss.backward()
    optimiser.step()
    state = b"".join(array.tobytes() for array in model.state_dict().values())
    return hashlib.sha256(state).hexdigest()

sizes = [tuple(map(int, pair.split("x"))) for pair in sys.argv[1:]]
bits = {size: train(*size) for size in sizes}
print(jit.status()["compiled"], bits[64, 8], jit.status()["cache_folder"])
"""


def step(cache, *sizes, **more):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TINYSMOOTH_CACHE": str(cache), **more}
    command = [sys.executable, "-W", "error", "-c", STEP, *sizes]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    compiled, bits, folder = done.stdout.split(maxsplit=2)
    return int(compiled), bits, Path(folder.strip()), done.stderr


def wait_for(path):
    give_up = time.monotonic() + 240
    while not path.exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    return path.exists()


@pytest.mark.skipif(not ENABLED, reason="nothing is compiled")
@pytest.mark.skipif(usable_cpus() < 2, reason="there is no second CPU")
def test_two_processes_share_the_compilation_and_leave_nothing_to_the_next(tmp_path):
    compiled, bits, folder, message = step(tmp_path, "64x8")
    assert message == "tinysmooth: compiling kernels (once)...\n"
    assert wait_for(folder / "rehearsed")
    made_by_both = len(list(folder.rglob("*.nbi")))
    assert 0 < compiled < made_by_both
    # The helper starts with a call of its own; it must not make a machine code of its own.
    assert len(list(folder.rglob("*.panel_product-*.nbc"))) == 1
    # Two more sizes of training, as a growing image meets them: not one kernel is left. And what
    # a process has compiled or loaded before, in whatever order, does not change a bit.
    assert step(tmp_path, "64x8") == (0, bits, folder, "")
    assert step(tmp_path, "40x32", "64x64", "64x8") == (0, bits, folder, "")


@pytest.mark.skipif(not ENABLED, reason="nothing is compiled")
def test_the_helper_alone_leaves_nothing_of_a_step_with_one_thread(tmp_path):
    more = {"TINYSMOOTH_NUM_THREADS": "1", "TINYSMOOTH_REHEARSAL": "1"}
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TINYSMOOTH_CACHE": str(tmp_path), **more}
    command = [sys.executable, "-P", "-W", "error", "-m", "tinysmooth.rehearsal"]
    subprocess.run(command, env=env, check=True, timeout=240)
    compiled, _, folder, message = step(tmp_path, "64x8", **more)
    assert (compiled, message) == (0, "")
    assert (folder / "rehearsed").exists()


@pytest.mark.skipif(not ENABLED, reason="nothing is compiled")
@pytest.mark.parametrize("name", ["TINYSMOOTH_REHEARSAL", "TINYSMOOTH_CACHE"])
def test_no_helper_is_started_by_a_helper_or_without_a_cache(tmp_path, name):
    program = """
import subprocess
from tinysmooth.kernels.ahead import compile_ahead
def refuse(*args, **kwargs):
    raise AssertionError("started")
subprocess.run = subprocess.Popen = refuse
compile_ahead()
import threading
print([thread.name for thread in threading.enumerate()])
"""
    value = {"TINYSMOOTH_REHEARSAL": "1", "TINYSMOOTH_CACHE": "off"}[name]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TINYSMOOTH_CACHE": str(tmp_path), name: value}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "['MainThread']", done.stderr


@pytest.mark.parametrize(
    ("kernel_set", "expected"),
    [("compiled", ["compile", "read"]), ("reference", ["read"])],
)
def test_a_training_compiles_while_it_reads_its_images(tmp_path, monkeypatch, kernel_set, expected):
    happened = []

    def read(*args, **kwargs):
        happened.append("read")
        raise OSError("no such images")

    monkeypatch.setattr(job, "compile_ahead", lambda: happened.append("compile"))
    monkeypatch.setattr(job, "load_data", read)
    with use_kernels(kernel_set), pytest.raises(OSError, match="no such images"):
        job.train(TrainConfig(data="drawn"), tmp_path / "run", progress=False)
    assert happened == expected


def test_nothing_is_timed_while_the_helper_takes_a_cpu(tmp_path, monkeypatch):
    called, done, was_done = threading.Event(), threading.Event(), []

    def help_for_a_while(*args):
        called.wait(timeout=60)
        time.sleep(0.1)
        done.set()

    def side():
        was_done.append(done.is_set())
        called.set()

    monkeypatch.delenv("TINYSMOOTH_REHEARSAL", raising=False)
    monkeypatch.setattr(ahead, "ENABLED", True)
    monkeypatch.setattr(ahead, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(ahead, "usable_cpus", lambda: 2)
    monkeypatch.setattr(ahead, "_waiting", [])
    monkeypatch.setattr(ahead, "_run", help_for_a_while)
    ahead.compile_ahead.__wrapped__()
    alternate({"side": side}, rounds=1, block=0.0)
    assert was_done[0] is False  # the first call, which compiles what the side needs
    assert len(was_done) > 1
    assert all(was_done[1:])
