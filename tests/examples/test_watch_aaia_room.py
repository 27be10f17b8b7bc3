"""The watcher prints what is said in a room, survives hubs and ends when told to."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from alephscript import AlephScriptClient
from alephscript.testing import HubMesh

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def watcher(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.watch_aaia_room",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def say_until_seen(hub: HubMesh, room: str, process: asyncio.subprocess.Process) -> bytes:
    """Broadcast until the watcher, whose arrival nobody announces, prints a line."""
    assert process.stdout is not None
    line = asyncio.ensure_future(process.stdout.readline())
    async with asyncio.timeout(15), AlephScriptClient(hub.url, usuario="speaker") as speaker:
        while not line.done():
            await speaker.broadcast("FIA_STEP", {"n": 1}, room=room)
            await asyncio.wait({line}, timeout=0.1)
        return await line


async def test_prints_one_json_object_a_line(hub: HubMesh) -> None:
    """``--json`` is for programs: room, event, sender and data."""
    async with watcher("--url", hub.url, "--room", "R", "--json") as process:
        line = json.loads(await say_until_seen(hub, "R", process))
        assert (line["room"], line["event"], line["data"]) == ("R", "FIA_STEP", {"n": 1})
        assert line["sender"].startswith("speaker")


async def test_prints_a_readable_line_without_colours_into_a_pipe(hub: HubMesh) -> None:
    """Colour codes are for terminals."""
    async with watcher("--url", hub.url) as process:
        line = (await say_until_seen(hub, "AAIA_ROOM", process)).decode()
        assert "FIA_STEP" in line
        assert '{"n": 1}' in line
        assert "\x1b" not in line


async def test_survives_a_hub_that_comes_back(hub: HubMesh) -> None:
    """Started again on the same port, it finds the watcher again."""
    async with watcher("--url", hub.url, "--json") as process:
        await say_until_seen(hub, "AAIA_ROOM", process)
        await hub.kill()
        await hub.restart()
        assert await say_until_seen(hub, "AAIA_ROOM", process)
        assert process.returncode is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ends_cleanly_when_interrupted(hub: HubMesh, number: signal.Signals) -> None:
    """Ctrl-C is how one stops watching: exit 0, no traceback."""
    async with watcher("--url", hub.url, "--json") as process:
        await say_until_seen(hub, "AAIA_ROOM", process)
        process.send_signal(number)
        async with asyncio.timeout(10):
            _, complaints = await process.communicate()
        assert process.returncode == 0
        assert b"Traceback" not in complaints
