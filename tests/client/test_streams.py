"""Event streams keep order, keep to their bound, and end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alephscript import AlephScriptClient, Event, EventStream
from alephscript.client.streams import Streams

pytestmark = pytest.mark.anyio


def stream_of(client: AlephScriptClient, *names: str, buffer: int = 3) -> EventStream:
    """A stream of room R."""
    return client.events("R", *names, buffer=buffer)


def event(number: int, room: str = "R", name: str = "E") -> Event[int]:
    """An event."""
    return Event(room, name, number)


async def test_the_oldest_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A slow reader costs memory up to a bound, and is told of what it missed."""
    stream = stream_of(AlephScriptClient())
    for number in range(5):
        stream.offer(event(number))
    stream.close()
    assert [each.data async for each in stream] == [2, 3, 4]
    assert stream.dropped == 2
    assert caplog.text.count("too slow") == 1


async def test_only_its_room_and_names_are_taken() -> None:
    """An event whose room a stock hub does not say may be meant."""
    streams = Streams()
    named = streams.open("R", frozenset({"E", "G"}), 10)
    anything = streams.open(None, frozenset(), 10)
    said = (event(1), event(2, room="Q"), event(3, name="F"), event(4, room=""), event(5, name="G"))
    for each in said:
        for stream in streams.listening(each.name):
            stream.offer(each)
    streams.close()
    named.offer(event(6))
    assert [each.data async for each in named] == [1, 4, 5]
    assert [each.data async for each in anything] == [1, 2, 3, 4, 5]


def test_a_closed_stream_is_found_no_more() -> None:
    """Whoever closes it twice does no harm."""
    streams = Streams()
    stream, other = (streams.open(None, frozenset({"E", "F"}), 10) for _ in range(2))
    assert streams.listening("E") == [stream, other]
    stream.close()
    stream.close()
    assert (streams.listening("E"), streams.listening("F")) == ([other], [other])
    streams.close()
    assert streams.listening("E") == []


async def test_a_waiting_reader_wakes_for_an_event_and_for_the_end() -> None:
    """Neither is missed."""
    client = AlephScriptClient()
    async with asyncio.timeout(5), stream_of(client) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        stream.offer(event(1))
        assert (await waiting).data == 1
        ended: asyncio.Future[Any] = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        await client.close()
        assert await ended is None


async def test_a_stream_of_a_closed_client_is_over() -> None:
    """There is nothing to wait for."""
    client = AlephScriptClient()
    await client.close()
    async with asyncio.timeout(5):
        assert [each async for each in stream_of(client)] == []
