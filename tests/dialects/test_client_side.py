"""Each dialect: how a hub is told, asked, cancelled and answered, and what is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from alephscript.client.calls import NO_META, Call, Delivery, HubMeta
from alephscript.client.declaring import Mastery
from alephscript.client.dialects import (
    Channel,
    Core,
    Dialect,
    Documented,
    Native,
    find_dialect,
)
from alephscript.errors import (
    DeadlineExceeded,
    InvalidPayload,
    LinkLost,
    PayloadTooLarge,
    RequestError,
    UnknownEvent,
)
from alephscript.protocol.events import PROTOCOL, Position
from alephscript.protocol.json import MAX_DEPTH, parse_json, read_value, write_json

pytestmark = pytest.mark.anyio

MASTERY = Mastery(("X",), "shared", {"X": {"summary": "An x."}})


class FakeLink:
    """A link that notes what is sent, as values: with a number if it is to be acknowledged."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, payload: bytes, ack: int | None = None) -> None:
        """Note it."""
        self.sent.append(parse_json(payload) if ack is None else (parse_json(payload), ack))

    def acknowledge(self, ack: int, payload: bytes) -> None:
        """Note it."""
        self.sent.append(("ack", ack, parse_json(payload)))

    async def close(self) -> None:
        """End nothing."""


@attrs.frozen
class End:
    """The client's end of a link, in one dialect, in room R of which 7 events were heard."""

    dialect: Dialect
    channel: Channel
    link: FakeLink
    controls: list[Any]

    @property
    def sent(self) -> list[Any]:
        """What was sent."""
        return self.link.sent


def channel_on(link: FakeLink, controls: list[Any]) -> Channel:
    """A channel that is open."""
    positions = {"R": Position("h", 7)}
    channel = Channel(
        positions,
        cancel=lambda *what: controls.append(("cancel", *what)),
        grant=lambda *what: controls.append(("grant", *what)),
    )
    channel.link = link
    channel.rooms["R"] = None
    return channel


def end_of(kind: type[Dialect]) -> End:
    """The client's end where its hub speaks this."""
    link, controls = FakeLink(), list[Any]()
    channel = channel_on(link, controls)
    return End(kind(channel), channel, link, controls)


def in_room(event: str, data: Any) -> Any:
    """A message to room R."""
    return ["ROOM_MESSAGE", {"event": event, "room": "R", "data": data}]


def by_name(event: str, data: Any) -> Any:
    """The same between native peers, which spares the envelope."""
    return [event, data, {"room": "R"}]


FEATURES = {"features": ["X"]}
TO_R = {**FEATURES, "room": "R"}
DESCRIBED = {**TO_R, "group": "shared", "descriptions": MASTERY.descriptions}
SINCE = {"room": "R", "since": {"history": "h", "number": 7}}
IN_10_S = {"timeoutMs": 10000}


@pytest.mark.parametrize(
    ("kind", "registering", "subscribing", "mastering", "resigning", "broadcasting"),
    [
        (
            Native,
            (["CLIENT_REGISTER", {"usuario": "a"}, IN_10_S], 1),
            (
                ["CLIENT_SUSCRIBE", {"room": "R", "since": {"history": "h", "number": 7}}, IN_10_S],
                1,
            ),
            (["MAKE_MASTER", DESCRIBED, IN_10_S], 1),
            (["MAKE_MASTER", {"room": "R", "out": True}, IN_10_S], 1),
            by_name("NEWS", 1),
        ),
        (
            Documented,
            (["CLIENT_REGISTER", {"usuario": "a"}, IN_10_S], 1),
            (["CLIENT_SUSCRIBE", {"room": "R"}, IN_10_S], 1),
            (["MAKE_MASTER", TO_R, IN_10_S], 1),
            None,
            in_room("NEWS", 1),
        ),
        (
            Core,
            ["CLIENT_REGISTER", {"usuario": "a"}],
            ["CLIENT_SUSCRIBE", {"room": "R"}],
            in_room("MAKE_MASTER", FEATURES),
            None,
            in_room("NEWS", 1),
        ),
    ],
)
async def test_how_a_hub_is_told(
    kind: type[Dialect],
    registering: Any,
    subscribing: Any,
    mastering: Any,
    resigning: Any,
    broadcasting: Any,
) -> None:
    """Who this is, where, of what it is the master, and that it is no more."""

    def telling(act: Callable[[Dialect], Any]) -> Any:
        async def tell() -> Any:
            end = end_of(kind)
            task = asyncio.ensure_future(act(end.dialect))
            await asyncio.sleep(0)
            end.channel.pending.resolve(1, b'[{"success":true}]')
            await task
            return end.sent[0] if end.sent else None

        return tell()

    assert await telling(lambda d: d.tell("CLIENT_REGISTER", {"usuario": "a"})) == registering
    assert await telling(lambda d: d.tell("CLIENT_SUSCRIBE", d.subscription("R"))) == subscribing
    assert await telling(lambda d: d.make_master("R", MASTERY)) == mastering
    assert await telling(lambda d: d.resign("R")) == resigning
    end = end_of(kind)
    end.dialect.broadcast("R", "NEWS", b"1")
    assert end.sent == [broadcasting]


def call() -> Call:
    """A request as any other."""
    return Call("GET_X", b'{"n":1}', "R", 10.0, {"member": "m"})


@pytest.mark.parametrize(
    ("kind", "question", "cancelling"),
    [
        (
            Native,
            (["GET_X", {"n": 1}, {"member": "m", "room": "R", "timeoutMs": 10000}], 1),
            [["CANCEL_REQUEST", {"request": 1}]],
        ),
        (
            Documented,
            (["GET_X", {"n": 1}, {"member": "m", "room": "R", "timeoutMs": 10000}], 1),
            [],
        ),
        (Core, in_room("GET_X", {"n": 1}), []),
    ],
)
async def test_how_a_hub_is_asked_and_a_call_is_given_up(
    kind: type[Dialect], question: Any, cancelling: list[Any]
) -> None:
    """The answer comes as an acknowledgement, or as an event that carries the call's mark."""
    end = end_of(kind)
    asking = asyncio.ensure_future(end.dialect.ask(call()))
    await asyncio.sleep(0)
    [sent] = end.sent
    if kind is Core:
        own_id = sent[1]["data"].pop("requestId")
        answer = {"success": True, "sum": 2, "sender": "s", "requestId": own_id}
        stranger = {**answer, "requestId": "another", "sum": 3}
        for each in (stranger, answer):
            end.dialect.receive(write_json(["SET_X", each]), None)
    else:
        end.channel.pending.resolve(1, b'[{"success":true,"sum":2}]')
    assert sent == question
    assert parse_json(await asking) == [{"success": True, "sum": 2}]

    end = end_of(kind)
    asking = asyncio.ensure_future(end.dialect.ask(call()))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert end.sent[1:] == cancelling
    assert len(end.channel.pending) == 0


@pytest.mark.parametrize(
    ("room", "timeout", "meta"),
    [
        (None, None, []),
        (None, 2.5, [{"timeoutMs": 2500}]),
        ('R "1"', None, [{"room": 'R "1"'}]),
        ("R", 0.0, [{"room": "R", "timeoutMs": 0}]),
        ("R", 1e9, [{"room": "R", "timeoutMs": 86_400_000}]),
    ],
)
async def test_what_a_call_says_besides(room: Any, timeout: Any, meta: list[Any]) -> None:
    """Nothing where there is nothing to say."""
    end = end_of(Documented)
    asking = asyncio.ensure_future(end.dialect.ask(Call("GET_X", b"{}", room, timeout)))
    await asyncio.sleep(0)
    assert end.sent == [(["GET_X", {}, *meta], 1)]
    end.dialect.fail_calls(LinkLost, "gone")
    with pytest.raises(LinkLost):
        await asking


@pytest.mark.parametrize("kind", [Native, Documented, Core])
async def test_what_waits_ends_with_the_link_and_with_its_time(kind: type[Dialect]) -> None:
    """In every dialect."""
    end = end_of(kind)
    asking = asyncio.ensure_future(end.dialect.ask(call()))
    await asyncio.sleep(0)
    end.dialect.fail_calls(LinkLost, "gone")
    with pytest.raises(LinkLost):
        await asking
    with pytest.raises(DeadlineExceeded, match="no answer to"):
        await end_of(kind).dialect.ask(Call("GET_X", b"{}", "R", 0.01))


async def test_a_reader_that_comes_back_gives_its_master_the_whole_time() -> None:
    """Not what was left of it when parts began to wait for the reader."""
    end = end_of(Native)
    assert isinstance(end.dialect, Native)
    stream = end.dialect.stream(Call("GET_X", b"{}", "R", 60, idle=30))
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    end.dialect.receive(write_json(["REQUEST_PART", 1, {"request": 1}]), None)
    assert await reading == 1
    patience = end.dialect._watches[1]._patience
    assert patience is not None
    patience._heard -= 1000  # for so long the reader was elsewhere
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    patience._ring()
    await asyncio.wait({reading}, timeout=0.01)
    assert not reading.done()
    patience._heard -= 1000
    patience._ring()
    with pytest.raises(DeadlineExceeded, match="nothing was heard"):
        await reading


@pytest.mark.parametrize("kind", [Native, Documented, Core])
async def test_what_only_a_native_hub_is_asked(kind: type[Dialect]) -> None:
    """Others are not left to wait for."""
    end = end_of(kind)
    asking = asyncio.ensure_future(end.dialect.ask_about_mesh("GET_MEMBERS", {}, 5))
    await asyncio.sleep(0)
    if kind is not Native:
        with pytest.raises(UnknownEvent):
            await asking
        assert end.sent == []
        return
    end.channel.pending.resolve(1, b'[{"success":true,"members":[]}]')
    assert await asking == {"members": []}


@pytest.mark.parametrize(("kind", "gap"), [(Native, {"parts": 64}), (Documented, {}), (Core, None)])
async def test_how_a_stream_is_asked(kind: type[Dialect], gap: dict[str, Any] | None) -> None:
    """Where hubs know no parts, the answer is the only one."""
    end = end_of(kind)
    stream = end.dialect.stream(Call("GET_X", b"{}", "R", 5.0))
    asking = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    if gap is None:
        end.dialect.receive(b'["SET_X",{"n":1}]', None)
    else:
        assert end.sent == [(["GET_X", {}, {**gap, "room": "R", "timeoutMs": 5000}], 1)]
        end.channel.pending.resolve(1, b'[{"n":1}]')
    assert await asking == {"n": 1}
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


ANSWER = {"success": True, "n": 1}


@pytest.mark.parametrize(
    ("kind", "ack", "own_id", "answering", "announcing"),
    [
        (Native, 5, None, ("ack", 5, [ANSWER]), [by_name("SET_X", ANSWER)]),
        (Documented, 5, None, ("ack", 5, [ANSWER]), [in_room("SET_X", ANSWER)]),
        (Documented, None, None, in_room("SET_X", ANSWER), [in_room("SET_X", ANSWER)]),
        (Core, None, None, in_room("SET_X", ANSWER), []),
        (Core, None, "q1", in_room("SET_X", {**ANSWER, "requestId": "q1"}), []),
        (Core, 5, "q1", ("ack", 5, [{**ANSWER, "requestId": "q1"}]), []),
    ],
)
async def test_how_a_request_is_answered(
    kind: type[Dialect], ack: Any, own_id: Any, answering: Any, announcing: list[Any]
) -> None:
    """To its asker, and to the room where the capability is announced."""
    end = end_of(kind)
    request = Delivery("GET_X", {}, ack, NO_META, "R", "a1", "9", own_id)
    end.dialect.answer(request, write_json(ANSWER))
    end.dialect.announce(request, write_json(ANSWER))
    assert end.sent == [answering, *announcing]


async def test_only_a_native_hub_is_told_of_progress_and_sent_parts() -> None:
    """Others would take it for something that is said."""
    request = Delivery("GET_X", {}, 5, NO_META, "R", "a1", "9")
    end = end_of(Native)
    end.dialect.report_progress(request, {"fraction": 1})
    end.dialect.send_part(request, b"2")
    assert end.sent == [
        ["REQUEST_PROGRESS", {"fraction": 1}, {"id": "9"}],
        ["REQUEST_PART", 2, {"id": "9"}],
    ]
    for kind in (Documented, Core):
        end = end_of(kind)
        end.dialect.report_progress(request, {"fraction": 1})
        assert end.sent == []


ENVELOPE = {
    "requester": "sid",
    "requesterName": "a1",
    "requestId": "9",
    "room": "R",
    "data": {"n": 1, "requestId": "q1"},
}


ASKED = {"id": "9", "room": "S", "caller": "a1"}


@pytest.mark.parametrize(
    ("kind", "packet", "room", "sender", "id", "own_id"),
    [
        (
            Native,
            ["GET_X", {"n": 1}, {"id": "9", "room": "S", "caller": "a1"}],
            "S",
            "a1",
            "9",
            None,
        ),
        (Native, ["NEWS", {"n": 1}, {"room": "S", "sender": "a1"}], "S", "a1", "", None),
        (Native, ["NEWS", {"n": 1}], "", "", "", None),
        (Documented, ["GET_X", {"n": 1}, {"room": "S", "caller": "a1"}], "", "", "", None),
        (Core, ["GET_X", ENVELOPE], "R", "a1", "9", "q1"),
        (Core, ["GET_X", {"n": 1}], "", "", "", None),
        (Core, ["NEWS", {"n": 1}], "R", "", "", None),
    ],
)
async def test_what_is_read_of_a_packet(
    kind: type[Dialect], packet: Any, room: str, sender: str, id: str, own_id: Any
) -> None:
    """The same fields, wherever the hub puts them."""
    delivery = end_of(kind).dialect.receive(write_json(packet), 3)
    assert delivery is not None
    assert (delivery.event, delivery.ack) == (packet[0], 3)
    assert (delivery.room, delivery.sender, delivery.id) == (room, sender, id)
    assert delivery.own_id == own_id
    data = parse_json(write_json([delivery.data]))[0]
    assert data == (packet[1]["data"] if own_id else packet[1])


@pytest.mark.parametrize("kind", [Native, Documented, Core])
async def test_what_is_said_about_requests_is_for_native_hubs(kind: type[Dialect]) -> None:
    """And is delivered to nobody else."""
    end = end_of(kind)
    for packet in (
        ["CANCEL_REQUEST", {"id": "9", "reason": "cancelled"}],
        ["REQUEST_MORE", {"id": "9", "parts": 3}],
        ["REQUEST_PART", 1, {"request": 99}],
        ["REQUEST_PROGRESS", {"fraction": 1}, {"request": 99}],
    ):
        assert end.dialect.receive(write_json(packet), None) is None
    native = [("cancel", "9", "cancelled"), ("grant", "9", 3)]
    assert end.controls == (native if kind is Native else [])


@pytest.mark.parametrize("kind", [Native, Documented, Core])
@pytest.mark.parametrize("text", [b"[]", b"[7]", b"{}", b"[", b'["X",\xff]'])
async def test_what_is_no_event(kind: type[Dialect], text: bytes) -> None:
    """A foreign hub may send anything."""
    with pytest.raises(InvalidPayload):
        end_of(kind).dialect.receive(text, None)


LARGE = "x" * 70_000
NAMES = st.sampled_from(["GET_X", 'GET_"', "GET_,{", "GET_\\", "GET_é"])
PIECES = st.sampled_from(['"', ",{", "}", "]", "[", ":", ",", "\\", "id", "room"])
TEXTS = st.lists(PIECES, max_size=8).map("".join)
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
METAS = st.fixed_dictionaries({"id": TEXTS, "room": TEXTS}, optional={"chain": st.lists(TEXTS)})


@given(NAMES, VALUES, METAS, st.booleans())
async def test_a_large_request_is_read_as_a_small_one_is(
    name: str, data: Any, meta: dict[str, Any], spaced: bool
) -> None:
    """Name, data and meta, whatever is in them."""
    written = json.dumps([name, [LARGE, data], meta], separators=None if spaced else (",", ":"))
    read = end_of(Native).dialect.receive(written.encode(), 1)
    assert read is not None
    assert (read.event, read.id, read.room) == (name, meta["id"], meta["room"])
    assert read.meta.chain == tuple(meta.get("chain", ()))
    assert read_value(read.data) == [LARGE, data]


@given(VALUES, METAS, st.integers(0), PIECES, st.integers(0, 3))
async def test_a_large_request_that_is_broken_is_never_read_as_another(
    data: Any, meta: dict[str, Any], at: int, piece: str, dropped: int
) -> None:
    """Its packet is refused, or its data is; or it was changed into another one that is whole."""
    text = json.dumps(["GET_X", [LARGE, data], meta], separators=(",", ":"))
    at = max(0, len(text) - at % 200)
    text = text[:at] + piece + text[at + dropped :]
    try:
        whole = parse_json(text)
    except RequestError:
        whole = None
    try:
        read = end_of(Native).dialect.receive(text.encode(), 1)
        assert read is not None
        value = read_value(read.data)
    except RequestError:
        assert whole is None
    else:
        assert whole is not None
        assert [read.event, value] == whole[:2]


async def test_many_brackets_cost_an_event_nothing_of_what_is_said_besides() -> None:
    """Neither its room and number, nor, if it is a part of an answer, itself."""
    many = [[number] for number in range(2 * MAX_DEPTH)]
    end = end_of(Native)
    delivery = end.dialect.receive(write_json(["NEWS", many, {"room": "R", "number": 8}]), None)
    assert delivery is not None
    assert (delivery.data, delivery.room) == (many, "R")
    assert end.channel.positions["R"].number == 8
    request = end.dialect.receive(write_json(["GET_X", many, {"id": "9", "timeoutMs": 5}]), 1)
    assert request is not None
    assert (request.meta, parse_json(request.data)) == (HubMeta(id="9", timeout_ms=5), many)

    stream = end.dialect.stream(Call("GET_X", b"{}", "R", 5.0))
    asking = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    end.dialect.receive(write_json(["REQUEST_PART", many, {"request": 1}]), None)
    assert await asking == many
    await stream.aclose()

    deep: Any = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(PayloadTooLarge):
        end.dialect.receive(b'["NEWS",%b]' % str(deep).replace(" ", "").encode(), None)


@pytest.mark.parametrize(
    ("acknowledges", "answer", "kind"),
    [
        (None, {"success": True, "protocol": PROTOCOL}, Native),
        (None, {"success": True, "protocol": "alephscript/2"}, Documented),
        (True, {"success": True}, Documented),
        (False, None, Core),
        (None, {"success": False, "error": "no", "code": "permission_denied"}, RequestError),
    ],
)
async def test_the_registration_shows_the_dialect(
    acknowledges: bool | None, answer: Any, kind: type[Dialect | RequestError]
) -> None:
    """By its answer; silence is tested with a hub that is silent."""
    channel = channel_on(FakeLink(), [])
    finding = asyncio.ensure_future(
        find_dialect(channel, {"usuario": "a"}, acknowledges=acknowledges)
    )
    await asyncio.sleep(0)
    if answer is not None:
        channel.pending.resolve(1, write_json([answer]))
    if issubclass(kind, RequestError):
        with pytest.raises(kind):
            await finding
    else:
        assert type(await finding) is kind
