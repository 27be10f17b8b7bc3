"""What was measured before, by commit: ``python -m tests.benchmarks.history [COMMIT ...]``.

``python -m tests.benchmarks --keep`` adds a line of JSON to the file beside this one: the commit,
the machine, each goal's ratio and each metric's median. Here they are told side by side, a column
for each commit, by default for the last ones. Ratios were taken within a run, and may be compared
between runs; the metrics themselves are kept for whoever has the same machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks import report
from tests.benchmarks.machine import ROOT

__all__ = ["FILE", "compare", "keep", "load", "present_commit"]

FILE = Path(__file__).with_name("history.jsonl")

_LAST = 5
_SHORT = 9


def present_commit() -> str:
    """Return the commit of the tree, with a ``+`` if it holds more than that; or ``unknown``."""

    def git(*arguments: str) -> str:
        command = ("git", "-C", str(ROOT), *arguments)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def keep(file: Path, rounds: report.Rounds, about: Mapping[str, Any]) -> None:
    """Add a run to a history.

    Args:
        file: The history; made if it is not there.
        rounds: What was found.
        about: What else is to be known of the run: ``commit``, ``machine``, ``scale``.
    """
    metrics = {
        name: {
            metric: statistics.median(samples)
            for metric in sorted({each for found in founds for each in found})
            if (samples := [found[metric] for found in founds if metric in found])
        }
        for name, founds in rounds.items()
    }
    goals = {name: statistics.median(found) for name, found in report.measured_goals(rounds)}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({**about, "at": at, "goals": goals, "metrics": metrics})
    with file.open("a", encoding="utf-8") as lines:
        lines.write(line + "\n")


def load(file: Path) -> list[dict[str, Any]]:
    """Load the runs of a history, the oldest first."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def compare(runs: Sequence[Mapping[str, Any]], commits: Sequence[str] = ()) -> str:
    """Tell what runs reached of the goals, a column for each.

    Args:
        runs: The history.
        commits: Beginnings of commits, in the order of the columns, of each the last run; the last
            runs if there are none.

    Raises:
        LookupError: A commit has no run.
    """
    chosen = list(runs[-_LAST:])
    if commits:
        chosen = []
        for commit in commits:
            found = [each for each in runs if each["commit"].startswith(commit)]
            if not found:
                raise LookupError(f"no run of {commit} is kept")
            chosen.append(found[-1])
    rows = [
        [name, wanted, *(report.number(each["goals"].get(name)) for each in chosen)]
        for name, wanted in report.all_goals()
        if any(name in each["goals"] for each in chosen)
    ]
    columns = [_shortened(each["commit"]) for each in chosen]
    return report.markdown(["", "goal", *columns], rows)


def _shortened(commit: str) -> str:
    return commit if len(commit) <= _SHORT else commit[:_SHORT] + "+" * commit.endswith("+")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.history", description=__doc__)
    parser.add_argument("commits", nargs="*", metavar="COMMIT", help="whose runs; the last five")
    parser.add_argument("--file", type=Path, default=FILE, help="the history")
    options = parser.parse_args()
    try:
        told = compare(load(options.file), options.commits)
    except LookupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(told + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
