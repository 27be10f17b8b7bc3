"""Unmodified python-socketio clients of both dialects share rooms on our hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from alephscript.hub import Hub
from tests.support.peers import Join, Stock, raw_peer
from tests.support.servers import DOORS, hub_behind

pytestmark = pytest.mark.anyio

TRANSPORTS = [("websocket",), ("polling",), ("polling", "websocket")]


@pytest.fixture(params=DOORS)
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    """A hub at a port of its own, or mounted in a server of others."""
    async with hub_behind(request.param) as hub:
        yield hub


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


@pytest.mark.parametrize("namespace", ["/runtime", "/"])
async def test_registration_and_subscription_are_confirmed(join: Join, namespace: str) -> None:
    """By acknowledgement for DOC peers, by event for the others, in both namespaces."""
    peer = await join("A", namespace=namespace)
    answer = await peer.call("CLIENT_REGISTER", {"usuario": "A", "sesion": "-1"})
    assert answer == {"success": True, "protocol": "alephscript/1", "socketId": peer.sid}
    assert await peer.call("CLIENT_SUSCRIBE", {"room": "R"}) == {"success": True, "room": "R"}
    assert await peer.next() == ("SUSCRIBE_OK", {"room": "R"})
    assert await peer.next() == ("room_joined", {"room": "R"})
    answer = await peer.call("CLIENT_SUSCRIBE", {"room": "R", "out": True})
    assert answer == {"success": True, "room": "R"}
    assert await peer.next() == ("room_left", {"room": "R"})


async def test_subscribing_twice_is_being_in_once(join: Join) -> None:
    """Upstream lists, and tells, such a member twice."""
    peer = await join("A", "R", "R")
    await peer.say("R", "E", 1)
    await peer.say("R", "MARK")
    assert (await peer.next("E", "MARK"))[0] == "E"
    assert (await peer.next("E", "MARK"))[0] == "MARK"


async def test_nobody_to_ask_is_said_at_once(join: Join) -> None:
    """By acknowledgement, and to whoever asked for none by one SET_X."""
    asker, observer = await join("A", "R"), await join("O", "R")
    for question in (
        asker.call("GET_X", {}),
        asker.call("ROOM_MESSAGE", {"event": "GET_X", "room": "R", "data": {}}),
        asker.call("ROOM_MESSAGE", {"event": "GET_X", "room": "NOWHERE", "data": {}}),
    ):
        answer = await question
        assert (answer["success"], answer["code"]) == (False, "no_master")
    await asker.say("R", "GET_X", {})
    heard = (await asker.next("SET_X"))[1]
    assert (heard["success"], heard["code"]) == (False, "no_master")
    await asker.say("R", "MARK")
    assert (await asker.next())[0] == "MARK"
    assert (await observer.next("SET_X", "MARK"))[0] == "MARK"


async def test_sets_of_others_reach_the_room_and_answer_nothing(join: Join) -> None:
    """Anybody may SET, as UIs do; only the master's word ends a request."""
    answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    asked = asyncio.Event()

    async def later(_: Any) -> dict[str, Any]:
        asked.set()
        return await answer

    master = await join("M", "R")
    master.serve("X", later)
    await master.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    asker, spoofer = await join("A", "R"), await join("S", "R")
    waiting = asyncio.ensure_future(asker.call("GET_X", {}))
    async with asyncio.timeout(5):
        await asked.wait()
        await spoofer.say("R", "SET_X", {"success": True, "spoof": True})
        heard = await asker.next("SET_X")
        assert heard == ("SET_X", {"success": True, "spoof": True, "sender": spoofer.sid})
        assert not waiting.done()
        answer.set_result({"mine": True})
        assert await waiting == {"success": True, "mine": True}


@pytest.mark.parametrize("inside", [True, False], ids=["room", "outside"])
async def test_a_master_that_only_acknowledges_is_heard_as_one_set(
    join: Join, inside: bool
) -> None:
    """A CORE asker, a DOC master that fails: one SET_X to all, the error too."""
    master = await join("M", "R")
    master.serve("X", lambda _: {"error": "out of paper"})
    await master.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    observer, asker = await join("O", "R"), await join("A", *(["R"] if inside else []))
    await asker.emit("GET_X", {})
    heard = {
        "success": False,
        "error": "out of paper",
        "code": "error",
        "sender": master.sid,
    }
    assert await asker.next("SET_X") == ("SET_X", heard)
    assert await observer.next("SET_X") == ("SET_X", heard)
    await observer.say("R", "MARK")
    assert (await observer.next())[0] == "MARK"
    assert (await master.next("SET_X", "MARK"))[0] == "MARK"


async def test_a_late_answer_in_the_other_way_is_dropped(join: Join) -> None:
    """A master that both sends SET_X and acknowledges has answered once."""
    master = await join("M", "R")

    async def twice(_: Any) -> dict[str, Any]:
        await master.say("R", "SET_X", {"n": 1})
        return {"n": 2}

    master.serve("X", twice)
    await master.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    asker = await join("A", "R")
    assert await asker.call("GET_X", {}) == {"success": True, "n": 1}
    await asker.say("R", "MARK")
    assert (await asker.next("SET_X", "MARK"))[0] == "SET_X"
    assert (await asker.next("SET_X", "MARK"))[0] == "MARK"


async def test_a_room_has_to_be_named_where_several_would_do(join: Join) -> None:
    """Whose answer was meant, only the asker knows; being in one of the rooms says it too."""
    for name in ("ONE", "TWO"):
        master = await join(name)
        master.serve("X", partial(lambda name, _: {"by": name}, name))
        await master.call("MAKE_MASTER", {"room": name, "features": ["GET_X"]})
    asker = await join("A")
    answer = await asker.call("GET_X", {})
    assert (answer["success"], answer["code"]) == (False, "ambiguous_room")
    assert sorted(answer["details"]) == ["ONE", "TWO"]
    named = await asker.call("ROOM_MESSAGE", {"event": "GET_X", "room": "TWO"})
    assert named == {"success": True, "by": "TWO"}
    await asker.call("CLIENT_SUSCRIBE", {"room": "ONE"})
    assert (await asker.call("GET_X", {}))["by"] == "ONE"


async def test_what_a_displaced_master_was_asked_ends_at_once(join: Join) -> None:
    """It may have run; what the displaced one answers after all is dropped."""
    answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    asked = asyncio.Event()

    async def later(_: Any) -> dict[str, Any]:
        asked.set()
        return await answer

    first, second, asker = await join("M"), await join("N"), await join("A")
    first.serve("X", later)
    second.serve("X", lambda _: {"by": "second"})
    await first.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    waiting = asyncio.ensure_future(asker.call("GET_X", {}))
    async with asyncio.timeout(5):
        await asked.wait()
        await second.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
        assert (await waiting)["code"] == "master_lost"
        answer.set_result({"by": "first"})
        assert (await asker.call("GET_X", {}))["by"] == "second"


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_what_a_client_sends_in_one_breath_is_done_in_order(
    join: Join, transports: tuple[str, ...]
) -> None:
    """Register, subscribe, declare and talk without waiting for any answer, as upstream's do."""
    peer = await join("A", transports=transports)
    peer.serve("X", lambda payload: {"n": payload["n"]})
    await peer.emit("CLIENT_REGISTER", {"usuario": "B", "sesion": "-2"})
    await peer.emit("CLIENT_SUSCRIBE", {"room": "R"})
    await peer.emit("MAKE_MASTER", {"room": "R", "features": ["X"]})
    for n in range(200):
        await peer.say("R", "TICK", n)
    assert await peer.call("GET_X", {"n": 7}) == {"success": True, "n": 7}
    assert [await peer.next("TICK") for _ in range(200)] == [("TICK", n) for n in range(200)]
    [room] = (await peer.call("GET_SERVER_STATE"))["rooms"]
    assert room["master"] == "B-2"


async def test_polling_gives_way_to_a_websocket(join: Join) -> None:
    """Nothing that is said meanwhile is lost, or heard twice."""
    sender = await join("S")
    member = await join("A", "R", transports=("polling", "websocket"))
    assert member.sio.transport() == "websocket"
    for n in range(50):
        await sender.say("R", "TICK", n)
    assert [await member.next("TICK") for _ in range(50)] == [("TICK", n) for n in range(50)]


async def test_one_connection_may_be_in_both_namespaces(hub: Hub) -> None:
    """Each with its own socket id; leaving one keeps the other."""
    async with raw_peer(hub, "/runtime") as peer:
        await peer.send("40")
        assert (await peer.recv()).startswith('40{"sid":')
        await peer.send('421["CLIENT_SUSCRIBE",{"room":"R"}]')
        assert await peer.answer(1, "/") == {"success": True, "room": "R"}
        below = (await peer.ask("GET_SERVER_STATE"))["socketId"]
        await peer.send('422["GET_SERVER_STATE"]')
        state = await peer.answer(2, "/")
        assert state["socketId"] != below
        assert state["clients"] == 1
        await peer.send("41")
        await peer.send('423["GET_SERVER_STATE"]')  # deaf there now
        assert (await peer.ask("GET_SERVER_STATE", ack=3))["clients"] == 1
        async with raw_peer(hub, "/") as other:
            await other.send('424["GET_SERVER_STATE"]')
            state = await other.answer(4, "/")
            assert (state["clients"], state["rooms"]) == (1, [])


async def test_a_hub_may_want_askers_in_the_room() -> None:
    """With require_subscription."""
    async with (
        Hub(port=0, require_subscription=True) as hub,
        raw_peer(hub) as master,
        raw_peer(hub) as asker,
    ):
        await master.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        for question in (
            ("GET_X", {}),
            ("ROOM_MESSAGE", {"event": "GET_X", "room": "R", "data": {}}),
        ):
            answer = await asker.ask(*question)
            assert (answer["success"], answer["code"]) == (False, "not_subscribed")
        await asker.ask("CLIENT_SUSCRIBE", {"room": "R"})
        await asker.send('42/runtime,9["GET_X",{}]')
        packet = await master.recv()
        await master.send(packet.replace("42", "43", 1).partition("[")[0] + '[{"n":1}]')
        assert await asker.answer(9) == {"success": True, "n": 1}
