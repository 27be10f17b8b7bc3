"""The pages about the house name what is there, and the code names decisions that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import DOCS

ROOT = DOCS.parent
DECISIONS = DOCS / "explanation" / "decisions"
PAGES = sorted(DECISIONS.glob("0*.md"))
PACKAGE = ROOT / "alephscript"


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    """In the order of their numbers."""
    numbers = [int(page.name[:4]) for page in PAGES]
    assert numbers == list(range(1, len(PAGES) + 1))
    listed = re.findall(r"^(\d{4}-.*)$", (DECISIONS / "index.md").read_text(), re.MULTILINE)
    assert listed == [page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name[:4])
def test_a_decision_says_why_what_it_costs_and_where_it_is(page: Path) -> None:
    """After the decision itself."""
    text = page.read_text()
    assert text.startswith(f"# {page.name[:4]} ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Why", "Cost", "In the code"]


def test_decisions_that_are_cited_are_there() -> None:
    """``(decision 0007)`` is a page."""
    cited = {
        number
        for folder in ("alephscript", "examples", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for number in re.findall(r"\(decisions? (\d{4})", path.read_text())
    }
    assert cited <= {page.name[:4] for page in PAGES}


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / ".github" / "CONTRIBUTING.md", ROOT / ".github" / "SECURITY.md"],
    ids=lambda page: page.stem[:12],
)
def test_paths_that_a_page_names_are_there(page: Path) -> None:
    """Of files and folders, in the package or beside it."""
    named = set(re.findall(r"`((?:[\w-]+/)+(?:[\w-]+\.\w+)?)`", page.read_text()))
    places = (ROOT, PACKAGE)
    missing = {path for path in named if not any((place / path).exists() for place in places)}
    assert missing - {"build/docs"} == set()


def test_the_tree_of_the_architecture_is_the_package() -> None:
    """Every folder and every module has its place in it, and nothing else has one."""
    text = (DOCS / "explanation" / "architecture.md").read_text()
    tree = text[text.index("alephscript/\n") : text.index("\nexamples/")]
    drawn: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines()[1:]:
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.match(r" *((?:[\w*./]+, )*[\w*./]+)", line)
        assert names is not None
        for name in names[1].split(", "):
            folders[depth - 1 :] = [name] if name.endswith("/") else []
            drawn.add("".join([*folders[: depth - 1], name]))
    modules = {
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in PACKAGE.rglob("*.py")
        if not path.stem.startswith("__") and "new-bot" not in path.parts
    }
    outside = {name for name in drawn if not name.endswith("/") and "*" not in name}
    assert outside == {name for name in modules if not name.startswith("client/dialects/")}
    assert {name.rstrip("/") for name in drawn if name.endswith("/")} == {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*")
        if path.is_dir() and not path.name.startswith("__") and "new-bot" not in path.parts
    }
