"""Somebody who notes what is said, and what a test expects to be said."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from alephscript.client.client import AlephScriptClient
from alephscript.client.messages import Event
from alephscript.client.streams import EventStream
from alephscript.contracts import wire_key

__all__ = ["Observer"]


class Observer:
    """Notes what is said in rooms; made by a mesh, `InMemoryMesh.observer`.

    Attributes:
        client: What it is in the rooms with; ask with it.
        seen: All that it has heard so far and looked at, in order.
    """

    def __init__(self, client: AlephScriptClient, stream: EventStream) -> None:
        self.client = client
        self.seen: list[Event[Any]] = []
        self._stream = stream

    @classmethod
    @asynccontextmanager
    async def watching(cls, mesh: Any, rooms: Sequence[str]) -> AsyncIterator[Self]:
        """An observer of rooms of a mesh."""
        async with AlephScriptClient(mesh, usuario="observer") as client:
            stream = client.events()
            for room in rooms:
                await client.subscribe(room)
            yield cls(client, stream)

    async def expect(
        self,
        name: str,
        *,
        within: float = 1.0,
        where: Callable[[Event[Any]], bool] | None = None,
        **data: Any,
    ) -> Event[Any]:
        """Wait for an event; others that come before it are passed over.

        Args:
            name: Its name.
            within: Seconds to wait.
            where: Says whether it is the one.
            data: What its data has to hold; ``fia_index`` also stands for ``fiaIndex``.

        Raises:
            AssertionError: It did not come in time; the text says what came instead.
        """
        __tracebackhide__ = True  # pytest shows the line that expected it
        event, passed = await self._next(name, within, where, data)
        if event is None:
            wanted = name + "".join(f" {key}={value!r}" for key, value in data.items())
            raise AssertionError(f"{wanted} did not come within {within:g} s; {_told(passed)}")
        return event

    async def expect_nothing(
        self,
        name: str,
        *,
        within: float,
        where: Callable[[Event[Any]], bool] | None = None,
        **data: Any,
    ) -> None:
        """Wait that long, and see that no such event comes; see `expect`.

        Raises:
            AssertionError: One came.
        """
        __tracebackhide__ = True
        event, _ = await self._next(name, within, where, data)
        if event is not None:
            raise AssertionError(f"{_shown(event)} came, and was not to come")

    async def _next(
        self,
        name: str,
        within: float,
        where: Callable[[Event[Any]], bool] | None,
        data: dict[str, Any],
    ) -> tuple[Event[Any] | None, list[Event[Any]]]:
        """The event that is meant, None if it did not come; and what came before it."""
        passed: list[Event[Any]] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                async for event in self._stream:
                    self.seen.append(event)
                    if _is_meant(event, name, where, data):
                        return event, passed
                    passed.append(event)
        return None, passed


def _is_meant(
    event: Event[Any],
    name: str,
    where: Callable[[Event[Any]], bool] | None,
    data: dict[str, Any],
) -> bool:
    if event.name != name or (where is not None and not where(event)):
        return False
    said = event.data
    if not data:
        return True
    return isinstance(said, dict) and all(
        (key in said and said[key] == value) or said.get(wire_key(key), _MISSING) == value
        for key, value in data.items()
    )


def _told(events: Sequence[Event[Any]]) -> str:
    if not events:
        return "nothing was heard meanwhile"
    lines = [f"  {number}. {_shown(event)}" for number, event in enumerate(events, 1)]
    return "\n".join(["this was heard instead:", *lines])


def _shown(event: Event[Any]) -> str:
    data = json.dumps(event.data, ensure_ascii=False, default=str)
    return f"{event.name} {data} in {event.room}, by {event.sender or 'nobody'}"


_MISSING = object()
