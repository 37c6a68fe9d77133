"""List the chapters of the book, run them, check your answers to their exercises, build the book.

tinysmooth chapters            list them, each with its question
tinysmooth chapters 3 5        run chapters 3 and 5
tinysmooth chapters all        run them all, each in a process of its own
tinysmooth chapters check 3    check your answers in chapters/exercises/03.py
tinysmooth chapters book       build them into HTML pages that need no network
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from tinysmooth.chapters import chapters_folder, find_chapters, run_chapters, select_chapters
from tinysmooth.chapters.book import build_book
from tinysmooth.chapters.exercises import check_exercises, describe_verdicts, exercise_numbers
from tinysmooth.chapters.runner import TIMEOUT
from tinysmooth.cli.options import UsageError, real

__all__ = ["HELP", "NAME", "configure", "run"]

NAME = "chapters"
HELP = "list the chapters of the book, run them, check exercises, or build the book"

INDENT = " " * 4

_LONGEST = 7 * 86_400  # seconds a chapter may take at most


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "what", metavar="WHAT", nargs="*", help="numbers, 'all', 'check' and numbers, or 'book'"
    )
    parser.add_argument("--output", action="store_true", help="show what the chapters print")
    parser.add_argument(
        "--timeout", type=real, default=TIMEOUT, metavar="S", help="seconds for each chapter"
    )
    parser.add_argument(
        "--file", metavar="PATH", help="check the answers in this file (with one number)"
    )
    parser.add_argument("--out", metavar="DIR", help="where 'book' puts its pages")


def run(args: argparse.Namespace) -> int:
    """List, run or check; 0 if everything passed."""
    if not 0 < args.timeout <= _LONGEST:
        raise UsageError(
            f"--timeout: {args.timeout:g} came; expected more than 0, up to {_LONGEST} seconds"
        )
    words = list(args.what)
    if args.output and (not words or words[0] in ("check", "book")):
        raise UsageError("--output goes with the numbers of chapters, or 'all'")
    checking = words[:1] == ["check"]
    if args.file is not None and (not checking or len(words) != 2):
        raise UsageError("--file goes with 'check' and one number")
    if args.out is not None and words != ["book"]:
        raise UsageError("--out goes with 'book'")
    if words == ["book"]:
        print(build_book(out=None if args.out is None else Path(args.out)))
        return 0
    if checking:
        return _check(_numbers(words[1:]), args.file)
    chapters = find_chapters()
    if not words:
        for chapter in chapters:
            print(f"{chapter.number:02d}  {chapter.title}")
            print(
                textwrap.fill(chapter.question, 78, initial_indent=INDENT, subsequent_indent=INDENT)
            )
        return 0
    numbers = [each.number for each in chapters] if words == ["all"] else _numbers(words)
    try:
        chosen = select_chapters(chapters, numbers)
    except ValueError as error:
        raise UsageError(str(error)) from None
    width = max(len(chapter.title) for chapter in chosen)
    passed = 0
    for outcome in run_chapters(chosen, timeout=args.timeout):
        passed += outcome.passed
        if args.output:
            print(outcome.output.rstrip())
        chapter = outcome.chapter
        head = f"{chapter.number:02d}  {chapter.title:{width}}  {outcome.seconds:6.1f} s"
        tail = "" if outcome.passed else f": {outcome.reason}"
        print(f"{head}  {outcome.verdict}{tail}", flush=True)
    if len(chosen) > 1:
        print(f"{passed} of {len(chosen)} passed")
    return 0 if passed == len(chosen) else 1


def _check(numbers: list[int], file: str | None) -> int:
    if not numbers:
        raise UsageError("check: no number came; expected those of one or more chapters")
    if file is not None and not Path(file).is_file():
        raise UsageError(f"--file is {file}, which is no file; expected one with your answers")
    folder = chapters_folder()
    known = exercise_numbers(folder)
    unknown = [number for number in numbers if number not in known]
    if unknown:
        raise UsageError(f"check: number is {unknown[0]}; expected one of {known}")
    right = True
    for number in numbers:
        verdicts = check_exercises(number, folder, None if file is None else Path(file))
        if len(numbers) > 1:
            print(f"Chapter {number:02d}")
        print(describe_verdicts(verdicts))
        right = right and all(verdict.state == "right" for verdict in verdicts)
    return 0 if right else 1


def _numbers(words: list[str]) -> list[int]:
    for word in words:
        if not word.isdecimal():
            raise UsageError(
                f"{word!r} came; expected numbers, 'all', 'check' and numbers, or 'book'"
            )
    return [int(word) for word in words]
