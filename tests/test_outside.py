"""The command line from outside: whatever comes, an exit code, one clear line, nothing broken."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from test_cli import QUICK, names_in, usage_error

from tinysmooth import data
from tinysmooth.__main__ import main
from tinysmooth.training import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run folder."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", *QUICK, "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture
def copy(run, tmp_path):
    return RunFolder(shutil.copytree(run, tmp_path / "copy"))


def failure(capsys, argv):
    """The one line of a command that fails."""
    capsys.readouterr()
    assert main(argv) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"tinysmooth {argv[0]}: "), lines
    return lines[0]


# What a command says of a folder in which something is broken


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def garble(path):
    path.write_text("garbage\n")


def without_data(path):
    content = json.loads(path.read_text())
    del content["data"]
    path.write_text(json.dumps(content))


def other_options(path):
    content = json.loads(path.read_text())
    content["options"]["epochs"] = 3
    path.write_text(json.dumps(content))


def unknown_option(path):
    content = json.loads(path.read_text())
    content["options"]["flavour"] = "sweet"
    path.write_text(json.dumps(content))


BROKEN = [
    ("train", "checkpoint.npz", cut, "checkpoint.npz' is truncated or damaged"),
    ("train", "checkpoint.npz", flip, "checkpoint.npz' is damaged: its bytes do not fit"),
    ("train", "checkpoint.npz", garble, "checkpoint.npz' is not an .npz file"),
    ("train", "config.json", garble, "config.json' is damaged"),
    ("train", "config.json", without_data, "config.json' is damaged (it lacks 'data')"),
    ("train", "config.json", unknown_option, "config.json' is damaged (train: 'flavour' is not"),
    ("train", "config.json", other_options, "epochs is 3; expected 2, as in the checkpoint"),
    ("predict", "weights.npz", flip, "weights.npz' is damaged"),
    ("predict", "weights.npz", garble, "weights.npz' is not an .npz file"),
    ("predict", "weights.npz", os.remove, "has no weights.npz yet"),
    ("predict", "config.json", without_data, "config.json' is damaged (it lacks 'data')"),
    ("info", "config.json", cut, "config.json' is damaged"),
    ("info", "history.csv", garble, "history.csv' begins with ['garbage']"),
    ("info", "weights.npz", cut, "weights.npz' is truncated or damaged"),
]


@pytest.mark.parametrize(("command", "name", "spoil", "words"), BROKEN)
def test_what_is_broken_in_a_run_folder_is_named_and_left_alone(
    capsys, copy, command, name, spoil, words
):
    spoil(copy.path / name)
    before = {path.name: path.read_bytes() for path in copy.path.iterdir()}
    folder = str(copy.path)
    argv = {
        "train": ["train", "--resume", folder, "--quiet"],
        "predict": ["predict", __file__, "--weights", folder],
        "info": ["info", folder],
    }
    assert words in failure(capsys, argv[command])
    assert {path.name: path.read_bytes() for path in copy.path.iterdir()} == before


def test_a_run_of_which_only_the_options_are_left_begins_anew_and_ends_alike(copy):
    weights = copy.weights.read_bytes()
    for path in (copy.checkpoint, copy.weights, copy.history):
        path.unlink()
    assert main(["train", "--resume", str(copy.path), "--quiet"]) == 0
    assert copy.weights.read_bytes() == weights


# Places


@pytest.mark.skipif(sys.platform != "linux", reason="the place is one of Linux")
def test_a_place_that_cannot_be_made_is_named(capsys):
    out = "/proc/nowhere/run"
    assert f"'{out}' could not be made" in failure(
        capsys, ["train", *QUICK, "--quiet", "--out", out]
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the place is one of Linux")
def test_a_picture_that_cannot_be_written_is_named_after_the_answer(capsys, run, tmp_path):
    image = tmp_path / "white.png"
    Image.new("RGB", (20, 20), "white").save(image)
    argv = ["predict", str(image), "--weights", str(run), "--picture", "/proc/x.png"]
    assert main(argv) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{image}: ") and "'/proc/x.png' could not be written" in shown.err


def test_the_folder_of_a_single_run_is_no_place_for_a_comparison(capsys, run):
    before = names_in(run)
    message = usage_error(capsys, ["compare", *QUICK, "--out", str(run)])
    assert "--out is" in message and "the folder of a single run" in message
    assert names_in(run) == before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["99"], "number is 99; expected one of 1, 2"),
        (["check", "99"], "number is 99; expected one of [1, 2"),
        (["check", "3", "--file", "no.py"], "--file is no.py, which is no file"),
        (["check"], "no number came"),
        (["three"], "'three' came; expected numbers"),
    ],
)
def test_wrong_usage_of_chapters_is_named(capsys, argv, words):
    assert words in usage_error(capsys, ["chapters", *argv])


# Images of every kind


def test_predict_reads_images_of_every_kind_and_names_the_rest(capsys, run, tmp_path):
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    drawn = data.load_drawn(1, 40, "val").images
    pictures = [Image.fromarray(np.ascontiguousarray(x.transpose(1, 2, 0))) for x in drawn]
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures[0].save(folder / "0-photo.jpg")
    pictures[1].convert("L").save(folder / "1-grey.png")
    pictures[2].convert("RGBA").save(folder / "2-rgba.png")
    pictures[3].convert("CMYK").save(folder / "3-cmyk.jpg")
    pictures[4].rotate(90, expand=True).save(folder / "4-turned.jpg", exif=turned)
    pictures[5].convert("P").save(folder / "deep" / "5-palette.gif")
    Image.new("1", (1, 1)).save(folder / "deep" / "6-one-pixel.png")
    whole = (folder / "0-photo.jpg").read_bytes()
    (folder / "7-cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "8-text.png").write_text("no image")
    (folder / "9-empty.png").touch()
    (folder / "notes.txt").write_text("not looked at")
    argv = ["predict", str(folder), "--weights", str(run), "--picture", str(tmp_path / "p.png")]
    assert main(argv) == 1
    shown = capsys.readouterr()
    named = [line.partition(": ")[0] for line in shown.out.splitlines()]
    assert [os.path.basename(name)[0] for name in named[:-1]] == list("0123456")
    *told, note = shown.err.splitlines()
    assert note.startswith("note: the network learned from pictures that the program drew")
    assert len(told) == 3 and all(line.startswith("skipped: ") for line in told)
    for line, name, reason in zip(
        told, ("7-cut", "8-text", "9-empty"), ("truncated", "not an image", "empty"), strict=True
    ):
        assert name in line and reason in line
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size[1] > 7 * 100
    assert main(["predict", str(folder / "8-text.png"), "--weights", str(run)]) == 1
    assert "none of 1 files could be read" in capsys.readouterr().err


def test_a_turned_photograph_gets_the_answer_of_the_upright_one(capsys, run, tmp_path):
    picture = Image.fromarray(
        np.ascontiguousarray(data.load_drawn(1, 40).images[0].transpose(1, 2, 0))
    )
    turned = Image.Exif()
    turned[0x0112] = 8
    picture.save(tmp_path / "a.png")
    picture.rotate(-90, expand=True).save(tmp_path / "b.png", exif=turned)
    target = str(tmp_path / "out.png")
    argv = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--weights", str(run)]
    assert main(["predict", *argv, "--picture", target]) == 0
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first.partition(": ")[2] == second.partition(": ")[2]


# From a shell


def test_tracebacks_are_shown_with_debug_alone(copy):
    garble(copy.config)

    def shell(*argv):
        command = [sys.executable, "-m", "tinysmooth", "info", str(copy.path), *argv]
        return subprocess.run(command, capture_output=True, text=True)

    plain, debug = shell(), shell("--debug")
    assert plain.returncode == debug.returncode == 1
    assert plain.stdout == "" and plain.stderr.count("\n") == 1
    assert "Traceback" in debug.stderr and debug.stderr.endswith(plain.stderr)
