"""How Sphinx builds the manual; a warning is an error there (``tox -e docs``)."""

from __future__ import annotations

import sys
from pathlib import Path

from pytest_tdpostback import __version__

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
html_theme_options = {"description": "What happens after the 200"}

# Docstrings say what an argument is; their single backticks mean code, as in the manual.
autodoc_typehints = "none"
default_role = "code"
