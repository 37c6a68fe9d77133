"""Killed at random moments, training ends with the bits of a run that nobody disturbed.

By default four moments; ``TINYSMOOTH_KILLS=30 pytest tests/test_kills.py`` tries thirty.
"""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from test_recipe import EVERYTHING
from test_training import assert_same_bits, assert_same_rows, train_tiny

from tinysmooth.training import load
from tinysmooth.training.atomic import remove_leftovers

KILLS = int(os.environ.get("TINYSMOOTH_KILLS", "4"))
EPOCHS = 3 * KILLS  # of three steps

CHILD = """
import sys
sys.path.insert(0, {tests!r})
import test_recipe, test_training
from tinysmooth.training import loop
plain = loop.Loop._step
def step(self, *args):
    print("step", flush=True)
    return plain(self, *args)
loop.Loop._step = step
test_training.train_tiny(
    epochs={epochs}, checkpoint={path!r}, save_every=0.0, resume={resume}, **test_recipe.EVERYTHING
)
"""


def train_until_killed(path, luck):
    """Train in another process and kill it some steps and an instant later; True if killed."""
    code = CHILD.format(
        tests=os.path.dirname(__file__), epochs=EPOCHS, path=str(path), resume=path.exists()
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        for _ in range(luck.randint(1, 5)):
            child.stdout.readline()
        # Anywhere within a step, an evaluation or the writing of a checkpoint.
        time.sleep(luck.uniform(0, 0.02))
        child.kill()
        _, errors = child.communicate()
    assert child.returncode in (0, -signal.SIGKILL), errors.decode()
    return child.returncode != 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    luck = random.Random()  # other moments every time; each must end alike
    whole, rows = train_tiny(epochs=EPOCHS, **EVERYTHING)
    path = tmp_path / "checkpoint.npz"
    killed = 0
    for _ in range(KILLS):
        killed += train_until_killed(path, luck)
        if path.exists():
            load(path)  # whole, whenever the process died
    assert killed >= KILLS // 2
    remove_leftovers(tmp_path)
    again, later = train_tiny(epochs=EPOCHS, checkpoint=path, resume=path.exists(), **EVERYTHING)
    assert_same_bits(again.state_dict(), whole.state_dict())
    assert_same_rows(later, rows)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.npz"]
