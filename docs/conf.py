"""How the documentation is built: ``sphinx-build -W --keep-going -n docs build/docs``."""  # noqa: INP001

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "alephscript"
release = importlib.metadata.version("alephscript")
project_copyright = "The alephscript developers"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "command_line",
    "error_codes",
    "names",
    "signatures",
    "wire_tables",
]
exclude_patterns = ["extensions"]

html_theme = "furo"
html_title = "alephscript"

myst_heading_anchors = 3

default_role = "name"  # docstrings say `name`
autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

nitpicky = True  # a name that is documented nowhere is a mistake …
nitpick_ignore_regex = [
    # … unless it is documented elsewhere: building wants no network …
    ("py:.*", r"(attrs|msgspec|mcp|mcp_types|collections\.abc|datetime|pathlib|ssl)\..*"),
    # … or is a type variable, which says all that it is by its place …
    ("py:class", r"alephscript(\.\w+)+\.[A-Z]"),
    # … or a folder or a file, or a module of the inside.
    ("py:obj", r".*/.*"),
    ("py:obj", r"(alephscript\.)?(client|contracts|diagnostics|links|mesh|protocol)(\.\w+)*"),
]
