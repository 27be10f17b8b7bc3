"""Losing a room: a displaced master says so, stands by, and serves again."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from alephscript import AlephScriptClient, MasterChange, State, capability

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Masters a room, and notes what happens to it."""

    rooms = ("R",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.changes: asyncio.Queue[MasterChange] = asyncio.Queue()

    @capability("WHO")
    async def who(self) -> str:
        """Who serves."""
        return self.sesion

    async def on_displaced(self, change: MasterChange) -> None:
        """Note it."""
        self.changes.put_nowait(change)


async def who_serves(client: AlephScriptClient) -> str:
    """Ask."""
    return str((await client.request("WHO", wait_for_master=True, timeout=10))["result"])


async def test_a_displaced_master_says_so_stands_by_and_serves_again(
    mesh: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The newest first; the log names who has displaced whom."""
    caplog.set_level(logging.INFO)
    client = await mesh.open()
    first = await mesh.open(Bot, sesion="1")
    second = await mesh.open(Bot, sesion="2")
    async with asyncio.timeout(10):
        change = await first.changes.get()
    assert (change.room, change.usuario, change.displaced) == ("R", "Bot2", True)
    assert "Bot 1 was displaced as the master of R by Bot2, and stands by" in caplog.messages
    third = await mesh.open(Bot, sesion="3")
    async with asyncio.timeout(10):
        assert (await second.changes.get()).usuario == "Bot3"
    for serving, next_one in ((third, "2"), (second, "1")):
        await serving.close()
        assert await who_serves(client) == next_one
    again = "masters R again: the master that had displaced it is gone"
    async with asyncio.timeout(10):
        while [f"Bot {n} {again}" in caplog.messages for n in "21"] != [True, True]:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_displaced_master_takes_no_room_back_when_its_link_was_lost(mesh: Any) -> None:
    """The hub stops and comes back: whoever is first, the last to have taken the room has it."""
    client = await mesh.open()
    first = await mesh.open(Bot, sesion="1")
    second = await mesh.open(Bot, sesion="2")
    async with asyncio.timeout(10):
        await first.changes.get()
    await mesh.stop()
    for each in (client, first, second):  # else it is still ready on the link that is gone
        await each._alephscript_life.until(State.RECONNECTING)
    await mesh.start()
    for each in (client, first, second):
        async with asyncio.timeout(20):
            await each.ready()
    async with asyncio.timeout(20):
        # The first may have come back first.
        while await who_serves(client) != "2":  # noqa: ASYNC110 - one of many askers
            await asyncio.sleep(0.01)
    assert second.changes.empty()
    await second.close()
    assert await who_serves(client) == "1"


async def test_an_exception_in_a_hook_costs_nothing(
    mesh: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged."""

    class Broken(Bot):
        async def on_displaced(self, change: MasterChange) -> None:
            await super().on_displaced(change)
            raise ValueError("needle")

    first = await mesh.open(Broken, sesion="1")
    second = await mesh.open(Bot, sesion="2")
    async with asyncio.timeout(10):
        await first.changes.get()
    await second.close()
    assert await who_serves(await mesh.open()) == "1"
    assert "Broken.on_displaced failed" in caplog.messages


async def test_who_declares_itself_again_is_displaced_no_more(mesh: Any) -> None:
    """By `make_master`, as an application may decide; the other stands by then."""
    client = await mesh.open()
    first, second = await mesh.open(Bot, sesion="1"), await mesh.open(Bot, sesion="2")
    async with asyncio.timeout(10):
        await first.changes.get()
        await first.make_master("R")
        assert (await second.changes.get()).usuario == "Bot1"
    assert await who_serves(client) == "1"
    assert not first._alephscript_mastering.displaced
    await first.resign("R")
    assert await who_serves(client) == "2"
