"""The log of rooms for stock peers: python-socketio clients that know nothing but the wire."""

from __future__ import annotations

import datetime as dt
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient
from alephscript.hub import Hub
from tests.support.peers import Stock

pytestmark = pytest.mark.anyio

ROOM = "AAIA_ROOM"
HUBS = pytest.param("hubs", marks=pytest.mark.peers)


class Stocks:
    """Stock peers of a mesh in turn at each of its hubs."""

    def __init__(self, stack: AsyncExitStack, transport: str, *hubs: Hub) -> None:
        self._stack, self._transport, self._hubs = stack, transport, list(hubs)

    async def join(self) -> Stock:
        """A peer at the next hub."""
        self._hubs.append(hub := self._hubs.pop(0))
        peer = Stock("/runtime")
        options: Any = {"namespaces": ["/runtime"], "transports": [self._transport]}
        await peer.sio.connect(hub.url, **options)
        self._stack.push_async_callback(peer.leave)
        return peer


@pytest.fixture(params=["websocket", "polling", HUBS])
async def stocks(request: pytest.FixtureRequest, anyio_backend: str, tmp_path: Path) -> Any:
    """Stock peers by each transport, and at two hubs."""
    async with AsyncExitStack() as stack:
        hubs: Any
        if request.param == "hubs":
            redis = request.getfixturevalue("shared_redis").url()
            hubs = [Hub(port=0, redis=redis, log=["*"]) for _ in range(2)]
        else:
            hubs = [Hub(port=0, data=tmp_path, log=["*"])]
        for hub in hubs:
            await stack.enter_async_context(hub)
        transport = "websocket" if request.param == "hubs" else request.param
        yield Stocks(stack, transport, *hubs)


async def say(peer: Stock, *numbers: int) -> list[str]:
    """Say these, and return where they stand."""
    answers = [
        await peer.call("ROOM_MESSAGE", {"event": "FIA_STEP", "room": ROOM, "data": number})
        for number in numbers
    ]
    return [answer["position"] for answer in answers]


async def hear(peer: Stock, *numbers: int) -> None:
    """These come, in order."""
    for number in numbers:
        assert await peer.next("FIA_STEP") == ("FIA_STEP", number)


async def test_a_stock_peer_hears_what_was_said_and_then_what_is_said(stocks: Stocks) -> None:
    """Since a duration, an ISO time, and a position as the hub told it."""
    speaker = await stocks.join()
    began = dt.datetime.now(dt.UTC).isoformat()
    positions = await say(speaker, 1, 2, 3)
    late = [await stocks.join() for _ in range(4)]
    ways = (("10m", (1, 2, 3)), (began, (1, 2, 3)), (positions[1], (3,)), (positions[2], ()))
    for peer, (since, numbers) in zip(late, ways, strict=True):
        answer = await peer.call("CLIENT_SUSCRIBE", {"room": ROOM, "since": since})
        assert (answer["success"], answer["missed"]) == (True, 0)
        assert answer["position"] == positions[-1]
        await hear(peer, *numbers)
    await say(speaker, 4)
    for peer in late:
        await hear(peer, 4)


async def test_a_member_may_hear_again_what_it_missed(stocks: Stocks) -> None:
    """One that subscribed without a time, and does so again with one."""
    speaker, peer = await stocks.join(), await stocks.join()
    await say(speaker, 1)
    answer = await peer.call("CLIENT_SUSCRIBE", {"room": ROOM})
    assert "missed" not in answer
    await say(speaker, 2)
    await hear(peer, 2)
    await peer.call("CLIENT_SUSCRIBE", {"room": ROOM, "since": "10m"})
    await hear(peer, 1, 2)
    await say(speaker, 3)
    await hear(peer, 3)


async def test_what_is_no_time_is_refused_and_what_is_no_position_here_is_told(
    stocks: Stocks,
) -> None:
    """With what would be one; `missed` is null, and the peer hears what comes."""
    speaker, peer = await stocks.join(), await stocks.join()
    (position,) = await say(speaker, 1)
    wrong: list[Any] = ["soon", 10, ["10m"], {}, "9" * 200]
    for since in wrong:
        answer = await peer.call("CLIENT_SUSCRIBE", {"room": ROOM, "since": since})
        assert (answer["success"], answer["code"]) == (False, "invalid_payload")
        assert "10m" in answer["error"]
    future = position.rpartition(".")[0] + ".99"
    for number, since in enumerate((future, "0f0f.1.1"), 2):
        other = await stocks.join()
        answer = await other.call("CLIENT_SUSCRIBE", {"room": ROOM, "since": since})
        assert (answer["success"], answer["missed"]) == (True, None)
        await say(speaker, number)
        await hear(other, number)


async def test_a_stock_peer_reads_pages_as_others_do(stocks: Stocks) -> None:
    """Forwards from a time or a position, and back from a number."""
    speaker = await stocks.join()
    positions = await say(speaker, *range(1, 8))
    page = await speaker.call("GET_ROOM_LOG", {"room": ROOM, "most": 3})
    assert [each["data"] for each in page["events"]] == [1, 2, 3]
    assert (page["position"], page["isEnd"], page["missed"]) == (positions[2], False, 0)
    assert {*page["events"][0]} == {"event", "data", "sender", "at", "number", "position"}
    page = await speaker.call("GET_ROOM_LOG", {"room": ROOM, "since": page["position"]})
    assert [each["data"] for each in page["events"]] == [4, 5, 6, 7]
    assert page["isEnd"] is True
    page = await speaker.call("GET_ROOM_LOG", {"room": ROOM, "before": 6, "most": 2})
    assert [each["data"] for each in page["events"]] == [4, 5]
    page = await speaker.call("GET_ROOM_LOG", {"room": ROOM, "before": 1})
    assert page["events"] == []
    for wrong in ({}, {"room": ROOM, "before": "x"}, {"room": ROOM, "most": -1}, "x", None):
        answer = await speaker.call("GET_ROOM_LOG", wrong)
        assert (answer["success"], answer["code"]) == (False, "invalid_payload")


async def test_an_answer_to_the_room_is_in_the_log_and_not_told_to_its_sender(
    stocks: Stocks,
) -> None:
    """A SET_ is told to all members but the one that says it, with a log as without."""
    master, other = await stocks.join(), await stocks.join()
    for peer in (master, other):
        await peer.call("CLIENT_SUSCRIBE", {"room": ROOM})
    said = {"event": "SET_STATE", "room": ROOM, "data": {"tick": 1}}
    await master.call("ROOM_MESSAGE", said)
    await say(master, 1)
    assert (await other.next("SET_STATE"))[1]["tick"] == 1
    await hear(other, 1)
    assert await master.next("FIA_STEP", "SET_STATE") == ("FIA_STEP", 1)


async def test_a_retained_event_is_told_once_to_whoever_hears_since_then(tmp_path: Path) -> None:
    """Its value is among what was said; without a time it comes as the last of its name."""
    async with (
        Hub(port=0, data=tmp_path, log=[ROOM]) as hub,
        AlephScriptClient(hub.url) as speaker,
        AsyncExitStack() as stack,
    ):
        stocks = Stocks(stack, "websocket", hub)
        await speaker.broadcast("FIA_STEP", 1, room=ROOM, retain=True, confirm=True)
        times: tuple[dict[str, Any], ...] = ({}, {"since": "10m"})
        for since in times:
            peer = await stocks.join()
            await peer.call("CLIENT_SUSCRIBE", {"room": ROOM, **since})
            await hear(peer, 1)
            await speaker.broadcast("END", room=ROOM, confirm=True)
            names = ["END", "END"] if since else ["END"]  # the first one's was said before
            for name in names:
                assert (await peer.next("FIA_STEP", "END"))[0] == name
