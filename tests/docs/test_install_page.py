"""The page about installing is about what the package's metadata says."""

from __future__ import annotations

import re
import tomllib

from tests.support.pages import DOCS
from tests.support.tools import ROOT

PAGE = (DOCS / "how-to" / "install.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_extra_has_its_row_with_what_it_brings() -> None:
    """`dev` has too much to list."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE, re.MULTILINE))
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    assert rows.keys() == extras.keys()
    for extra in extras.keys() - {"dev"}:
        names = [re.match(r"[\w-]+", each) for each in extras[extra]]
        brought = {name[0] for name in names if name} - {"alephscript"}
        assert set(rows[extra].split(", ")) == brought, extra


def test_the_versions_of_python_are_those_of_the_metadata() -> None:
    """Each that is classified, and the first that pip accepts."""
    named = set(re.findall(r"3\.1\d", PAGE))
    versions = re.findall(r":: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert set(versions) <= named
    assert PROJECT["requires-python"] == f">={min(named)}"
