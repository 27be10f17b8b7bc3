"""The quickstart tells the seed's flow, and says so when a part of it fails."""

from __future__ import annotations

import subprocess
import sys

import pytest

from examples import quickstart


def test_tells_the_whole_flow_and_exits_with_zero() -> None:
    """The README's first command, run as a stranger runs it."""
    finished = subprocess.run(
        [sys.executable, "-m", "examples.quickstart"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    lines = finished.stdout.splitlines()
    asked = [line.split()[1] for line in lines if line.startswith("ask ")]
    assert asked == [
        "AAIA_GET_APPS",
        "AAIA_CREATE_SESSION",
        "AAIA_SEND_PERCEPTO",
        "AAIA_STEP_FIA",
        "AAIA_GET_EFERENCIA",
        "AAIA_QUERY_MUNDO",
        "GET_LIST_OF_THREADS",
        "AAIA_DESTROY_SESSION",
        "GET_LIST_OF_THREADS",
    ]
    seen = {line.split()[1] for line in lines if line.startswith("  seen")}
    assert {"SESSION_CREATED", "PERCEPTO", "FIA_STEP", "EFERENCIA", "SESSION_DESTROYED"} <= seen
    assert lines[-1] == "done"


def test_fails_with_a_sentence_when_the_master_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mesh without PersefonBot is no success."""
    monkeypatch.setattr(quickstart, "PersefonBot", quickstart.Observer)
    assert quickstart.main() == 1
    assert "quickstart failed: nobody offers AAIA_GET_APPS" in capsys.readouterr().err
