"""`show`: the same line saves a figure in a script and displays it in a notebook or the book."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tinysmooth.chapters.places import chapter_number, in_notebook, running_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["show"]

DOTS_PER_INCH = 160  # sharp on a screen with two device pixels to a CSS pixel
_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


def show(figure: Figure, name: str) -> Path | None:
    """Show a figure of a chapter.

    In a script the picture is saved as ``figures/NN_name.png`` beside it (NN is the chapter's
    number) and the path is printed; in a notebook it is displayed.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Lower-case words joined by underscores, different for each figure of a chapter.

    Returns
    -------
    Path or None
        The file, or None if the figure was displayed.

    Raises
    ------
    ValueError
        If the name would not make a plain file name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"show: name is {name!r}; expected lower-case words joined by underscores")
    if in_notebook():
        _display(figure, name)
        return None
    script = running_script()
    number = None if script is None else chapter_number(script)
    folder = (Path.cwd() if script is None else script.parent) / "figures"
    folder.mkdir(exist_ok=True)
    path = folder / (f"{name}.png" if number is None else f"{number:02d}_{name}.png")
    figure.savefig(path, dpi=DOTS_PER_INCH)
    print(f"figure: {path}")
    return path


def _display(figure: Figure, name: str) -> None:
    from IPython.display import Image, display  # type: ignore[import-not-found, unused-ignore]

    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DOTS_PER_INCH)
    width = round(figure.get_figwidth() * DOTS_PER_INCH / 2)
    display(Image(picture.getvalue(), width=width, alt=name.replace("_", " ")))
