"""Weights on disk: round trips, damage, hostile files, failing disks."""

import errno
import os
import pickle
import zipfile

import numpy as np
import pytest

from tinysmooth.training import atomic, storage
from tinysmooth.training.storage import CorruptFileError, load, save


@pytest.fixture
def state():
    rng = np.random.default_rng(3)
    return {
        "conv1.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bn.num_batches_tracked": np.int64(7),
        "empty": np.zeros((0, 5)),
        "scalar": np.array(2.5),
        "file": np.arange(3),  # numpy.savez(path, **{"file": ...}) fails on this one
        "self": np.array([True, False]),
        "a/b": np.array(["text", "more"]),
    }


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_load_gives_back_what_was_saved(tmp_path, state):
    save(tmp_path / "w.npz", state)
    loaded = load(tmp_path / "w.npz")
    assert list(loaded) == list(state)
    for name, value in state.items():
        assert loaded[name].dtype == value.dtype and loaded[name].shape == np.shape(value)
        np.testing.assert_array_equal(loaded[name], value)


def test_strided_and_transposed_arrays_come_back_contiguous_and_equal(tmp_path):
    base = np.arange(24.0).reshape(2, 3, 4)
    state = {"transposed": base.T, "strided": base[:, ::2, ::-1], "order": np.asfortranarray(base)}
    save(tmp_path / "w.npz", state)
    for name, array in load(tmp_path / "w.npz").items():
        np.testing.assert_array_equal(array, state[name])
        assert array.flags.c_contiguous and array.flags.writeable


def test_special_values_keep_their_bits(tmp_path):
    array = np.array([np.nan, -0.0, np.inf, 5e-324])
    save(tmp_path / "w.npz", {"x": array})
    assert load(tmp_path / "w.npz")["x"].tobytes() == array.tobytes()


def test_the_path_is_used_exactly_as_given(tmp_path, state):
    save(str(tmp_path / "weights"), state)
    assert names_in(tmp_path) == ["weights"]
    assert list(load(tmp_path / "weights")) == list(state)


def test_the_same_state_gives_the_same_bytes(tmp_path, state):
    save(tmp_path / "a", state)
    save(tmp_path / "b", state)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numpy_reads_our_files_and_we_read_numpys(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    save(tmp_path / "ours.npz", {"x": array})
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as file:
        assert file.files == ["x"]
        np.testing.assert_array_equal(file["x"], array)
    np.savez_compressed(tmp_path / "numpy.npz", x=array)
    np.testing.assert_array_equal(load(tmp_path / "numpy.npz")["x"], array)


def test_an_empty_state_is_a_valid_file(tmp_path):
    save(tmp_path / "w.npz", {})
    assert load(tmp_path / "w.npz") == {}


def test_every_single_flipped_bit_is_found(tmp_path):
    path = tmp_path / "w.npz"
    save(path, {"x": np.arange(2.0), "y": np.array(1)})
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        with pytest.raises(CorruptFileError, match=r"load: .*w\.npz"):
            load(path)


def test_every_truncation_is_found(tmp_path):
    path = tmp_path / "w.npz"
    save(path, {"x": np.arange(2.0)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFileError, match=r"load: .*w\.npz"):
            load(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(CorruptFileError, match="truncated or damaged"):
        load(path)


def test_a_flipped_bit_in_the_data_of_an_unsealed_file_is_found(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, x=np.arange(100.0))
    damaged = bytearray(path.read_bytes())
    damaged[400] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CorruptFileError, match=r"w\.npz.*damaged"):
        load(path)


class Bomb:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_small_file_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(1_000_000))
    assert load(tmp_path / "bomb.npz")["x"].shape == (1_000_000,)  # this one is harmless
    monkeypatch.setattr(storage, "_LARGE", 1_000_000)
    with pytest.raises(CorruptFileError, match=r"bomb\.npz.* would unpack to 8,000,\d+"):
        load(tmp_path / "bomb.npz")
    np.savez_compressed(tmp_path / "real.npz", x=np.random.default_rng(0).random(1_000_000))
    assert load(tmp_path / "real.npz")["x"].shape == (1_000_000,)


def test_a_pickle_is_refused_and_never_run(tmp_path):
    fuse = tmp_path / "exploded"
    np.savez(tmp_path / "objects.npz", x=np.array([Bomb(fuse)], dtype=object))
    with pytest.raises(CorruptFileError, match="pickled Python objects in 'x.npy'"):
        load(tmp_path / "objects.npz")
    with zipfile.ZipFile(tmp_path / "raw.npz", "w") as archive:
        archive.writestr("x.npy", pickle.dumps(Bomb(fuse)))
    with pytest.raises(CorruptFileError, match=r"raw\.npz"):
        load(tmp_path / "raw.npz")
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Bomb(fuse)))
    with pytest.raises(CorruptFileError, match="not an .npz file"):
        load(tmp_path / "plain.npz")
    assert not fuse.exists()


def test_a_zip_of_other_things_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CorruptFileError, match=r"'readme.txt'; expected arrays"):
        load(tmp_path / "w.npz")


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_failing_write_leaves_the_previous_file_whole_and_says_so(
    tmp_path, monkeypatch, state, moment
):
    path = tmp_path / "w.npz"
    save(path, {"x": np.arange(3)})
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if moment == "write":
        monkeypatch.setattr(atomic, "open", full, raising=False)
    else:
        monkeypatch.setattr(atomic.os, moment, full)
    with pytest.raises(OSError, match="No space left on device.*previous file is whole") as caught:
        save(path, state)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["w.npz"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_really_full_device_is_reported(tmp_path, monkeypatch, state):
    monkeypatch.setattr(atomic, "open", lambda path, mode: open("/dev/full", "wb"), raising=False)
    with pytest.raises(OSError, match="nothing was written under that name"):
        save(tmp_path / "w.npz", state)
    assert names_in(tmp_path) == []


def test_an_interrupt_while_writing_leaves_no_temporary_file(tmp_path, monkeypatch, state):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "w.npz", state)
    assert names_in(tmp_path) == []


def test_leftovers_of_a_killed_process_are_removed(tmp_path, monkeypatch, state):
    with monkeypatch.context() as patch:
        patch.setattr(atomic.Path, "unlink", lambda self: None)  # as if killed before tidying
        patch.setattr(atomic.os, "replace", lambda *args: None)
        save(tmp_path / "w.npz", state)
    assert len(names_in(tmp_path)) == 1
    (tmp_path / ".hidden").write_text("not ours")
    atomic.remove_leftovers(tmp_path)
    assert names_in(tmp_path) == [".hidden"]


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")
def test_a_symbolic_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    save(tmp_path / "link", {"x": np.arange(2)})
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").is_file()


class NotAnArray:
    """Stands for a tensor: it has a numpy() method."""

    def numpy(self):
        return np.zeros(2)


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        ([1, 2], TypeError, r"state is \[1, 2\] \(list\); expected a dictionary"),
        ({"x": [1.0]}, TypeError, r"state\['x'\] is \[1.0\] \(list\); expected a NumPy array"),
        ({"x": NotAnArray()}, TypeError, r"state\['x'\].*Pass tensor\.numpy\(\)"),
        ({"x": np.array([None])}, TypeError, r"state\['x'\] has dtype object"),
        ({3: np.zeros(2)}, TypeError, r"key 3 \(int\); expected a string"),
        ({"": np.zeros(2)}, ValueError, "key ''; expected a non-empty name"),
        ({"x.npy": np.zeros(2)}, ValueError, "key 'x.npy'"),
        ({"a\\b": np.zeros(2)}, ValueError, "key"),
    ],
)
def test_a_bad_state_is_refused_before_anything_is_written(tmp_path, state, error, words):
    with pytest.raises(error, match=words):
        save(tmp_path / "w.npz", state)
    assert names_in(tmp_path) == []


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.npz.*does not exist"):
        load(tmp_path / "missing.npz")
    with pytest.raises(FileNotFoundError, match="nowhere.*does not exist.*Create it"):
        save(tmp_path / "nowhere" / "w.npz", {})
    with pytest.raises(IsADirectoryError, match="a folder; expected"):
        load(tmp_path)
    with pytest.raises(IsADirectoryError, match="a folder; expected"):
        save(tmp_path, {})


@pytest.mark.parametrize("content", [b"", b"hello, world", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"])
def test_other_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"w\.npz"):
        load(tmp_path / "w.npz")


def test_saved_weights_load_into_torch_bit_for_bit(tmp_path):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    weights = {"weight": rng.normal(size=(3, 4)).astype(np.float32), "bias": np.ones(3, np.float32)}
    save(tmp_path / "w.npz", weights)
    module = torch.nn.Linear(4, 3)
    module.load_state_dict({k: torch.from_numpy(v) for k, v in load(tmp_path / "w.npz").items()})
    for name, value in module.state_dict().items():
        assert value.numpy().tobytes() == weights[name].tobytes()
