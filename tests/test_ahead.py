"""On a cold cache a second process compiles what the training step needs later."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinysmooth.kernels.jit import ENABLED

ROOT = Path(__file__).resolve().parents[1]

STEP = """
import sys
import numpy as np
import tinysmooth as ts
from tinysmooth.kernels import jit
size, batch = int(sys.argv[1]), int(sys.argv[2])
images = np.zeros((batch, size, size, 3), np.float32).transpose(0, 3, 1, 2)
model = ts.models.resnet9()
optimiser = ts.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
loss = ts.cross_entropy(model(images), np.arange(batch) % 10, label_smoothing=0.1)
loss.backward()
optimiser.step()
print(jit.status()["compiled"], jit.status()["cache_folder"])
"""


def step(cache, size, batch):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TINYSMOOTH_CACHE": str(cache)}
    command = [sys.executable, "-W", "error", "-c", STEP, str(size), str(batch)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    compiled, folder = done.stdout.split(maxsplit=1)
    return int(compiled), Path(folder.strip()), done.stderr


def wait_for(path):
    give_up = time.monotonic() + 240
    while not path.exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    return path.exists()


@pytest.mark.skipif(not ENABLED, reason="nothing is compiled")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is no second CPU")
def test_two_processes_share_the_compilation_and_leave_nothing_to_the_next(tmp_path):
    compiled, folder, message = step(tmp_path, 64, 16)
    assert message == "tinysmooth: compiling kernels (once)...\n"
    assert wait_for(folder / "rehearsed")
    # Two sizes of training, as a growing image meets them: not one kernel is left.
    for size, batch in ((64, 64), (40, 32)):
        assert step(tmp_path, size, batch) == (0, folder, "")
    made_by_both = len(list(folder.rglob("*.nbi")))
    assert 0 < compiled < made_by_both


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
