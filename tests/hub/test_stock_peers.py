"""Unmodified python-socketio clients of both dialects share rooms on our hub."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .conftest import Join, Stock

pytestmark = pytest.mark.anyio

TRANSPORTS = [("websocket",), ("polling",), ("polling", "websocket")]


async def master_of(join: Join, dialect: str, **where: Any) -> Stock:
    """A stock master of room R with the capability X that echoes, declared in a dialect."""
    master = await join("M", "R", **where)
    if dialect == "direct":
        master.serve("X", lambda payload: {"success": True, "echo": payload})
        await master.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    else:

        async def answer(envelope: dict[str, Any]) -> None:
            data = {"success": True, "echo": envelope["data"]}
            await master.say("R", "SET_X", data)

        master.sio.on("GET_X", answer, namespace=master.namespace)
        await master.say("R", "MAKE_MASTER", {"features": []})
        await master.call(
            "ROOM_MESSAGE", {"event": "MAKE_MASTER", "room": "R", "data": {"features": ["X"]}}
        )
    return master


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
@pytest.mark.parametrize("dialect", ["direct", "envelope"])
async def test_an_asker_with_callback_is_answered_in_either_dialect(
    join: Join, dialect: str, transports: tuple[str, ...]
) -> None:
    """Direct and inside ROOM_MESSAGE, whichever way the master declared itself."""
    await master_of(join, dialect, transports=transports)
    asker = await join("A", transports=transports)
    assert await asker.call("GET_X", {"n": 1}) == {"success": True, "echo": {"n": 1}}
    question = {"event": "GET_X", "room": "R", "data": {"n": 2}}
    assert await asker.call("ROOM_MESSAGE", question) == {"success": True, "echo": {"n": 2}}


@pytest.mark.parametrize("dialect", ["direct", "envelope"])
@pytest.mark.parametrize("inside", [True, False], ids=["room", "outside"])
async def test_an_asker_without_callback_hears_one_set(
    join: Join, dialect: str, inside: bool
) -> None:
    """The room and the asker see exactly one SET_X of each request."""
    master = await master_of(join, dialect)
    observer = await join("O", "R")
    asker = await join("A", *(["R"] if inside else []))
    await asker.say("R", "GET_X", {"n": 1})
    heard = {"success": True, "echo": {"n": 1}, "sender": master.sid}
    assert await asker.next("SET_X") == ("SET_X", heard)
    assert await observer.next("SET_X") == ("SET_X", heard)
    await master.say("R", "MARK")
    assert (await observer.next())[0] == "MARK"
    if inside:
        assert (await asker.next())[0] == "MARK"


async def test_requests_of_a_lost_master_end_at_once(join: Join) -> None:
    """Nobody waits for a master that is gone."""
    master = await join("M", "R")
    asked = asyncio.Event()

    async def never(_: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    master.serve("X", never)
    await master.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    asker = await join("A")
    waiting = asyncio.ensure_future(asker.call("GET_X", {}))
    async with asyncio.timeout(5):
        await asked.wait()
        await master.sio.disconnect()
        answer = await waiting
    assert (answer["success"], answer["code"]) == (False, "master_lost")
    assert (await asker.call("GET_X", {}))["code"] == "no_master"


async def test_the_last_to_declare_itself_is_master(join: Join) -> None:
    """A restarted bot takes over before its dead socket is noticed."""
    await master_of(join, "direct")
    second = await join("N")
    second.serve("X", lambda _: {"by": "second"})
    await second.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    asker = await join("A")
    assert (await asker.call("GET_X", {}))["by"] == "second"


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_a_burst_arrives_whole_and_in_order(join: Join, transports: tuple[str, ...]) -> None:
    """Register, subscribe and 200 messages in one breath, also over polling."""
    observer = await join("O", "R", transports=transports)
    sender = await join("S", transports=transports)
    await asyncio.gather(*[sender.say("R", "TICK", n) for n in range(200)])
    heard = [await observer.next("TICK") for _ in range(200)]
    assert heard == [("TICK", n) for n in range(200)]


async def test_namespaces_do_not_hear_each_other(join: Join) -> None:
    """The same room in / and /runtime is two rooms."""
    below = await join("B", "R")
    above = await join("T", "R", namespace="/")
    await above.say("R", "ABOVE")
    await below.say("R", "BELOW")
    assert (await below.next("ABOVE", "BELOW"))[0] == "BELOW"
    assert (await above.next("ABOVE", "BELOW"))[0] == "ABOVE"
    await master_of(join, "direct")
    assert (await above.call("GET_X", {}))["code"] == "no_master"


async def test_events_reach_stock_members_without_meta(join: Join) -> None:
    """One argument, as it was said, to the sender too; nothing to who left."""
    member, leaver, sender = await join("A", "R"), await join("B", "R"), await join("S", "R")
    await leaver.call("CLIENT_UNSUSCRIBE", {"room": "R"})
    await sender.say("R", "FIA_STEP", {"n": 1})
    assert await member.next("FIA_STEP") == ("FIA_STEP", {"n": 1})
    assert await sender.next("FIA_STEP") == ("FIA_STEP", {"n": 1})
    await leaver.call("CLIENT_SUSCRIBE", {"room": "R"})
    await sender.say("R", "MARK")
    assert (await leaver.next("FIA_STEP", "MARK")) == ("MARK", None)


async def test_set_events_are_spread_and_signed(join: Join) -> None:
    """UIs read Object.keys of what a SET_ carries; its sender is the hub's word."""
    member, sender = await join("A", "R"), await join("S", "R")
    await sender.say("R", "SET_LIST", ["a", "b"])
    assert await member.next("SET_LIST") == ("SET_LIST", {"0": "a", "1": "b", "sender": sender.sid})
    await sender.say("R", "SET_IT", {"sender": "forged"})
    assert await member.next("SET_IT") == ("SET_IT", {"sender": sender.sid})


async def test_server_state_tells_who_is_where(join: Join) -> None:
    """In upstream's shape, by acknowledgement and by event."""
    await master_of(join, "direct")
    asker = await join("A", "R")
    state = await asker.call("GET_SERVER_STATE", {})
    heard = (await asker.next("SET_SERVER_STATE"))[1]
    assert {**heard, "success": True} == state
    assert state["action"] == "SET_SERVER_STATE"
    assert (state["socketId"], state["clients"]) == (asker.sid, 2)
    assert state["socketsPerNamespace"] == [
        {"name": "/runtime", "socketsCount": 2, "sockets": [{"id": "/M-1"}, {"id": "/A-1"}]}
    ]
    assert state["miembros"] == [
        {"usuario": "M", "sesiones": ["-1"]},
        {"usuario": "A", "sesiones": ["-1"]},
    ]
    [room] = state["rooms"]
    assert (room["roomId"], room["master"], room["features"]) == ("R", "M-1", ["X"])
    assert [each["name"] for each in room["miembros"]] == ["M-1", "A-1"]


async def test_a_namespace_that_is_none_is_refused_with_a_message(join: Join) -> None:
    """As stock hubs word it."""
    with pytest.raises(Exception, match="namespaces failed to connect"):
        await join("A", namespace="/nowhere")
