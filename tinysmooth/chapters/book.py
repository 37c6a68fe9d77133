"""Build the chapters into an HTML book that needs no network.

Sphinx executes every chapter as a notebook and renders it; the settings are ``conf.py`` and
``_ext/book.py`` in the chapters folder. The requirements are the extra ``book``.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import tinysmooth
from tinysmooth.chapters.discovery import find_chapters
from tinysmooth.chapters.places import chapters_folder
from tinysmooth.chapters.results import read_results
from tinysmooth.chapters.runner import run_chapters

__all__ = ["REQUIREMENTS", "BookError", "build_book"]

REQUIREMENTS = {
    "sphinx": "sphinx",
    "myst_nb": "myst-nb",
    "jupytext": "jupytext",
    "furo": "furo",
    "sphinx_design": "sphinx-design",
    "sphinx_copybutton": "sphinx-copybutton",
    "sphinx-mathjax-offline": "sphinx-mathjax-offline",
    "ipykernel": "ipykernel",
}
"""What the book needs: name of the module, name of the distribution."""


class BookError(RuntimeError):
    """The book could not be built; the message says what to look at."""


def build_book(folder: Path | None = None, out: Path | None = None) -> Path:
    """Build the book and return the path of its first page.

    Chapters whose verdicts the scoreboard lacks are run first. Outputs of chapters are kept under
    ``_build`` in the chapters folder, so that a second build executes only what has changed.

    Parameters
    ----------
    folder : Path, optional
        Of the chapters; found beside the package or at the current directory if left out.
    out : Path, optional
        Where the pages go; ``_build/html`` in the chapters folder if left out.

    Returns
    -------
    Path
        Of ``index.html``: open it in a browser.

    Raises
    ------
    ModuleNotFoundError
        If something that the book needs is not installed.
    BookError
        If a chapter fails, or Sphinx warns of anything.
    """
    lacking = [name for module, name in REQUIREMENTS.items() if not _is_installed(module)]
    if lacking:
        raise ModuleNotFoundError(
            f"build_book: {', '.join(lacking)} not installed; the book needs them. "
            "Install them with: pip install 'tinysmooth[book]', or pip install -e '.[book]'"
        )
    folder = chapters_folder() if folder is None else folder
    out = folder / "_build" / "html" if out is None else out
    _, unknown = read_results(find_chapters(folder))
    for outcome in run_chapters(unknown):
        name = outcome.chapter.path.name
        print(f"{name}: {outcome.verdict} in {outcome.seconds:.1f} s", flush=True)
        if not outcome.passed:
            raise BookError(f"build_book: {name} {outcome.verdict}: {outcome.reason}")
    # The chapters execute with the tinysmooth that builds the book, wherever that lives.
    package = str(Path(tinysmooth.__file__).resolve().parent.parent)
    paths = [package, os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    # A warning (a link that leads nowhere, a cell that fails) makes the build fail, at its end.
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    places = ["-d", str(out.parent / "doctrees"), str(folder), str(out)]
    with subprocess.Popen(
        [*command, *places], env=environment, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            # Each kernel talks to this machine alone; its own notice about that is no problem.
            if not line.startswith("[IPKernelApp] WARNING | Kernel is running over TCP"):
                print(line, end="", file=sys.stderr)
    if process.returncode != 0:
        raise BookError(
            "build_book: sphinx reported the problems above; tracebacks of chapters are in "
            f"{out / 'reports'}"
        )
    return out / "index.html"


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
