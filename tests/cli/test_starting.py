"""A project that `alephscript new` made is whole: its test, its types and its bot work."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alephscript import cli
from alephscript.cli import starting
from tests.support.thrift import unmeasured

pytestmark = pytest.mark.timeout(300)  # whole programs, on a machine that has others to run

TEMPLATE = Path(starting.__file__).with_name("new-bot")

ENVIRONMENT = {
    # A reader's shell: this environment's commands, nothing of the test run.
    **{name: value for name, value in unmeasured().items() if not name.startswith("PYTEST")},
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that was just made."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "door-bell"]) == 0
    return tmp_path / "door-bell"


def commands(project: Path) -> dict[str, str]:
    """What its README wants typed, by the first word and the second."""
    typed = re.findall(r"^\$ (.+)", (project / "README.md").read_text(), re.MULTILINE)
    return {" ".join(line.split()[:2]): line for line in typed}


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a command prints, and how it ends."""
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )


def test_its_test_passes_at_once(project: Path) -> None:
    """By the command of its README, warnings being errors."""
    done = run(f"{commands(project)['pytest']} -W error", project)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("check", ["mypy", "ruff check --no-cache", "ruff format --check"])
def test_it_is_typed_and_clean_by_its_own_rules(project: Path, check: str) -> None:
    """Which are strict."""
    assert "strict = true" in (project / "pyproject.toml").read_text()
    done = run(check, project)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_everything_is_called_by_its_name(project: Path) -> None:
    """Nothing of the template's names stays; what the template has, it has."""
    made = sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file())
    assert made == [
        ".github/workflows/test.yml",
        ".gitignore",
        "Containerfile",
        "README.md",
        "door-bell.service",
        "door_bell.py",
        "pyproject.toml",
        "tests/test_door_bell.py",
    ]
    text = "".join((project / path).read_text() for path in made)
    assert not re.search("new[-_]?bot", text, re.IGNORECASE)
    assert 'door-bell = "door_bell:main"' in text
    assert 'rooms = ("DOOR_BELL",)' in text
    assert "class DoorBell(AlephScriptClient)" in text


@pytest.mark.anyio
async def test_its_bot_answers_when_it_is_run_as_its_readme_says(project: Path, port: int) -> None:
    """A hub, the bot, a question: three processes."""
    typed = commands(project)
    processes = []
    try:
        for command, says in [
            (typed["alephscript hub"].replace("3010", str(port)), b"alephscript hub listening on"),
            (
                typed["python -m"],
                f"DoorBell is ready: http://127.0.0.1:{port}/runtime, masters".encode(),
            ),
        ]:
            process = await asyncio.create_subprocess_exec(
                *command.split(),
                cwd=project,
                env={**ENVIRONMENT, "ALEPHSCRIPT_URL": f"http://127.0.0.1:{port}"},
                stderr=asyncio.subprocess.PIPE,
            )
            processes.append(process)
            assert process.stderr is not None
            assert (await process.stderr.readline()).startswith(says)
        question = f"{typed['alephscript request']} --url http://127.0.0.1:{port}"
        done = await asyncio.to_thread(run, question, project)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == {"text": "hello you"}
    finally:
        for process in reversed(processes):
            process.terminate()
            await process.communicate()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("7up", "no project's name"),
        ("../door", "no project's name"),
        ("door--bell", "no project's name"),
        ("", "no project's name"),
        ("class", "a word of Python"),
        ("none", "a word of Python"),
        ("json", "hide the module json"),
        ("pytest", "hide the module pytest"),
        ("aleph-script-client", "hide AlephScriptClient"),
        ("greeting", "hide Greeting"),
        ("door-bell", "exists already"),
    ],
)
def test_a_name_that_will_not_do_is_refused_and_nothing_is_made(
    project: Path, capsys: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    """In a sentence, with exit code 1."""
    before = {path: path.stat().st_mtime_ns for path in project.parent.rglob("*")}
    capsys.readouterr()
    assert cli.main(["new", name]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err
    assert before == {path: path.stat().st_mtime_ns for path in project.parent.rglob("*")}


def test_the_templates_own_name_is_as_good_as_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a project itself: under its own name it is made as it is."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "new-bot"]) == 0
    for path, made in starting.FILES.items():
        assert (tmp_path / "new-bot" / made).read_text() == (TEMPLATE / path).read_text()
