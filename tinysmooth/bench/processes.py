"""What only a fresh process shows: start-up time, and the peak of memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from tinysmooth.kernels.jit import ENABLED
from tinysmooth.kernels.thread_count import get_num_threads

__all__ = ["memory_rows", "startup_rows"]

OURS = """
import numpy as np, tinysmooth as ts
images = np.random.default_rng(0).standard_normal((64, 64, 64, 3), np.float32).transpose(0, 3, 1, 2)
targets = np.arange(64) % 10
model = ts.models.resnet9(10)
optimiser = ts.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
def step():
    optimiser.zero_grad()
    loss = ts.cross_entropy(model(images), targets, label_smoothing=0.1)
    loss.backward()
    optimiser.step()
"""

THEIRS = """
import torch
from torch import nn
torch.set_num_threads(THREADS)
class Residual(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module
    def forward(self, x):
        return x + self.module(x)
def conv(i, o):
    return [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
def residual(c):
    return Residual(nn.Sequential(*conv(c, c), *conv(c, c)))
model = nn.Sequential(
    *conv(3, 32), *conv(32, 64), nn.MaxPool2d(2), residual(64), *conv(64, 128), nn.MaxPool2d(2),
    *conv(128, 256), nn.MaxPool2d(2), residual(256), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Linear(256, 10)).to(memory_format=torch.channels_last)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
images = torch.randn(64, 3, 64, 64).to(memory_format=torch.channels_last)
targets = torch.arange(64) % 10
def step():
    optimiser.zero_grad()
    loss = nn.functional.cross_entropy(model(images), targets, label_smoothing=0.1)
    loss.backward()
    optimiser.step()
"""

# The peak that getrusage tells on Linux is inherited from the parent process; /proc has our own.
REPORT = """
import json, pathlib, time
start = time.perf_counter()
{setup}
for _ in range({steps}):
    step()
seconds = time.perf_counter() - start
try:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    mib = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
except OSError:
    import resource
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({{"seconds": seconds, "mib": mib}}))
"""

MEMORY_STEPS = 4


def startup_rows(torch: Any = None) -> list[dict[str, Any]]:
    """Time a process from its start to the end of its first ``resnet9`` step.

    Cold means an empty kernel cache, so that everything is compiled; warm means the second time.

    Returns
    -------
    list of dict
        name, ours_s, torch_s.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = {"TINYSMOOTH_CACHE": folder}
        cold = _run(OURS, 1, cache)["seconds"]
        if ENABLED:
            _compile_the_rest(cache)
        warm = sorted(_run(OURS, 1, cache)["seconds"] for _ in range(3))[1]
    theirs = sorted(_run(THEIRS, 1, {})["seconds"] for _ in range(3))[1] if torch else None
    return [
        {"name": "first step, cold (compiles)", "ours_s": cold, "torch_s": None},
        {"name": "first step, warm", "ours_s": warm, "torch_s": theirs},
    ]


def memory_rows(torch: Any = None) -> list[dict[str, Any]]:
    """Measure the peak resident memory of a process that takes a few ``resnet9`` steps.

    Returns
    -------
    list of dict
        name, ours_mib, torch_mib, ratio. Empty where the operating system does not tell.
    """
    if sys.platform == "win32":
        return []
    _run(OURS, 1, {})  # compile first: LLVM's memory is not the step's
    ours = _run(OURS, MEMORY_STEPS, {})["mib"]
    theirs = _run(THEIRS, MEMORY_STEPS, {})["mib"] if torch else None
    return [
        {
            "name": "peak memory, resnet9 at 64 x 3 x 64 x 64",
            "ours_mib": ours,
            "torch_mib": theirs,
            "ratio": ours / theirs if theirs else None,
        }
    ]


def _compile_the_rest(cache: dict[str, str]) -> None:
    """Have done what the helper of a process that has ended is still at, or leaves to do."""
    alone = {"TINYSMOOTH_REHEARSAL": "1", "TINYSMOOTH_NUM_THREADS": "1"}
    environment = {**os.environ, **alone, **cache}
    command = [sys.executable, "-m", "tinysmooth.rehearsal"]
    subprocess.run(command, env=environment, capture_output=True, check=True, timeout=300)


def _run(setup: str, steps: int, environment: dict[str, str]) -> dict[str, float]:
    threads = get_num_threads()
    code = REPORT.format(setup=setup.replace("THREADS", str(threads)), steps=steps)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TINYSMOOTH_NUM_THREADS": str(threads), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"bench: a process failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result
