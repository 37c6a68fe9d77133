"""The command line: what it prints, what it leaves, and its exit codes."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from data_trees import make_tree
from PIL import Image

from tinysmooth import data, training
from tinysmooth.__main__ import main
from tinysmooth.cli import COMMANDS, build_parser, predict
from tinysmooth.cli import train as cli_train
from tinysmooth.training import PRESET_MINUTES, PRESETS, RunFolder, TrainConfig, load, read_history

QUICK = [
    "--data", "drawn", "--per-class", "2", "--val-per-class", "2", "--size", "16",
    "--epochs", "2", "--batch-size", "8", "--model", "small_convnet", "--threads", "1",
]  # fmt: skip

FILES = [
    "checkpoint.npz", "clusters.png", "config.json", "confusion.png", "curves.png", "filters.png",
    "gap-history.png", "gaps.png", "history.csv", "mistakes.png", "reliability.png", "report.md",
    "sensitivity.png", "weights.npz", "weights.png",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run folder."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", *QUICK, "--out", str(out), "--quiet"]) == 0
    return out


def usage_error(capsys, argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Traceback" not in message
    return message


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


# Help


@pytest.mark.parametrize("command", [room.NAME for room in COMMANDS])
def test_every_command_has_help_with_a_line_for_every_option(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert command in capsys.readouterr().out
    commands = next(a for a in build_parser()._actions if a.dest == "command").choices
    assert all(action.help for action in commands[command]._actions)


def test_no_command_and_an_unknown_one_are_wrong_usage(capsys):
    assert "COMMAND" in usage_error(capsys, [])
    assert "'fly'" in usage_error(capsys, ["fly"])


def test_the_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "tinysmooth", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("tinysmooth ")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell with pipes")
def test_a_reader_that_has_seen_enough_is_no_traceback():
    command = f"{sys.executable} -m tinysmooth train --help | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


# train


def test_train_writes_the_run_folder(run):
    assert names_in(run) == FILES
    options = json.loads((run / "config.json").read_text())["options"]
    assert options["epochs"] == 2 and options["label_smoothing"] == 0.1
    assert len(read_history(run / "history.csv")) == 2


def test_train_prints_a_row_an_epoch_and_says_that_drawings_stand_in(capsys, tmp_path):
    assert main(["train", *QUICK, "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr()
    assert "floor 0.500" in shown.out and "rests 4.51" in shown.out
    assert "1/2" in shown.out and "2/2" in shown.out
    assert "they are not photographs" in shown.out
    assert f"Report: {tmp_path / 'run' / 'report.md'}" in shown.out
    assert "epoch 1/2" in shown.err


def test_a_preset_fills_in_what_was_not_given():
    from tinysmooth.cli import recipe

    def options(*argv):
        args = build_parser().parse_args(["train", *argv])
        hidden = ("command", "debug", "parser", "quiet", "run")
        return recipe.read_config({k: v for k, v in vars(args).items() if k not in hidden})

    assert options("--preset", "full").per_class is None
    assert options("--preset", "tiny", "--epochs", "3").per_class == 500
    assert options("--preset", "tiny", "--epochs", "3").epochs == 3
    assert options("--per-class", "all").per_class is None
    assert options() == TrainConfig(**PRESETS["quick"])
    assert options("--no-augment").augment is False


def test_a_given_size_limits_the_sizes_of_the_preset():
    from tinysmooth.cli import recipe

    small = recipe.read_config({"preset": "full", "size": 40})
    assert (small.start_size, small.end_size, small.size) == (32, 40, 40)
    tiny = recipe.read_config({"size": 16})
    assert (tiny.start_size, tiny.end_size) == (16, 16)
    assert recipe.read_config({"end_size": 24}).start_size == 24
    with pytest.raises(recipe.UsageError, match="--end-size is 48; expected at most size, 40"):
        recipe.read_config({"size": 40, "end_size": 48})


def test_a_size_that_is_too_small_is_told_by_the_option_that_was_given(capsys):
    for option in ("--end-size", "--size", "--start-size"):
        message = usage_error(capsys, ["train", option, "5"])
        assert f"{option} is 5; expected an integer >= 16" in message


@pytest.mark.parametrize("command", ["train", "compare"])
def test_help_gives_no_option_two_defaults(command):
    commands = next(a for a in build_parser()._actions if a.dest == "command").choices
    for action in commands[command]._actions:
        assert action.dest == "preset" or action.help.count("(default") <= 1, action.dest


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_configuration_and_its_minutes_are_in_the_help(name, capsys):
    assert TrainConfig(**PRESETS[name]).epochs == PRESETS[name]["epochs"]
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{name} (about {PRESET_MINUTES[name]} minutes on two cores)" in shown


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--epochs", "x"], "argument --epochs: 'x' came; expected a whole number"),
        (["--epochs", "0"], "--epochs is 0; expected an integer >= 1"),
        (["--per-class", "some"], "argument --per-class: 'some' came; expected a whole number or"),
        (["--per-class", "0"], "--per-class is 0"),
        (["--size", "4"], "--size is 4; expected an integer >= 16"),
        (["--batch-size", "-5"], "--batch-size is -5"),
        (["--lr", "fast"], "argument --lr: 'fast' came; expected a number"),
        (["--lr", "nan"], "--lr is nan; expected a number"),
        (["--label-smoothing", "1.5"], "--label-smoothing is 1.5; expected a number in [0, 1]"),
        (["--label-smoothing", "-0.1"], "--label-smoothing is -0.1"),
        (["--model", "vgg"], "--model is 'vgg'; expected one of 'small_convnet', 'resnet9'"),
        (["--data", "cifar"], "--data is 'cifar'; expected one of"),
        (["--noise", "10"], "--noise is 10; expected one of 0, 1, 5, 25, 50"),
        (["--seed", "-1"], "--seed is -1"),
        (["--threads", "0"], "--threads is 0"),
        (["--preset", "huge"], "argument --preset: invalid choice: 'huge'"),
        (["--epoch", "3"], "unrecognized arguments: --epoch"),
        (["--root", __file__], "a file; expected a folder"),
        (["--out", __file__], "--out is"),
        (["--resume", "nowhere"], "--resume: run folder: 'nowhere' is no folder"),
        (
            ["--resume", "nowhere", "--epochs", "3"],
            "--resume came with --epochs; expected it alone",
        ),
    ],
)
def test_bad_options_of_train_are_named_and_nothing_is_begun(
    capsys, tmp_path, monkeypatch, argv, words
):
    monkeypatch.chdir(tmp_path)
    assert words in usage_error(capsys, ["train", *argv])
    assert names_in(tmp_path) == []


def test_an_occupied_folder_is_refused(capsys, run):
    message = usage_error(capsys, ["train", *QUICK, "--out", str(run)])
    assert "--out is" in message and f"--resume {run}" in message


def test_a_failure_is_one_line_and_exit_code_1(capsys, tmp_path):
    argv = ["train", "--data", "imagenette", "--root", str(tmp_path), "--out", str(tmp_path / "r")]
    os.environ["TINYSMOOTH_OFFLINE"] = "1"
    try:
        assert main(argv) == 1
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("tinysmooth train: ")
        assert main([*argv, "--debug"]) == 1
        assert "Traceback" in capsys.readouterr().err
    finally:
        del os.environ["TINYSMOOTH_OFFLINE"]
    assert names_in(tmp_path) == []


def test_resuming_a_finished_run_is_no_failure(capsys, run):
    before = load(run / "weights.npz")
    assert main(["train", "--resume", str(run), "--quiet"]) == 0
    after = load(run / "weights.npz")
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_ctrl_c_while_the_report_is_drawn_says_how_to_have_it(capsys, run, monkeypatch):
    def interrupt(done):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_train, "write_report", interrupt)
    assert main(["train", "--resume", str(run), "--quiet"]) == 130
    assert f"finished. Write its report with: tinysmooth train --resume {run}" in (
        capsys.readouterr().err
    )


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a process")
def test_ctrl_c_leaves_a_readable_folder_and_the_resumed_run_has_the_same_bits(tmp_path):
    options = [*QUICK, "--seed", "3"]
    options[options.index("--epochs") + 1] = "40"
    command = [sys.executable, "-m", "tinysmooth", "train", *options, "--out", "stopped"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        history = tmp_path / "stopped" / "history.csv"
        until = time.monotonic() + 100
        while not history.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Go on with: tinysmooth train --resume stopped" in errors
    assert "Traceback" not in errors
    assert "This run was stopped after" in (tmp_path / "stopped" / "report.md").read_text()
    folder = RunFolder.open(tmp_path / "stopped")
    assert 1 <= len(read_history(folder.history)) < 40
    assert main(["info", str(folder.path)]) == 0
    assert main(["train", "--resume", str(folder.path), "--quiet"]) == 0
    assert main(["train", *options, "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    whole = RunFolder(tmp_path / "whole")
    first, second = load(folder.weights), load(whole.weights)
    assert all(first[name].tobytes() == second[name].tobytes() for name in second)
    rows = zip(read_history(folder.history), read_history(whole.history), strict=True)
    assert all(repr(ours.measured) == repr(theirs.measured) for ours, theirs in rows)


# predict


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    images = data.load_drawn(1, 40).images
    for index in range(3):
        picture = Image.fromarray(np.ascontiguousarray(images[index].transpose(1, 2, 0)))
        picture.save(folder / f"{index}.png")
    return folder


def test_predict_names_the_most_probable_classes_and_draws_them(capsys, run, pictures, tmp_path):
    target = tmp_path / "out.png"
    argv = ["predict", str(pictures), "--weights", str(run), "--top", "2", "--picture", str(target)]
    assert main(argv) == 0
    shown = capsys.readouterr()
    assert "it has never seen a photograph" in shown.err
    lines = shown.out.strip().splitlines()
    assert len(lines) == 4 and lines[-1] == f"Picture: {target}"
    for index, line in enumerate(lines[:3]):
        assert line.startswith(f"{pictures / f'{index}.png'}: ")
        shares = [float(word) for word in line.split() if word.replace(".", "", 1).isdigit()]
        assert len(shares) == 2 and 100 >= shares[0] >= shares[1] >= 0
    assert target.read_bytes().startswith(b"\x89PNG")


def test_a_run_and_its_predictions_judge_images_of_the_side_that_training_ended_with(
    capsys, pictures, tmp_path, monkeypatch
):
    """Larger images hold larger things than the network has learned from."""
    out = tmp_path / "run"
    argv = ["train", *QUICK, "--size", "32", "--start-size", "16", "--end-size", "24"]
    assert main([*argv, "--out", str(out), "--quiet"]) == 0
    finished = training.resume(out, progress=False)
    whole = data.load_drawn(2, 32, split="val").images.astype(float)
    assert finished.val.images.shape == (20, 3, 24, 24)
    # Four old pixels a side become three: each new corner is the mean of its share of the old ones.
    shares = np.array([[3, 1, 0, 0], [0, 2, 2, 0], [0, 0, 1, 3]]) / 4
    blocks = whole.reshape(20, 3, 8, 4, 8, 4)
    means = np.einsum("ra,ncyaxb,sb->ncyrxs", shares, blocks, shares).reshape(20, 3, 24, 24)
    assert np.abs(finished.val.images - means).max() <= 0.51
    assert finished.history[-1].val_accuracy == finished.evaluation.accuracy
    seen = []
    plain = predict.predict_probs
    monkeypatch.setattr(
        predict,
        "predict_probs",
        lambda model, images, **k: seen.append(images.shape) or plain(model, images, **k),
    )
    assert main(["predict", str(pictures), "--weights", str(out)]) == 0
    assert seen == [(3, 3, 24, 24)]


def test_a_network_that_learned_from_photographs_says_nothing_of_drawings(capsys, run, pictures):
    config = run / "config.json"
    before = config.read_text()
    content = json.loads(before)
    content["data"]["stand_in"] = False
    config.write_text(json.dumps(content))
    try:
        assert main(["predict", str(pictures), "--weights", str(run)]) == 0
    finally:
        config.write_text(before)
        (run / "predictions.png").unlink()
    assert capsys.readouterr().err == ""


def test_predict_leaves_out_hidden_files_and_what_is_no_picture(capsys, run, pictures, tmp_path):
    (pictures / "notes.pdf").write_bytes(b"%PDF-1.4")
    (pictures / "._0.png").write_bytes(b"a Mac was here")
    argv = ["predict", str(pictures), "--weights", str(run), "--picture", str(tmp_path / "p.png")]
    assert main(argv) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 4


def test_predict_skips_what_is_no_image_and_says_so(capsys, run, pictures):
    (pictures / "broken.png").write_bytes(b"nonsense")
    assert main(["predict", str(pictures), "--weights", str(run)]) == 1
    shown = capsys.readouterr()
    assert "broken.png" in shown.err and len(shown.out.strip().splitlines()) == 4
    assert (run / "predictions.png").exists()
    (run / "predictions.png").unlink()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere.jpg", "--weights", "RUN"], "PATH is nowhere.jpg, which does not exist"),
        ([".", "--weights", "RUN"], "a folder without images"),
        (["x.jpg", "--weights", "nowhere"], "--weights: run folder: 'nowhere' is no folder"),
        (["x.jpg"], "required: --weights"),
        (["x.jpg", "--weights", "RUN", "--top", "0"], "--top is 0; expected a whole number >= 1"),
        (["x.jpg", "--weights", "RUN", "--picture", "no/where.png"], "--picture is no/where.png"),
        (["x.jpg", "--weights", "RUN", "--picture", "."], "--picture is ., a folder; expected a"),
        (["x.jpg", "--weights", "RUN", "--picture", "x.jpg"], "expected a name that ends in .png"),
    ],
)
def test_bad_options_of_predict_are_named(capsys, run, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    argv = [str(run) if word == "RUN" else word for word in argv]
    assert words in usage_error(capsys, ["predict", *argv])


def test_no_image_is_written_over(capsys, run, pictures):
    image = pictures / "1.png"
    before = image.read_bytes()
    argv = ["predict", str(pictures), "--weights", str(run), "--picture", str(image)]
    assert f"--picture is {image}, one of the images" in usage_error(capsys, argv)
    assert image.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="closes streams as a shell does")
def test_closed_streams_stop_nobody(run, pictures, tmp_path):
    program = f"{shlex.quote(sys.executable)} -m tinysmooth"
    predicting = f"predict {pictures} --weights {run} --picture {tmp_path / 'p.png'}"
    for command in (f"{program} {predicting} >&-", f"{program} {predicting} 2>&-"):
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    training = f"train {' '.join(QUICK)} --out {tmp_path / 'new'}"
    done = subprocess.run(["sh", "-c", f"{program} {training} 2>&-"], capture_output=True)
    assert done.returncode == 0, done.stdout
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == FILES


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")
def test_what_is_there_but_no_image_is_named_as_what_it_is(capsys, run, tmp_path):
    (tmp_path / "link.jpg").symlink_to("gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, words in (
        ("link.jpg", "a link to gone.jpg, which does not exist"),
        ("pipe.jpg", "neither a file nor a folder"),
    ):
        message = usage_error(capsys, ["predict", str(tmp_path / name), "--weights", str(run)])
        assert f"PATH is {tmp_path / name}, {words}; expected" in message


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are text")
def test_a_name_that_is_no_text_is_printed_and_drawn(run, pictures, tmp_path):
    odd = os.fsencode(pictures / "x") + b"\xff.png"
    (pictures / "0.png").rename(os.fsdecode(odd))
    for strict, shown in (("strict", b"x?.png: "), ("surrogateescape", b"x\xff.png: ")):
        done = subprocess.run(
            [sys.executable, "-m", "tinysmooth", "predict", odd, "--weights", run,
             "--picture", tmp_path / "p.png"],
            env={**os.environ, "PYTHONIOENCODING": f"utf-8:{strict}"}, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout


def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_predicted(
    capsys, run, pictures, tmp_path, monkeypatch
):
    for name in ("closed", "open"):
        (pictures / name).mkdir()
        (pictures / name / "x.png").write_bytes((pictures / "0.png").read_bytes())
    plain = os.scandir

    def scandir(path):  # the superuser may read every folder
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    argv = ["predict", str(pictures), "--weights", str(run), "--picture", str(tmp_path / "p.png")]
    assert main(argv) == 1
    shown = capsys.readouterr()
    assert f"skipped: {pictures / 'closed'}: Permission denied" in shown.err
    assert [line.split(":")[0].rsplit("/", 1)[1] for line in shown.out.splitlines()[:-1]] == [
        "0.png", "1.png", "2.png", "x.png",
    ]  # fmt: skip
    assert str(pictures / "open" / "x.png") in shown.out


def test_damaged_weights_are_a_failure_that_names_the_file(capsys, run, pictures, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_bytes((run / "config.json").read_bytes())
    (copy / "weights.npz").write_bytes((run / "weights.npz").read_bytes()[:-1])
    assert main(["predict", str(pictures), "--weights", str(copy)]) == 1
    assert "weights.npz" in capsys.readouterr().err


# fetch and info


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--archive", "no.tgz"], "--archive is no.tgz, which is no file"),
        (["--url", "nowhere"], "--url is 'nowhere'; expected one that begins with https://"),
        (["--sha256", "abc"], "--sha256 is 'abc'; expected 64 hexadecimal digits"),
        (["--archive", "a", "--url", "b"], "not allowed with"),
        (["--root", __file__], "a file; expected a folder"),
    ],
)
def test_bad_options_of_fetch_are_named(capsys, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    assert words in usage_error(capsys, ["fetch", *argv])


def test_an_archive_without_a_top_folder_is_found_after_it_was_fetched(capsys, tmp_path):
    made, root = make_tree(tmp_path / "made", train=1, val=1), tmp_path / "root"
    for name in ("flat.tgz", "other.tgz"):
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            for part in ("train", "val") if name == "flat.tgz" else ("train",):
                tar.add(made / part, part)
    for _ in range(2):
        assert main(["fetch", "--archive", str(tmp_path / "flat.tgz"), "--root", str(root)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"Imagenette is in {data.find_imagenette(root)}"] * 2
    assert len(names_in(root)) == 1
    assert main(["fetch", "--archive", str(tmp_path / "other.tgz"), "--root", str(root)]) == 1
    assert "Imagenette is not at other.tgz: expected" in capsys.readouterr().err


def test_a_damaged_archive_is_a_failure(capsys, tmp_path):
    (tmp_path / "a.tgz").write_bytes(b"not an archive")
    assert main(["fetch", "--archive", str(tmp_path / "a.tgz"), "--root", str(tmp_path / "d")]) == 1
    assert "a.tgz" in capsys.readouterr().err


def test_info_describes_the_installation(capsys, tmp_path):
    assert main(["info", "--root", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for word in ("tinysmooth", "Python", "numpy", "kernels", "Imagenette", "tinysmooth fetch"):
        assert word in shown


def test_info_describes_a_run(capsys, run):
    assert main(["info", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "small_convnet" in shown and "2 of 2; finished" in shown and "floor 0.500" in shown


def test_info_promises_no_checkpoint_that_is_not_there(capsys, run, tmp_path):
    (tmp_path / "config.json").write_bytes((run / "config.json").read_bytes())
    assert main(["info", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "0 of 2; no checkpoint is here" in shown and "--resume" not in shown


def test_info_takes_a_run_or_a_root(capsys, run, tmp_path):
    assert "--root came with RUN" in usage_error(capsys, ["info", str(run), "--root", "."])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("target", ["> /dev/full", "| true"])
def test_output_that_cannot_be_written_is_a_failure_in_a_line(target):
    program = f"{shlex.quote(sys.executable)} -m tinysmooth info"
    script = f"set -o pipefail; {program} {target}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Exception ignored" not in done.stderr and "Traceback" not in done.stderr
    assert target == "| true" or "tinysmooth info: " in done.stderr


def test_info_of_something_else_is_wrong_usage(capsys, tmp_path):
    assert "has no config.json" in usage_error(capsys, ["info", str(tmp_path)])
    assert "RUN: run folder: 'nowhere' is no folder" in usage_error(capsys, ["info", "nowhere"])
