"""Run chapters as a reader would, each in a process of its own, and say how it went."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tinysmooth
from tinysmooth.chapters.discovery import Chapter
from tinysmooth.checks import check_real

__all__ = ["TIMEOUT", "Outcome", "run_chapter", "run_chapters"]

TIMEOUT = 300.0
"""Seconds. A chapter takes less than 60; the first one may have to compile the kernels first."""


@dataclass(frozen=True)
class Outcome:
    """How the run of a chapter went.

    Attributes
    ----------
    chapter : Chapter
    verdict : str
        "passed", "failed" or "timed out".
    seconds : float
        Wall-clock time.
    output : str
        All that it printed, errors included.
    """

    chapter: Chapter
    verdict: str
    seconds: float
    output: str

    @property
    def passed(self) -> bool:
        """Whether the chapter ran to its end with every assertion true."""
        return self.verdict == "passed"

    @property
    def reason(self) -> str:
        """The last line that it printed: for a failed chapter, the error."""
        lines = self.output.strip().splitlines()
        return lines[-1] if lines else ""


def run_chapter(chapter: Chapter, *, timeout: float = TIMEOUT) -> Outcome:
    """Run one chapter with a Matplotlib that opens no window.

    Parameters
    ----------
    chapter : Chapter
    timeout : float
        Seconds after which it is stopped.

    Returns
    -------
    Outcome
        A failure is an outcome, not an exception.

    Raises
    ------
    TypeError, ValueError
        If the time-out is not a positive number.
    """
    timeout = check_real("run_chapter", "timeout", timeout, low=0.0, open_low=True)
    # The chapter imports the tinysmooth that runs it, wherever that lives.
    package = str(Path(tinysmooth.__file__).resolve().parent.parent)
    paths = [package, os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, str(chapter.path)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        output = _text(error.stdout) + f"stopped after {timeout:g} s"
        return Outcome(chapter, "timed out", time.perf_counter() - start, output)
    verdict = "passed" if done.returncode == 0 else "failed"
    return Outcome(chapter, verdict, time.perf_counter() - start, _text(done.stdout))


def run_chapters(chapters: Iterable[Chapter], *, timeout: float = TIMEOUT) -> Iterator[Outcome]:
    """Run chapters one after the other; yield each outcome as soon as it is there."""
    for chapter in chapters:
        yield run_chapter(chapter, timeout=timeout)


def _text(output: bytes | None) -> str:
    return (output or b"").decode("utf-8", errors="replace")
