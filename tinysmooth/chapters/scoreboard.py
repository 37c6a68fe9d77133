"""The scoreboard: every claim, where it was tested, what was measured, and what came of it."""

from __future__ import annotations

import html
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tinysmooth.chapters.claims import CLAIMS
from tinysmooth.chapters.places import in_notebook
from tinysmooth.chapters.results import Result

__all__ = ["Line", "count_verdicts", "present", "scoreboard"]

# From mild to severe: a claim tested in several chapters gets the most severe verdict.
_SEVERITY = ("not tested here", "holds", "holds under a condition", "fails as stated")


@dataclass(frozen=True)
class Line:
    """One claim on the scoreboard.

    Attributes
    ----------
    claim : str
        A key of `CLAIMS`.
    results : tuple of Result
        What the chapters recorded, in their order; may be empty.
    """

    claim: str
    results: tuple[Result, ...]

    @property
    def verdict(self) -> str:
        """The most severe verdict of all chapters; "not on record" if there is none."""
        verdicts = [result.verdict for result in self.results]
        return max(verdicts, key=_SEVERITY.index) if verdicts else "not on record"


def scoreboard(results: Iterable[Result], text: str = "") -> list[Line]:
    """Return a line for each claim, in the order of `CLAIMS`.

    Parameters
    ----------
    results : iterable of Result
        From `read_results`.
    text : str
        "P" for the paper's claims only, "B" for the book page's; all if empty.

    Examples
    --------
    >>> lines = scoreboard([Result("P10", "fails as stated", "1 in float32", "", 7)], "P")
    >>> lines[9].claim, lines[9].verdict, lines[8].verdict
    ('P10', 'fails as stated', 'not on record')
    """
    found: dict[str, list[Result]] = {claim: [] for claim in CLAIMS if claim.startswith(text)}
    for result in results:
        if result.claim in found:
            found[result.claim].append(result)
    return [Line(claim, tuple(recorded)) for claim, recorded in found.items()]


def count_verdicts(lines: Iterable[Line]) -> Counter[str]:
    """Count the lines by their verdict."""
    return Counter(line.verdict for line in lines)


def present(lines: Iterable[Line]) -> None:
    """Print the lines in a script; show them as a table in a notebook or in the book."""
    lines = list(lines)
    if in_notebook():
        from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]

        display(HTML(_as_table(lines)))
    else:
        print("\n".join(_as_text(line) for line in lines))


def _as_text(line: Line) -> str:
    head = f"{line.claim:4} {line.verdict.upper()}"
    parts = [head, textwrap.indent(textwrap.fill(CLAIMS[line.claim], 92), "     ")]
    for result in line.results:
        tail = f" Condition: {result.condition}." if result.condition else ""
        words = f"chapter {result.chapter:02d}, {result.verdict}: {result.measured}.{tail}"
        parts.append(
            textwrap.fill(words, 96, initial_indent="     - ", subsequent_indent="       ")
        )
    return "\n".join(parts)


def _as_table(lines: Iterable[Line]) -> str:
    rows = []
    for line in lines:
        cells = []
        for result in line.results:
            condition = (
                f" <em>When: {html.escape(result.condition)}.</em>" if result.condition else ""
            )
            cells.append(
                f"<p><strong>{result.chapter:02d}</strong> {html.escape(result.measured)}."
                f"{condition}</p>"
            )
        style = line.verdict.split()[0] + ("-if" if "condition" in line.verdict else "")
        rows.append(
            f"<tr><th scope='row'>{line.claim}</th><td>{html.escape(CLAIMS[line.claim])}</td>"
            f"<td>{''.join(cells)}</td>"
            f"<td class='verdict verdict-{style}'>{html.escape(line.verdict)}</td></tr>"
        )
    head = "<tr><th></th><th>Claim</th><th>Chapter and measurement</th><th>Verdict</th></tr>"
    return f"<table class='scoreboard'><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
