"""A full disk, a kill in the middle of a write, no home: what is on disk stays whole."""

import gc
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from test_training import assert_same_bits, assert_same_rows, train_tiny

import tinysmooth as ts
from tinysmooth import nn
from tinysmooth.__main__ import main
from tinysmooth.kernels import memory
from tinysmooth.training import (
    DivergedError,
    RunFolder,
    TrainConfig,
    fit,
    load,
    loop,
    read_history,
    resume,
    storage,
    train,
)
from tinysmooth.training.atomic import remove_leftovers, write_atomically

QUICK = [
    "--data", "drawn", "--per-class", "2", "--val-per-class", "2", "--size", "16",
    "--epochs", "2", "--batch-size", "8", "--model", "small_convnet", "--threads", "1",
]  # fmt: skip
OPTIONS = {
    "data": "drawn", "per_class": 2, "val_per_class": 2, "size": 16, "epochs": 2, "batch_size": 8,
    "model": "small_convnet", "threads": 1,
}  # fmt: skip


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Writing


KILLED = """
import os, signal, sys
from tinysmooth.training import atomic, save
import numpy as np
moment, path = sys.argv[1:]
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "half-written":
    plain = open
    class Half:
        def __init__(self, *args): self.file = plain(*args)
        def __enter__(self): return self
        def __exit__(self, *error): self.file.close()
        def write(self, content):
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            die()
    atomic.open = Half
elif moment == "synced":
    atomic.os.replace = die
elif moment == "written":
    atomic.os.fsync = die
else:
    atomic._sync_folder = die
save(path, {"x": np.arange(5000.0)})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["half-written", "written", "synced", "renamed"])
def test_killed_while_writing_the_old_file_or_the_new_one_is_whole(tmp_path, moment):
    path = tmp_path / "checkpoint.npz"
    ts.save(path, {"x": np.arange(3.0)})
    done = subprocess.run([sys.executable, "-c", KILLED, moment, str(path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(load(path)["x"]) == (5000 if moment == "renamed" else 3)
    assert len(list(tmp_path.iterdir())) == (1 if moment == "renamed" else 2)
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_disk_that_fills_up_stops_a_run_that_goes_on_with_the_same_bits(tmp_path):
    import resource

    long = [*QUICK, "--seed", "5"]
    long[long.index("--epochs") + 1] = "3"
    assert main(["train", *long, "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    folder = RunFolder(tmp_path / "run")
    stop = pytest.MonkeyPatch()
    with stop.context() as patch:
        plain = loop.Loop._close_epoch

        def close(self, *args):
            plain(self, *args)
            self.interrupt.requested = True

        patch.setattr(loop.Loop, "_close_epoch", close)
        assert main(["train", *long, "--out", str(folder.path), "--quiet"]) == 130
    before = files(folder.path)
    limit = len(before["checkpoint.npz"]) // 2

    def fill_up():
        # Python ignores SIGXFSZ: a write beyond the limit fails half-way, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "tinysmooth", "train", "--resume", str(folder.path)]
    done = subprocess.run(
        [*command, "--quiet"], capture_output=True, text=True, preexec_fn=fill_up, timeout=120
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("tinysmooth train: ") and "Traceback" not in done.stderr
    assert "checkpoint.npz' could not be written (File too large)" in lines[-1]
    assert "the previous file is whole and unchanged" in lines[-1]
    assert files(folder.path) == before
    assert main(["train", "--resume", str(folder.path), "--quiet"]) == 0
    whole = RunFolder(tmp_path / "whole")
    assert_same_bits(load(folder.weights), load(whole.weights))
    assert_same_rows(read_history(folder.history), read_history(whole.history))


def test_a_seal_does_not_make_a_pickle_good(tmp_path, monkeypatch):
    """Whoever can write the file can also seal it."""
    fuse = tmp_path / "exploded"

    class Bomb:
        def __reduce__(self):
            return (open, (str(fuse), "w"))

    plain = np.lib.format.write_array
    monkeypatch.setattr(
        storage.np.lib.format, "write_array", lambda file, array, **options: plain(file, array)
    )
    state = {"fine": np.ones(3), "evil": np.array([Bomb()], dtype=object)}
    (tmp_path / "weights.npz").write_bytes(storage._pack(state))
    fuse.unlink(missing_ok=True)
    with pytest.raises(ts.training.CorruptFileError, match=r"pickled Python objects in 'evil\.npy"):
        load(tmp_path / "weights.npz")
    assert not fuse.exists()


# A run


NOBODY = """
import pwd, sys
from pathlib import Path
def unknown(*who):
    raise KeyError("this user has no entry")
pwd.getpwuid = pwd.getpwnam = unknown
try:
    Path.home()
    sys.exit("there is a home")
except RuntimeError:
    from tinysmooth.__main__ import main
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the places are those of Unix")
@pytest.mark.parametrize(
    ("program", "home"), [(["-c", NOBODY], {}), (["-m", "tinysmooth"], {"HOME": "/proc/none"})],
    ids=["no home", "a home that cannot be written"],
)  # fmt: skip
def test_a_whole_run_needs_no_home(tmp_path, program, home):
    # The cache of the kernels has tests of its own; here compiling would take most of the time.
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    done = subprocess.run(
        [sys.executable, *program, "train", *QUICK, "--out", "run", "--quiet"],
        env={**environment, **home, "NUMBA_DISABLE_JIT": "1"},
        cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "report.md").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_diverged_run_keeps_its_weights_also_when_it_is_resumed(tmp_path, monkeypatch):
    plain, steps = loop.cross_entropy, [0]

    def spoil(logits, targets, **options):
        steps[0] += 1
        return plain(logits, targets, **options) * (np.nan if steps[0] >= 5 else 1.0)

    monkeypatch.setattr(loop, "cross_entropy", spoil)
    with pytest.raises(DivergedError, match="became nan in epoch 2, step 2.* Try lr = "):
        train(TrainConfig(**OPTIONS), tmp_path / "run", progress=False)
    folder = RunFolder(tmp_path / "run")
    good = load(folder.weights)
    checkpoint = folder.checkpoint.read_bytes()
    assert len(read_history(folder.history)) == 1
    with pytest.raises(DivergedError):
        resume(folder.path, progress=False)
    assert_same_bits(load(folder.weights), good)
    assert folder.checkpoint.read_bytes() == checkpoint
    monkeypatch.setattr(loop, "cross_entropy", plain)
    again = resume(folder.path, progress=False)
    whole = train(TrainConfig(**OPTIONS), tmp_path / "whole", progress=False)
    assert_same_bits(again.model.state_dict(), whole.model.state_dict())


def test_twenty_thousand_steps_of_training_do_not_grow(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((1000, 3), np.float32)
    targets = (images[:, 0] > 0).astype(np.int64)
    model = nn.Sequential(nn.Linear(3, 2, rng=rng))
    objects, blocks = [], []

    def note(row, model):
        gc.collect()
        objects.append(sys.getallocatedblocks())
        blocks.append(memory.statistics().allocated)

    fit(model, (images, targets), epochs=20, batch_size=1, lr=0.01, augment=False, rng=rng,
        checkpoint=tmp_path / "c.npz", callbacks=[note], progress=False)  # fmt: skip
    # 18,000 steps: a single object that each left behind would be 18,000. The rows of the history
    # and what tests before this one left for the collector are some hundreds.
    assert len(objects) == 20 and objects[-1] - objects[1] < 4000
    assert blocks[-1] == blocks[1]


def test_every_luck_of_a_run_comes_from_its_one_generator():
    """With NumPy's global state and hashes of other values, the bits are the same."""
    first, rows = train_tiny(p=0.3, mixup=0.4, zoom=0.5)
    np.random.seed(123)  # noqa: NPY002  (the legacy state, which nothing may use)
    second, again = train_tiny(p=0.3, mixup=0.4, zoom=0.5)
    assert_same_bits(first.state_dict(), second.state_dict())
    assert_same_rows(rows, again)
    other, _ = train_tiny(seed=2, p=0.3, mixup=0.4, zoom=0.5)
    assert first.state_dict()["6.weight"].tobytes() != other.state_dict()["6.weight"].tobytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="a device, pipe or socket; expected the name of a file"):
        write_atomically(pipe, b"content")
    assert pipe.is_fifo() and [path.name for path in tmp_path.iterdir()] == ["pipe"]
