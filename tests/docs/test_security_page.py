"""Each claim of the page about security names a test that there is."""

from __future__ import annotations

import re

import pytest

from tests.support.pages import DOCS

ROOT = DOCS.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / ".github" / "SECURITY.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| attacker")
]
TESTS = {
    str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "tests").rglob("test_*.py")
}
UNPROTECTED = "nothing: the writer is trusted"


def test_the_page_has_claims() -> None:
    """They are all found."""
    assert len(ROWS) > 30
    assert {len(row) for row in ROWS} == {4}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1][:40])
def test_a_claim_names_a_test_that_there_is(row: list[str]) -> None:
    """In the file that is named before it, or in exactly one."""
    _, _, defence, shown = row
    if defence.startswith(UNPROTECTED):
        return
    named = re.findall(r"`([^`]*)`", shown)
    assert any(each.startswith(("tests/", "test_")) for each in named), "no test is named"
    file = None
    for each, following in zip(named, [*re.split(r"`[^`]*`", shown)[1:]], strict=True):
        if each.startswith("tests/"):
            assert (ROOT / each).is_file()
            file = each if following.startswith(":") else None
        elif each.startswith("test_"):
            homes = [path for path, text in TESTS.items() if f"def {each}(" in text]
            assert len(homes) == 1, each
            assert file in (None, *homes), f"{each} is in {homes[0]}"
        else:
            assert file is not None
            assert each in (ROOT / file).read_text()
