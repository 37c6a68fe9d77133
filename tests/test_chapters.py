"""Every chapter runs as a plain script, and the machinery around it tells the truth."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tinysmooth import chapters
from tinysmooth.chapters import (
    CLAIMS,
    find_chapters,
    read_results,
    record,
    run_chapter,
    select_chapters,
    show,
)
from tinysmooth.cli import main
from tinysmooth.plots import new_figure

FOLDER = Path(__file__).parent.parent / "chapters"
BOOK = find_chapters(FOLDER) if any(FOLDER.glob("[0-9][0-9]_*.py")) else []

HEAD = """\
    # %% [markdown]
    # # 03 A title
    #
    # **Is this
    # a question?**
    #
    # More.
    """


@pytest.fixture
def write(tmp_path):
    """Write a small chapter 03 and return it as discovered."""

    def write_chapter(code: str):
        text = textwrap.dedent(HEAD) + "\n# %%\n" + textwrap.dedent(code)
        (tmp_path / "03_ask_something.py").write_text(text)
        return find_chapters(tmp_path)[0]

    return write_chapter


# ---- The book ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", BOOK, ids=lambda chapter: chapter.path.stem)
def test_every_chapter_runs_to_its_end(chapter):
    outcome = run_chapter(chapter)
    assert outcome.passed, outcome.output[-4000:]


@pytest.mark.parametrize("chapter", BOOK, ids=lambda chapter: chapter.path.stem)
def test_every_chapter_has_its_parts(chapter):
    text = chapter.path.read_text(encoding="utf-8")
    assert chapter.question.endswith("?")
    for part in ("What you have learnt", "Questions", "Exercises", "Sources"):
        assert f"\n# ## {part}\n" in text, f"{chapter.path.name} lacks '## {part}'"


# ---- Discovery -----------------------------------------------------------------------------------


def test_a_chapter_is_found_with_its_title_and_question(write):
    chapter = write("")
    assert (chapter.number, chapter.title) == (3, "A title")
    assert chapter.question == "Is this a question?"


def test_chapters_come_in_order_and_other_files_are_left_out(tmp_path):
    for number in (10, 2):
        (tmp_path / f"{number:02d}_x.py").write_text(f"# # {number:02d} T\n# **Why?**\n")
    (tmp_path / "conf.py").write_text("")
    assert [chapter.number for chapter in find_chapters(tmp_path)] == [2, 10]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "no title"),
        ("# # 03 T\n# Why?\n", "asks nothing"),
        ("# # 04 T\n# **Why?**\n", "number 04"),
        ("# # 03 T\n# %%\nx = '**no**'\n", "asks nothing"),
    ],
)
def test_a_head_that_is_wrong_is_refused(tmp_path, text, message):
    (tmp_path / "03_x.py").write_text(text)
    with pytest.raises(ValueError, match=message):
        find_chapters(tmp_path)


def test_two_chapters_with_one_number_are_refused(tmp_path):
    for name in ("03_x.py", "03_y.py"):
        (tmp_path / name).write_text("# # 03 T\n# **Why?**\n")
    with pytest.raises(ValueError, match="03_x.py and 03_y.py have one number"):
        find_chapters(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected chapters there"):
        find_chapters(tmp_path)


def test_chapters_are_selected_in_the_order_asked_for(tmp_path):
    for number in (1, 2, 3):
        (tmp_path / f"{number:02d}_x.py").write_text(f"# # {number:02d} T\n# **Why?**\n")
    found = find_chapters(tmp_path)
    assert [chapter.number for chapter in select_chapters(found, [3, 1])] == [3, 1]
    with pytest.raises(ValueError, match="number is 7; expected one of 1, 2, 3"):
        select_chapters(found, [7])
    with pytest.raises(TypeError, match="expected an integer"):
        select_chapters(found, ["1"])


# ---- Running -------------------------------------------------------------------------------------


def test_a_chapter_that_works_passes_and_its_output_is_kept(write):
    outcome = run_chapter(write("print('caf\\u00e9')\n"))
    assert outcome.verdict == "passed"
    assert outcome.output == "café\n"


def test_a_failed_assertion_fails_the_chapter_and_is_the_reason(write):
    outcome = run_chapter(write("assert 1 == 2, 'one is not two'\n"))
    assert outcome.verdict == "failed"
    assert outcome.reason == "AssertionError: one is not two"


def test_a_chapter_that_takes_too_long_is_stopped(write):
    chapter = write("import time\nprint('before', flush=True)\ntime.sleep(60)\n")
    outcome = run_chapter(chapter, timeout=1.0)
    assert outcome.verdict == "timed out"
    assert outcome.seconds < 30
    assert "before" in outcome.output


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_timeout_that_is_not_positive_is_refused(write, timeout):
    with pytest.raises(ValueError, match="timeout"):
        run_chapter(write(""), timeout=timeout)


# ---- Results -------------------------------------------------------------------------------------

RECORDING = """\
from tinysmooth.chapters import record
record(claim="P6", verdict="holds", measured="error 1e-16")
record(claim="P7", verdict="holds under a condition", measured="L1 2", condition="logit space")
"""


def test_what_a_chapter_records_is_read_back(write):
    chapter = write(RECORDING)
    outcome = run_chapter(chapter)
    assert outcome.output.splitlines()[0] == "P6 holds: error 1e-16."
    results, missing = read_results([chapter])
    assert missing == []
    assert [(r.claim, r.verdict, r.condition, r.chapter) for r in results] == [
        ("P6", "holds", "", 3),
        ("P7", "holds under a condition", "logit space", 3),
    ]


def test_results_of_an_edited_chapter_do_not_count(write):
    run_chapter(write(RECORDING))
    chapter = write(RECORDING + "# edited\n")
    assert read_results([chapter]) == ([], [chapter])


def test_a_chapter_that_fails_leaves_no_results(write):
    chapter = write(RECORDING + "raise RuntimeError('late')\n")
    assert run_chapter(chapter).verdict == "failed"
    assert read_results([chapter]) == ([], [chapter])


def test_a_chapter_that_records_nothing_is_not_missing(write):
    assert read_results([write("x = 1\n")]) == ([], [])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"claim": "P26"}, "claim is 'P26'; expected one of 'P1'"),
        ({"verdict": "true"}, "verdict is 'true'"),
        ({"measured": " "}, "measured is empty"),
        ({"verdict": "holds under a condition"}, "condition is empty"),
    ],
)
def test_a_record_that_says_nothing_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        record(**{"claim": "P6", "verdict": "holds", "measured": "1", **given})


def test_a_claim_is_recorded_once_in_a_chapter(write):
    outcome = run_chapter(write(RECORDING + RECORDING.splitlines()[1]))
    assert "claim P6 was recorded before" in outcome.reason


def test_the_ledger_has_every_claim_of_paper_and_page():
    expected = [f"P{i}" for i in range(1, 26)] + [f"B{i}" for i in range(1, 15)]
    assert list(CLAIMS) == expected


# ---- Figures -------------------------------------------------------------------------------------

DRAWING = """\
from tinysmooth.chapters import show
from tinysmooth.cli import main
from tinysmooth.plots import new_figure
show(new_figure()[0], "two_curves")
"""


def test_a_script_saves_its_figures_under_its_number(write, tmp_path):
    outcome = run_chapter(write(DRAWING))
    path = tmp_path / "figures" / "03_two_curves.png"
    assert outcome.output.strip() == f"figure: {path}"
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["", "../x", "Two", "a b", "x_", 3])
def test_a_figure_name_that_is_no_plain_file_name_is_refused(name):
    figure, _ = new_figure()
    with pytest.raises(ValueError, match="show: name"):
        show(figure, name)


def test_the_machinery_imports_no_matplotlib():
    code = "import sys, tinysmooth.chapters; print('matplotlib' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "False"


def test_the_sheet_of_results_is_plain_json(write, tmp_path):
    run_chapter(write(RECORDING))
    sheet = json.loads((tmp_path / "results" / "03.json").read_text())
    assert set(sheet) == {"source", "results"}


def test_all_public_names_exist():
    assert all(hasattr(chapters, name) for name in chapters.__all__)


# ---- The command line ----------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, write, tmp_path):
    """Run ``tinysmooth chapters ...`` on a folder with one chapter."""
    monkeypatch.setattr("tinysmooth.cli.chapters.chapters_folder", lambda: tmp_path)

    def run(code: str, *words: str) -> int:
        chapter = write(code)
        monkeypatch.setattr("tinysmooth.cli.chapters.find_chapters", lambda: [chapter])
        return main(["chapters", *words])

    return run


def test_the_command_lists_chapters_with_their_questions(command, capsys):
    assert command("") == 0
    assert capsys.readouterr().out == "03  A title\n    Is this a question?\n"


@pytest.mark.parametrize("words", [["3"], ["all"], ["03"]])
def test_the_command_runs_chapters_with_time_and_verdict(command, capsys, words):
    assert command("print('inside')", *words) == 0
    line = capsys.readouterr().out
    assert line.startswith("03  A title  ")
    assert line.endswith(" s  passed\n")


def test_the_command_fails_with_the_reason_of_a_chapter(command, capsys):
    assert command("assert False, 'two is three'", "3", "--output") == 1
    out = capsys.readouterr().out
    assert "Traceback" in out
    assert out.endswith("failed: AssertionError: two is three\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["7"], "number is 7; expected one of 3"),
        (["three"], "'three' came"),
        (["-1"], "-1"),
        (["all", "3"], "'all' came"),
        (["check"], "no number came"),
        (["3", "--file", "x.py"], "--file goes with"),
        (["3", "--timeout", "0"], "--timeout: 0 came"),
    ],
)
def test_wrong_usage_of_the_command_is_refused(command, capsys, words, message):
    with pytest.raises(SystemExit) as error:
        command("", *words)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_checks_exercises(command, tmp_path, capsys):
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "03.py").write_text(
        "from tinysmooth.chapters.expect import same\n"
        "def check_one(attempt):\n    same(attempt(), 1, 'one()')\n"
    )
    answers = tmp_path / "mine.py"
    answers.write_text("def one():\n    return 2\n")
    assert command("", "check", "3", "--file", str(answers)) == 1
    assert "expected 1 (1 too large)" in capsys.readouterr().out
    answers.write_text("def one():\n    return 1\n")
    assert command("", "check", "3", "--file", str(answers)) == 0
    assert "1 of 1 right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["1", "--timeout", "inf"], "--timeout: inf came; expected more than 0, up to"),
        (["1", "--timeout", "1e10"], "--timeout: 1e+10 came; expected more than 0, up to"),
        (["--output"], "--output goes with the numbers of chapters"),
        (["check", "1", "--output"], "--output goes with the numbers of chapters"),
    ],
)
def test_options_of_the_command_that_do_not_fit_are_named(argv, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["chapters", *argv])
    assert caught.value.code == 2 and words in capsys.readouterr().err
