"""The book builds from a few chapters, without a warning, and needs nothing from a network.

Skipped where the extra ``book`` is not installed; the whole book is built apart from the tests.
"""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tinysmooth as ts
from tinysmooth import compare
from tinysmooth.chapters import book
from tinysmooth.chapters.book import REQUIREMENTS, BookError, build_book

CHAPTERS = Path(__file__).parent.parent / "chapters"

CHAPTER = """# %% [markdown]
# # 02 A small chapter
#
# **Does a *book* need a network?**
#
# Chapter 1 is not here, chapters 2 and 3 are; see `ts.softmax` for the softmax of the logits.
# Cross-entropy is one term, not two.
#
# $$p_k = e^{z_k} / \\sum_j e^{z_j}$$

# %%
import tinysmooth as ts
from tinysmooth import plots
from tinysmooth.chapters import show

print("the sum is", 1 + 1)
figure, _ = plots.new_figure()
show(figure, "empty")

# %% [markdown]
# ## Questions
#
# 1. Is the answer folded?
#
# :::{dropdown} Answer
# Yes, the words of chapter 3 are inside.
# :::
"""

needs_sphinx = pytest.mark.skipif(
    not all(map(book._is_installed, REQUIREMENTS)), reason="the extra book is not installed"
)


def copy_book(folder):
    """Copy everything but the chapters, and put two small ones in their place."""
    for path in CHAPTERS.iterdir():
        if path.suffix == ".md" or path.name == "conf.py":
            shutil.copy(path, folder)
    for name in ("_ext", "_static"):
        shutil.copytree(CHAPTERS / name, folder / name)
    (folder / "02_write_a_chapter.py").write_text(CHAPTER, encoding="utf-8")
    other = CHAPTER.replace("# # 02 A", "# # 03 Another").replace("chapters 2 and 3", "chapter 2")
    (folder / "03_write_another.py").write_text(other, encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chapters")
    copy_book(folder)
    return build_book(folder, folder / "_build" / "html").parent


def page(built, name):
    return (built / name).read_text(encoding="utf-8")


@needs_sphinx
def test_a_chapter_shows_prose_code_output_figure_and_maths(built):
    text = page(built, "02_write_a_chapter.html")
    assert "A small chapter" in text
    assert "the sum is 2" in text
    assert re.search(r'<img[^>]*src="_images/[0-9a-f]+\.png"', text)
    assert "sum_j e^{z_j}" in text
    assert re.search(r"<details[^>]*>.*?Answer.*?Yes, the words.*?</details>", text, re.DOTALL)


@needs_sphinx
def test_script_and_executed_notebook_are_offered_under_the_title(built):
    links = re.findall(r'href="([^"]+)" download', page(built, "02_write_a_chapter.html"))
    assert links == ["notebooks/02_write_a_chapter.ipynb", "scripts/02_write_a_chapter.py"]
    assert (built / links[1]).read_text(encoding="utf-8") == CHAPTER
    notebook = json.loads((built / links[0]).read_text(encoding="utf-8"))
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    assert any("the sum is 2" in "".join(out.get("text", [])) for out in outputs)
    assert any("image/png" in out.get("data", {}) for out in outputs)


@needs_sphinx
def test_words_become_links(built):
    text = page(built, "02_write_a_chapter.html")
    article = text[text.index("<article") : text.index("</article>")]
    # A chapter that is not there, and the page itself, stay words.
    assert re.search(r">\s*Chapter 1 is not here, chapters 2 and <a", article)
    assert len(re.findall(r'href="03_write_another\.html"', article)) == 2
    assert 'href="02_write_a_chapter.html"' in page(built, "symbols.html").partition("<article")[2]
    assert 'href="reference.html#tinysmooth.softmax"' in article
    # A term inside another word is not that term.
    assert "glossary.html#term-entropy" not in article
    assert len(re.findall(r'href="glossary\.html#term-softmax"', article)) == 1
    assert re.search(r'href="02_write_a_chapter\.html#term-logit"', page(built, "genindex.html"))


@needs_sphinx
def test_the_first_page_lists_the_chapters_with_their_questions(built):
    text = page(built, "index.html")
    assert "02 A small chapter" in text
    assert "Does a *book* need a network?" in text or "Does a book need a network?" in text


@needs_sphinx
def test_claims_symbols_glossary_and_reference_are_there(built):
    assert page(built, "claims.html").count("Not on record yet") == 39
    assert "resting_gap" in page(built, "symbols.html")
    assert 'id="term-resting-gap"' in page(built, "glossary.html")
    assert "label_smoothing" in page(built, "reference.html")
    assert "1512.00567" in page(built, "bibliography.html")
    assert 'id="playground-race"' in page(built, "playground.html")


def public_names():
    """Every name the documentation owes an entry, each under the room it is shown in."""
    rooms = (ts.nn, ts.optim, ts.models, ts.data, ts.metrics, ts.training, ts.plots, compare)
    names = {f"tinysmooth.{name}" for name in ts.__all__}
    names |= {f"{room.__name__}.{name}" for room in rooms for name in room.__all__}
    # Shown once, where the reader meets them.
    return names - {"tinysmooth.training.save", "tinysmooth.training.load"}


def test_no_public_name_is_missing_from_the_reference():
    directive = re.compile(r"^\.\. (?:auto\w+|py:(?:data|module)):: (\S+)$", re.MULTILINE)
    pages = [path.read_text(encoding="utf-8") for path in CHAPTERS.glob("reference*.md")]
    entries = directive.findall("\n".join(pages))
    assert sorted(public_names() - set(entries)) == []
    assert len(entries) == len(set(entries))
    # Nothing that has gone: each entry can still be imported.
    modules = {"tinysmooth", compare.__name__}
    assert sorted(set(entries) - public_names() - modules) == []


@needs_sphinx
def test_every_entry_of_the_reference_is_rendered(built):
    text = "".join(path.read_text(encoding="utf-8") for path in built.glob("reference*.html"))
    anchors = set(re.findall(r'id="((?:module-)?tinysmooth[\w.]*)"', text))
    lacking = {name for name in public_names() if not {name, f"module-{name}"} & anchors}
    assert lacking == set()


class Sources(HTMLParser):
    """Collects what a page loads when it is opened: scripts, styles, pictures, frames."""

    def __init__(self):
        super().__init__()
        self.loaded = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "link" and given.get("rel") in ("search", "next", "prev", "index"):
            return
        name = {"link": "href", "script": "src", "img": "src", "iframe": "src"}.get(tag)
        if name and given.get(name):
            self.loaded.append(given[name])


@needs_sphinx
def test_no_page_loads_anything_from_elsewhere(built):
    for path in built.glob("*.html"):
        sources = Sources()
        sources.feed(path.read_text(encoding="utf-8"))
        assert sources.loaded
        for source in sources.loaded:
            assert not re.match(r"(https?:)?//", source), f"{path.name} loads {source}"
            if not source.startswith(("data:", "#")):
                local = source.partition("?")[0].partition("#")[0]
                assert (path.parent / local).exists(), f"{path.name} lacks {source}"
    for sheet in (built / "_static").rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text("utf-8"))


@needs_sphinx
def test_mathjax_comes_from_the_package_and_is_not_in_the_repository(built):
    assert (built / "_static" / "mathjax" / "tex-svg-full.js").stat().st_size > 1_000_000
    assert not list(CHAPTERS.rglob("tex-svg*.js")) or (CHAPTERS / "_build").exists()


@needs_sphinx
def test_a_chapter_that_fails_stops_the_build(tmp_path, capfd):
    copy_book(tmp_path)
    broken = tmp_path / "03_write_another.py"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(text.replace('print("the sum', 'assert 1 == 2\nprint("the sum'))
    with pytest.raises(BookError, match="sphinx reported the problems above"):
        build_book(tmp_path, tmp_path / "_build" / "html")
    assert "assert 1 == 2" in capfd.readouterr().err


def test_missing_requirements_are_named(monkeypatch):
    monkeypatch.setattr(book, "_is_installed", lambda module: module != "furo")
    with pytest.raises(ModuleNotFoundError, match=r"build_book: furo not installed.*\[book\]"):
        build_book()


def test_the_extra_names_what_the_book_needs():
    setup = (CHAPTERS.parent / "setup.py").read_text(encoding="utf-8")
    lacking = [name for name in REQUIREMENTS.values() if f'"{name}>=' not in setup]
    assert lacking == []
