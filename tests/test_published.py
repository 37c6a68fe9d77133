"""Published comparisons: the files hold what was measured, the pages hold what the files say.

Run as a script, this makes the tables of the pages anew.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_compare import FLAGS, TINY, claim_photographs

from tinysmooth import compare
from tinysmooth.__main__ import main
from tinysmooth.cli import compare as cli_compare
from tinysmooth.compare import Grid, driver, fill_in, folder, publish, read_published, start_from
from tinysmooth.compare.published import check_publish
from tinysmooth.data import Source
from tinysmooth.training import PRESETS, OptionError, RunFolder, TrainConfig

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "chapters" / "published"
QUICK = str(PUBLISHED / "quick.json")
PAGES = ("README.md", "chapters/measured.md")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two smoothings, two seeds, and the file that publishes them."""
    grid = Grid(TrainConfig(**TINY), {"label_smoothing": [0.0, 0.2], "seed": [0, 1]})
    place = tmp_path_factory.mktemp("published")
    comparison = compare.compare(grid, place / "grid")
    publish(comparison, place / "drawn.json")
    return comparison, place / "drawn.json"


# The presets


@pytest.mark.parametrize("name", PRESETS)
def test_the_readme_tells_the_epochs_and_images_of_the_presets(name):
    rows = (ROOT / "README.md").read_text().splitlines()
    (row,) = [row for row in rows if row.startswith("| `tinysmooth train") and f"{name}`" in row]
    images = PRESETS[name]["per_class"]
    assert f"{PRESETS[name]['epochs']} epochs" in row
    assert ("all 9,469" if images is None else f"{images} a class") in row


def test_the_published_preset_quick_is_the_preset():
    base = read_published(PUBLISHED / "quick.json").comparison.grid.base
    assert {name: getattr(base, name) for name in PRESETS["quick"]} == PRESETS["quick"]
    page = (ROOT / "chapters/measured.md").read_text()
    assert f"in place of the {base.epochs} of the preset `quick`" in page


COMMANDS = re.findall(
    r"    (tinysmooth compare (?:.*\\\n)*.*)\n\n<!-- measured: (\S+) -->",
    (ROOT / "chapters/measured.md").read_text(),
)


def test_every_file_has_its_command_on_the_page():
    assert {name for _, name in COMMANDS} == {path.stem for path in PUBLISHED.glob("*.json")}


@pytest.mark.parametrize(("command", "name"), COMMANDS, ids=[name for _, name in COMMANDS])
def test_the_commands_on_the_page_are_those_of_the_files(command, name):
    parser = argparse.ArgumentParser()
    cli_compare.configure(parser)
    arguments = shlex.split(command.replace("\\\n", " ").replace("DIR", str(ROOT)))[2:]
    asked = cli_compare._read_grid(parser.parse_args(arguments))
    known = read_published(PUBLISHED / f"{name}.json").comparison.grid
    here = {"root": None, "threads": None}
    assert dataclasses.replace(asked.base, **here) == dataclasses.replace(known.base, **here)
    assert asked.axes == known.axes


# Files


def test_a_file_holds_every_cell_with_its_options_and_numbers(done):
    comparison, path = done
    again = read_published(path)
    assert again.comparison.grid.cells() == comparison.grid.cells()
    assert again.comparison.results == comparison.results
    assert all("numba" in each for each in again.environments.values())
    assert again.data["stand_in"] is True


def test_a_file_names_neither_the_folders_nor_the_system_of_the_machine(done):
    comparison, path = done
    assert platform.platform() not in path.read_text()
    assert str(comparison.path) not in path.read_text() and "root" not in json.loads(
        path.read_text()
    )["base"]  # fmt: skip
    assert json.loads(path.read_text())["data"]["root"] is None


def test_a_comparison_starts_from_published_cells_and_trains_only_the_others(
    done, tmp_path, monkeypatch
):
    comparison, path = done
    trained = []
    plain = driver.run_cell

    def spy(options, path):
        trained.append(path.name)
        return plain(options, path)

    monkeypatch.setattr(driver, "run_cell", spy)
    wider = Grid(comparison.grid.base, {"label_smoothing": [0.0, 0.2], "seed": [0, 1, 2]})
    assert start_from(path, wider, tmp_path / "more") == 4
    assert start_from(path, wider, tmp_path / "more") == 0
    more = compare.compare(wider, tmp_path / "more")
    assert trained == ["eps0-noise0-seed2", "eps0.2-noise0-seed2"]
    for cell, result in comparison.results.items():
        assert more.results[cell] == result
    publish(more, tmp_path / "more.json")
    assert len(read_published(tmp_path / "more.json").comparison.results) == 6


def test_published_cells_with_other_options_are_refused_and_nothing_is_written(done, tmp_path):
    comparison, path = done
    other = Grid(dataclasses.replace(comparison.grid.base, epochs=2), comparison.grid.axes)
    with pytest.raises(OptionError, match="eps0-noise0-seed0 has epochs = 1; expected 2"):
        start_from(path, other, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("data", ["auto", "imagenette"])
def test_drawings_are_no_start_for_photographs_and_nothing_is_written(
    done, tmp_path, monkeypatch, data
):
    comparison, path = done
    monkeypatch.setattr(folder, "choose_source", lambda *args: Source("imagenette", tmp_path))
    base = dataclasses.replace(comparison.grid.base, data=data)
    wider = Grid(base, {"label_smoothing": [0.0, 0.2], "seed": [0, 1, 2]})
    with pytest.raises(OptionError, match=r"'imagenette'.*'drawn'|'drawn'.*'imagenette'"):
        start_from(path, wider, tmp_path / "grid")
    assert not (tmp_path / "grid").exists()


def test_images_are_not_looked_for_where_all_is_published(done, tmp_path, monkeypatch):
    comparison, path = done
    monkeypatch.setattr(folder, "choose_source", None)
    auto = Grid(dataclasses.replace(comparison.grid.base, data="auto"), comparison.grid.axes)
    assert start_from(path, auto, tmp_path / "grid") == 4
    assert compare.compare(auto, tmp_path / "grid").results.keys() == set(auto.cells())


def test_published_drawings_do_not_join_photographs_that_are_there(done, tmp_path):
    comparison, path = done
    shutil.copytree(comparison.path / "eps0-noise0-seed0", tmp_path / "eps0-noise0-seed0")
    claim_photographs(tmp_path / "eps0-noise0-seed0")
    auto = Grid(dataclasses.replace(comparison.grid.base, data="auto"), comparison.grid.axes)
    with pytest.raises(OptionError, match=r"images 'drawn', but eps0-\S+ has 'imagenette'"):
        start_from(path, auto, tmp_path)
    assert [run.name for run in tmp_path.iterdir()] == ["eps0-noise0-seed0"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.update(format=7), "format is 7; expected 1"),
        (lambda content: content["base"].update(lr=-1.0), "lr is -1"),
        (lambda content: content.update(axes=[]), r"axes is \[\] \(list\); expected an object"),
        (lambda content: content["axes"].update(seed=3), "axes: seed is 3 .*expected a list"),
        (lambda content: content["axes"].update(noise=[3]), "axes: noise is 3; expected one of"),
        (lambda content: content["axes"].update(data=["drawn"]), "axes: 'data' cannot be varied"),
        (lambda content: content["cells"][0].update(name="eps9"), "'eps9' is not in the grid"),
        (lambda content: content["cells"][1].update(content["cells"][0]), "seed0' came twice"),
        (lambda content: content["cells"].append(7), r"cells\[4\] is 7 \(int\); expected an obj"),
        (lambda content: content["cells"][3].pop("environment"), "seed1: environment is missing"),
        (lambda content: content["cells"][0]["measured"].pop("loss"), "loss is missing"),
        (lambda content: content["cells"][2].update(measured=[1]), r"measured is \[1\] \(list\)"),
        (lambda content: content.pop("data"), "data is missing; expected an object"),
        (lambda content: content.update(data={}), "data: source is missing"),
        (lambda content: content["data"].update(source="auto"), "source is 'auto'; expected one"),
        (lambda content: content["data"].pop("num_train"), "data: num_train is missing"),
        (
            lambda content: content["data"].update(num_val=0),
            "num_val is 0; expected an integer",
        ),
        (lambda content: content["data"].update(class_names=[1]), "data: class_names is"),
        (lambda content: content["data"].update(stand_in="no"), "stand_in is 'no' .*expected True"),
    ],
)
def test_a_damaged_file_is_named(done, tmp_path, change, words):
    content = json.loads(done[1].read_text())
    change(content)
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"bad\.json' is damaged \(.*{words}"):
        read_published(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("accuracy", 7.5, r"accuracy is 7.5; expected a number in \[0, 1\]"),
        ("accuracy", None, r"accuracy is None \(NoneType\); expected a number"),
        ("loss", "0.5", r"loss is '0.5' \(str\); expected a number"),
        ("loss", -1, "loss is -1; expected a number >= 0"),
        ("ece", math.nan, "ece is nan; expected a number in"),
        ("temperature", 0, "temperature is 0; expected a number > 0"),
        ("top_gap", math.inf, "top_gap is inf; expected a finite number"),
        ("train_gap", 10**400, "too large"),
        ("luck", 1.0, "'luck' came; expected only accuracy, loss"),
    ],
)
def test_numbers_that_no_run_comes_to_are_named_and_nothing_is_written(
    done, tmp_path, name, value, words
):
    content = json.loads(done[1].read_text())
    content["cells"][2]["measured"][name] = value
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"bad\.json' is damaged \(.*{words}"):
        start_from(tmp_path / "bad.json", done[0].grid, tmp_path / "grid")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]
    (tmp_path / "result.json").write_text(json.dumps(content["cells"][2]))
    with pytest.raises(ValueError, match=rf"result\.json' is damaged \(.*{words}"):
        compare.read_result(tmp_path)


def test_nothing_finished_is_nothing_to_publish(done, tmp_path):
    empty = dataclasses.replace(done[0], results={})
    with pytest.raises(ValueError, match="no cell is finished"):
        publish(empty, tmp_path / "none.json")
    assert list(tmp_path.iterdir()) == []


# Command line


def test_the_command_publishes_and_starts_from_what_was_published(tmp_path, monkeypatch, capsys):
    argv = ["compare", *FLAGS, "--epsilons", "0,0.1", "--quiet", "--out"]
    file = str(tmp_path / "p.json")
    assert main([*argv, str(tmp_path / "a"), "--seeds", "4", "--publish", file]) == 0
    monkeypatch.setattr(driver, "run_cell", None)
    assert main([*argv, str(tmp_path / "b"), "--seeds", "4", "--start-from", file]) == 0
    first, second = ((tmp_path / name / "compare.md").read_text() for name in "ab")
    tables = [re.findall(r"^\|.*\|$", text, re.M) for text in (first, second)]
    assert tables[0] == tables[1] and len(tables[0]) == 7
    assert RunFolder.open(tmp_path / "b" / "eps0-noise0-seed4")


def test_the_report_is_written_even_if_publishing_fails(tmp_path, monkeypatch, capsys):
    def publish(done, path):
        raise OSError(28, "no space")

    monkeypatch.setattr(cli_compare, "publish", publish)
    argv = ["compare", *FLAGS, "--epsilons", "0", "--seeds", "4", "--quiet"]
    assert main([*argv, "--out", str(tmp_path / "c"), "--publish", str(tmp_path / "p")]) == 1
    assert "no space" in capsys.readouterr().err
    assert (tmp_path / "c" / "compare.md").exists() and (tmp_path / "c" / "results.csv").exists()


def test_a_read_only_place_is_no_place_to_publish(tmp_path, monkeypatch):
    check_publish(tmp_path / "p.json")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(OptionError, match="publish is .*p.json', whose folder is read-only"):
        check_publish(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--start-from", "nowhere.json"], "--start-from is nowhere.json, which does not exist"),
        (["--publish", "nowhere/p.json"], "--publish is 'nowhere/p.json', whose folder does not"),
        (["--publish", "."], "--publish is '.', a folder; expected the name of a file"),
        (["--start-from", QUICK, "--workers", "3", "--out", "c"], "--workers is 3 with --executor"),
        (["--start-from", QUICK, "--publish", ".", "--out", "c"], "--publish is '.', a folder"),
    ],
)
def test_wrong_usage_is_told_before_any_work(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "run_cell", None)
    with pytest.raises(SystemExit) as caught:
        main(["compare", *FLAGS, *argv])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# Pages


def test_tables_are_filled_in_between_their_marks(done):
    folder = done[1].parent
    text = "a\n<!-- measured: drawn means -->\nold\n<!-- end of measured -->\nb\n"
    filled = fill_in(text, folder)
    assert filled.startswith("a\n<!-- measured: drawn means -->\n") and "old" not in filled
    assert filled.endswith("<!-- end of measured -->\nb\n") and fill_in(filled, folder) == filled
    runs = list(done[0].results.values())
    losses = [run.loss for run in runs[2:]]
    mean, spread = np.mean(losses), np.std(losses, ddof=1)
    assert "| 0.2 | 2 | " in filled and f"| {mean:.3f} ± {spread:.3f} |" in filled
    change = 100 * np.mean(
        [b.accuracy - a.accuracy for a, b in zip(runs[:2], runs[2:], strict=True)]
    )
    assert f"| {change:+.1f} [" in filled
    with pytest.raises(ValueError, match="'drawn' is not closed"):
        fill_in("<!-- measured: drawn -->\n", folder)
    with pytest.raises(FileNotFoundError):
        fill_in(text.replace("drawn", "other"), folder)


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_of_a_page_are_what_the_published_files_give(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- measured: " in text
    assert fill_in(text, PUBLISHED) == text


def test_every_published_file_is_small_stands_on_the_page_and_is_about_photographs():
    page = (ROOT / "chapters" / "measured.md").read_text(encoding="utf-8")
    files = sorted(PUBLISHED.iterdir())
    assert files
    for file in files:
        assert file.stat().st_size < 100_000
        assert f"<!-- measured: {file.stem} -->" in page
        published = read_published(file)
        assert published.data["source"] == "imagenette" and not published.data["stand_in"]
        for result in published.comparison.results.values():
            values = dataclasses.astuple(result)
            assert np.isfinite(values).all() and 0.1 < result.accuracy < 1


if __name__ == "__main__":
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        (ROOT / name).write_text(fill_in(text, PUBLISHED), encoding="utf-8")
