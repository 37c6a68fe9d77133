"""Sphinx settings of the book; build it with ``tinysmooth chapters book``."""

import hashlib
import sys
from pathlib import Path

import tinysmooth

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "tinysmooth"
author = "the tinysmooth authors"
project_copyright = "the tinysmooth authors"
release = version = tinysmooth.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinx_copybutton",
    "book",
]
exclude_patterns = ["conf.py", "_*", "checks", "exercises", "solutions", "figures", "results"]
templates_path = ["_templates"]

# Chapters are scripts in percent format; every other page is Markdown.
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
source_suffix = {".md": "myst-nb", ".py": "myst-nb"}
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath", "attrs_block"]
myst_heading_anchors = 3

# A chapter's code decides whether its outputs are kept, so the library and the recorded results,
# which its outputs depend on too, decide in which folder they are kept.
_inputs = [*Path(tinysmooth.__file__).parent.rglob("*.py"), *(HERE / "results").glob("*.json")]
_digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_inputs))).hexdigest()
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "outputs" / _digest[:16])
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_merge_streams = True
# Progress bars and the notice of the compiler go to stderr; a warning of the library would be an
# error where the chapters are tested as scripts.
nb_output_stderr = "remove"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_use_admonition_for_examples = False
default_role = "code"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "tinysmooth"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_favicon = "_static/mark.svg"
html_logo = "_static/mark.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
# A summary would be fetched from the page, which browsers refuse for files.
html_show_search_summary = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#00568A",
        "color-brand-content": "#0067A3",
        "color-code-background": "#F5F7F9",
    },
    "dark_css_variables": {
        "color-code-background": "#1B2026",
        "color-brand-primary": "#74B9E6",
        "color-brand-content": "#86C4EC",
    },
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"

# The file comes from the package sphinx-mathjax-offline at build time; see _ext/book.py.
mathjax_path = "mathjax/tex-svg-full.js"
mathjax3_config = {
    "options": {"enableMenu": False},
    "svg": {"fontCache": "local"},
}
copybutton_exclude = ".linenos, .gp, .go"
