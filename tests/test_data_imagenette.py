"""Imagenette from the disk: layout, decoding, faulty files, subsets and noisy labels."""

import os
import shutil
import sys
import warnings

import numpy as np
import pytest
from data_trees import COLOURS, class_of, make_tree

from tinysmooth.data import (
    WNIDS,
    DataWarning,
    find_imagenette,
    load_imagenette,
)
from tinysmooth.data.layout import list_split


@pytest.fixture(autouse=True)
def nothing_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYSMOOTH_CACHE", "off")
    monkeypatch.setenv("TINYSMOOTH_OFFLINE", "1")
    monkeypatch.delenv("TINYSMOOTH_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "root")


# ---- What comes out


def test_images_come_with_the_class_of_their_folder(tree):
    images, targets = load_imagenette(tree, size=8)
    assert images.shape == (40, 3, 8, 8) and images.dtype == np.uint8
    assert targets.tolist() == sorted(list(range(10)) * 4) and targets.dtype == np.int64
    assert [class_of(image[:, 4, 4]) for image in images] == targets.tolist()
    assert images.transpose(0, 2, 3, 1).flags.c_contiguous


def test_the_validation_split_is_another_folder(tree):
    data = load_imagenette(tree, size=8, split="val")
    assert data.num_images == 20 and data.split == "val" and not data.is_stand_in


def test_the_parent_folder_will_do(tree):
    assert find_imagenette(tree.parent) == tree
    assert load_imagenette(str(tree.parent), size=8).num_images == 40


def test_the_usual_places_are_searched_in_order(tree, tmp_path, monkeypatch):
    user = tmp_path / "user" / "tinysmooth"
    shutil.copytree(tree, user / "imagenette2-160")
    assert find_imagenette() == user / "imagenette2-160"
    shutil.copytree(tree, tmp_path / "work" / "data" / "imagenette2-160")
    assert find_imagenette().resolve() == tmp_path / "work" / "data" / "imagenette2-160"
    monkeypatch.setenv("TINYSMOOTH_DATA", str(tree.parent))
    assert find_imagenette() == tree


def test_the_order_is_by_class_and_name_whatever_the_disk_says(tree, monkeypatch):
    expected = list_split(tree, "train").names
    assert list(expected) == sorted(expected)
    listdir = type(tree).iterdir
    monkeypatch.setattr(type(tree), "iterdir", lambda self: reversed(list(listdir(self))))
    assert list_split(tree, "train").names == expected


def test_hidden_files_do_not_count(tree):
    (tree / "train" / WNIDS[0] / ".DS_Store").write_bytes(b"junk")
    assert load_imagenette(tree, size=8).num_images == 40


# ---- Faulty files


def break_some(tree):
    """Spoil four of sixty training images in four ways; return their names."""
    folder = tree / "train" / WNIDS[3]
    whole = (folder / f"{WNIDS[3]}_0.JPEG").read_bytes()
    spoilt = {"empty.JPEG": b"", "cut.JPEG": whole[: len(whole) // 2], "text.JPEG": b"hello"}
    for name, content in spoilt.items():
        (folder / name).write_bytes(content)
    return spoilt


def test_faulty_files_are_named_in_one_warning_and_skipped(tmp_path):
    tree = make_tree(tmp_path / "root", train=7)
    break_some(tree)
    with pytest.warns(DataWarning) as caught:
        data = load_imagenette(tree, size=8)
    assert len(caught) == 1
    said = str(caught[0].message)
    for words in ("skipped 3 of 73", "empty.JPEG (empty file)", "cut.JPEG (truncated)",
                  "text.JPEG (not an image)"):  # fmt: skip
        assert words in said
    assert np.bincount(data.targets).tolist() == [7] * 10
    assert [class_of(image[:, 4, 4]) for image in data.images] == data.targets.tolist()


def test_a_folder_among_the_images_is_named_too(tmp_path):
    tree = make_tree(tmp_path / "root", train=4)
    (tree / "train" / WNIDS[0] / "more").mkdir()
    with pytest.warns(DataWarning, match=r"n01440764/more \(a folder\)"):
        assert load_imagenette(tree, size=8).num_images == 40


def test_too_many_faulty_files_are_an_error_that_names_some(tree):
    break_some(tree)
    with pytest.raises(ValueError, match="3 of 43 images .*at most 5%.*cut.JPEG .truncated."):
        load_imagenette(tree, size=8)


def test_a_faulty_file_is_never_part_of_a_pick(tmp_path):
    tree = make_tree(tmp_path / "root", train=7)
    break_some(tree)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        for seed in range(5):
            data = load_imagenette(tree, size=8, per_class=6, seed=seed)
            assert np.bincount(data.targets).tolist() == [6] * 10
            assert [class_of(image[:, 4, 4]) for image in data.images] == data.targets.tolist()


# ---- Subsets


def test_a_pick_is_balanced_seeded_and_nested(tree):
    def pick(count, seed):
        data = load_imagenette(tree, size=8, per_class=count, seed=seed)
        assert np.bincount(data.targets).tolist() == [count] * 10
        return data

    # Sizes differ within a class, so the pixels at the edge tell the files of a class apart.
    np.testing.assert_array_equal(pick(2, 0).images, pick(2, 0).images)
    names = [_names(tree, count) for count in (1, 2, 3)]
    assert names[0] < names[1] < names[2]
    assert len({frozenset(_names(tree, 2, seed)) for seed in range(6)}) > 1


def _names(tree, count, seed=0):
    from tinysmooth.data.imagenette import _pick

    listing = list_split(tree, "train")
    rows = _pick(listing.targets, np.ones(len(listing.names), bool), count, seed, "")
    return {listing.names[row] for row in rows}


def test_more_than_there_are_is_an_error_with_the_number(tree):
    with pytest.raises(ValueError, match="per_class is 5, but 'tench' has only 4 images"):
        load_imagenette(tree, size=8, per_class=5)


# ---- Noisy labels


@pytest.mark.parametrize(("noise", "share"), [(0, 0.0), (1, 0.0), (25, 0.25), (50, 0.5)])
def test_noisy_labels_are_those_of_the_list(tree, noise, share):
    data = load_imagenette(tree, size=8, noise=noise)
    assert (data.targets != data.clean_targets).mean() == share
    wrong = data.targets != data.clean_targets
    np.testing.assert_array_equal(data.targets[wrong], (data.clean_targets[wrong] + 1) % 10)
    assert [class_of(image[:, 4, 4]) for image in data.images] == data.clean_targets.tolist()
    assert data.noise == noise


def test_a_pick_holds_the_same_images_at_each_noise(tree):
    clean = load_imagenette(tree, size=8, per_class=2)
    noisy = load_imagenette(tree, size=8, per_class=2, noise=50)
    np.testing.assert_array_equal(clean.images, noisy.images)


def test_validation_labels_are_always_clean(tree):
    data = load_imagenette(tree, size=8, split="val", noise=50)
    np.testing.assert_array_equal(data.targets, data.clean_targets)
    assert data.noise == 0


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda text: None, FileNotFoundError, "noise=25 needs .*noisy_imagenette.csv"),
        (lambda text: text.replace("labels_25", "labels_26"), ValueError, "'noisy_labels_25'"),
        (lambda text: text.replace(WNIDS[7], "n999"), ValueError, "has the label 'n999'"),
        (lambda text: text.replace("_2.JPEG", "_9.JPEG"), ValueError, "no label for .*_2.JPEG"),
        (lambda text: "", ValueError, r"has the columns \[\]"),
    ],
)
def test_a_list_that_does_not_fit_is_named(tree, spoil, error, words):
    path = tree / "noisy_imagenette.csv"
    text = spoil(path.read_text(encoding="utf-8"))
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    assert load_imagenette(tree, size=8).num_images == 40  # not needed without noise
    with pytest.raises(error, match=words):
        load_imagenette(tree, size=8, noise=25)


# ---- Wrong folders


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text("x"), "found a file"),
        (lambda path: path.mkdir(), "found an empty folder"),
        (lambda path: (path / "photos").mkdir(parents=True), "found photos/"),
    ],
)
def test_a_wrong_folder_says_what_was_expected_and_found(tmp_path, make, found):
    make(tmp_path / "wrong")
    with pytest.raises(FileNotFoundError) as caught:
        load_imagenette(tmp_path / "wrong")
    said = str(caught.value)
    assert found in said and str(tmp_path / "wrong") in said
    assert "expected train/ and val/ with the class folders n01440764 ... n03888257" in said


def test_an_incomplete_folder_says_what_is_missing(tree):
    shutil.rmtree(tree / "val" / WNIDS[2])
    with pytest.raises(FileNotFoundError, match=f"found all of it but val/{WNIDS[2]}"):
        load_imagenette(tree.parent)


def test_nowhere_names_the_places_that_were_searched(tmp_path):
    with pytest.raises(FileNotFoundError, match="in none of data, .*user/tinysmooth.*TINYSMOOTH"):
        load_imagenette()


def test_an_empty_split_is_an_error(tree):
    for wnid in WNIDS:
        for path in (tree / "val" / wnid).iterdir():
            path.unlink()
    with pytest.raises(ValueError, match="val holds no images"):
        load_imagenette(tree, size=8, split="val")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"size": 4}, ValueError, "size is 4; expected an integer >= 8"),
        ({"size": "64"}, TypeError, "size is '64'"),
        ({"per_class": 0}, ValueError, "per_class is 0"),
        ({"per_class": 1.5}, TypeError, "per_class is 1.5"),
        ({"split": "valid"}, ValueError, "split is 'valid'; expected one of 'train', 'val'"),
        ({"noise": 2}, ValueError, "noise is 2; expected one of 0, 1, 5, 25, 50"),
        ({"noise": True}, TypeError, "noise is True"),
        ({"noise": 3, "split": "val"}, ValueError, "noise is 3"),
        ({"seed": -3}, ValueError, "seed is -3"),
        ({"root": 1}, TypeError, "root is a int; expected a path"),
    ],
)
def test_bad_options_are_refused_with_their_value(options, error, words):
    with pytest.raises(error, match=words):
        load_imagenette(**options)


def test_colours_of_the_test_tree_are_far_apart():
    assert len({class_of(np.array(colour)) for colour in COLOURS}) == 10


def test_a_link_to_nowhere_is_a_faulty_file(tmp_path):
    tree = make_tree(tmp_path, train=30)
    (tree / "train" / WNIDS[0] / "z.JPEG").symlink_to("gone")
    with pytest.warns(DataWarning, match=r"z\.JPEG"):
        assert len(load_imagenette(tree, size=8).targets) == 300


def test_a_usual_place_that_may_not_be_read_is_a_place_without_it(monkeypatch, tmp_path):
    (tmp_path / "closed").mkdir()
    plain = os.stat

    def stat(path, *args, **options):  # the superuser may read every folder
        if "closed" in os.fsdecode(path):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return plain(path, *args, **options)

    monkeypatch.setenv("TINYSMOOTH_DATA", str(tmp_path / "closed"))
    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(FileNotFoundError, match="in none of"):
        find_imagenette()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are text")
def test_a_root_whose_name_is_no_text_is_read_and_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYSMOOTH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / os.fsdecode(b"im\xff")
    make_tree(folder)
    for _ in range(2):
        assert len(load_imagenette(folder, size=8).targets) == 40
