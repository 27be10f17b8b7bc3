"""Each guarantee of the page about tasks names a test that there is."""

from __future__ import annotations

import re

from tests.support.pages import DOCS

ROOT = DOCS.parent
DEFAULT = ("tests/faults/test_task_kills.py", "tests/faults/test_task_storm.py")


def test_each_guarantee_names_a_test_that_there_is() -> None:
    """In the file that stands before it, or in one of those that the page names first."""
    text = (DOCS / "how-to" / "tasks.md").read_text()
    table = text[text.index("## What is guaranteed") :]
    rows = [line.rsplit(" | ", 1)[1] for line in table.splitlines() if line.startswith("| ")][1:]
    shown = [re.findall(r"`([^`]*)`", row) for row in rows if "test" in row]
    assert len(shown) > 15
    for named in shown:
        files: tuple[str, ...] = DEFAULT
        for each in named:
            if each.startswith("tests/"):
                assert (ROOT / each).is_file()
                files = (each,)
            elif each.startswith("test_"):
                assert any(f"def {each}(" in (ROOT / file).read_text() for file in files), each
