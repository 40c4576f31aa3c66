"""How Sphinx builds the manual; a warning is an error there (``tox -e docs``)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.ext.napoleon.docstring import GoogleDocstring

from pytest_tdpostback import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import fidelity_page

fidelity_page.write()

project = "pytest-tdpostback"
author = "The pytest-tdpostback developers"
copyright = f"2026, {author}"  # noqa: A001 (Sphinx wants this name)
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

# Headings can be linked to as on any forge: page.md#a-heading.
myst_heading_anchors = 3

html_theme = "alabaster"
html_theme_options = {
    "description": "What happens after the 200",
    "page_width": "1140px",  # wide enough for a line of code
    "body_max_width": "auto",
}
toc_object_entries_show_parents = "hide"

# Docstrings say what an argument is; their single backticks mean code, as in the manual.
autodoc_typehints = "none"
default_role = "code"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", read_google_style)


def read_google_style(*event: object) -> None:
    """Read "Args:", "Returns:" and "Raises:" in the docstrings of functions and classes.

    The extension napoleon would also take the colon in the docstring of a property for a type.
    """
    _, what, _, _, _, lines = event
    if isinstance(lines, list) and what in {"class", "exception", "function", "method"}:
        lines[:] = GoogleDocstring(lines, what=what).lines()
