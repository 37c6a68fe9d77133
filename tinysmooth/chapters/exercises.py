"""The exercise checker: runs a reader's answers against hidden properties and says what is off.

A chapter's exercises are stubs in ``exercises/NN.py``. Its checks are in ``checks/NN.py``: a
function ``check_NAME(attempt)`` for each exercise ``NAME``, given the reader's function, which
raises ``expect.Wrong`` when an answer is not right and returns otherwise. Solutions live apart, in
``solutions/NN.py``, and pass the same checks in the test suite.
"""

from __future__ import annotations

import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinysmooth.chapters.expect import Wrong
from tinysmooth.checks import check_int

__all__ = ["Verdict", "check_exercises", "describe_verdicts", "exercise_numbers"]

RIGHT = "right"
WRONG = "wrong"
UNWRITTEN = "not written yet"
MISSING = "missing"
BROKEN = "stopped with an error"


@dataclass(frozen=True)
class Verdict:
    """What the checker found about one exercise.

    Attributes
    ----------
    exercise : str
        Name of the function.
    state : str
        "right", "wrong", "not written yet", "missing" or "stopped with an error".
    words : str
        What is off; empty if right.
    hint : str
        Where to look; may be empty.
    """

    exercise: str
    state: str
    words: str = ""
    hint: str = ""


def exercise_numbers(folder: Path) -> list[int]:
    """Numbers of the chapters under ``folder`` that have exercises, in order."""
    return sorted(int(path.stem) for path in (folder / "checks").glob("[0-9][0-9].py"))


def check_exercises(number: int, folder: Path, file: Path | None = None) -> list[Verdict]:
    """Check the reader's answers to one chapter's exercises.

    Parameters
    ----------
    number : int
        The chapter.
    folder : Path
        The folder ``chapters`` of the repository.
    file : Path, optional
        The reader's file; ``folder/exercises/NN.py`` if not given.

    Returns
    -------
    list of Verdict
        One an exercise, in the chapter's order.

    Raises
    ------
    FileNotFoundError
        If the chapter has no checks, or the reader's file does not exist.
    ValueError
        If the reader's file cannot be read as Python, or stops while it is loaded.
    """
    number = check_int("check_exercises", "number", number, minimum=1)
    checks_file = folder / "checks" / f"{number:02d}.py"
    if not checks_file.is_file():
        have = ", ".join(str(n) for n in exercise_numbers(folder)) or "none"
        raise FileNotFoundError(
            f"check_exercises: chapter {number} has no exercises in {folder}; expected one of: "
            f"{have}"
        )
    answers_file = file if file is not None else folder / "exercises" / f"{number:02d}.py"
    if not answers_file.is_file():
        raise FileNotFoundError(
            f"check_exercises: file is {answers_file}, which does not exist; expected your answers"
        )
    checks = _load(checks_file)
    with np.errstate(all="ignore"):
        answers = _load(answers_file)
    found = [
        (name.removeprefix("check_"), value)
        for name, value in vars(checks).items()
        if name.startswith("check_") and callable(value)
    ]
    return [_judge(name, check, answers, answers_file) for name, check in found]


def describe_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Say what was found, one paragraph an exercise and a last line that counts.

    >>> print(describe_verdicts([Verdict("f", "right"), Verdict("g", "not written yet")]))
      f   right
      g   not written yet
    1 of 2 right.
    """
    width = max((len(verdict.exercise) for verdict in verdicts), default=0) + 2
    lines = []
    for verdict in verdicts:
        lines.append(f"  {verdict.exercise:<{width}} {verdict.state}")
        lines += [f"      {line}" for line in verdict.words.splitlines()]
        if verdict.hint:
            lines.append(f"      Hint: {verdict.hint}.")
    right = sum(verdict.state == RIGHT for verdict in verdicts)
    lines.append(f"{right} of {len(verdicts)} right.")
    return "\n".join(lines)


def _load(path: Path) -> types.ModuleType:
    """Run a file as a module of its own, from its source: a cached bytecode file could be stale."""
    module = types.ModuleType(f"{path.parent.name}_{path.stem}")
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"check_exercises: {path} is not Python: {error}; expected a file of functions"
        ) from error
    try:
        exec(code, module.__dict__)
    except Exception as error:
        raise ValueError(
            f"check_exercises: {path} stopped while it was loaded{_line_in(error, path)}: "
            f"{type(error).__name__}: {error}; expected a file of functions"
        ) from error
    return module


def _judge(
    name: str, check: Callable[[Any], None], answers: types.ModuleType, path: Path
) -> Verdict:
    attempt = getattr(answers, name, None)
    if not callable(attempt):
        return Verdict(
            name, MISSING, f"There is no function {name} in {path.name}.", "keep the stub's name"
        )
    try:
        # A naive answer may overflow on its way; what counts is what it returns.
        with np.errstate(all="ignore"):
            check(attempt)
    except NotImplementedError:
        return Verdict(name, UNWRITTEN)
    except Wrong as wrong:
        return Verdict(name, WRONG, f"{wrong.words}.", wrong.hint)
    except Exception as error:
        where = _line_in(error, path)
        refused = isinstance(error, TypeError) and f"{name}()" in str(error)
        if not where and not refused:
            raise  # not the reader's doing: the check itself is broken
        words = f"{type(error).__name__}{where}: {error}"
        return Verdict(name, BROKEN, words, _hint_for(error))
    return Verdict(name, RIGHT)


def _line_in(error: BaseException, path: Path) -> str:
    """Deepest line of ``path`` that an error passed through, as words; empty if none."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if not frames:
        return ""
    return f" at line {frames[-1].lineno} of {path.name}"


def _hint_for(error: Exception) -> str:
    if "read-only" in str(error):
        return "the function writes into its argument; work on a copy"
    if isinstance(error, TypeError) and "argument" in str(error):
        return "keep the stub's arguments, in the stub's order"
    return ""
