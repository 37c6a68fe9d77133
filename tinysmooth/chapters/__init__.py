"""What the chapters of the book stand on: showing figures, recording results, running, listing.

A chapter is a script ``chapters/NN_verb_phrase.py`` in percent format. It calls `show` for a figure
and `record` for the verdict on a sentence of the paper; everything else here is for those who run
chapters: the command line, the book and the tests.

=============  ====================================================================
room           idea
=============  ====================================================================
`places`       where the chapters are, and which of them is running
`discovery`    number, title and question of every chapter
`display`      `show`: a file for a script, a picture for a notebook
`claims`       the sentences of the paper and of the book page, in our words
`results`      `record` and what was recorded
`runner`       run chapters, each in its own process, with a time and a verdict
`exercises`    check a reader's answers to a chapter's exercises
`expect`       the comparisons that such checks are made of
`book`         build the chapters into an HTML book
`scoreboard`   all claims with what came of them
=============  ====================================================================
"""

from tinysmooth.chapters.claims import CLAIMS
from tinysmooth.chapters.discovery import Chapter, find_chapters, select_chapters
from tinysmooth.chapters.display import show
from tinysmooth.chapters.places import chapters_folder
from tinysmooth.chapters.results import VERDICTS, Result, read_results, record
from tinysmooth.chapters.runner import Outcome, run_chapter, run_chapters

__all__ = [
    "CLAIMS",
    "VERDICTS",
    "Chapter",
    "Outcome",
    "Result",
    "chapters_folder",
    "find_chapters",
    "read_results",
    "record",
    "run_chapter",
    "run_chapters",
    "select_chapters",
    "show",
]
