"""Comparisons: which runs, what is measured, what is kept, and how sure the differences are."""

import argparse
import csv
import dataclasses
import json
import math
import os
import shutil

import numpy as np
import pytest

from tinysmooth import compare, metrics, plots
from tinysmooth.__main__ import main
from tinysmooth.cli import compare as cli_compare
from tinysmooth.cli.recipe import add_recipe, read_config
from tinysmooth.compare import (
    Comparison,
    Grid,
    cell,
    driver,
    folder,
    paired_difference,
    student_t_quantile,
)
from tinysmooth.compare.report import write_report
from tinysmooth.compare.tables import differences, tables
from tinysmooth.data import Source
from tinysmooth.training import Evaluation, OptionError, TrainConfig, TrainingInterrupted, load

TINY = {
    "data": "drawn", "per_class": 2, "val_per_class": 2, "size": 16, "epochs": 1,
    "batch_size": 10, "model": "small_convnet", "threads": 1, "zoom": 1.0, "ema": 0.0,
}  # fmt: skip
FLAGS = [
    "--data", "drawn", "--per-class", "2", "--val-per-class", "2", "--size", "16", "--epochs", "1",
    "--batch-size", "10", "--model", "small_convnet", "--threads", "1",
]  # fmt: skip


# Grids


def test_a_grid_holds_every_combination_once_and_in_order():
    axes = {"lr": [0.1, 0.2], "label_smoothing": [0.0, 0.1], "seed": [3, 1]}
    cells = Grid(TrainConfig(), axes).cells()
    assert len(cells) == 8 and len({c.name for c in cells}) == 8
    assert cells[1].name == "eps0-noise0-seed1-lr=0.1"
    assert (cells[1].config.lr, cells[1].config.seed) == (0.1, 1)
    assert cells[-1].config == TrainConfig(lr=0.2, label_smoothing=0.1, seed=1)


def test_the_baseline_is_the_smallest_smoothing():
    assert Grid(TrainConfig(), {"label_smoothing": [0.2, 0.05]}).baseline == 0.05
    assert Grid(TrainConfig(label_smoothing=0.3), {"seed": [0]}).baseline == 0.3


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"hue": [1]}, "'hue' cannot be varied; expected one of per_class"),
        ({"threads": [1, 2]}, "'threads' cannot be varied"),
        ({"data": ["drawn", "imagenette"]}, "'data' cannot be varied, since all runs"),
        ({"root": ["a", "b"]}, "'root' cannot be varied"),
        ({"seed": []}, "seed has no values"),
        ({"seed": [1, 1]}, r"seed is \[1, 1\]; expected each value once"),
        ({"noise": [0, 10]}, "noise is 10; expected one of 0, 1, 5, 25, 50"),
        ({"size": ["32"]}, "size is '32'"),
    ],
)
def test_a_bad_axis_is_named(axes, words):
    with pytest.raises(OptionError, match=words):
        Grid(TrainConfig(), axes)


@pytest.mark.parametrize(
    ("axis", "values", "names"),
    [
        ("label_smoothing", [0.1, 0.1000001], ["eps0.1-", "eps0.1000001-"]),
        ("lr", [0.0123456, 0.01234562], ["lr=0.0123456", "lr=0.01234562"]),
    ],
)
def test_values_that_agree_in_many_digits_have_folders_of_their_own(axis, values, names):
    cells = Grid(TrainConfig(seed=3), {axis: values}).cells()
    assert len({each.name for each in cells}) == 2
    for each, value, name in zip(cells, values, names, strict=True):
        assert name in each.name and getattr(each.config, axis) == value


@pytest.mark.parametrize(
    ("axes", "sides"),
    [
        ({"size": [24, 32, 64]}, [(24, 24), (32, 32), (32, 48)]),
        ({"end_size": [24, 40, 64]}, [(24, 24), (32, 40), (32, 64)]),
        ({"size": [32, 64], "start_size": [16, 24]}, [(16, 32), (24, 32), (16, 48), (24, 48)]),
        ({"seed": [0]}, [(32, 48)]),
    ],
)
def test_images_do_not_grow_beyond_the_size_of_their_cell(axes, sides):
    cells = Grid(TrainConfig(size=64, start_size=32, end_size=48), axes).cells()
    assert [(each.config.start_size, each.config.end_size) for each in cells] == sides


def test_sides_that_are_varied_themselves_must_fit():
    with pytest.raises(OptionError, match="end_size is 48; expected at most size, 32"):
        Grid(TrainConfig(), {"size": [32, 64], "end_size": [48]})


@pytest.mark.parametrize(
    ("argv", "sizes"),
    [
        ([], (32, 64)),
        (["--size", "16"], (32, 64)),
        (["--end-size", "32"], (32, 64)),
        (["--preset", "hour"], (32, 128)),
    ],
)
def test_sizes_that_are_varied_give_the_options_that_training_has(argv, sizes):
    parser = argparse.ArgumentParser()
    cli_compare.configure(parser)
    varied = ["--vary", f"size={sizes[0]},{sizes[1]}", "--epsilons", "0.1", "--seeds", "0"]
    cells = cli_compare._read_grid(parser.parse_args([*argv, *varied])).cells()
    for each, size in zip(cells, sizes, strict=True):
        alone = argparse.ArgumentParser()
        add_recipe(alone)
        assert each.config == read_config(vars(alone.parse_args([*argv, "--size", str(size)])))


# Statistics


# Table 26.10 of Abramowitz and Stegun 1964, and the median.
@pytest.mark.parametrize(
    ("p", "degrees", "t"),
    [
        (0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 3, 3.182), (0.975, 4, 2.776),
        (0.975, 5, 2.571), (0.95, 7, 1.895), (0.995, 10, 3.169), (0.975, 120, 1.980),
        (0.025, 4, -2.776), (0.5, 6, 0.0),
    ],
)  # fmt: skip
def test_quantiles_are_those_of_the_table(p, degrees, t):
    assert student_t_quantile(p, degrees) == pytest.approx(t, abs=6e-4)


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    draws = rng.normal(0.3, 1.0, (4000, 4))
    held = [
        (d := paired_difference(np.zeros(4), row, level=0.9)).low < 0.3 < d.high for row in draws
    ]
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)


def test_what_pairs_share_cancels():
    shared = np.array([0.0, 5.0, -3.0, 9.0])
    change = paired_difference(shared, shared + 0.5)
    assert (change.mean, change.low, change.high) == pytest.approx((0.5, 0.5, 0.5))
    assert change.excludes_zero


def test_one_pair_gives_no_certainty():
    change = paired_difference([1.0], [2.0])
    assert change.mean == 1.0 and (change.low, change.high) == (-math.inf, math.inf)
    assert not change.excludes_zero


@pytest.mark.parametrize(
    ("first", "second"), [([1.0], [1.0, 2.0]), ([], []), ([math.nan], [1.0]), ([[1.0]], [[1.0]])]
)
def test_bad_pairs_are_refused(first, second):
    with pytest.raises(ValueError, match="paired_difference: first"):
        paired_difference(first, second)


# What is measured


def scored(count=400, sharpness=6.0, seed=0):
    """Logits that are right half of the time and far too sure."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 4, count)
    logits = rng.normal(size=(count, 4))
    chosen = np.where(rng.random(count) < 0.5, targets, rng.integers(0, 4, count))
    logits[np.arange(count), chosen] += sharpness
    return Evaluation(logits, targets)


def test_temperature_scaling_judges_each_half_by_the_other(monkeypatch):
    judged = scored()
    rows = []
    fit = metrics.fit_temperature

    def spy(logits, targets):
        rows.append(len(targets))
        return fit(logits, targets)

    monkeypatch.setattr(cell.metrics, "fit_temperature", spy)
    odd = cell._odd_half(judged.targets)
    for label in range(4):
        inside = odd[judged.targets == label]
        assert abs(int(inside.sum()) * 2 - len(inside)) <= 1
    result = cell.measure(judged)
    assert sum(rows) == 400 and abs(rows[0] - rows[1]) <= 1
    scaled = judged.logits.copy()
    scaled[odd] /= fit(judged.logits[~odd], judged.targets[~odd])
    scaled[~odd] /= fit(judged.logits[odd], judged.targets[odd])
    expected = metrics.expected_calibration_error(metrics.softmax(scaled), judged.targets)
    assert result.scaled_ece == pytest.approx(expected)
    assert result.scaled_loss == pytest.approx(
        metrics.negative_log_likelihood(scaled, judged.targets)
    )
    assert result.temperature > 1.5 and result.scaled_ece < result.ece / 2
    assert (result.accuracy, result.loss) == (judged.accuracy, judged.loss)


def test_one_image_cannot_be_halved():
    with pytest.raises(ValueError, match="measure: there are 1 validation images"):
        cell.measure(Evaluation(np.zeros((1, 3)), np.array([0])))


# Running


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two smoothings, two seeds."""
    grid = Grid(TrainConfig(**TINY), {"label_smoothing": [0.0, 0.2], "seed": [0, 1]})
    return compare.compare(grid, tmp_path_factory.mktemp("compare") / "grid")


def test_every_cell_is_a_run_folder_with_its_numbers(done):
    assert [c.name for c in done.results] == [c.name for c in done.grid.cells()]
    assert not done.failures
    for each, result in done.results.items():
        folder = done.path / each.name
        content = json.loads((folder / "result.json").read_text())
        assert content["measured"] == dataclasses.asdict(result)
        assert content["options"]["label_smoothing"] == each.config.label_smoothing
        kept = load(folder / "evaluation.npz")
        again = cell.measure(Evaluation(kept["logits"], kept["targets"]))
        for name in ("accuracy", "loss", "ece", "scaled_ece", "temperature", "mean_gap"):
            assert getattr(again, name) == getattr(result, name)
        assert not (folder / "checkpoint.npz").exists()


def test_finished_cells_are_kept_and_a_grid_may_grow(done, monkeypatch):
    trained = []
    plain = driver.run_cell

    def spy(options, path):
        trained.append(path)
        return plain(options, path)

    monkeypatch.setattr(driver, "run_cell", spy)
    told = []
    again = compare.compare(done.grid, done.path, listener=lambda *pair: told.append(pair))
    assert trained == [] and again.results == done.results
    assert told == list(done.results.items())
    wider = Grid(done.grid.base, {**done.grid.axes, "seed": [0, 1, 2]})
    more = compare.compare(wider, done.path)
    assert [path.name for path in trained] == ["eps0-noise0-seed2", "eps0.2-noise0-seed2"]
    assert len(more.results) == 6


def test_an_interrupted_comparison_goes_on_with_the_same_numbers(done, tmp_path, monkeypatch):
    plain, count = cell.train, [0]

    def train(*args, **options):
        count[0] += 1
        if count[0] == 3:
            raise TrainingInterrupted("stopped")
        return plain(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(cell, "train", train)
        with pytest.raises(TrainingInterrupted):
            compare.compare(done.grid, tmp_path / "grid")
    assert folder.check_folder(done.grid, tmp_path / "grid") == 2
    again = compare.compare(done.grid, tmp_path / "grid")
    for each, result in again.results.items():
        known = dataclasses.replace(done.results[each], seconds=result.seconds)
        assert dataclasses.asdict(result) == dataclasses.asdict(known)


def test_a_run_that_fails_is_told_and_the_others_go_on(done, tmp_path, monkeypatch):
    plain = driver.run_cell

    def fail(options, path):
        if options["seed"] == 1:
            raise OSError("no space")
        return plain(options, path)

    monkeypatch.setattr(driver, "run_cell", fail)
    some = compare.compare(done.grid, tmp_path / "grid")
    assert [c.name for c in some.failures] == ["eps0-noise0-seed1", "eps0.2-noise0-seed1"]
    assert set(some.failures.values()) == {"OSError: no space"}
    assert len(some.results) == 2
    text = write_report(some).read_text()
    assert "2 of 4 runs" in text and "eps0.2-noise0-seed1: OSError: no space" in text


def test_a_folder_with_other_runs_is_refused(done):
    other = Grid(dataclasses.replace(done.grid.base, epochs=2), done.grid.axes)
    with pytest.raises(OptionError, match="eps0-noise0-seed0 has epochs = 1; expected 2. Choose"):
        compare.compare(other, done.path)


def claim_photographs(run):
    """Let a run folder say that it was trained on photographs, chosen by "auto"."""
    content = json.loads((run / "config.json").read_text())
    content["data"]["source"] = content["options"]["data"] = "imagenette"
    (run / "config.json").write_text(json.dumps(content))


def test_drawings_and_photographs_are_not_compared(done, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "run_cell", None)
    shutil.copytree(done.path, tmp_path / "grid")
    auto = Grid(
        dataclasses.replace(done.grid.base, data="auto"), {**done.grid.axes, "seed": [0, 9]}
    )
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(folder, "choose_source", lambda *args: Source("imagenette", tmp_path))
    words = "data is 'auto', which now means the images 'imagenette', but .*seed0 has 'drawn'"
    with pytest.raises(OptionError, match=words):
        compare.compare(auto, tmp_path / "grid")
    assert sorted(tmp_path.rglob("*")) == before
    claim_photographs(tmp_path / "grid" / "eps0.2-noise0-seed0")
    words = "where eps0-noise0-seed0 has the images 'drawn', but eps0.2-.* has 'imagenette'"
    with pytest.raises(OptionError, match=words):
        compare.compare(auto, tmp_path / "grid")


def test_what_auto_finds_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    argv = ["compare", *FLAGS, "--epsilons", "0", "--quiet", "--out", str(tmp_path / "c")]
    assert main([*argv, "--seeds", "4"]) == 0
    monkeypatch.setattr(folder, "choose_source", lambda *args: Source("imagenette", tmp_path))
    with pytest.raises(SystemExit) as caught:
        main([*argv, "--seeds", "4,5", "--data", "auto"])
    assert caught.value.code == 2
    assert "error: --data is 'auto', which now means" in capsys.readouterr().err


def test_a_folder_that_is_read_only_is_called_so(done, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OptionError, match="which is read-only; expected a folder that can be"):
        folder.check_folder(done.grid, done.path)


def test_a_folder_of_other_things_is_no_place_for_a_comparison(done, tmp_path):
    assert folder.check_folder(done.grid, tmp_path) == 0
    (tmp_path / "letters").mkdir()
    with pytest.raises(OptionError, match="which is not empty; expected a new folder or that of"):
        compare.compare(done.grid, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]
    other = Grid(done.grid.base, {"seed": [7]})
    assert folder.check_folder(other, done.path) == 0


def test_a_damaged_result_is_named(done, tmp_path):
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"result\.json' is damaged .* Remove it"):
        compare.read_result(tmp_path)
    (tmp_path / "result.json").write_text("[]")
    with pytest.raises(ValueError, match=r"it holds \[\] \(list\); expected an object"):
        compare.read_result(tmp_path)
    assert compare.read_result(tmp_path / "nowhere") is None


# Report


def test_the_report_holds_means_and_paired_differences(done):
    text = write_report(done).read_text()
    runs = list(done.results.values())
    mean = (runs[2].loss + runs[3].loss) / 2
    assert f"| 0.2 | 2 | {np.mean([r.accuracy for r in runs[2:]]):.4f} ± " in text
    assert f"{mean:.4f} ± " in text
    change = paired_difference([r.loss for r in runs[:2]], [r.loss for r in runs[2:]])
    assert f"{change.mean:+.4f} [{change.low:+.4f}, {change.high:+.4f}]" in text
    assert differences(done, done.grid.cells(), 0.2, "loss") == change
    assert "they are not photographs" in text
    assert (done.path / "compare-1.png").read_bytes().startswith(b"\x89PNG")
    with open(done.path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [run.loss for run in runs]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (
            {"epochs": [3], "model": ["small_convnet"]},
            "small_convnet, 3 epochs, images of 16 x 16 ",
        ),
        ({"epochs": [3, 4], "size": [16, 24]}, "3 or 4 epochs, images of 16 x 16 or 24 x 24 "),
    ],
)
def test_the_report_tells_the_options_that_the_runs_had(done, tmp_path, axes, words):
    shutil.copytree(done.path / "eps0-noise0-seed0", tmp_path / "run")
    grid = Grid(dataclasses.replace(done.grid.base, model="resnet9", end_size=None), axes)
    results = {
        dataclasses.replace(each, name="run"): next(iter(done.results.values()))
        for each in grid.cells()
    }
    text = write_report(Comparison(tmp_path, grid, results)).read_text()
    assert words in text and "1 epochs" not in text


def test_rows_are_told_apart_by_all_their_digits(done):
    axes = {"label_smoothing": [0.1, 0.1000001], "seed": [0, 1]}
    grid = Grid(done.grid.base, axes)
    results = dict(zip(grid.cells(), done.results.values(), strict=True))
    close = dataclasses.replace(done, grid=grid, results=results)
    for short in (True, False):
        text = tables(close, short=short)
        assert "\n| 0.1 | 2 |" in text and "\n| 0.1000001 | 2 |" in text
    assert "Differences to epsilon 0.1 with" in text and text.count("\n| 0.1000001 |") == 2


def test_the_picture_shows_every_run_and_every_mean():
    runs = {
        "label_smoothing": [0.0, 0.0, 0.1], "seed": [0, 1, 0], "accuracy": [0.5, 0.7, 0.65],
        "loss": [1.0, 1.2, 0.9], "ece": [0.1, 0.2, 0.1], "scaled_ece": [0.05, 0.06, 0.04],
        "mean_gap": [9.0, 8.0, 4.0],
    }  # fmt: skip
    figure = plots.comparison(runs, resting_gaps=[math.inf, 4.5])
    accuracy, _, _, gap = figure.axes
    points = [line for line in accuracy.get_lines() if line.get_marker() == "o"]
    assert sorted(y for line in points for y in line.get_ydata()) == [50, 65, 70]
    means = [line.get_ydata()[0] for line in accuracy.get_lines() if line.get_zorder() == 3]
    assert means == [60, 65]
    assert [tick.get_text() for tick in accuracy.get_xticklabels()] == ["0", "0.1"]
    rests = [line for line in gap.get_lines() if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in rests] == [4.5]
    with pytest.raises(ValueError, match="has no .'scaled_ece'."):
        plots.comparison({name: value for name, value in runs.items() if name != "scaled_ece"})
    with pytest.raises(ValueError, match="expected one length"):
        plots.comparison({**runs, "loss": [1.0]})


# Command line


def test_the_command_trains_reports_and_goes_on(tmp_path, capsys):
    argv = ["compare", *FLAGS, "--epsilons", "0,0.1", "--seeds", "4", "--out", str(tmp_path / "c")]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert "2 runs, in" in shown and "2/2" in shown and "eps0.1-noise0-seed4" in shown
    assert f"Report: {tmp_path / 'c' / 'compare.md'}" in shown
    assert "(one pair)" in (tmp_path / "c" / "compare.md").read_text()
    assert main([*argv[:-1], str(tmp_path / "c"), "--quiet"]) == 0
    assert main([*argv, "--vary", "lr=0.05"]) == 0
    assert "lr=0.05" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--epsilons", "0,x"], "--epsilons is '0,x', where 'x' came; expected a number"),
        (["--epsilons", "0,1.5"], "--epsilons is 1.5; expected a number in [0, 1]"),
        (["--seeds", "1,1"], "--seeds is [1, 1]; expected each value once"),
        (["--noise", "3"], "--noise is 3; expected one of 0, 1, 5, 25, 50"),
        (["--vary", "hue=1"], "--vary is 'hue=1'; expected OPTION=VALUE"),
        (["--vary", "seed=1,2"], "--vary is 'seed=1,2'"),
        (["--vary", "lr=0.1", "--vary", "lr=0.2"], "--vary names lr twice"),
        (["--vary", "data=drawn,imagenette"], "all runs of a comparison have the same data"),
        (["--vary", "size=16,24", "--end-size", "24"], "--end-size is 24; expected at most 16"),
        (["--vary", "epochs=1,0"], "--epochs is 0; expected an integer >= 1"),
        (["--executor", "cloud"], "--executor is 'cloud'"),
        (["--workers", "2"], "--workers is 2 with --executor serial"),
        (["--executor", "process", "--workers", "0"], "--workers is 0"),
        (["--out", __file__], "--out is"),
        (["--size", "2"], "--size is 2"),
        (["--publish", __file__], "another file; expected a new name, or a file that --publish"),
    ],
)
def test_wrong_usage_is_told_before_any_work(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "run_cell", None)
    with pytest.raises(SystemExit) as caught:
        main(["compare", *FLAGS, *argv])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
