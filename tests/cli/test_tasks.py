"""Tasks from a shell: submitted, looked at, answered, cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from alephscript import AlephScriptClient, Request, RequestFor, capability
from alephscript.hub import Hub
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio

COMMAND = Path(sys.executable).with_name("alephscript")


@attrs.frozen
class Approval:
    """Whether somebody agrees."""

    yes: bool


@attrs.frozen
class Approve(RequestFor[Approval], capability="APPROVE"):
    """Ask whether somebody agrees."""

    what: str


class Bot(AlephScriptClient):
    """Does what a shell asks for."""

    rooms = ("WORK",)

    @capability("ADD")
    async def add(self, request: Request[dict[str, int]]) -> dict[str, int]:
        """Add two numbers."""
        request.progress(0.5, "half")
        return {"total": request.payload["a"] + request.payload["b"]}

    @capability("SEND")
    async def send(self, request: Request[Any]) -> dict[str, bool]:
        """Send something if somebody agrees."""
        return {"sent": (await request.ask(Approve(what="send it"))).yes}

    @capability("FAIL")
    async def fail(self) -> None:
        """Fail."""
        raise RuntimeError


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub with a bot."""
    async with Hub(port=0) as hub, Bot(hub.url):
        yield hub


async def run(hub: Hub, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """Run a command, and return its exit code, stdout and stderr."""
    environment = {**os.environ, "ALEPHSCRIPT_URL": hub.url, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alephscript", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.slow
async def test_a_task_is_submitted_and_found_again(hub: Hub, tmp_path: Path) -> None:
    """By the id, which is all that `submit` prints."""
    code, out, _ = await run(hub, "submit", "ADD", '{"a": 1, "b": 2}', "--key", "k")
    assert code == 0
    (name,) = out.split()
    code, out, _ = await run(hub, "task", name, "--wait", "--json")
    assert code == 0
    task = json.loads(out)
    assert (task["id"], task["state"], task["result"]) == (name, "done", {"total": 3})
    assert task["progress"] == {"fraction": 0.5, "message": "half"}
    (tmp_path / "payload").write_text('{"a": 1, "b": 2}')
    again = await run(hub, "submit", "ADD", f"@{tmp_path}/payload", "--key", "k")
    assert again[1].strip() == name
    code, out, _ = await run(hub, "tasks", "--json")
    assert [each["id"] for each in json.loads(out)] == [name]
    assert name in (await run(hub, "tasks"))[1]
    shown = (await run(hub, "task", name))[1]
    assert "state       done" in shown
    assert '{"total": 3}' in shown


async def test_a_shell_waits_and_has_the_answer(hub: Hub) -> None:
    """After the id, which whoever interrupts it has."""
    words = ("submit", "ADD", "-", "--room", "WORK", "--timeout", "10", "--wait")
    code, out, _ = await run(hub, *words, stdin='{"a": 2, "b": 2}')
    assert code == 0
    _, answer = out.splitlines()
    assert json.loads(answer) == {"total": 4}
    code, out, err = await run(hub, "submit", "FAIL", "--wait")
    assert code == 12
    assert "internal" in err


@pytest.mark.slow
async def test_a_question_is_answered_and_a_task_cancelled(hub: Hub) -> None:
    """Each command prints how the task is then."""
    name = (await run(hub, "submit", "SEND"))[1].strip()
    async with AlephScriptClient(hub.url) as client:
        async for status in client.task(name).updates():
            if status.state == "asking":
                break
    code, out, _ = await run(hub, "task", name, "--json")
    task = json.loads(out)
    assert task["state"] == "asking"
    assert task["question"]["payload"] == {"what": "send it"}
    code, _, _ = await run(hub, "task", name, "--answer", '{"yes": true}')
    assert code == 0
    code, out, _ = await run(hub, "task", name, "--wait", "--json")
    assert json.loads(out)["result"] == {"sent": True}
    code, _, err = await run(hub, "task", name, "--answer", "1")
    assert (code, "conflict" in err) == (13, True)
    other = (await run(hub, "submit", "NOBODY_DOES"))[1].strip()
    code, out, _ = await run(hub, "task", other, "--cancel")
    assert (code, "cancelled" in out) == (0, True)
    assert (await run(hub, "task", other, "--wait"))[0] == 14
    code, _, err = await run(hub, "task", "nothing")
    assert (code, "unknown_task" in err) == (4, True)
