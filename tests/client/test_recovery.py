"""What was said while a link was lost is heard afterwards, in order and once, or told as a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from alephscript import GAP, AlephScriptClient, Event, Gap, Position, State, observe, on
from alephscript.hub import Hub
from alephscript.testing import InMemoryMesh

pytestmark = pytest.mark.anyio

KEPT = 5


def at_once() -> Iterator[float]:
    """Delays between attempts to reconnect: hardly any."""
    while True:
        yield 0.01


class Listener(AlephScriptClient):
    """Notes what it hears, gaps included; may be held offline."""

    rooms = observe("NEWS")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, backoff=at_once, **kwargs)
        self.heard: list[Any] = []
        self.noted = asyncio.Event()
        self.may_connect = asyncio.Event()
        self.may_connect.set()

    async def _credentials(self) -> Any:
        await self.may_connect.wait()
        return None

    @on("SAID")
    async def said(self, event: Event[int]) -> None:
        """Note it."""
        self.heard.append(event.data)
        self.noted.set()

    @on(GAP)
    async def gap(self, event: Event[Gap]) -> None:
        """Note it."""
        self.heard.append((event.room, event.data))
        self.noted.set()

    def lose_link(self) -> None:
        """Cut the link, and come back only when it may."""
        assert self._alephscript_session is not None
        self.may_connect.clear()
        link: Any = self._alephscript_session._channel.link
        link.drop("cut") if hasattr(link, "drop") else link.abort()

    async def has_heard(self, count: int) -> list[Any]:
        """What it has heard, when it is so much."""
        async with asyncio.timeout(5):
            while len(self.heard) < count:
                self.noted.clear()
                await self.noted.wait()
        return self.heard


@pytest.fixture(params=["memory", "hub"])
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A mesh that remembers the last things said."""
    if request.param == "memory":
        async with InMemoryMesh(history=KEPT) as mesh:
            yield mesh
    else:
        async with Hub(port=0, history=KEPT) as hub:
            yield hub.url


async def say(speaker: AlephScriptClient, *numbers: int) -> None:
    """Say numbers; when this returns, the hub has them."""
    for number in numbers:
        await speaker.broadcast("SAID", number, room="NEWS")
    await speaker.server_state()


async def test_what_was_said_meanwhile_is_heard_after_the_reconnection(hub: Any) -> None:
    """In order, once, and before what is said from then on."""
    async with Listener(hub) as listener, AlephScriptClient(hub) as speaker:
        await say(speaker, 1, 2)
        await listener.has_heard(2)
        listener.lose_link()
        await listener._alephscript_life.until(State.RECONNECTING)
        await say(speaker, 3, 4, 5)
        listener.may_connect.set()
        await listener.ready()
        await say(speaker, 6)
        assert await listener.has_heard(6) == [1, 2, 3, 4, 5, 6]


async def test_what_the_hub_no_longer_has_is_told_as_a_gap(hub: Any) -> None:
    """With how much of it there was, and the rest after it."""
    async with Listener(hub) as listener, AlephScriptClient(hub) as speaker:
        await say(speaker, 0)
        await listener.has_heard(1)
        listener.lose_link()
        await listener._alephscript_life.until(State.RECONNECTING)
        await say(speaker, *range(1, KEPT + 4))
        listener.may_connect.set()
        heard = await listener.has_heard(1 + KEPT + 1)
    assert ("NEWS", Gap(missed=3)) in heard
    assert [each for each in heard if isinstance(each, int)] == [0, *range(4, KEPT + 4)]


async def test_another_hub_knows_nothing_of_what_was_said_on_the_first(port: int) -> None:
    """How much was missed cannot be known."""
    async with Hub(port=port, history=KEPT) as first:
        listener = Listener(first.url)
        await listener.__aenter__()
        async with AlephScriptClient(first.url) as speaker:
            await say(speaker, 1)
        await listener.has_heard(1)
    async with Hub(port=port, history=KEPT):
        await listener.ready()
        assert await listener.has_heard(2) == [1, ("NEWS", Gap(missed=None))]
        await listener.close()


async def test_a_position_is_taken_up_by_another_client(hub: Any) -> None:
    """As after a restart of the program that had it."""
    async with AlephScriptClient(hub) as speaker:
        async with Listener(hub) as first:
            await say(speaker, 1, 2)
            await first.has_heard(2)
            position = first.position("NEWS")
        assert isinstance(position, Position)
        assert position.number == 2
        await say(speaker, 3)
        async with AlephScriptClient(hub) as second:
            stream = second.events("NEWS", "SAID")
            await second.subscribe("NEWS", since=position)
            await say(speaker, 4)
            async with asyncio.timeout(5):
                assert [(await anext(stream)).data for _ in range(2)] == [3, 4]
            await second.unsubscribe("NEWS")
            assert second.position("NEWS") is None


async def test_without_a_history_nothing_is_replayed_and_nothing_is_said_of_it() -> None:
    """As on any Socket.IO hub."""
    async with (
        InMemoryMesh() as mesh,
        Listener(mesh) as listener,
        AlephScriptClient(mesh) as speaker,
    ):
        await say(speaker, 1)
        await listener.has_heard(1)
        assert listener.position("NEWS") is None
        listener.lose_link()
        await listener._alephscript_life.until(State.RECONNECTING)
        await say(speaker, 2)
        listener.may_connect.set()
        await listener.ready()
        await say(speaker, 3)
        assert await listener.has_heard(2) == [1, 3]
