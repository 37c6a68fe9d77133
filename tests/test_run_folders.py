"""Run folders that something happened to: what resume makes of them, and what it leaves alone."""

import dataclasses
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from data_trees import make_tree
from PIL import Image
from test_training import OPTIONS, assert_same_bits, assert_same_rows, interrupt_at

from tinysmooth.__main__ import main
from tinysmooth.data import WNIDS
from tinysmooth.kernels.thread_count import get_num_threads, set_num_threads
from tinysmooth.training import (
    OptionError,
    RunFolder,
    TrainConfig,
    TrainingInterrupted,
    job,
    load,
    load_model,
    read_history,
    resume,
    train,
)

CONFIG = TrainConfig(**{**OPTIONS, "threads": 1})


@pytest.fixture
def run(tmp_path):
    return train(CONFIG, tmp_path / "run", progress=False)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stop_at(path, moment):
    """Train into ``path`` until Ctrl-C in the given step."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, moment)
        with pytest.raises(TrainingInterrupted):
            train(CONFIG, path, progress=False)


# Without a checkpoint


def test_a_finished_run_without_its_checkpoint_is_only_evaluated_again(run):
    run.folder.checkpoint.unlink()
    weights = load(run.folder.weights)
    weights[next(iter(weights))] += 1
    job.save(run.folder.weights, weights)  # to be told from what training would write
    before = files(run.folder.path)
    again = resume(run.folder.path, progress=False)
    assert files(run.folder.path) == before
    assert_same_bits(again.model.state_dict(), weights)
    assert again.history == run.history and again.num_train == run.num_train
    model, _, _ = load_model(run.folder.path)
    assert_same_bits(model.state_dict(), weights)


def test_evaluated_again_without_a_checkpoint_the_numbers_are_the_same(run):
    run.folder.checkpoint.unlink()
    again = resume(run.folder.path, progress=False)
    np.testing.assert_array_equal(again.evaluation.logits, run.evaluation.logits)


def test_a_finished_run_is_not_evaluated_on_more_or_fewer_images(run):
    run.folder.checkpoint.unlink()
    content = json.loads(run.folder.config.read_text())
    content["data"]["num_val"] += 1
    run.folder.config.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"num_val is 20; expected 21, as in .*config\.json"):
        resume(run.folder.path, progress=False)


@pytest.mark.parametrize("left", ["weights.npz", "history.csv", "result.json"])
def test_an_unfinished_run_without_its_checkpoint_is_refused_and_left_alone(tmp_path, left):
    stop_at(tmp_path / "run", 4)
    folder = RunFolder(tmp_path / "run")
    (folder.path / "result.json").write_text("{}")
    for name in {"checkpoint.npz", "weights.npz", "history.csv", "result.json"} - {left}:
        (folder.path / name).unlink()
    before = files(folder.path)
    with pytest.raises(ValueError, match=rf"{left}.* but no checkpoint\.npz; expected it to go on"):
        resume(folder.path, progress=False)
    assert files(folder.path) == before


def test_a_run_killed_before_its_first_checkpoint_starts(run, tmp_path):
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "config.json").write_bytes(run.folder.config.read_bytes())
    started = resume(tmp_path / "killed", progress=False)
    assert_same_bits(started.model.state_dict(), run.model.state_dict())


# Two at once


def test_the_second_of_two_that_begin_at_once_leaves_the_folder_to_the_first(tmp_path, monkeypatch):
    """Both find the folder empty; the first one is at work when the second wants to write."""
    plain, out = job._load_data, tmp_path / "run"

    def load_slowly(config, source, *, talk):
        loaded = plain(config, source, talk=talk)
        monkeypatch.setattr(job, "_load_data", plain)
        train(CONFIG, out, progress=False)
        return loaded

    monkeypatch.setattr(job, "_load_data", load_slowly)
    with pytest.raises(OptionError, match="which is not empty; .* --resume"):
        train(TrainConfig(**{**OPTIONS, "threads": 1, "epochs": 1}), out, progress=False)
    assert RunFolder(out).read_config()[0] == CONFIG
    assert len(read_history(RunFolder(out).history)) == 2


@pytest.mark.skipif(os.name == "nt", reason="needs file locks of Unix")
def test_a_folder_that_another_process_holds_is_not_written_into(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with folder.alone(), pytest.raises(RuntimeError, match="another process is training in"):
        train(CONFIG, folder.path, progress=False)
    assert files(folder.path) == {}


# The history file


def test_rows_come_from_the_checkpoint_and_not_from_a_history_that_is_behind(run, tmp_path):
    stop_at(tmp_path / "stopped", 4)
    folder = RunFolder(tmp_path / "stopped")
    folder.history.unlink()  # killed between checkpoint and history
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, 1)
        with pytest.raises(TrainingInterrupted):
            resume(folder.path, progress=False)
    assert_same_rows(read_history(folder.history), run.history[:1])
    resume(folder.path, progress=False)
    assert_same_rows(read_history(folder.history), run.history)


def test_a_damaged_history_is_no_obstacle_beside_a_checkpoint(run):
    with open(run.folder.history, "ab") as file:
        file.write(b"\xff")
    again = resume(run.folder.path, progress=False)
    assert again.history == run.history == read_history(run.folder.history)


@pytest.mark.parametrize("tail", [b"\xff", b"1" * 200_000], ids=["no text", "endless"])
def test_a_damaged_history_is_named(run, capsys, tail):
    with open(run.folder.history, "ab") as file:
        file.write(tail)
    with pytest.raises(ValueError, match=r"read_history: .*history\.csv'"):
        read_history(run.folder.history)
    assert main(["info", str(run.folder.path)]) == 1
    assert "history.csv" in capsys.readouterr().err


# config.json


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (["data", "root"], 5, r"data\.root is 5 \(int\), expected a folder or null"),
        (["data", "source"], "foo", r"data\.source is 'foo' \(str\), expected 'imagenette' or"),
        (["data", "source"], ["drawn"], r"data\.source is \['drawn'\]"),
        (["data", "class_names"], None, r"data\.class_names is null, expected a list of names"),
        (["data", "class_names"], [], r"data\.class_names is \[\]"),
        (["data", "class_names"], [1, 2], r"data\.class_names is \[1, 2\]"),
        (["data", "num_val"], "x", r"data\.num_val is 'x' \(str\), expected a whole number"),
        (["data", "stand_in"], "no", r"data\.stand_in is 'no'"),
        (["data"], [], r"data is \[\] \(list\), expected an object"),
        (["options"], 3, r"options is 3 \(int\), expected an object"),
        (["environment"], [1], r"environment is \[1\] \(list\), expected an object"),
        ([], [1], r"the content is \[1\] \(list\), expected an object"),
    ],
)
def test_a_field_of_the_wrong_type_is_named_with_its_file(tmp_path, place, value, words):
    content = a_config()
    if place:
        *outer, last = place
        inner = content
        for name in outer:
            inner = inner[name]
        inner[last] = value
    (tmp_path / "config.json").write_text(json.dumps(content if place else value))
    for read in (resume, load_model):
        with pytest.raises(ValueError, match=rf"config\.json' is damaged \({words}"):
            read(tmp_path)


@pytest.mark.parametrize("name", ["num_val", "source"])
def test_a_missing_field_is_named_with_its_file(tmp_path, name):
    content = a_config()
    del content["data"][name]
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"config\.json' is damaged \(it lacks '{name}'\)"):
        resume(tmp_path)


def test_a_run_without_its_number_of_threads_is_not_resumed(tmp_path):
    content = a_config()
    content["options"]["threads"] = None
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"config\.json' has threads = null; expected their numb"):
        resume(tmp_path)


def a_config():
    data = {
        "source": "drawn", "root": None, "reason": "", "description": "drawings", "stand_in": True,
        "class_names": ["a", "b"], "num_train": 20, "num_val": 20,
    }  # fmt: skip
    environment = {"python": "3.11"}
    options = CONFIG.to_dict()
    return {"format": 1, "options": options, "data": data, "environment": environment}


def test_a_run_leaves_the_number_of_threads_as_it_was(tmp_path):
    set_num_threads(2)
    run = train(CONFIG, tmp_path / "run", progress=False)
    assert get_num_threads() == 2
    resume(run.folder.path, progress=False)
    assert get_num_threads() == 2


@pytest.mark.parametrize("begin", ["train", "resume", "judge"])
def test_a_run_has_its_own_number_of_threads_whatever_ends_beside_it(tmp_path, monkeypatch, begin):
    """As two runs in two threads of a pool: the other one ends, and brings back its number."""
    if begin != "train":
        folder = train(CONFIG, tmp_path / "run", progress=False).folder
        if begin == "judge":
            folder.checkpoint.unlink()
    seen = []

    def beside(function):
        def spy(*args, **kwargs):
            with ThreadPoolExecutor(1) as other:
                other.submit(set_num_threads, 3).result()
                seen.append((get_num_threads(), other.submit(get_num_threads).result()))
            return function(*args, **kwargs)

        return spy

    for name in ("fit", "evaluate"):
        monkeypatch.setattr(job, name, beside(getattr(job, name)))
    if begin == "train":
        train(CONFIG, tmp_path / "run", progress=False)
    else:
        resume(tmp_path / "run", progress=False)
    assert seen == [(1, 3)] * (1 if begin == "judge" else 2)
    assert get_num_threads() == 3


def test_a_quiet_run_shows_no_bars(tmp_path, monkeypatch):
    seen = []
    for name in ("choose_source", "load_data"):
        real = getattr(job, name)
        monkeypatch.setattr(
            job,
            name,
            lambda *args, real=real, **options: (
                seen.append(options["progress"]) or real(*args, **options)
            ),
        )
    train(CONFIG, tmp_path / "run", progress=False)
    assert seen == [False, False, False]


def test_a_run_goes_on_with_images_that_were_moved(tmp_path):
    tree = make_tree(tmp_path / "before", train=4, val=2)
    config = dataclasses.replace(
        CONFIG, data="imagenette", root=str(tree), per_class=2, val_per_class=2
    )
    before = train(config, tmp_path / "run", progress=False)
    tree.parent.rename(tmp_path / "after")
    with pytest.raises(FileNotFoundError):
        resume(tmp_path / "run", progress=False)
    after = resume(tmp_path / "run", root=tmp_path / "after", progress=False)
    np.testing.assert_array_equal(after.evaluation.logits, before.evaluation.logits)
    other = make_tree(tmp_path / "other", train=4, val=2)
    for path in (other / "train" / WNIDS[0]).iterdir():
        Image.new("RGB", (20, 20), (1, 2, 3)).save(path, "JPEG")
    with pytest.raises(ValueError, match="data"):
        resume(tmp_path / "run", root=other, progress=False)


def test_a_home_in_the_root_is_spelt_out():
    assert TrainConfig(root="~/x").root == os.path.expanduser("~/x")
