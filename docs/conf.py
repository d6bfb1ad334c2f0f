"""Sphinx: pages in Markdown, the command line and the API from the code. ``make docs`` builds without warnings."""

from importlib.metadata import version as version_of

project = "spacetime_tps"
author = "The spacetime_tps developers"
copyright = author
release = version = version_of("spacetime-tps")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "spacetime_tps"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = True
