"""Number, title and question of every chapter, read from its first cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinysmooth.chapters.places import chapter_number, chapters_folder
from tinysmooth.checks import check_int

__all__ = ["Chapter", "find_chapters", "read_chapter", "select_chapters"]

_TITLE = re.compile(r"^# # (\d\d) (\S.*)$", re.MULTILINE)
_QUESTION = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)


@dataclass(frozen=True)
class Chapter:
    """One chapter of the book.

    Attributes
    ----------
    number : int
    path : Path
    title : str
        Without the number.
    question : str
        The question that it answers, one sentence.
    """

    number: int
    path: Path
    title: str
    question: str


def read_chapter(path: Path) -> Chapter:
    """Read a chapter's head: the line ``# # NN Title``, then the question in bold.

    Raises
    ------
    ValueError
        If the title or the question is missing, or the number is not that of the file name.
    """
    text = path.read_text(encoding="utf-8")
    title = _TITLE.search(text)
    if title is None:
        raise ValueError(f"chapters: {path.name} has no title; expected a line '# # NN Title'")
    number = chapter_number(path)
    if number != int(title.group(1)):
        raise ValueError(
            f"chapters: {path.name} has the number {title.group(1)} in its title; expected that "
            "of its file name"
        )
    cell = text[title.end() :].partition("\n# %%")[0]
    question = _QUESTION.search(re.sub(r"^# ?", "", cell, flags=re.MULTILINE))
    if question is None:
        raise ValueError(
            f"chapters: {path.name} asks nothing; expected a question in **bold** below its title"
        )
    return Chapter(number, path, title.group(2).strip(), " ".join(question.group(1).split()))


def find_chapters(folder: Path | None = None) -> list[Chapter]:
    """Return all chapters in order.

    Parameters
    ----------
    folder : Path, optional
        Of the chapters; `chapters_folder` if left out.

    Raises
    ------
    FileNotFoundError
        If there are no chapters.
    ValueError
        If two chapters have one number, or one lacks its title or question.
    """
    folder = chapters_folder() if folder is None else folder
    paths = [path for path in sorted(folder.iterdir()) if chapter_number(path) is not None]
    if not paths:
        raise FileNotFoundError(f"chapters: {folder} holds no NN_*.py; expected chapters there")
    chapters = [read_chapter(path) for path in paths]
    for before, after in zip(chapters, chapters[1:], strict=False):
        if before.number == after.number:
            raise ValueError(
                f"chapters: {before.path.name} and {after.path.name} have one number; "
                "expected different ones"
            )
    return chapters


def select_chapters(chapters: Sequence[Chapter], numbers: Iterable[int]) -> list[Chapter]:
    """Return the chapters with these numbers, in the order asked for.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If there is no chapter with that number.
    """
    by_number = {chapter.number: chapter for chapter in chapters}
    chosen = []
    for number in numbers:
        checked = check_int("chapters", "number", number)
        if checked not in by_number:
            there = ", ".join(str(each) for each in sorted(by_number))
            raise ValueError(f"chapters: number is {checked}; expected one of {there}")
        chosen.append(by_number[checked])
    return chosen
