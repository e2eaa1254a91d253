"""Sphinx configuration: ``sphinx-build -W docs build/docs`` (``pip install '.[docs]'``)."""

import re

import efield

project = "efield"
author = "The efield developers"
copyright = author
version = release = efield.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["gallery/*.md"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # the page of the tutorial shows what this version prints and draws
nb_execution_timeout = 300
nb_execution_raise_on_error = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings state types, shapes and units
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = f"efield {release}"


def escape_bars(app, what, name, obj, options, lines):
    """The docstrings write magnitudes as |E|, which reStructuredText takes for a substitution."""
    lines[:] = [re.sub(r"\|([^|`]+)\|", r"\\|\1\\|", line) for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", escape_bars)
