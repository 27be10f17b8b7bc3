"""A hub is killed while thousands of events a second are confirmed: the log has each of them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient, Gap, RequestError
from tests.support.meshes import at_once
from tests.support.processes import Process, Start
from tests.support.redis import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]

ROOM = "AAIA_ROOM"
AT_ONCE = 400
"""Confirmations that are waited for at the same time: more than 5,000 a second come of it."""

CONFIRMED = 10_000
"""Events after which the hub is killed."""


class Speaker:
    """A client that says numbers, and notes which of them the hub has confirmed."""

    def __init__(self) -> None:
        self.confirmed: list[int] = []
        self.enough = asyncio.Event()
        self._next = 0

    async def speak(self, url: str) -> None:
        """Speak until the hub is gone."""
        async with AlephScriptClient(url, usuario="speaker") as client:
            await asyncio.gather(*(self._say(client) for _ in range(AT_ONCE)))

    async def _say(self, client: AlephScriptClient) -> None:
        with contextlib.suppress(RequestError):
            while True:
                number, self._next = self._next, self._next + 1
                position = await client.broadcast("TICK", number, room=ROOM, confirm=True)
                assert position is not None
                self.confirmed.append(number)
                if len(self.confirmed) >= CONFIRMED:
                    self.enough.set()


async def kill_under_load(hub: Process, speaker: Speaker) -> None:
    """Kill a hub when it has confirmed enough, and is about to confirm more."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speaker.speak(hub.url))
        await speaker.enough.wait()
        hub.send(signal.SIGKILL)
        await hub.ended()


async def read_all(url: str, last: int) -> list[Any]:
    """Everything that a room's log has, up to an event."""
    async with AlephScriptClient(url) as reader, asyncio.timeout(60):
        await reader.broadcast("END", last, room=ROOM, confirm=True)
        stream = reader.events(ROOM, since="1h")
        read = list[Any]()
        async for event in stream:
            if event.name == "END":
                return read
            read.append(event.data)
    raise AssertionError("the log has no end")


async def test_what_was_confirmed_is_there_after_kill_9(
    start: Start, port: int, tmp_path: Path
) -> None:
    """In a file. A reader that goes on at the next hub hears each once, in the same order."""
    arguments = ["-m", "alephscript", "hub", "--port", str(port), "--log", "*"]
    arguments += ["--data", str(tmp_path / "data")]
    hub = await start(*arguments, ready=b"listening on")
    url, heard = hub.url, list[Any]()

    async def listen() -> None:
        async with AlephScriptClient(url, backoff=at_once, retry_open=True) as reader:
            await reader.subscribe(ROOM)
            async for event in reader.events(ROOM, since="1h"):
                if event.name == "END":
                    return
                heard.append(event.data)

    listening = asyncio.create_task(listen())
    speaker = Speaker()
    await kill_under_load(hub, speaker)
    await start(*arguments, ready=b"listening on")
    read = await read_all(url, 0)
    async with asyncio.timeout(60):
        await listening
    assert len(read) == len(set(read))
    assert set(speaker.confirmed) <= set(read)
    assert heard == read
    assert not any(isinstance(each, Gap) for each in heard)


@pytest.mark.peers
async def test_what_was_confirmed_is_there_for_the_other_hubs(
    start: Start, port: int, own_redis: RedisServer
) -> None:
    """In Redis: the hub that is left has all that the killed one has confirmed."""
    arguments = ("-m", "alephscript", "hub", "--log", "*", "--redis", own_redis.url())
    hub = await start(*arguments, "--port", str(port), ready=b"listening on")
    other = await start(*arguments, "--port", "0", ready=b"listening on")
    speaker = Speaker()
    await kill_under_load(hub, speaker)
    read = await read_all(other.url, 0)
    assert len(read) == len(set(read))
    assert set(speaker.confirmed) <= set(read)
