"""`alephscript hub`: what it prints, how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from alephscript import cli
from alephscript.hub import Hub

from .conftest import Stock, raw_peer

COMMAND = Path(sys.executable).with_name("alephscript")
LISTENING = re.compile(r"alephscript hub listening on (http://127\.0\.0\.1:[0-9]+)\n")


class Running:
    """A hub as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    async def until_listening(self) -> None:
        """Wait for its address, the first line on stderr."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):  # an interpreter starts, on a slow machine
            line = (await self.process.stderr.readline()).decode()
        found = LISTENING.fullmatch(line)
        assert found is not None, line
        self.url = found[1]

    async def ended(self) -> tuple[int | None, str, str]:
        """Its exit code, and the rest of what it printed."""
        async with asyncio.timeout(20):
            out, errors = await self.process.communicate()
        return self.process.returncode, out.decode(), errors.decode()


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[Running]:
    """Run `alephscript` with arguments, and leave no process behind."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_signal_ends_it_well_while_clients_are_connected(number: signal.Signals) -> None:
    """Exit code 0, soon, with nothing but its address printed; clients notice."""
    async with command("hub", "--port", "0") as running, AsyncExitStack() as clients:
        await running.until_listening()
        at = Hub()
        at._port = urlsplit(running.url).port or 0
        peers = []
        for transport in ("websocket", "polling"):
            peer = Stock("/runtime")
            await peer.sio.connect(
                running.url, namespaces=["/runtime"], transports=[transport], wait_timeout=5
            )
            clients.push_async_callback(peer.leave)
            assert (await peer.call("CLIENT_SUSCRIBE", {"room": "R"}))["success"]
            peers.append(peer)
        running.process.send_signal(number)
        assert await running.ended() == (0, "", "")
        async with asyncio.timeout(5):
            for peer in peers:
                await peer.gone.wait()
