"""``alephscript a2a`` and ``serve --a2a``, as processes between a hub and the SDK's own client."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from alephscript import AlephScriptClient
from alephscript.cli import main
from alephscript.hub import Hub, SharedToken
from alephscript.testing import HubMesh
from tests.cli.test_mcp import Greeter, read_until, running
from tests.support import a2a_agent
from tests.support.a2a_peers import client_of, message, results_of, task_of

pytestmark = pytest.mark.anyio

PROGRAM = str(Path(a2a_agent.__file__))


@pytest.mark.slow
async def test_a_mesh_is_served_to_a2a_clients(port: int) -> None:
    """At the port that was given."""
    async with (
        asyncio.timeout(50),
        HubMesh() as hub,
        Greeter(hub.url),
        running("a2a", "--url", hub.url, "--port", str(port)) as process,
    ):
        await read_until(process, b"listening on http://127.0.0.1:%d" % port)
        async with client_of(f"http://127.0.0.1:{port}", streaming=False) as client:
            task = await task_of(client, message({"who": "you"}, skill="GREET"))
            assert results_of(task) == [{"text": "hello you"}]


@pytest.mark.slow
async def test_the_skills_of_an_agent_are_served(port: int) -> None:
    """As soon as the agent is there, which may be later."""
    address = f"http://127.0.0.1:{port}"
    options = ("--a2a", address, "--room", "R")
    async with (
        asyncio.timeout(50),
        HubMesh() as hub,
        AlephScriptClient(hub.url) as client,
        running("serve", *options, "--url", hub.url) as process,
    ):
        await read_until(process, b"is away")
        agent = await asyncio.create_subprocess_exec(sys.executable, PROGRAM, str(port))
        try:
            added = await client.request(
                "ADD", {"a": 1, "b": 2}, room="R", wait_for_master=True, timeout=40
            )
            assert added == {"sum": 3}
        finally:
            agent.terminate()
            await agent.wait()


@pytest.mark.slow
async def test_a_token_that_the_hub_refuses_ends_the_command(port: int) -> None:
    """With the hub's reason, and the exit code of a hub that is none."""
    async with asyncio.timeout(50), Hub(port=0, access=SharedToken("right")) as hub:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "alephscript", "a2a", "--url", hub.url),
            *("--port", str(port), "--token", "wrong"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, told = await process.communicate()
    assert process.returncode == 9
    assert b"unauthorized" in told
    assert b"Traceback" not in told


def test_the_command_line_loads_no_sdk_that_it_does_not_need() -> None:
    """Which takes longer than all else."""
    heavy = {"a2a", "mcp", "starlette", "google.protobuf"}
    program = f"import sys, alephscript.cli; print({heavy!r} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "set()"


def test_an_address_that_is_none_says_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence."""
    assert main(["serve", "--room", "R", "--a2a", "agent"]) == 2
    assert "write the address of an A2A agent" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("X", "--room", "R", "--a2a", "http://x"),
        ("--room", "R", "--a2a", "http://x", "--", "cat"),
        ("--room", "R", "--a2a", "http://x", "--mcp", "http://y"),
    ],
)
def test_a_command_line_that_asks_for_more_than_an_agent_says_what_to_leave_out(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence."""
    assert main(["serve", *arguments]) == 2
    assert "leave all but --room out" in capsys.readouterr().err


def test_a_port_that_is_none_or_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence."""
    assert main(["a2a", "--port", "99999"]) == 1
    assert "99999 is no port" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["a2a", "--port", str(taken.getsockname()[1])]) == 1
    assert "Address already in use" in capsys.readouterr().err
