"""How the documentation is built: ``sphinx-build -W --keep-going -n docs build/docs``."""  # noqa: INP001

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
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
    "llms",
    "names",
    "sequence",
    "signatures",
    "wire_tables",
]
exclude_patterns = ["extensions", "static"]

html_theme = "furo"
html_title = f"alephscript {release}"
html_static_path = ["static"]
html_css_files = ["copy.css"]
html_js_files = ["copy.js"]

_metadata = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())
if source := _metadata["project"].get("urls", {}).get("Source"):  # each page has a link to edit it
    html_theme_options = {
        "source_repository": source,
        "source_branch": "main",
        "source_directory": "docs/",
    }

myst_heading_anchors = 3

default_role = "name"  # docstrings say `name`
autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

nitpicky = True  # a name that is documented nowhere is a mistake …
nitpick_ignore_regex = [
    # … unless it is documented elsewhere: building wants no network …
    (
        "py:.*",
        r"(attrs|msgspec|mcp|mcp_types|a2a|collections\.abc|datetime|pathlib|random|ssl)\..*",
    ),
    # … or is a type variable, which says all that it is by its place …
    ("py:class", r"alephscript(\.\w+)+\.[A-Z]"),
    # … or a folder or a file, or a module of the inside.
    ("py:obj", r".*/.*"),
    ("py:obj", r"(alephscript\.)?(client|contracts|diagnostics|links|mesh|protocol)(\.\w+)*"),
]
