"""A mesh tells what it offers and how it does, to whoever never saw its code."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    DeclarationError,
    NoMaster,
    RequestFor,
    State,
    UnknownEvent,
    capability,
    master,
)
from alephscript.client.calls import Call
from alephscript.client.discovery import MemberInfo
from tests.support.meshes import Silent

pytestmark = pytest.mark.anyio


@attrs.frozen
class Sum:
    """A sum."""

    total: int


@attrs.frozen
class Add(RequestFor[Sum], capability="ADD"):
    """Add."""

    first_number: int


class Abacus(AlephScriptClient):
    """Adds.

    And no more.
    """

    rooms = master("SUMS", group="shared")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, usuario="abacus", **kwargs)
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()

    @capability(timeout=2.5, idempotent=True)
    async def add(self, request: Add) -> Sum:
        """Add one.

        Slowly.
        """
        return Sum(request.first_number + 1)

    @capability("BREAK")
    async def fail(self) -> None:
        """Fail."""
        raise CapabilityError("broken", "a bead is missing")

    @capability("WAIT")
    async def wait(self) -> None:
        """Wait to be let go."""
        self.entered.set()
        await self.let_go.wait()


async def test_offers_tell_what_is_taken_and_given(mesh: Any) -> None:
    """By schemas on the wire's keys; of all rooms, of one, of one capability."""
    await mesh.open(Abacus, sesion="1")
    await mesh.open(Abacus, sesion="2")
    client = await mesh.open()
    offers = {offer.capability: offer for offer in await client.discover()}
    assert set(offers) == {"ADD", "BREAK", "WAIT"}
    adding = offers["ADD"]
    assert (adding.room, adding.group, adding.epoch) == ("SUMS", "shared", 2)
    assert adding.masters == ("abacus1", "abacus2")
    assert (adding.summary, adding.timeout_ms, adding.idempotent) == ("Add one.", 2500, True)
    assert adding.request is not None
    assert adding.reply is not None
    assert adding.request["required"] == ["firstNumber"]
    assert adding.reply["properties"] == {"total": {"title": "Total", "type": "integer"}}
    assert await client.discover(room="ELSEWHERE") == []
    assert await client.discover(room="SUMS", capability="GET_ADD") == [adding]


async def test_stock_masters_appear_with_what_they_declared(mesh: Any) -> None:
    """In either dialect, spelt with GET_ or without; what nobody could read is left out."""
    client = await mesh.open(usuario="stock", sesion="1")
    session = client._alephscript_session
    declared = {"room": "OLD", "features": ["GET_X", "Y"], "descriptions": {"Y": {"summary": 7}}}
    await session.dialect.tell("MAKE_MASTER", declared)
    offers = await client.discover()
    assert [(each.room, each.capability, each.masters) for each in offers] == [
        ("OLD", "X", ("stock1",)),
        ("OLD", "Y", ("stock1",)),
    ]
    assert {(each.summary, each.request, each.group) for each in offers} == {(None, None, "single")}


async def test_changes_of_masters_are_told_from_any_room(mesh: Any) -> None:
    """Also to who is in none of them, and across reconnections."""
    client = await mesh.open()
    changes = client.watch_masters()
    first = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    await client.server_state()  # by now it watches
    async with mesh.make(Abacus, sesion="1"):
        change = await asyncio.wait_for(first, 5)
        assert (change.room, change.usuario, change.epoch) == ("SUMS", "abacus1", 1)
    gone = await asyncio.wait_for(anext(changes), 5)
    assert (gone.room, gone.usuario, gone.epoch) == ("SUMS", None, 2)
    await mesh.stop()
    await client._alephscript_life.until(State.RECONNECTING)
    await mesh.start()
    await client.ready()
    async with mesh.make(Abacus, sesion="2"):
        assert (await asyncio.wait_for(anext(changes), 5)).usuario == "abacus2"
    await changes.aclose()


async def test_members_tell_what_they_are_and_how_they_do(mesh: Any) -> None:
    """Each for itself; those of a room, or all."""
    bot = await mesh.open(Abacus, sesion="1")
    client = await mesh.open(usuario="me", sesion="1")
    for number in range(3):
        await client.request(Add(number))
    with pytest.raises(CapabilityError):
        await client.request("BREAK")
    waiting = asyncio.create_task(client.request("WAIT", timeout=30))
    await bot.entered.wait()

    assert set((await client.survey("ping")).answers) == {"abacus1", "me1"}
    told = (await client.survey(room="SUMS")).answers
    [info] = told.values()
    assert isinstance(info, MemberInfo)
    assert (info.usuario, info.sesion, info.summary) == ("abacus", "1", "Adds.")
    assert info.capabilities == ("ADD", "BREAK", "WAIT")
    assert info.uptime_ms >= 0

    stats = (await client.survey("stats", room="SUMS")).answers["abacus1"].capabilities
    assert (stats["ADD"].requests, stats["ADD"].errors, stats["ADD"].in_flight) == (3, {}, 0)
    assert stats["ADD"].p50_ms is not None
    assert stats["ADD"].p50_ms <= (stats["ADD"].p95_ms or 0)
    assert stats["BREAK"].errors == {"broken": 1}
    assert stats["BREAK"].last_error == "a bead is missing [broken]"
    assert (stats["WAIT"].in_flight, stats["WAIT"].p50_ms) == (1, None)
    bot.let_go.set()
    await waiting


async def test_who_does_not_answer_is_named(mesh: Any) -> None:
    """And costs the others' answers nothing."""
    slow = await mesh.open(usuario="slow", sesion="1")
    slow._alephscript_session._hand_on = lambda *_: None
    client = await mesh.open(usuario="me", sesion="1")
    survey = await client.survey("ping", timeout=1.0)
    assert (set(survey.answers), survey.missing) == ({"me1"}, ("slow1",))


async def test_a_member_is_asked_about_itself_and_nothing_else(mesh: Any) -> None:
    """What is asked of one cannot be asked of a room, nor the other way round."""
    await mesh.open(Abacus, sesion="1")
    client = await mesh.open()
    with pytest.raises(NoMaster):
        await client.request("MEMBER_PING")
    answer = await client._alephscript_session.ask(
        Call("GET_MEMBER_PING", b"{}", meta={"member": "none"})
    )
    assert answer["code"] == "no_master"


async def test_a_stock_hub_does_not_say_who_offers_what() -> None:
    """Said, instead of a wait."""
    async with AlephScriptClient(Silent(), acknowledges=False) as client:
        for ask in (client.discover, client.survey):
            with pytest.raises(UnknownEvent, match="alephscript"):
                await ask()


def test_what_the_hub_answers_is_no_capability() -> None:
    """It would never be asked."""
    for name in ("CAPABILITIES", "MEMBERS", "MEMBER_STATS"):
        with pytest.raises(DeclarationError, match="answered by the hub"):

            class Wrong(AlephScriptClient):
                @capability(name)
                async def wrong(self) -> None: ...
