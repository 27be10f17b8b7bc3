"""The API types as users expect, and type checkers find their mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.thrift import unmeasured

HERE = Path(__file__).parent
CHECKERS = {
    "mypy": ["-m", "mypy", "--strict", "--no-error-summary", "--config-file="],
    # brings a Node of its own
    "basedpyright": ["-m", "basedpyright", "--pythonpath", sys.executable],
}


def check(checker: str, *files: str) -> tuple[int, str]:
    """Exit code and report of a type checker on files."""
    done = subprocess.run(
        [sys.executable, *CHECKERS[checker], *(str(HERE / file) for file in files)],
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        cwd=HERE.parents[1],
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_the_api_types_as_it_reads(checker: str) -> None:
    """Every assert_type holds."""
    code, report = check(checker, "api.py", "proxies.py", "kinds.py")
    assert code == 0, report


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_every_marked_mistake_is_found_and_no_other(checker: str) -> None:
    """Types that accept everything would be none."""
    _, report = check(checker, "mistakes.py")
    lines = (HERE / "mistakes.py").read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# error")}
    found = {
        int(line.split("mistakes.py:")[1].split(":")[0])
        for line in report.splitlines()
        if "mistakes.py:" in line and "error" in line
    }
    assert found == marked, report
