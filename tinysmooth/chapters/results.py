"""`record`: what a chapter found out about a claim, kept for the scoreboard of the last chapter.

A chapter's findings are written to ``results/NN.json`` beside it when it has run to its end, with a
fingerprint of its source. Findings of a chapter that failed, or was edited since, do not count.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tinysmooth.chapters.claims import CLAIMS
from tinysmooth.chapters.discovery import Chapter, find_chapters
from tinysmooth.chapters.places import chapter_number, running_script
from tinysmooth.checks import check_choice

__all__ = ["VERDICTS", "Result", "read_results", "record"]

VERDICTS = ("holds", "holds under a condition", "fails as stated", "not tested here")
"""What can be said about a claim."""


@dataclass(frozen=True)
class Result:
    """What one chapter says about one claim.

    Attributes
    ----------
    claim : str
        A key of `CLAIMS`.
    verdict : str
        One of `VERDICTS`.
    measured : str
        The numbers, as text made by the chapter.
    condition : str
        When the claim holds, or empty.
    chapter : int
    """

    claim: str
    verdict: str
    measured: str
    condition: str
    chapter: int


_pending: list[Result] = []


def record(claim: str, verdict: str, measured: str, condition: str = "") -> None:
    """Put on record what the running chapter found out about a claim, and print it.

    In a notebook, or outside a chapter, it is printed only.

    Parameters
    ----------
    claim : str
        "P1" to "P25" (the paper) or "B1" to "B14" (the book page), see `CLAIMS`.
    verdict : str
        One of `VERDICTS`.
    measured : str
        The numbers that were found, as text computed by the chapter.
    condition : str
        When it holds; needed for "holds under a condition".

    Raises
    ------
    ValueError
        If there is no such claim or verdict, ``measured`` is empty, or the condition is missing.
    """
    check_choice("record", "claim", claim, CLAIMS)
    check_choice("record", "verdict", verdict, VERDICTS)
    if not measured.strip():
        raise ValueError("record: measured is empty; expected what was found, in words and numbers")
    if verdict == "holds under a condition" and not condition.strip():
        raise ValueError("record: condition is empty; expected when the claim holds")
    tail = f" Condition: {condition}." if condition else ""
    print(f"{claim} {verdict}: {measured}.{tail}")
    script = running_script()
    number = None if script is None else chapter_number(script)
    if script is None or number is None:
        return
    if any(result.claim == claim for result in _pending):
        raise ValueError(f"record: claim {claim} was recorded before in this chapter")
    if not _pending:
        atexit.register(_write, script)
    _pending.append(Result(claim, verdict, measured, condition, number))


def read_results(
    chapters: list[Chapter] | None = None,
) -> tuple[list[Result], list[Chapter]]:
    """Return all valid results, and the chapters that have none and would have to be run first.

    Parameters
    ----------
    chapters : list of Chapter, optional
        All chapters if left out.

    Returns
    -------
    results : list of Result
        By chapter, in the order in which they were recorded.
    missing : list of Chapter
        Chapters that record something but were not run to their end, or were edited since.
    """
    results: list[Result] = []
    missing: list[Chapter] = []
    for chapter in find_chapters() if chapters is None else chapters:
        try:
            sheet = json.loads(_place(chapter.path).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            sheet = {}
        if sheet.get("source") == _fingerprint(chapter.path):
            results += [Result(**result) for result in sheet["results"]]
        elif "record(" in chapter.path.read_text(encoding="utf-8"):
            missing.append(chapter)
    return results, missing


def _write(script: Path) -> None:
    """Write the sheet of a chapter that came to its end (Python keeps an uncaught exception)."""
    if hasattr(sys, "last_value"):
        return
    place = _place(script)
    place.parent.mkdir(exist_ok=True)
    sheet = {
        "source": _fingerprint(script),
        "results": [asdict(result) for result in _pending],
    }
    draft = place.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(sheet, indent=2) + "\n", encoding="utf-8")
    os.replace(draft, place)


def _place(script: Path) -> Path:
    return script.parent / "results" / f"{chapter_number(script):02d}.json"


def _fingerprint(script: Path) -> str:
    return hashlib.sha256(script.read_bytes()).hexdigest()
