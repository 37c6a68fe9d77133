"""What the book adds to Sphinx: files to download, links between pages, an index, local MathJax.

The chapters are written to be read as scripts, so they hold no links. Here the words "chapter 7"
become a link, the first use of a glossary term in a page is linked and put in the index, and a
function named in code style leads to its entry in the reference.
"""

import importlib.util
import re
import shutil
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from tinysmooth.chapters.claims import CLAIMS
from tinysmooth.chapters.discovery import find_chapters
from tinysmooth.chapters.places import chapter_number
from tinysmooth.chapters.results import read_results

MATHJAX = "tex-svg-full.js"
NUMBERS = re.compile(r"\b([Cc]hapters? )(\d{1,2})((?:(?:, and |, | and | or | to |-)\d{1,2})*)\b")
TERM = re.compile(r"^(\S.*)\n(?=: )", re.MULTILINE)


def _chapters(env):
    return {chapter.number: chapter for chapter in find_chapters(Path(env.srcdir))}


def _chapter_link(text, chapter, docname):
    link = addnodes.pending_xref(
        "",
        refdomain="std",
        reftype="doc",
        reftarget=f"/{chapter.path.stem}",
        refexplicit=True,
        refwarn=True,
        refdoc=docname,
    )
    link += nodes.inline(text, text)
    return link


class ChapterFiles(SphinxTransform):
    """Offer a chapter's script and its executed notebook below its title."""

    default_priority = 600

    def apply(self):
        name = f"{self.env.docname}.py"
        if chapter_number(Path(name)) is None:
            return
        stem = self.env.docname
        line = nodes.raw(
            "",
            '<p class="chapter-files"><span>This chapter as</span> '
            f'<a href="notebooks/{stem}.ipynb" download>executed notebook</a> '
            f'<a href="scripts/{stem}.py" download>script</a></p>',
            format="html",
        )
        title = next(iter(self.document.findall(nodes.title)))
        title.parent.insert(title.parent.index(title) + 1, line)


class ChapterLinks(SphinxTransform):
    """Turn "chapter 7", "chapters 3 and 5" into links, except where other books are cited."""

    default_priority = 610

    def apply(self):
        chapters = _chapters(self.env)
        for text in list(self.document.findall(nodes.Text)):
            if not _is_prose(text) or _in_section(text, {"sources", "bibliography"}):
                continue
            parts = self._split(str(text), chapters)
            if any(not isinstance(part, nodes.Text) for part in parts):
                text.parent.replace(text, parts)

    def _split(self, text, chapters):
        parts, end = [], 0
        for found in NUMBERS.finditer(text):
            parts.append(nodes.Text(text[end : found.start()]))
            word, first, rest = found.groups()
            for piece in [word + first, *re.split(r"(\d+)", rest)]:
                number = re.search(r"\d+$", piece)
                chapter = chapters.get(int(number.group())) if number else None
                if chapter is None or chapter.path.stem == self.env.docname:
                    parts.append(nodes.Text(piece))
                else:
                    parts.append(_chapter_link(piece, chapter, self.env.docname))
            end = found.end()
        parts.append(nodes.Text(text[end:]))
        return [part for part in parts if part.astext()]


class GlossaryLinks(SphinxTransform):
    """Link the first use of each glossary term in a chapter, and put it in the index."""

    default_priority = 620

    def apply(self):
        if chapter_number(Path(f"{self.env.docname}.py")) is None:
            return
        glossary = Path(self.env.srcdir, "glossary.md").read_text(encoding="utf-8")
        terms = sorted(TERM.findall(glossary), key=len, reverse=True)
        for term in terms:
            pattern = re.compile(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", re.IGNORECASE)
            for text in self.document.findall(nodes.Text):
                found = pattern.search(str(text))
                if found and _is_prose(text) and not _in_section(text, {"sources"}):
                    self._link(text, found, term)
                    break

    def _link(self, text, found, term):
        mark = f"term-{nodes.make_id(term)}"
        link = addnodes.pending_xref(
            "",
            refdomain="std",
            reftype="term",
            reftarget=term,
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
            classes=["glossary-link"],
        )
        link += nodes.inline(found.group(), found.group(), classes=["xref", "std", "std-term"])
        entry = addnodes.index(entries=[("single", term, mark, "", None)])
        anchor = nodes.inline("", "", ids=[mark])
        before, after = str(text)[: found.start()], str(text)[found.end() :]
        text.parent.replace(text, [nodes.Text(before), entry, anchor, link, nodes.Text(after)])


class FunctionLinks(SphinxTransform):
    """Lead from ``ts.cross_entropy`` in code style to its entry in the reference."""

    default_priority = 630

    def apply(self):
        for literal in list(self.document.findall(nodes.literal)):
            found = re.fullmatch(r"ts\.([\w.]+)(\(.*\))?", literal.astext())
            if found and not isinstance(literal.parent, nodes.reference):
                link = addnodes.pending_xref(
                    "",
                    refdomain="py",
                    reftype="obj",
                    reftarget=f"tinysmooth.{found.group(1)}",
                    refexplicit=True,
                    refwarn=False,
                    refdoc=self.env.docname,
                )
                literal.replace_self(link)
                link += literal


class ChapterTable(SphinxDirective):
    """List the chapters of one part with their questions, and put them into the table of contents.

    ``{chapter-table} 1 3`` with the option ``caption`` lists chapters 1 to 3.
    """

    required_arguments = 2
    option_spec: ClassVar = {"caption": directives.unchanged_required}

    def run(self):
        first, last = (int(argument) for argument in self.arguments)
        chapters = _chapters(self.env)
        part = [chapter for number, chapter in chapters.items() if first <= number <= last]
        if not part:
            return []
        items = nodes.definition_list(classes=["chapter-table"])
        for chapter in part:
            label = f"{chapter.number:02d} {chapter.title}"
            term = nodes.term("", "", _chapter_link(label, chapter, self.env.docname))
            question = nodes.paragraph("", chapter.question)
            items += nodes.definition_list_item("", term, nodes.definition("", question))
        names = [chapter.path.stem for chapter in part]
        tree = addnodes.toctree(
            parent=self.env.docname,
            entries=[(None, name) for name in names],
            includefiles=names,
            caption=self.options["caption"],
            rawcaption=self.options["caption"],
            maxdepth=1,
            glob=False,
            hidden=True,
            includehidden=False,
            numbered=0,
            titlesonly=True,
        )
        return [items, nodes.compound("", tree, classes=["toctree-wrapper"])]


class ClaimTable(SphinxDirective):
    """List every claim with the chapters that test it and what they found."""

    required_arguments = 1

    def run(self):
        chapters = _chapters(self.env)
        found = {}
        for result in read_results(list(chapters.values()))[0]:
            found.setdefault(result.claim, []).append(result)
        items = nodes.definition_list(classes=["claim-table"])
        for claim, words in CLAIMS.items():
            if not claim.startswith(self.arguments[0]):
                continue
            term = nodes.term("", "", nodes.strong("", claim), nodes.Text(f" {words}."))
            definition = nodes.definition()
            for result in found.get(claim, []):
                line = nodes.paragraph("", "")
                label = f"Chapter {result.chapter:02d}"
                line += _chapter_link(label, chapters[result.chapter], self.env.docname)
                line += nodes.Text(f": {result.verdict}.")
                definition += line
            if not definition.children:
                definition += nodes.paragraph("", "Not on record yet.")
            items += nodes.definition_list_item("", term, definition)
        return [items]


def _is_prose(text):
    """Tell whether a text is running prose: not code, maths, a link, a heading or raw HTML."""
    node = text.parent
    kinds = (
        nodes.literal,
        nodes.literal_block,
        nodes.math,
        nodes.math_block,
        nodes.reference,
        nodes.title,
        nodes.raw,
        nodes.comment,
        nodes.term,
        addnodes.pending_xref,
        addnodes.toctree,
    )
    while node is not None:
        if isinstance(node, kinds):
            return False
        node = node.parent
    return True


def _in_section(node, titles):
    while node is not None:
        if isinstance(node, nodes.section) and node[0].astext().lower() in titles:
            return True
        node = node.parent
    return False


def finish(app, exception):
    """Copy what the pages refer to: the chapters, their executed notebooks, and MathJax."""
    if exception is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    executed = out.parent / "jupyter_execute"
    for folder in ("scripts", "notebooks"):
        (out / folder).mkdir(exist_ok=True)
    for chapter in find_chapters(Path(app.srcdir)):
        shutil.copy(chapter.path, out / "scripts")
        shutil.copy(executed / f"{chapter.path.stem}.ipynb", out / "notebooks")
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    source = Path(spec.origin).parent / "static" / "mathjax" / MATHJAX
    target = out / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def setup(app):
    """Register everything with Sphinx."""
    for transform in (ChapterFiles, ChapterLinks, GlossaryLinks, FunctionLinks):
        app.add_transform(transform)
    app.add_directive("chapter-table", ChapterTable)
    app.add_directive("claim-table", ClaimTable)
    app.connect("build-finished", finish)
    # Chapters time themselves: they are executed one after the other.
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
