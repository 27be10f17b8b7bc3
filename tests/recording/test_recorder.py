"""A recorder writes all that a hub tells, says where it has heard nothing, and stops at errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from alephscript import AlephScriptClient, ConnectionRefused, PermissionDenied, capability
from alephscript.hub import Access, Identity
from alephscript.recording import Recording, read_recording, record
from alephscript.testing import HubMesh, InMemoryMesh
from tests.support.meshes import MeshUnderTest, at_once

pytestmark = pytest.mark.anyio


class Echo(AlephScriptClient):
    """Says what it was asked."""

    rooms = ("R",)

    @capability("ECHO")
    async def echo(self, payload: Any) -> Any:
        """Answer with the payload."""
        await self.broadcast("ECHOED", payload)
        return {"said": payload}


class Lines:
    """A recording under way.

    Attributes:
        written: Its lines.
        came: Set with each of them.
    """

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.came = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def write(self, line: bytes) -> None:
        """Take a line."""
        self.written.append(line)
        self.came.set()

    def read(self) -> Recording:
        """What is in it by now."""
        return read_recording(self.written)

    async def until(self, kind: str, count: int = 1) -> None:
        """Wait for so many records of a kind."""
        async with asyncio.timeout(10):
            while [each["kind"] for each in self.read().records].count(kind) < count:
                self.came.clear()
                await self.came.wait()


@asynccontextmanager
async def recording(hub: Any, *rooms: str, **options: Any) -> AsyncIterator[Lines]:
    """Record until the block ends."""
    lines, began = Lines(), asyncio.Event()
    lines.task = asyncio.ensure_future(
        record(hub, rooms or ["*"], lines.write, opened=lambda _: began.set(), **options)
    )
    waiting = asyncio.ensure_future(began.wait())
    await asyncio.wait([lines.task, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=20)
    waiting.cancel()
    if lines.task.done():
        await lines.task
    try:
        yield lines
    finally:
        lines.task.cancel()
        await asyncio.gather(lines.task, return_exceptions=True)


def kinds(lines: Lines) -> list[str]:
    """The kinds of the records."""
    return [each["kind"] for each in lines.read().records]


async def test_whatever_happens_is_written_once_and_in_order(mesh: MeshUnderTest) -> None:
    """In memory, by each transport, and among several hubs; the end is the last line."""
    async with recording(mesh.hub) as lines:
        await mesh.open(Echo)
        asker = await mesh.open()
        for number in range(3):
            await asker.request("ECHO", {"n": number}, room="R", wait_for_master=True)
        await asker.broadcast("SAID", {"ñ": "\x00"}, room="R", confirm=True)
        await lines.until("event", 4)
        await lines.until("answer", 3)
    recorded = lines.read()
    assert recorded.notes == []
    expected = ["master", *["request", "event", "answer"] * 3, "event", "closed"]
    assert sorted(each for each in kinds(lines)) == sorted(expected)
    asked = [each["payload"]["n"] for each in recorded.records if each["kind"] == "request"]
    assert asked == [0, 1, 2]


async def test_a_lost_hub_leaves_a_hole_and_its_numbers_mean_others() -> None:
    """The next hub counts anew, and nobody takes its requests for those of before."""
    async with HubMesh() as hub, recording(hub, "R", backoff=at_once) as lines:
        async with Echo(hub), AlephScriptClient(hub) as asker:
            await asker.request("ECHO", {"n": 1})
            await lines.until("answer")
        await hub.kill()
        await hub.restart()
        await lines.until("hole")
        async with Echo(hub), AlephScriptClient(hub) as asker:
            await asker.request("ECHO", {"n": 2})
            await lines.until("answer", 2)
    recorded = lines.read()
    names = [each["id"] for each in recorded.records if each["kind"] == "request"]
    assert len({*names}) == 2
    assert "the link to the hub was lost" in recorded.notes[0]


async def test_only_the_named_rooms_are_recorded() -> None:
    """Of a mesh with others."""

    class Other(Echo):
        rooms = ("S",)

    async with InMemoryMesh() as mesh, recording(mesh, "S", "T") as lines:
        async with Echo(mesh), Other(mesh), AlephScriptClient(mesh) as asker:
            for room in "RS":
                await asker.request("ECHO", {}, room=room)
            await asker.broadcast("SAID", 1, room="T", confirm=True)
        await lines.until("event", 2)
    assert {each["room"] for each in lines.read().records if "room" in each} == {"S", "T"}
    assert kinds(lines).count("request") == 1


class Guarded(Access):
    """Lets everybody in, as what they call themselves."""

    def authenticate(self, auth: Any, _: Any) -> Identity:
        """Let in."""
        return Identity(usuario="x", is_admin=auth == {"token": "admin"})


async def test_who_may_not_record_is_told_so() -> None:
    """At once, and nothing was written."""
    async with HubMesh(access=Guarded()) as hub:
        with pytest.raises(PermissionDenied, match="only an admin may record"):
            async with recording(hub, "R", auth={"token": "user"}):
                pass
        async with recording(hub, "R", auth={"token": "admin"}) as lines:
            assert lines.read().header.has_requests


async def test_no_hub_and_no_space_are_errors() -> None:
    """Of the caller, and not of a log."""
    with pytest.raises(ConnectionRefused):
        async with recording("http://127.0.0.1:1"):
            pass

    async with InMemoryMesh() as mesh, Echo(mesh), AlephScriptClient(mesh) as asker:
        room = [3]

        def write(_: bytes) -> None:
            room[0] -= 1
            if room[0] < 0:
                raise OSError(28, "No space left on device")

        began = asyncio.Event()
        task = asyncio.ensure_future(record(mesh, ["R"], write, opened=lambda _: began.set()))
        await asyncio.wait_for(began.wait(), 5)
        await asker.request("ECHO", {})
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(task, 5)


@pytest.mark.peers
async def test_a_stock_hub_tells_events_alone(stock_hub: str) -> None:
    """By a member of each room; who reads the recording is told."""
    async with recording(stock_hub, "R", "S") as lines, AlephScriptClient(stock_hub) as asker:
        await asker.broadcast("SAID", {"n": 1}, room="S")
        await asker.broadcast("SAID", {"n": 2}, room="R")
        await lines.until("event", 2)
    recorded = lines.read()
    said = {(each["room"], each["data"]["n"]) for each in recorded.records if "event" in each}
    assert said == {("S", 1), ("R", 2)}
    assert "told no requests" in recorded.notes[0]
