"""Whatever a peer sends, the hub answers it or ends that peer, and serves the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from alephscript.hub import Hub
from tests.support.peers import Raw, raw_peer
from tests.support.servers import MountedHub, hub_behind

pytestmark = pytest.mark.anyio

HUB_EVENTS = [
    "CLIENT_REGISTER",
    "CLIENT_SUSCRIBE",
    "CLIENT_UNSUSCRIBE",
    "MAKE_MASTER",
    "ROOM_MESSAGE",
    "GET_SERVER_STATE",
    "GET_SOMETHING",
    "WHATEVER",
]
RESERVED = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
    "SET_SERVER_STATE",
]


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """One event loop for the module, of each kind that hubs run on."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(scope="module", params=["own port", "uvicorn"])
async def hub(
    request: pytest.FixtureRequest, anyio_backend: tuple[str, dict[str, bool]]
) -> AsyncIterator[Hub]:
    """One hub that takes all of it, at its own port or mounted."""
    on_uvloop = type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    assert on_uvloop is anyio_backend[1]["use_uvloop"]
    async with hub_behind(request.param) as hub:
        yield hub


def check_shape(answer: Any) -> None:
    """Every answer says success, and a failure says why."""
    assert type(answer["success"]) is bool
    if not answer["success"]:
        assert isinstance(answer["error"], str)
        assert isinstance(answer["code"], str)
        assert "Traceback" not in answer["error"]


async def check_alive(hub: Hub, *peers: Raw) -> None:
    """The given peers, and a new one, are served."""
    async with raw_peer(hub) as another:
        for peer in (*peers, another):
            assert await peer.fence() == {"success": True, "room": "FENCE"}


@pytest.mark.parametrize("event", HUB_EVENTS)
@pytest.mark.parametrize(
    "args",
    [[], [None], [7], [True], ["text"], [[]], [{}], [{"room": None}], [{"room": ["x"]}], [{}, {}]],
    ids=repr,
)
async def test_any_payload_is_answered_once(
    hub: Hub, raw: Raw, event: str, args: list[Any]
) -> None:
    """Missing, null, of another type: one object comes back and nothing breaks."""
    answer = await raw.ask(event, *args)
    check_shape(answer)
    if event != "GET_SERVER_STATE":
        assert answer["success"] is False
    await check_alive(hub, raw)


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("inside", [False, True], ids=["direct", "in ROOM_MESSAGE"])
async def test_reserved_names_are_refused_and_disconnect_nobody(
    hub: Hub, raw: Raw, name: str, inside: bool
) -> None:
    """A JavaScript member that received one would drop its connection."""
    await raw.ask("CLIENT_REGISTER", {"usuario": "raw"})
    await raw.ask("CLIENT_SUSCRIBE", {"room": "R"})
    args = ("ROOM_MESSAGE", {"event": name, "room": "R"}) if inside else (name, {"reason": "x"})
    answer = await raw.ask(*args)
    assert (answer["success"], answer["code"]) == (False, "unknown_event")
    await check_alive(hub, raw)
    state = await raw.ask("GET_SERVER_STATE")
    assert [each["usuario"] for each in state["miembros"]] == ["raw"]
    assert [each["usuario"] for each in state["rooms"][0]["miembros"]] == ["raw"]


@pytest.mark.parametrize("room", ["", "x" * 300, "MY OWN SID"])
async def test_rooms_that_are_none_are_refused(hub: Hub, raw: Raw, room: str) -> None:
    """Empty, over-long, or a living socket's id, by which upstream's hub can be spied on."""
    if room == "MY OWN SID":
        room = (await raw.ask("GET_SERVER_STATE"))["socketId"]
    for event in ("CLIENT_SUSCRIBE", "MAKE_MASTER"):
        answer = await raw.ask(event, {"room": room, "features": []})
        assert (answer["success"], answer["code"]) == (False, "invalid_payload")
    await check_alive(hub, raw)


UNREADABLE = {
    "NaN": '["GET_X",{"a":NaN}]',
    "infinity": '["GET_X",{"a":-Infinity}]',
    "lone surrogate": '["GET_X","\\ud800"]',
    "no JSON": '["GET_X",{]',
    "cut off": '["GET_X"',
    "deep": '["GET_X",' + "[" * 5000 + "]" * 5000 + "]",
    "half a surrogate pair in a room": '["CLIENT_SUSCRIBE",{"room":"\\udc00"}]',
    "nested in an object": '["GET_X",' + '{"a":' * 5000 + "1" + "}" * 5000 + "]",
    "unclosed nesting": '["GET_X",' + "[" * 5000,
    "a little too deep": '["GET_X",' + "[" * 70 + "]" * 70 + "]",
    "empty array": "[]",
    "object": '{"0":"GET_X"}',
    "null": "null",
    "unnamed": '[["GET_X"]]',
    "numbered": "[7,{}]",
    "too large a number for a name": "[1e400]",
}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
async def test_unreadable_events_are_answered_under_their_id(
    hub: Hub, raw: Raw, payload: str
) -> None:
    """The head of a packet says whom to answer even if its payload cannot be read."""
    await raw.send(f"42/runtime,5{payload}")
    answer = await raw.answer(5)
    check_shape(answer)
    assert answer["code"] in ("invalid_payload", "payload_too_large", "unknown_event")
    await check_alive(hub, raw)


@pytest.mark.parametrize(
    "payload",
    ['["ROOM_MESSAGE",{"event":"E","room":"R","data":%s}]', '["MAKE_MASTER",%s]', '["GET_X",%s]'],
)
@pytest.mark.parametrize("data", ["NaN", "[" * 70 + "]" * 70, '"\\ud800"', '{"a":Infinity}'])
async def test_what_breaks_other_peers_reaches_none(
    hub: Hub, raw: Raw, payload: str, data: str
) -> None:
    """One NaN disconnects every JavaScript member that gets it."""
    async with raw_peer(hub) as member:
        await member.ask("CLIENT_SUSCRIBE", {"room": "R"})
        await member.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        await raw.send("42/runtime,5" + payload % data)
        answer = await raw.answer(5)
        check_shape(answer)
        assert answer["code"] in ("invalid_payload", "payload_too_large")
        await raw.ask("ROOM_MESSAGE", {"event": "MARK", "room": "R"})
        assert await member.recv() == '42/runtime,["MARK",null]'


async def test_text_that_is_no_utf8_is_answered_or_ends_its_sender(hub: Hub, raw: Raw) -> None:
    """Our own websockets leave that check to whoever reads the text; ASGI servers do not."""
    await raw.websocket.send(b'42/runtime,5["GET_X","\xff\xfe"]', text=True)
    if isinstance(hub, MountedHub):
        await raw.until_closed()
        await check_alive(hub)
        return
    answer = await raw.answer(5)
    assert (answer["success"], answer["code"]) == (False, "invalid_payload")
    await check_alive(hub, raw)


async def test_nothing_is_heard_after_a_goodbye(hub: Hub) -> None:
    """A socket that joins behind its own close packet, in one segment, would stay for ever."""
    async with raw_peer(hub, None) as sender:
        before = set(hub._engine.connections)
        sender.send_at_once("1", "40/runtime,", '42/runtime,["CLIENT_SUSCRIBE",{"room":"GHOST"}]')
        await sender.until_closed()
    await check_alive(hub)
    assert not set(hub._engine.connections) & before
    assert hub._engine.meshes["/runtime"].clients == 0
    assert "GHOST" not in hub._engine.meshes["/runtime"].rooms._rooms


async def test_a_number_out_of_range_in_a_master_is_the_masters_business(
    hub: Hub, raw: Raw
) -> None:
    """What is only passed on is not read; what cannot be read by us is refused when it must be."""
    answer = await raw.ask("CLIENT_SUSCRIBE", {"room": "R"})
    assert answer["success"]
    await raw.send('42/runtime,6["CLIENT_SUSCRIBE",{"room":1e400}]')
    answer = await raw.answer(6)
    assert (answer["success"], answer["code"]) == (False, "invalid_payload")
    await check_alive(hub, raw)


@pytest.mark.parametrize(
    "frame",
    ['451-/runtime,5["GET_X",{"_placeholder":true,"num":0}]', '45999999999-/runtime,5["GET_X"]'],
)
async def test_binary_events_are_refused_with_an_answer(hub: Hub, raw: Raw, frame: str) -> None:
    """Attachments are neither waited for nor kept."""
    await raw.send(frame)
    answer = await raw.answer(5)
    assert (answer["success"], answer["code"]) == (False, "invalid_payload")
    await raw.send(b"an attachment of it")
    await check_alive(hub, raw)


@pytest.mark.parametrize(
    "frame",
    [
        '42/runtime,["GET_X",{"a":NaN}]',
        "42/runtime,[]",
        '42/nowhere,5["GET_X"]',
        "42",
        "43/runtime,0[]",
        "43/runtime,1[]",
        "43/runtime,999[null]",
        '43/runtime,1{"a":1}',
        "43/runtime,[]",
        "461-/runtime,1[]",
        "40/runtime,",
        '40/runtime,{"token":7}',
        "3",
        "3probe",
        "6",
        "5",
        b"\x00\x01",
        b"",
    ],
    ids=repr,
)
async def test_what_needs_no_answer_gets_none_and_harms_nobody(
    hub: Hub, raw: Raw, frame: str | bytes
) -> None:
    """Acks of nothing, events to nowhere, stray binary: the sender itself is served on."""
    await raw.send(frame)
    await check_alive(hub, raw)


async def test_a_client_may_ping_too(hub: Hub, raw: Raw) -> None:
    """Engine.IO 3 clients do; the answer carries the ping's data."""
    await raw.send("2hello")
    assert await raw.recv() == "3hello"


@pytest.mark.parametrize(
    "frame",
    ["", "x", "9", "4", "4x", "4999", '44/runtime,{"message":"no"}', "1", "42/runtime," + "9" * 40],
    ids=lambda frame: repr(frame[:20]),
)
async def test_what_is_no_packet_ends_its_sender_only(hub: Hub, frame: str) -> None:
    """The connection is closed at once and leaves no trace."""
    async with raw_peer(hub) as sender:
        await sender.ask("CLIENT_SUSCRIBE", {"room": "R"})
        before = set(hub._engine.connections)
        await sender.send(frame)
        await sender.until_closed()
    await check_alive(hub)  # by then the hub has seen the end
    assert not set(hub._engine.connections) & before
    assert "R" not in hub._engine.meshes["/runtime"].rooms._rooms


async def test_a_message_over_the_limit_ends_its_sender_only(hub: Hub, raw: Raw) -> None:
    """One megabyte is what every peer of the mesh takes."""
    await raw.send('42/runtime,5["GET_X","' + "x" * 1_100_000 + '"]')
    await raw.until_closed()
    await check_alive(hub)


async def test_a_large_message_within_the_limit_is_served(hub: Hub, raw: Raw) -> None:
    """Several reads and a 16 bit length do not hurt it."""
    answer = await raw.ask("ROOM_MESSAGE", {"event": "E", "room": "R", "data": "x" * 900_000})
    assert answer["success"]
    await check_alive(hub, raw)


async def test_a_message_in_fragments_is_one_message(hub: Hub, raw: Raw) -> None:
    """Clients may cut a message into frames."""
    event = '42/runtime,5["CLIENT_SUSCRIBE",{"room":"R"}]'
    await raw.websocket.send([event[:7], event[7:9], event[9:]])
    assert await raw.answer(5) == {"success": True, "room": "R"}
    await check_alive(hub, raw)


async def test_fragments_over_the_limit_end_their_sender(hub: Hub, raw: Raw) -> None:
    """The bound is on the message, not on its frames."""
    with contextlib.suppress(ConnectionClosed):
        await raw.websocket.send(["42/runtime,", *["x" * 400_000] * 4])
    await raw.until_closed()
    await check_alive(hub)


async def test_only_the_master_that_was_asked_can_answer(hub: Hub, raw: Raw) -> None:
    """Acks by others, twice, or not in an array: dropped, or one answer."""
    async with raw_peer(hub) as master, raw_peer(hub) as asker:
        await master.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        await asker.send('42/runtime,8["GET_X",{}]')
        question = await master.recv()
        number = question.removeprefix("42/runtime,").partition("[")[0]
        await raw.send(f'43/runtime,{number}[{{"spoof":true}}]')
        await raw.fence()
        await master.send(f'43/runtime,{number}[{{"mine":true}}]')
        await master.send(f'43/runtime,{number}[{{"mine":"again"}}]')
        assert await asker.answer(8) == {"success": True, "mine": True}
        await check_alive(hub, raw, master, asker)


@pytest.mark.parametrize(
    ("ack", "answer"),
    [
        ("[]", {"success": True, "result": None}),
        ("[null]", {"success": True, "result": None}),
        ("[42]", {"success": True, "result": 42}),
        ("[1,2]", {"success": True, "result": [1, 2]}),
        ('[{"a":1}]', {"success": True, "a": 1}),
        ('[{"error":"no"}]', {"success": False, "error": "no", "code": "error"}),
        ('[{"success":false}]', None),
        ("[NaN]", None),
        ('{"a":1}', None),
        ("null", None),
    ],
)
async def test_whatever_a_master_acknowledges_with_becomes_one_answer(
    hub: Hub, ack: str, answer: Any
) -> None:
    """Stock masters answer as they like; the asker reads one shape."""
    async with raw_peer(hub) as master, raw_peer(hub) as asker:
        await master.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        await asker.send('42/runtime,8["GET_X",{}]')
        number = (await master.recv()).removeprefix("42/runtime,").partition("[")[0]
        await master.send(f"43/runtime,{number}{ack}")
        got = await asker.answer(8)
        check_shape(got)
        assert got == answer if answer is not None else got["success"] is False
        await check_alive(hub, master, asker)
