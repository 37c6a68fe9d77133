"""The exercise checker: what it says, that solutions pass, and that empty stubs do not."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth.chapters.exercises import (
    BROKEN,
    MISSING,
    RIGHT,
    UNWRITTEN,
    WRONG,
    check_exercises,
    describe_verdicts,
    exercise_numbers,
)
from tinysmooth.chapters.expect import (
    Wrong,
    frozen,
    holds,
    near,
    numerical_gradient,
    refuses,
    same,
)

CHAPTERS = Path(__file__).parent.parent / "chapters"
NUMBERS = exercise_numbers(CHAPTERS)
CHAPTER_FILES = sorted(CHAPTERS.glob("[0-9][0-9]_*.py"))

CHECKS = """
from tinysmooth.chapters.expect import frozen, same

def check_double(attempt):
    same(attempt(frozen([1.0, 2.0])), [2.0, 4.0], "double([1, 2])",
         mistakes=[([1.0, 4.0], "that is the square")], hint="add it to itself")

def check_half(attempt):
    same(attempt(3.0), 1.5, "half(3.0)")
"""


@pytest.fixture
def small(tmp_path):
    """A folder of chapters with two exercises; call it with the reader's file to get verdicts."""
    (tmp_path / "checks").mkdir()
    (tmp_path / "exercises").mkdir()
    (tmp_path / "checks" / "01.py").write_text(CHECKS)

    def judge(answers):
        (tmp_path / "exercises" / "01.py").write_text(answers)
        return check_exercises(1, tmp_path)

    return judge


@pytest.mark.parametrize("number", NUMBERS)
def test_solutions_are_right(number):
    verdicts = check_exercises(number, CHAPTERS, CHAPTERS / "solutions" / f"{number:02d}.py")
    assert [v.state for v in verdicts] == [RIGHT] * len(verdicts), describe_verdicts(verdicts)


@pytest.mark.parametrize("number", NUMBERS)
def test_empty_stubs_are_not_written_yet(number):
    verdicts = check_exercises(number, CHAPTERS)
    assert 2 <= len(verdicts) <= 4
    assert {v.state for v in verdicts} == {UNWRITTEN}, describe_verdicts(verdicts)


@pytest.mark.parametrize("number", NUMBERS)
def test_stubs_that_return_nothing_are_wrong(number, tmp_path):
    stubs = (CHAPTERS / "exercises" / f"{number:02d}.py").read_text(encoding="utf-8")
    silent = tmp_path / "silent.py"
    silent.write_text(stubs.replace("raise NotImplementedError", "return None"), encoding="utf-8")
    verdicts = check_exercises(number, CHAPTERS, silent)
    assert not {v.state for v in verdicts} & {RIGHT, UNWRITTEN}, describe_verdicts(verdicts)


@pytest.mark.parametrize("number", NUMBERS)
def test_stubs_solutions_and_checks_have_the_same_functions(number):
    texts = [
        (CHAPTERS / folder / f"{number:02d}.py").read_text(encoding="utf-8")
        for folder in ("exercises", "checks")
    ]
    stubs = re.findall(r"^def (\w+)\(", texts[0], re.MULTILINE)
    checks = re.findall(r"^def check_(\w+)\(", texts[1], re.MULTILINE)
    assert stubs == checks


@pytest.mark.parametrize("path", CHAPTER_FILES, ids=lambda path: path.stem)
def test_every_chapter_has_exercises_and_says_how_to_check_them(path):
    number = int(path.name[:2])
    assert number in NUMBERS
    assert f"tinysmooth chapters check {number}" in path.read_text(encoding="utf-8")


def test_right_and_unwritten_answers_are_told_apart(small):
    verdicts = small(
        "def double(x):\n    return x + x\ndef half(x):\n    raise NotImplementedError\n"
    )
    assert [v.state for v in verdicts] == [RIGHT, UNWRITTEN]
    assert describe_verdicts(verdicts).splitlines()[-1] == "1 of 2 right."


def test_a_wrong_answer_is_told_by_element_and_distance(small):
    verdict = small("def double(x):\n    return x * [2, 2.5]\ndef half(x):\n    return 1.5\n")[0]
    assert verdict.state == WRONG
    assert verdict.words == "double([1, 2]) is off at [1]: 5, expected 4 (1 too large)."
    assert verdict.hint == "add it to itself"


def test_a_known_mistake_is_named(small):
    verdict = small("def double(x):\n    return x ** 2\n")[0]
    assert verdict.hint == "that is the square"


def test_a_missing_function_is_named(small):
    verdict = small("def double(x):\n    return x + x\n")[1]
    assert (verdict.state, verdict.words) == (MISSING, "There is no function half in 01.py.")


def test_an_error_is_told_with_its_line(small):
    verdict = small("def double(x):\n    return 2 * y\n")[0]
    assert verdict.state == BROKEN
    assert verdict.words == "NameError at line 2 of 01.py: name 'y' is not defined"


def test_writing_into_the_argument_is_caught(small):
    verdict = small("def double(x):\n    x *= 2\n    return x\n")[0]
    assert verdict.state == BROKEN
    assert "work on a copy" in verdict.hint


def test_a_changed_signature_is_the_readers_mistake(small):
    verdict = small("def double(x, y):\n    return x\n")[0]
    assert verdict.state == BROKEN
    assert "stub's arguments" in verdict.hint


def test_an_edit_within_the_same_second_is_seen(small):
    assert small("def double(x):\n    return x + 1\n")[0].state == WRONG
    assert small("def double(x):\n    return x * 2\n")[0].state == RIGHT


def test_a_mistake_in_a_check_is_not_blamed_on_the_reader(tmp_path):
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "01.py").write_text("def check_f(attempt):\n    return 1 / 0\n")
    answers = tmp_path / "answers.py"
    answers.write_text("def f():\n    return 1\n")
    with pytest.raises(ZeroDivisionError):
        check_exercises(1, tmp_path, answers)


@pytest.mark.parametrize(
    ("answers", "words"),
    [("def double(:\n", "is not Python"), ("1 / 0\n", "stopped while it was loaded at line 1")],
)
def test_a_file_that_does_not_load_is_refused(small, answers, words):
    with pytest.raises(ValueError, match=words):
        small(answers)


def test_a_chapter_without_exercises_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="chapter 99 has no exercises"):
        check_exercises(99, CHAPTERS)
    with pytest.raises(FileNotFoundError, match="does not exist; expected your answers"):
        check_exercises(NUMBERS[0], CHAPTERS, tmp_path / "nowhere.py")


def failure(function):
    with pytest.raises(Wrong) as caught:
        function()
    return caught.value


def test_same_accepts_lists_arrays_tensors_and_numbers():
    same([1, 2], [1.0, 2.0], "f()")
    same(ts.Tensor(np.array([1.0, 2.0])), [1.0, 2.0], "f()")
    same(np.float64(2.0), 2.0, "f()")
    same([np.nan, np.inf], [np.nan, np.inf], "f()")


@pytest.mark.parametrize(
    ("got", "want", "words"),
    [
        (None, 1.0, "f() gave None"),
        ("three", 3.0, "f() gave 'three' (str), expected numbers"),
        ([1.0], [1.0, 2.0], "f() has shape (1,), expected shape (2,)"),
        ([[1.0, 2.0], [3.0]], [1.0, 2.0], "f() gave a ragged sequence"),
        (2.0, 1.5, "f() is off: 2, expected 1.5 (0.5 too large)"),
        (np.nan, 1.5, "f() is off: nan, expected 1.5"),
        ([0.0, -np.inf], [0.0, 1.0], "f() is off at [1]: -inf, expected 1"),
        (
            [[0.0, 1.0], [2.0, 0.0]],
            [[0.0, 0.0], [0.0, 0.0]],
            "f() is off at [1, 0]: 2, expected 0 (2 too large); 2 of 4 elements are off",
        ),
    ],
)
def test_same_says_what_is_off(got, want, words):
    assert failure(lambda: same(got, want, "f()")).words == words


def test_near_states_its_slack():
    near(0.51, 0.5, 0.02, "f()")
    assert failure(lambda: near(0.6, 0.5, 0.02, "f()")).words == (
        "f() is 0.6, expected 0.5 give or take 0.02"
    )
    assert "nan" in failure(lambda: near(np.nan, 0.5, 0.02, "f()")).words


def test_holds_and_refuses():
    holds(True, "never said")
    assert failure(lambda: holds(False, "the rows do not sum to 1", "h")).hint == "h"
    refuses(lambda: [][0], (ValueError, IndexError), "f()")
    words = failure(lambda: refuses(lambda: 3.0, ValueError, "f(-1)")).words
    assert words == "f(-1) returned 3; expected a ValueError"


def test_frozen_arrays_are_copies():
    values = np.zeros(2)
    assert not np.shares_memory(frozen(values), values)
    with pytest.raises(ValueError, match="read-only"):
        frozen(values)[0] = 1.0


def test_numerical_gradient_agrees_with_a_known_one():
    point = np.array([[0.3, -1.2], [2.0, 0.7]])
    slopes = numerical_gradient(lambda x: float(np.sin(x).sum()), point)
    np.testing.assert_allclose(slopes, np.cos(point), atol=1e-9)


def test_answers_saved_with_a_byte_order_mark_are_read(tmp_path):
    solution = (CHAPTERS / "solutions" / "06.py").read_bytes()
    (tmp_path / "06.py").write_bytes(b"\xef\xbb\xbf" + solution)
    verdicts = check_exercises(6, CHAPTERS, tmp_path / "06.py")
    assert all(verdict.state == RIGHT for verdict in verdicts)
