"""What peers of upstream's software expect of a hub, and what is left of what went nowhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from alephscript import AlephScriptClient, Offer
from alephscript.hub import Hub, RoomSecrets
from tests.support.peers import Raw, Stock, raw_peer
from tests.support.servers import DOORS, hub_behind
from tests.support.strangers import SCHEMAS as STRANGE

pytestmark = pytest.mark.anyio

SCHEMAS_OF_STRANGERS = [STRANGE[name] for name in STRANGE if len(str(STRANGE[name])) < 5_000]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.fixture(params=DOORS)
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    """A hub that its peers do not have to prove anything to, wherever it is."""
    async with hub_behind(request.param) as hub:
        yield hub


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Takes peers off again."""
    async with AsyncExitStack() as stack:
        yield stack


async def join(stack: AsyncExitStack, hub: Hub, name: str, *rooms: str, **auth: Any) -> Stock:
    """A stock peer that has registered and subscribed."""
    peer = Stock("/runtime")
    await peer.connect(hub.url, transports=["websocket"], auth=auth or None)
    stack.push_async_callback(peer.leave)
    await peer.call("CLIENT_REGISTER", {"usuario": name, "sesion": ""})
    for room in rooms:
        await peer.call("CLIENT_SUSCRIBE", {"room": room})
    return peer


async def declare(peer: Stock, room: str, *features: str, **more: Any) -> None:
    """Master a room as stock bots do, and be sure of that."""
    await peer.say(room, "MAKE_MASTER", {"features": list(features), **more})
    await peer.call("GET_SERVER_STATE", {})  # in order: what was sent before is done


class Bot:
    """A bot by hand, as JavaScript has it: it acknowledges nothing that it is asked."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    async def say(self, room: str, event: str, data: Any) -> None:
        """Send a ROOM_MESSAGE."""
        message = ["ROOM_MESSAGE", {"event": event, "room": room, "data": data}]
        await self.raw.send(f"42/runtime,{json.dumps(message)}")

    async def asked(self, event: str) -> None:
        """Wait for a request."""
        while f'["{event}",' not in await self.raw.recv():
            pass

    async def master(self, room: str, *features: str) -> None:
        """Subscribe to a room and master it."""
        await self.raw.ask("CLIENT_SUSCRIBE", {"room": room})
        await self.say(room, "MAKE_MASTER", {"features": list(features)})
        await self.raw.fence()


async def test_a_bot_may_answer_in_another_room_than_it_masters(
    hub: Hub, raw: Raw, stack: AsyncExitStack
) -> None:
    """As the stock PersefonBot does: asked in AAIA_ROOM, heard in ENGINE_THREADS."""
    bot = Bot(raw)
    await raw.ask("CLIENT_SUSCRIBE", {"room": "ENGINE_THREADS"})
    await bot.master("AAIA_ROOM", "GET_LIST_OF_THREADS")
    asker = await join(stack, hub, "asker", "AAIA_ROOM", "ENGINE_THREADS")
    asking = asyncio.create_task(asker.call("GET_LIST_OF_THREADS", {}))
    await bot.asked("GET_LIST_OF_THREADS")
    await bot.say("ENGINE_THREADS", "SET_LIST_OF_THREADS", {"threads": [1]})
    assert await asking == {"success": True, "threads": [1]}
    _, told = await asker.next("SET_LIST_OF_THREADS")
    assert told["threads"] == [1]


async def test_who_releases_a_room_masters_it_no_more(
    hub: Hub, raw: Raw, stack: AsyncExitStack
) -> None:
    """The next asker hears so at once."""
    device = Bot(raw)
    await device.master("D", "GET_S")
    asker = await join(stack, hub, "asker")
    asking = asyncio.create_task(asker.call("GET_S", {}))
    await device.asked("GET_S")
    await device.say("D", "RELEASE_MASTER", {})
    await device.say("D", "SET_S", {"n": 1})
    assert (await asking)["n"] == 1  # it had that in hand
    assert (await asker.call("GET_S", {}))["code"] == "no_master"


async def test_a_browser_tab_takes_nothing_from_the_bot(hub: Hub, stack: AsyncExitStack) -> None:
    """The seed's client names no room, and the tab answers nobody."""
    bot = await join(stack, hub, "bot", "ENGINE_THREADS_ROOM")
    bot.serve("LIST_OF_THREADS", lambda _: {"success": True, "threads": []})
    declared = {"room": "ENGINE_THREADS_ROOM", "features": ["GET_LIST_OF_THREADS"]}
    assert (await bot.call("MAKE_MASTER", declared))["success"]
    for name in ("tab", "another"):
        tab = await join(stack, hub, name, f"IDE-{name}")
        await declare(tab, f"IDE-{name}", "GET_LIST_OF_THREADS", "GET_ENGINE")
    asker = await join(stack, hub, "asker")
    assert await asker.call("GET_LIST_OF_THREADS", {}) == {"success": True, "threads": []}
    ambiguous = await asker.call("GET_ENGINE", {})
    assert (ambiguous["code"], ambiguous["details"]) == (
        "ambiguous_room",
        ["IDE-tab", "IDE-another"],
    )


async def test_a_rooms_secret_lets_into_its_zones(stack: AsyncExitStack) -> None:
    """And into no room that is only called alike."""
    async with Hub(port=0, access=RoomSecrets({"SALA": "s3", "SALA2": "s4"})) as hub:
        peer = await join(stack, hub, "z", token="s3", room="SALA")
        for room, is_let_in in (
            ("SALA", True),
            ("SALA::z:norte", True),
            ("SALA2::z:norte", False),
            ("SALA2", False),
        ):
            answer = await peer.call("CLIENT_SUSCRIBE", {"room": room})
            assert answer.get("code") == (None if is_let_in else "permission_denied")
        await stack.aclose()


async def test_masters_that_describe_themselves_are_discovered_with_that(
    hub: Hub, stack: AsyncExitStack
) -> None:
    """Declared in either way; beside the name, nobody learns what they connect by."""
    card = {
        "id": "THREAD_STEP",
        "description": "One step.",
        "inputSchema": SCHEMA,
        "outputSchema": SCHEMA,
        "tags": ["threads"],
    }
    bot = await join(stack, hub, "bot", "R")
    about = {"peerCard": {"id": "bot", "token": "hunter2"}, "type": "bot"}
    await bot.call("CLIENT_REGISTER", {"usuario": "bot", **about})
    await declare(bot, "R", "GET_THREAD_STEP", metadata={"capabilities": [card]})
    other = await join(stack, hub, "other")
    declared = {"room": "S", "metadata": {"capabilities": [card]}}
    assert (await other.call("MAKE_MASTER", declared))["features"] == ["THREAD_STEP"]
    async with AlephScriptClient(hub.url, usuario="me") as client:
        offers = await client.discover()
        state = await client.server_state()
    assert offers == [
        Offer(
            room=room,
            capability="THREAD_STEP",
            masters=(master,),
            group="single",
            epoch=1,
            summary="One step.",
            request=SCHEMA,
            reply=SCHEMA,
            tags=("threads",),
        )
        for room, master in (("R", "bot"), ("S", "other"))
    ]
    assert "hunter2" not in str(state)
    (member,) = next(room for room in state["rooms"] if room["roomId"] == "R")["miembros"]
    assert (member["peerCard"], member["type"]) == ({"id": "bot"}, "bot")


METADATA: list[Any] = [
    *(None, 5, "text", [], [{"id": "A"}], {"capabilities": None}, {"capabilities": 5}),
    {"capabilities": {"id": "A"}},
    {
        "capabilities": [
            None,
            5,
            "A",
            [],
            {},
            {"id": None},
            {"id": ""},
            {"id": 5},
            {"id": "x" * 300},
        ]
    },
    {"capabilities": [{"id": "get_lower"}, {"id": "lower"}, {"id": "lower", "description": 5}]},
    {"capabilities": [{"id": "A", "tags": "a"}, {"id": "B", "tags": [5, None, "t" * 300]}]},
    *({"capabilities": [{"id": "A", "inputSchema": schema}]} for schema in SCHEMAS_OF_STRANGERS),
]


@pytest.mark.parametrize("metadata", METADATA, ids=lambda each: str(each)[:30])
async def test_whatever_a_master_says_of_itself_it_masters(
    metadata: Any, hub: Hub, stack: AsyncExitStack
) -> None:
    """Or hears why not; whoever looks sees what makes sense of that, and is served."""
    bot = await join(stack, hub, "bot", "R")
    answer = await bot.call("MAKE_MASTER", {"room": "R", "features": ["X"], "metadata": metadata})
    assert answer["success"] or answer["code"] == "invalid_payload"
    await declare(bot, "S", "GET_Y", metadata=metadata)
    async with AlephScriptClient(hub.url, usuario="me") as client:
        offers = await client.discover()
        state = await client.server_state()
    rooms = {"S", "R"} if answer["success"] else {"S"}
    assert {offer.room for offer in offers} <= rooms
    assert {each["roomId"] for each in state["rooms"]} >= {"R"}


@pytest.mark.parametrize("data", [{}, None, 5, [], {"room": "D"}, {"room": "OTHER"}])
async def test_who_releases_what_it_does_not_master_changes_nothing(
    data: Any, hub: Hub, raw: Raw, stack: AsyncExitStack
) -> None:
    """Its own rooms stay its own, and those of others theirs."""
    bot = await join(stack, hub, "bot", "D")
    bot.serve("S", lambda _: {"success": True, "n": 1})
    assert (await bot.call("MAKE_MASTER", {"room": "D", "features": ["GET_S"]}))["success"]
    stranger = Bot(raw)
    await stranger.master("OTHER", "GET_OTHER")
    await stranger.say("D", "RELEASE_MASTER", data)
    await stranger.say("NOWHERE", "RELEASE_MASTER", data)
    await raw.fence()
    asker = await join(stack, hub, "asker")
    assert await asker.call("GET_S", {}) == {"success": True, "n": 1}
    asking = asyncio.create_task(asker.call("GET_OTHER", {}))
    await stranger.asked("GET_OTHER")
    await stranger.say("OTHER", "SET_OTHER", {"n": 2})
    assert (await asking)["n"] == 2


# What went nowhere


BINARY = (
    '451-/runtime,["ROOM_MESSAGE",{"event":"E","room":"R","data":{"_placeholder":true,"num":0}}]'
)


@pytest.mark.parametrize(
    ("packet", "event", "reason"),
    [
        ('42/runtime,["BOARD",{"x":1}]', "BOARD", "unknown_event"),
        ('42/runtime,["SET_X",{"x":1}]', "SET_X", "unknown_event"),
        ('42/runtime,["join",{"room":"R"}]', "join", "unknown_event"),
        ('42/runtime,["disconnect",{}]', "disconnect", "unknown_event"),
        ('42/runtime,["ROOM_MESSAGE",{"room":"R"}]', "ROOM_MESSAGE", "unknown_event"),
        ('42/runtime,["ROOM_MESSAGE",null]', "ROOM_MESSAGE", "invalid_payload"),
        ('42/runtime,["MAKE_MASTER",{"room":7}]', "MAKE_MASTER", "invalid_payload"),
        ('42/runtime,["CLIENT_REGISTER",{}]', "CLIENT_REGISTER", "invalid_payload"),
        ("42/runtime,[7]", "(nameless)", "unknown_event"),
        ("42/runtime,[]", "(nameless)", "invalid_payload"),
        ('42/runtime,["' + "N" * 257 + '"]', "(nameless)", "unknown_event"),
        (BINARY, "E", "binary"),
        ('451-/runtime,["BLOB",{"_placeholder":true,"num":0}]', "BLOB", "binary"),
        ("451-/runtime,[", "(nameless)", "binary"),
        ('42["HELLO",1]', "(nameless)", "not_joined"),
    ],
)
async def test_what_is_dropped_is_counted_and_logged_by_name(
    hub: Hub, caplog: pytest.LogCaptureFixture, packet: str, event: str, reason: str
) -> None:
    """In `GET /mesh`, in `GET /metrics`, and once in the log."""
    async with raw_peer(hub) as raw:
        for _ in range(3):
            await raw.send(packet)
        await raw.fence()
    namespace = "/" if reason == "not_joined" else "/runtime"
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{hub.url}/mesh") as answer:
            counts = await answer.json()
        async with http.get(f"{hub.url}/metrics") as answer:
            metrics = await answer.text()
    assert counts["namespaces"][namespace]["dropped"] == [
        {"event": event, "reason": reason, "count": 3}
    ]
    labels = f'event="{event}",namespace="{namespace}",reason="{reason}"'
    assert f"alephscript_dropped_total{{{labels}}} 3.0" in metrics
    (record,) = [each for each in caplog.records if each.name == "alephscript.hub"]
    assert repr(event) in record.getMessage()


async def test_what_is_answered_is_not_dropped(hub: Hub, raw: Raw) -> None:
    """Its sender hears of it."""
    assert (await raw.ask("BOARD", {}))["code"] == "unknown_event"
    assert (await raw.ask("ROOM_MESSAGE", None))["code"] == "invalid_payload"
    await raw.send('42/runtime,["GET_NOBODY",{}]')  # answered by SET_NOBODY
    await raw.fence()
    assert hub._engine.snapshot()["namespaces"]["/runtime"]["dropped"] == []


async def test_a_binary_event_that_wants_an_answer_gets_one_and_is_counted(
    hub: Hub, raw: Raw
) -> None:
    """Both: it is a mistake of a program, which its operator should see."""
    await raw.send('451-/runtime,5["BLOB",{"_placeholder":true,"num":0}]')
    assert (await raw.answer(5))["code"] == "invalid_payload"
    (drop,) = hub._engine.snapshot()["namespaces"]["/runtime"]["dropped"]
    assert drop == {"event": "BLOB", "reason": "binary", "count": 1}


async def test_names_of_what_is_dropped_are_bounded(
    hub: Hub, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    """In number and in length, wherever they are kept; the rest counts together."""
    for number in range(250):
        await raw.send(f'42/runtime,["N{number}\\n{"x" * 200}",1]')
    await raw.fence()
    drops = hub._engine.snapshot()["namespaces"]["/runtime"]["dropped"]
    assert len(drops) == 101
    assert sum(each["count"] for each in drops) == 250
    assert drops[-1]["count"] == 150
    assert drops[-1]["event"] == "(other)"
    said = [each.getMessage() for each in caplog.records if each.name == "alephscript.hub"]
    assert len(said) == 101
    assert not any("\n" in each for each in said)
