"""Where the chapters are, and which of them is running."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tinysmooth

__all__ = ["CHAPTER_FILE", "chapter_number", "chapters_folder", "running_script"]

CHAPTER_FILE = re.compile(r"(\d\d)_[a-z0-9_]+\.py")
"""What the file of a chapter is called: two digits, a verb phrase."""


def chapters_folder() -> Path:
    """Return the folder of the chapters.

    Looked for beside the package (a checkout, or an editable install), then in and at the current
    directory.

    Raises
    ------
    FileNotFoundError
        If none of these holds a chapter.
    """
    here = Path.cwd()
    checkout = Path(tinysmooth.__file__).resolve().parent.parent
    places = [checkout / "chapters", here / "chapters", here]
    for place in places:
        if place.is_dir() and any(CHAPTER_FILE.fullmatch(p.name) for p in place.iterdir()):
            return place
    raise FileNotFoundError(
        f"chapters: no NN_*.py in {', '.join(str(place) for place in places)}; expected the "
        "chapters folder of tinysmooth's repository. Change to a checkout of it and try again"
    )


def chapter_number(path: Path) -> int | None:
    """Return the number of a chapter's file, None if it is not named like one.

    >>> chapter_number(Path("chapters/03_subtract_the_target.py"))
    3
    """
    match = CHAPTER_FILE.fullmatch(path.name)
    return int(match.group(1)) if match else None


def running_script() -> Path | None:
    """Return the file that Python was started with, None in a notebook or at a prompt."""
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if name is None or in_notebook() else Path(name).resolve()


def in_notebook() -> bool:
    """Tell whether an IPython kernel or shell is running the code."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
