"""An observer of rooms, and the events that a test expects it to see.

May go in: watching rooms as a client does. May not: anything that looks into a mesh.
"""

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
    """Notes the events of rooms; made by a mesh, `InMemoryMesh.observer`.

    Attributes:
        client: The client that is in the rooms; tests may ask with it.
        seen: All events that were looked at so far, in order.
    """

    def __init__(self, client: AlephScriptClient, stream: EventStream) -> None:
        self.client = client
        self.seen: list[Event[Any]] = []
        self._stream = stream

    @classmethod
    @asynccontextmanager
    async def watching(
        cls, mesh: Any, rooms: Sequence[str], *, presence: bool = False
    ) -> AsyncIterator[Self]:
        """Open an observer of rooms of a mesh."""
        async with AlephScriptClient(mesh, usuario="observer") as client:
            stream = client.events()
            for room in rooms:
                await client.subscribe(room, presence=presence)
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
            name: The event's name.
            within: Seconds to wait.
            where: Says whether an event is the one that is expected.
            data: Items that the event's data has to hold; ``fia_index`` also stands for
                ``fiaIndex``.

        Raises:
            AssertionError: The event did not come in time; the text says what came instead.
        """
        __tracebackhide__ = True  # pytest shows the line that expected it
        event, passed = await self._next(name, within, where, data)
        if event is None:
            expected = name + "".join(f" {key}={value!r}" for key, value in data.items())
            raise AssertionError(f"{expected} did not come within {within:g} s; {_list(passed)}")
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
            AssertionError: Such an event came.
        """
        __tracebackhide__ = True
        event, _ = await self._next(name, within, where, data)
        if event is not None:
            raise AssertionError(f"{_describe(event)} came, and was not to come")

    async def _next(
        self,
        name: str,
        within: float,
        where: Callable[[Event[Any]], bool] | None,
        data: dict[str, Any],
    ) -> tuple[Event[Any] | None, list[Event[Any]]]:
        """Return the event that is expected, None if it did not come; and all that came before."""
        passed: list[Event[Any]] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                async for event in self._stream:
                    self.seen.append(event)
                    if _is_expected(event, name, where, data):
                        return event, passed
                    passed.append(event)
        return None, passed


def _is_expected(
    event: Event[Any],
    name: str,
    where: Callable[[Event[Any]], bool] | None,
    data: dict[str, Any],
) -> bool:
    if event.name != name or (where is not None and not where(event)):
        return False
    items = event.data
    if not data:
        return True
    return isinstance(items, dict) and all(
        (key in items and items[key] == value) or items.get(wire_key(key), _MISSING) == value
        for key, value in data.items()
    )


def _list(events: Sequence[Event[Any]]) -> str:
    if not events:
        return "nothing was heard meanwhile"
    lines = [f"  {number}. {_describe(event)}" for number, event in enumerate(events, 1)]
    return "\n".join(["this was heard instead:", *lines])


def _describe(event: Event[Any]) -> str:
    data = json.dumps(event.data, ensure_ascii=False, default=str)
    return f"{event.name} {data} in {event.room}, by {event.sender or 'nobody'}"


_MISSING = object()
