"""A log behind a rule of access: who may not hear a room may not read what was said there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alephscript import AlephScriptClient, Overloaded, PermissionDenied, Position
from alephscript.hub import Hub
from alephscript.mesh.access import RoomSecrets
from alephscript.mesh.effects import Acknowledge, ReadLog
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events

pytestmark = pytest.mark.anyio

SECRETS = {"OPEN": "one", "CLOSED": "other"}


async def test_who_may_not_hear_a_room_may_not_read_its_log() -> None:
    """Not by a time, not by a position, and not whether there is one."""
    async with (
        Hub(port=0, access=RoomSecrets(SECRETS), log=["*"]) as hub,
        AlephScriptClient(hub.url, auth={"token": "other", "room": "CLOSED"}) as speaker,
        AlephScriptClient(hub.url, auth={"token": "one", "room": "OPEN"}) as stranger,
    ):
        position = await speaker.broadcast("SAID", "secret", room="CLOSED", confirm=True)
        assert isinstance(position, Position)
        for room in ("CLOSED", "NOWHERE"):
            for since in ("10m", position):
                with pytest.raises(PermissionDenied):
                    await anext(stranger.events(room, since=since))
            with pytest.raises(PermissionDenied):
                await stranger.subscribe(room, since=position)
        async with asyncio.timeout(5):
            event = await anext(speaker.events("CLOSED", since="10m"))
        assert event.data == "secret"


def test_a_client_reads_so_many_pages_at_once() -> None:
    """Further ones are refused at once, and nothing is kept of them."""
    mesh = Mesh(log=["*"])
    mesh.connected("a")
    mesh.received("a", "CLIENT_REGISTER", [{"usuario": "a", "protocol": events.PROTOCOL}])
    reads = []
    for ack in range(10):
        (effect,) = mesh.received("a", "GET_ROOM_LOG", [{"room": "R"}], ack)
        if isinstance(effect, ReadLog):
            reads.append(effect)
        else:
            assert isinstance(effect, Acknowledge)
            assert isinstance(effect.answer, dict)
            assert effect.answer["code"] == Overloaded.code
    assert len(reads) == 8
    for read in reads:
        (answer,) = mesh.logs.read(read.number, None)
        assert isinstance(answer, Acknowledge)
    (effect,) = mesh.received("a", "GET_ROOM_LOG", [{"room": "R"}], 11)
    assert isinstance(effect, ReadLog)
    mesh.disconnected("a")
    assert mesh.logs.read(effect.number, None) == []


def test_a_member_that_goes_while_it_is_told_leaves_nothing_behind() -> None:
    """Neither its place nor its page."""
    mesh = Mesh(log=["*"])
    mesh.connected("a")
    effects = mesh.received("a", "CLIENT_SUSCRIBE", [{"room": "R", "since": "10m"}], 1)
    (read,) = [each for each in effects if isinstance(each, ReadLog)]
    mesh.disconnected("a")
    assert mesh.logs.read(read.number, None) == []
    held: Any = (mesh.logs._places, mesh.logs._reads, mesh.logs._said, mesh.logs._readers)
    assert not any(held)
