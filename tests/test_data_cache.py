"""The cache of decoded images: used when right, made again when not, and never in the way."""

import json
import multiprocessing
import os
import sys

import numpy as np
import pytest
from data_trees import make_tree
from PIL import Image

from tinysmooth.data import WNIDS, DataWarning, load_imagenette
from tinysmooth.data import cache as cache_room


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYSMOOTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "root")


@pytest.fixture
def decodings(monkeypatch):
    """Count how often a split is decoded."""
    done = []
    decode = cache_room.decode_files

    def counting(paths, out, **options):
        done.append(len(paths))
        return decode(paths, out, **options)

    monkeypatch.setattr(cache_room, "decode_files", counting)
    return done


def files(place):
    return sorted(path.name for path in place.iterdir())


def test_the_second_time_nothing_is_decoded(tree, place, decodings):
    first, second = load_imagenette(tree, size=8), load_imagenette(tree, size=8)
    assert decodings == [40]
    np.testing.assert_array_equal(first.images, second.images)
    assert len(files(place)) == 2


def test_the_cached_file_is_a_plain_npy_file(tree, place):
    data = load_imagenette(tree, size=8)
    (path,) = place.glob("*.npy")
    np.testing.assert_array_equal(np.load(path).transpose(0, 3, 1, 2), data.images)


def test_sizes_splits_and_folders_have_their_own_files(tree, place, decodings, tmp_path):
    load_imagenette(tree, size=8)
    load_imagenette(tree, size=9)
    load_imagenette(tree, size=8, split="val")
    other = load_imagenette(make_tree(tmp_path / "other"), size=8)
    assert decodings == [40, 40, 20, 40] and other.num_images == 40
    assert len(files(place)) == 8


@pytest.mark.parametrize("change", ["content", "time", "new", "gone", "renamed"])
def test_a_changed_source_is_noticed_and_the_old_file_goes(tree, place, decodings, change):
    load_imagenette(tree, size=8)
    path = tree / "train" / WNIDS[5] / f"{WNIDS[5]}_0.JPEG"
    if change == "content":
        Image.new("RGB", (40, 40), (1, 2, 3)).save(path, "JPEG")
    elif change == "time":
        os.utime(path, (1, 1))
    elif change == "new":
        path.with_name("zzz.JPEG").write_bytes(path.read_bytes())
    elif change == "gone":
        path.unlink()
    else:
        path.rename(path.with_name("aaa.JPEG"))
    data = load_imagenette(tree, size=8)
    assert len(decodings) == 2 and len(files(place)) == 2
    if change == "content":
        assert data.images[20].max() < 20


def spoil_bit(npy, note):
    content = bytearray(npy.read_bytes())
    content[-100] ^= 1
    npy.write_bytes(content)


def spoil_header(npy, note):
    content = bytearray(npy.read_bytes())
    content[30] ^= 4
    npy.write_bytes(content)


def truncate(npy, note):
    npy.write_bytes(npy.read_bytes()[:-1])


def empty(npy, note):
    npy.write_bytes(b"")


def spoil_note(npy, note):
    note.write_text("{")


def note_of_another(npy, note):
    note.write_text(json.dumps({"crc32": 0, "faults": {}}))


def pickled(npy, note):
    np.save(npy, np.array([print], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "spoil", [spoil_bit, spoil_header, truncate, empty, spoil_note, note_of_another, pickled]
)
def test_a_damaged_cache_is_said_in_a_line_and_made_again(tree, place, decodings, capsys, spoil):
    first = load_imagenette(tree, size=8, progress=False)
    (npy,), (note,) = place.glob("*.npy"), place.glob("*.json")
    capsys.readouterr()
    spoil(npy, note)
    second = load_imagenette(tree, size=8, progress=False)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "is damaged; decoding the images again" in said
    np.testing.assert_array_equal(first.images, second.images)
    load_imagenette(tree, size=8, progress=False)
    assert decodings == [40, 40] and capsys.readouterr().err == ""


def test_a_missing_note_makes_it_again_in_silence(tree, place, decodings, capsys):
    load_imagenette(tree, size=8)
    next(place.glob("*.json")).unlink()  # as after a crash between the two files
    load_imagenette(tree, size=8)
    assert decodings == [40, 40] and "damaged" not in capsys.readouterr().err


def test_a_place_that_cannot_be_written_costs_only_time(tree, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYSMOOTH_CACHE", str(tmp_path / "file"))
    assert load_imagenette(tree, size=8, progress=False).num_images == 40
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "decoded images are not kept" in said


def test_a_full_disk_leaves_no_half_file(tree, place, monkeypatch, capsys):
    def full(file, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_room, "_reserve", full)
    assert load_imagenette(tree, size=8).num_images == 40
    assert "No space left on device" in capsys.readouterr().err
    assert files(place) == []


def test_an_interrupt_leaves_no_half_file(tree, place, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_room, "decode_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_imagenette(tree, size=8)
    assert files(place) == []


def test_the_cache_can_be_switched_off(tree, tmp_path, monkeypatch, decodings):
    monkeypatch.setenv("TINYSMOOTH_CACHE", "off")
    load_imagenette(tree, size=8)
    load_imagenette(tree, size=8)
    assert decodings == [40, 40]


def test_no_home_is_no_obstacle(tree, monkeypatch, decodings):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TINYSMOOTH_CACHE", raising=False)
    monkeypatch.setattr("tinysmooth.data.places.Path.home", no_home)
    assert load_imagenette(tree, size=8).num_images == 40


@pytest.mark.parametrize("change", [('"30"', '"20"'), ('"30"', '"99"'), ("empty", "emqty")])
def test_a_changed_note_of_an_unreadable_file_is_noticed(
    tmp_path, place, decodings, capsys, change
):
    """Whoever believed it would serve the black image of the file that could not be read."""
    tree = make_tree(tmp_path / "root", train=3)
    (tree / "train" / WNIDS[9] / "x.JPEG").write_bytes(b"")
    with pytest.warns(DataWarning):
        first = load_imagenette(tree, size=8)
    (note,) = place.glob("*.json")
    text = note.read_text()
    assert change[0] in text
    note.write_text(text.replace(*change))
    capsys.readouterr()
    with pytest.warns(DataWarning, match=r"skipped 1 of 31 .*x\.JPEG \(empty file\)"):
        second = load_imagenette(tree, size=8, progress=False)
    assert "is damaged; decoding the images again" in capsys.readouterr().err
    np.testing.assert_array_equal(first.images, second.images)
    assert decodings == [31, 31]


def test_faulty_files_are_remembered_and_warned_of_each_time(tmp_path, place, decodings):
    tree = make_tree(tmp_path / "root", train=3)
    (tree / "train" / WNIDS[9] / "x.JPEG").write_bytes(b"")
    for _ in range(2):
        with pytest.warns(DataWarning, match=r"x.JPEG \(empty file\)"):
            assert load_imagenette(tree, size=8).num_images == 30
    assert decodings == [31]


def _load(root, results):
    results.put(int(load_imagenette(root, size=16, progress=False).images.sum()))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork to be quick")
def test_processes_that_start_at_once_all_get_the_images(tree, place):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_load, args=(tree, results)) for _ in range(3)]
    for process in processes:
        process.start()
    sums = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(30)
    assert sums == {int(load_imagenette(tree, size=16).images.sum())}
    assert len(files(place)) == 2
