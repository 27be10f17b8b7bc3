"""Whatever comes in whatever order: the honest are served, all is answered once, nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import math
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from hypothesis import Phase, given, settings, strategies as st
from websockets.exceptions import ConnectionClosed

from alephscript.hub import Hub
from alephscript.protocol import events
from tests.support.peers import Poller, Raw, raw_peer
from tests.support.properties import examples

from .traffic import HOSTILE, JOINED, LIVES, OPENINGS, Books, Stage, kept, parsed

PLAIN = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -1,
        7,
        1.5,
        10**400,
        math.nan,
        math.inf,
        "",
        "R",
        "X",
        "7",
        "ñ",
        "\ud800",
    ]
)
JSON = (
    PLAIN
    | st.lists(PLAIN, max_size=2)
    | st.dictionaries(st.sampled_from(["", "error", "success", "requestId"]), PLAIN, max_size=2)
)
ROOMS = st.sampled_from(["R", "R", "M", "S"])
FEATURES = st.lists(st.sampled_from(["X", "Y", "GET_X"]), max_size=3)
TRUE = st.just(value=True)
NUMBERS = st.integers(1, 9)  # of requests, and under which they are asked


def mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs there, or anything."""
    return st.one_of(right, right, right, JSON)


def almost(*needed: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object of these fields, or anything."""
    has = {name: mostly(field) for name, field in fields.items()}
    return mostly(
        st.fixed_dictionaries(
            {name: has[name] for name in needed},
            optional={name: field for name, field in has.items() if name not in needed},
        )
    )


DECLARATION = almost(
    "room",
    "features",
    room=ROOMS,
    features=FEATURES,
    group=st.sampled_from(events.GROUPS),
    descriptions=st.just({"X": {"idempotent": True}}),
    out=TRUE,
)
META = almost(
    room=ROOMS,
    timeoutMs=st.sampled_from([0, -1, 100, 1e308]),
    wait=TRUE,
    parts=NUMBERS,
    chain=st.lists(st.just("X"), max_size=20),
)
ASKED = ["GET_X", "GET_Y", "GET_"]
INSIDE = [*ASKED, "SET_X", "SET_Y", "FIA_STEP", "MAKE_MASTER", "GET_SERVER_STATE", "disconnect"]
EVENTS: Mapping[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "CLIENT_REGISTER": st.tuples(
        almost(
            "usuario", usuario=st.just("u"), sesion=st.just(1), protocol=st.just(events.PROTOCOL)
        )
    ),
    "CLIENT_SUSCRIBE": st.tuples(
        almost("room", room=ROOMS, out=TRUE, since=almost(history=st.just(""), number=NUMBERS))
    ),
    "CLIENT_UNSUSCRIBE": st.tuples(almost("room", room=ROOMS)),
    "MAKE_MASTER": st.tuples(DECLARATION),
    "ROOM_MESSAGE": st.tuples(
        almost(
            "event",
            "room",
            event=st.sampled_from(INSIDE),
            room=ROOMS,
            data=DECLARATION | almost(requestId=st.just("q")),
            requestId=NUMBERS.map(str),
        )
    ),
    "CANCEL_REQUEST": st.tuples(almost("request", request=NUMBERS)),
    "REQUEST_MORE": st.tuples(almost("request", "parts", request=NUMBERS, parts=NUMBERS)),
    "REQUEST_PART": st.tuples(JSON, almost("id", id=NUMBERS.map(str))),
    "REQUEST_PROGRESS": st.tuples(JSON, almost("id", id=NUMBERS.map(str))),
    **dict.fromkeys(ASKED, st.tuples(JSON) | st.tuples(JSON, META)),
}
REFUSED = sorted({*events.RESERVED, *events.HUB_ONLY, "WHATEVER", ""} - set(EVENTS))
SPACES = st.sampled_from([b"/runtime,"] * 6 + [b"", b"/nowhere,", b"/runtime?q,"])
IDS = st.just(b"") | NUMBERS.map(b"%d".__mod__)


def text(values: Iterable[Any]) -> bytes:
    """JSON as careless peers write it."""
    return json.dumps(list(values)).encode()


@st.composite
def event(draw: st.DrawFn) -> bytes:
    """An event, more or less as it should be."""
    name = draw(st.sampled_from(sorted(EVENTS) * 4 + REFUSED))
    args = draw(EVENTS.get(name, st.tuples(JSON)))
    return b"42%b%b%b" % (draw(SPACES), draw(IDS), text([name, *args]))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Nearly a message."""
    message = draw(event())
    at, cut = draw(st.integers(0, len(message))), draw(st.integers(0, 3))
    return message[:at] + draw(DAMAGE) + message[at + cut :]


DAMAGE = st.sampled_from([b"0", b"9", b"-", b",", b"/", b"[", b'"', b"\\", b"\x1e"]) | st.binary()
ANSWER = st.builds(
    lambda ack, args: b"43/runtime,%d%b" % (ack, text(args)), NUMBERS, st.lists(JSON, max_size=2)
)
BEGINNING = st.sampled_from([message for opening in OPENINGS for message in opening])
SAID = [event()] * 8 + [ANSWER, BEGINNING, damaged(), st.sampled_from(HOSTILE), st.binary()]


@st.composite
def line(draw: st.DrawFn) -> bytes:
    """What somebody does."""
    peer = draw(st.sampled_from([b"a", b"b", b"c", b"d"]))
    kind = draw(st.none() | st.sampled_from(SAID) | st.sampled_from(SAID))
    if kind is not None:
        said: bytes = draw(kind)
        return peer + said
    return draw(st.sampled_from([b"~", b"~", b"-" + peer, b"|" + peer]))


@st.composite
def traffic(draw: st.DrawFn) -> list[bytes]:
    """Peers of all kinds, and what they do."""
    lines = [
        peer + message
        for peer in (b"a", b"b", b"c", b"d")
        for message in draw(st.sampled_from(OPENINGS))
    ]
    least = draw(st.sampled_from([0, 10, 20]))
    return lines + draw(st.lists(line(), min_size=least, max_size=30))


@pytest.mark.parametrize("frame", HOSTILE, ids=lambda frame: repr(frame[:40]))
def test_a_hostile_frame_is_dealt_with(frame: bytes) -> None:
    """From whomever, and with a request in the hands of whoever sends it."""
    with Stage() as stage:
        for opening in OPENINGS:
            asked = [b"b40/runtime,", b'b42/runtime,1["ROOM_MESSAGE",{"event":"GET_X","room":"R"}]']
            begun = [b"a" + message for message in opening] + asked
            stage.play([*begun, b"a" + frame])
            stage.play([*begun, b"~", b"a" + frame, b"~", b"-a"])


@pytest.mark.parametrize("lines", LIVES.values(), ids=LIVES)
def test_a_request_ends_once(lines: list[bytes]) -> None:
    """However it ends; what comes in several turns may come in one."""
    with Stage() as stage:
        stage.play(JOINED + lines)
        stage.play(JOINED + [each for each in lines if each != b"~"])


@settings(max_examples=examples(100))
@given(traffic())
def test_any_traffic_is_dealt_with(lines: list[bytes]) -> None:
    """All that `Stage.play` checks, of which an honest master and an honest asker are a part."""
    with Stage() as stage:
        stage.play(lines)


def storm(number: int) -> list[bytes]:
    """Every hostile frame after another way to begin, and names that nobody ever used before."""
    lines = [b"a40/runtime,"]
    for name in (b"%d_%d" % (number, each) for each in range(270)):
        lines += [
            b'a42/runtime,1["GET_%b",{}]' % name,
            b'a42/runtime,["CLIENT_REGISTER",{"usuario":"%b"}]' % name,
            b'a42/runtime,["CLIENT_SUSCRIBE",{"room":"%b"}]' % name,
            b'a42/runtime,["MAKE_MASTER",{"room":"%b","features":["%b"]}]' % (name, name),
            b"a40/%b" % name,
        ]
    for each, frame in enumerate(HOSTILE):
        lines += [b"b" + message for message in OPENINGS[(number + each) % len(OPENINGS)]]
        lines += [b"c40/runtime,", b'c42/runtime,7["GET_X",{}]', b"b" + frame, b"-b", b"~"]
    return lines


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_memory_stays_flat_under_bad_traffic() -> None:
    """Caches fill up; then nothing is added by names, frames or connections any more."""

    def weather(numbers: range) -> int:
        for number in numbers:
            stage.play(storm(number))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    with Stage() as stage:
        tracemalloc.start()
        try:
            before = weather(range(6))
            assert weather(range(6, 12)) - before < 50_000
        finally:
            tracemalloc.stop()


# Over real sockets, where time is real, too: nobody can ask for a longer deadline than the hub's,
# and nothing is made smaller by waiting again and again for an answer that does not come.
IN_REAL_TIME = settings(
    max_examples=examples(30), phases=set(Phase) - {Phase.shrink, Phase.explain}
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for the module."""
    return "asyncio"


@pytest.fixture(scope="module")
async def hub(anyio_backend: str) -> AsyncIterator[Hub]:
    """One hub that takes all of it."""
    async with Hub(port=0, default_timeout=0.05) as hub:
        yield hub


async def check_empty(hub: Hub) -> None:
    """Somebody new is served; when it, too, has left, nobody is there and nothing is kept."""
    async with raw_peer(hub) as newcomer:
        assert await newcomer.fence() == {"success": True, "room": "FENCE"}
    async with raw_peer(hub, None):  # by its handshake the hub has seen the others go
        assert kept(hub._engine).keys() == {"connections"}
        assert len(hub._engine.connections) == 1


@pytest.mark.anyio
@IN_REAL_TIME
@given(traffic())
async def test_any_traffic_over_websockets_is_dealt_with(hub: Hub, lines: list[bytes]) -> None:
    """The same in real frames: answers to all that is not cut off."""
    peers: dict[int, tuple[Raw, Books]] = {}
    async with AsyncExitStack() as stack:
        for line in lines:
            if line in (b"", b"~") or events.PROTOCOL.encode() in line:
                continue
            sign, name, message = parsed(line)
            if name not in peers:
                raw = await stack.enter_async_context(raw_peer(hub, None))
                peers[name] = raw, Books()
            raw, books = peers[name]
            if sign:
                del peers[name]
                await raw.websocket.close()
                continue
            books.says(message)
            with contextlib.suppress(ConnectionClosed):
                await raw.websocket.send(message, text=True)
        for raw, books in peers.values():
            with contextlib.suppress(ConnectionClosed):
                async with asyncio.timeout(5):
                    while +books.owed:
                        books.hears(await raw.websocket.recv(decode=False))
    await check_empty(hub)


@pytest.mark.anyio
@IN_REAL_TIME
@given(st.lists(st.lists(st.one_of(SAID), min_size=1, max_size=6), max_size=6))
async def test_any_traffic_in_polling_bodies_is_dealt_with(
    hub: Hub, bodies: list[list[bytes]]
) -> None:
    """A body that is none ends its sender; of one that is, everything is answered."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        poller, books = Poller(http, hub.url), Books()
        await poller.join()
        books.says(b"40/runtime,")
        for body in map(b"\x1e".join, bodies):
            for message in body.split(b"\x1e"):
                books.says(message)
            status, _ = await poller.request("POST", body)
            if status != 200:
                break
        while +books.owed:
            status, text = await poller.request("GET")
            if status != 200:
                break
            for message in text.encode().split(b"\x1e"):
                books.hears(message)
        await poller.request("POST", "1")
    await check_empty(hub)
