"""The report says what the run measured, in words that fit."""

import dataclasses
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest

from tinysmooth import data, metrics
from tinysmooth.models import small_convnet
from tinysmooth.report import PICTURES, save_figure, write_report, write_stopped_report
from tinysmooth.report.inside import pick_images
from tinysmooth.report.sentences import compose
from tinysmooth.training import Evaluation, RunFolder, TrainConfig, TrainedRun
from tinysmooth.training.history import EpochRow

K = 10


def make_run(folder, *, epsilon=0.1, sharpness=2.0, noise=0, per_class=6):
    """A run whose numbers are made up, on real (drawn) images."""
    rng = np.random.default_rng(4)
    images = data.load_drawn(per_class, 16, "val")
    logits = rng.normal(size=(images.num_images, K))
    logits[np.arange(len(logits)), images.targets] += sharpness
    judged = Evaluation(logits, images.targets)
    row = EpochRow(
        1, 0.05, 1.25, 0.5002880 if epsilon else 0.0, 3.21, 4.5108595 if epsilon else np.inf,
        judged.loss, judged.accuracy, judged.calibration_error, judged.mean_gap, judged.top_gap,
        200.0, 90.0,
    )  # fmt: skip
    config = TrainConfig(
        data="drawn", size=16, epochs=2, label_smoothing=epsilon, noise=noise, threads=2
    )
    rows = [row, dataclasses.replace(row, epoch=2)]
    folder.mkdir(exist_ok=True)
    model = small_convnet(K, rng=rng)
    return TrainedRun(RunFolder(folder), config, rows, model, images, 1234, judged)


def written(run):
    """The text alone; drawing takes a second."""
    return compose(run)


def test_every_picture_of_the_report_is_in_the_folder(tmp_path):
    run = make_run(tmp_path)
    text = write_report(run).read_text(encoding="utf-8")
    assert text == compose(run)
    linked = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert sorted(linked) == sorted(PICTURES.values())
    for name in linked:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_numbers_are_those_of_the_run(tmp_path):
    run = make_run(tmp_path)
    text, judged = written(run), run.evaluation
    right = int((judged.logits.argmax(1) == judged.targets).sum())
    assert f"{right} of 60 validation images correctly: **{100 * right / 60:.1f} %**" in text
    assert "1,234 training images of 16 x 16 pixels 2 times" in text
    assert "in 3.0 minutes on 2 threads" in text
    assert "ended at 1.250 nats" in text and "**0.500** (dashed)" in text
    assert "It ended 0.750 above that" in text
    assert f"{judged.loss:.3f} nats, which can be compared" in text
    assert f"differ by {judged.calibration_error:.3f} on average" in text
    assert f"it is {judged.mean_gap:.2f} on average" in text
    assert "comes to rest at **4.511**" in text
    beyond = np.mean(metrics.logit_gap(judged.logits, judged.targets, reduction="none") > 4.5108595)
    assert f"{100 * beyond:.1f} % of the validation images lie beyond" in text


def test_the_standard_error_is_that_of_a_share(tmp_path):
    run = make_run(tmp_path)
    share = run.evaluation.accuracy
    expected = 100 * np.sqrt(share * (1 - share) / 60)
    assert f"a standard error of {expected:.1f} points" in written(run)


def test_the_stand_in_is_never_called_photographs(tmp_path):
    text = written(make_run(tmp_path))
    assert "they are not photographs" in text and "stand-in" in text
    assert not re.search(r"(?<!not )photograph", text)


def test_photographs_are_not_called_drawings(tmp_path):
    run = make_run(tmp_path)
    real = dataclasses.replace(
        run.val, source="imagenette", description="Imagenette, 60 photographs"
    )
    text = written(dataclasses.replace(run, val=real))
    assert "stand-in" not in text and "drawing" not in text
    assert "do not publish" in text


def test_one_hot_training_has_no_resting_gap(tmp_path):
    text = written(make_run(tmp_path, epsilon=0.0))
    assert "without smoothing its floor is 0" in text
    assert "comes to rest" not in text and "inf" not in text


@pytest.mark.parametrize(("sharpness", "word"), [(0.0, "over-confident"), (3.0, "under-confident")])
def test_confidence_is_judged_by_its_sign(tmp_path, sharpness, word):
    text = written(make_run(tmp_path, sharpness=sharpness))
    assert f"On the whole it is {word} by" in text


def test_noise_on_purpose_is_mentioned(tmp_path):
    assert "about 25 % of the training labels are wrong" in written(make_run(tmp_path, noise=25))


def test_a_perfect_run_says_that_there_is_no_mistake(tmp_path):
    text = written(make_run(tmp_path, sharpness=50.0))
    assert "There is no mistake to show." in text
    assert "most frequent confusion" not in text


def test_the_most_frequent_confusion_is_named(tmp_path):
    run = make_run(tmp_path)
    predicted, targets = run.evaluation.logits.argmax(1), run.val.targets
    counts = np.zeros((K, K), int)
    np.add.at(counts, (targets, predicted), 1)
    np.fill_diagonal(counts, 0)
    true, guess = divmod(int(counts.argmax()), K)
    names = run.val.class_names
    assert (
        f"{counts.max()} of 6 images of *{names[true]}* are taken for *{names[guess]}*"
        in written(run)
    )


def test_a_stopped_run_says_how_to_go_on(tmp_path):
    run = make_run(tmp_path)
    text = write_stopped_report(run.folder, run.config, run.history[:1], stand_in=True).read_text()
    assert "stopped after 1 of 2 epochs" in text
    assert f"tinysmooth train --resume {tmp_path}" in text
    assert f"{100 * run.history[0].val_accuracy:.1f} %" in text
    text = write_stopped_report(run.folder, run.config, [], stand_in=False).read_text()
    assert "stopped after 0 of 2 epochs" in text


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    from tinysmooth import plots

    for name in ("a.png", "b.png"):
        save_figure(plots.confusion_matrix(np.eye(2, dtype=int), ["x", "y"]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_mixed_images_have_a_floor_without_smoothing_too(tmp_path):
    run = make_run(tmp_path, epsilon=0.0)
    mixed = dataclasses.replace(run.config, mixup=0.2)
    rows = [dataclasses.replace(row, train_floor=0.31) for row in run.history]
    text = compose(dataclasses.replace(run, config=mixed, history=rows))
    assert "With mixed images it cannot reach 0" in text and "**0.310**" in text
    assert "no finite logits reach" not in text


def test_a_folder_with_a_space_is_quoted_in_the_advice(tmp_path):
    run = make_run(tmp_path / "my run")
    assert f"--weights '{tmp_path / 'my run'}'" in compose(run)


def test_a_folder_whose_name_is_no_text_gets_its_report(tmp_path):
    folder = tmp_path / os.fsdecode(b"x\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("names are text here")
    run = make_run(folder)
    stopped = write_stopped_report(run.folder, run.config, run.history, stand_in=True)
    assert b"x\xff" in stopped.read_bytes()


def test_the_three_images_of_the_maps_are_three():
    def picked(shares):
        probs = np.stack([shares, 1 - np.array(shares)], axis=1)
        judged = Evaluation(np.log(probs), np.zeros(len(shares), int))
        return pick_images(SimpleNamespace(evaluation=judged))

    assert picked([0.9, 0.51, 0.1, 0.2]) == [0, 1, 2]
    assert picked([0.5, 0.5, 0.5]) == [0, 2, 1]  # an untrained network is as unsure of all
    assert picked([0.6, 0.45, 0.9]) == [2, 0, 1]


def test_one_epoch_of_growing_images_has_the_last_size(tmp_path):
    run = make_run(tmp_path)
    for epochs, words in ((1, "of 32 x 32 pixels once"), (2, "of 16 x 16 to 32 x 32 pixels 2")):
        config = dataclasses.replace(run.config, epochs=epochs, size=32, start_size=16)
        assert words in compose(dataclasses.replace(run, config=config))


def test_a_perfect_run_has_no_hardest_class_and_no_difference_by_chance(tmp_path):
    text = written(make_run(tmp_path, sharpness=100.0))
    assert "All classes are equally easy (100.0 % right)." in text
    assert "may be chance" not in text and "standard error of 0.0 points." in text


def test_a_stopped_run_on_drawings_says_so(tmp_path):
    run = make_run(tmp_path)
    for stand_in in (True, False):
        text = write_stopped_report(
            run.folder, run.config, run.history[:1], stand_in=stand_in
        ).read_text()
        assert ("they are not photographs" in text) is stand_in
