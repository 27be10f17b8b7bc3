"""A client that hears what happens in rooms, and writes it down.

A hub of this package tells its recorders requests, answers and events. Any other hub tells its
members what is said, and nothing more: then there is a member for each room, as a stock hub does
not say in which room it heard an event.

May go in: hearing, and writing lines in order. May not: the form of a line (`lines`).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import importlib.metadata
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from alephscript.client.client import AlephScriptClient
from alephscript.client.dialects import Native
from alephscript.client.lifecycle import State
from alephscript.client.messages import GAP, Event, Gap
from alephscript.errors import (
    AlephScriptError,
    Closed,
    LinkLost,
    NotConnected,
    StateError,
    UnknownEvent,
)
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.recording.lines import Header, write_header, write_record

__all__ = ["Recorder", "record"]

_BUFFER = 100_000
"""Records that wait to be written."""


class Recorder(AlephScriptClient):
    """A client that writes down what happens in rooms.

    Args:
        hub: The hub, as of any client.
        record_rooms: The rooms; `events.EVERY_ROOM` stands for all.
        write: Takes each line.
        opened: Called when all that happens from now on is written; see `record`.
        counts: Takes how many records were written, by kind.
        options: Further arguments, as of any client.

    Attributes:
        has_requests: Whether the hub tells requests; None before that is known.
    """

    def __init__(
        self,
        hub: Any,
        *,
        record_rooms: Sequence[str],
        write: Callable[[bytes], object],
        opened: Callable[[bool], object],
        counts: dict[str, int],
        **options: Any,
    ) -> None:
        super().__init__(hub, **{"usuario": "recorder", **options})
        self.has_requests: bool | None = None
        self._counts = counts
        self._record_rooms = list(dict.fromkeys(record_rooms))
        self._write = write
        self._opened = opened
        self._hub, self._options = hub, options
        self._told = self.events(None, HubEvent.ROOM_RECORD, buffer=_BUFFER)
        self._dropped = 0
        self._sessions = 0
        self._zero: float | None = None
        self._last = 0.0
        self._lost_at: float | None = None
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._began = asyncio.Event()

    async def record(self) -> None:
        """Write until cancelled.

        Raises:
            RequestError: The hub does not let this client record.
            ConnectionRefused: The hub refused the client, for good.
            OSError: The lines cannot be written.
        """
        working = [asyncio.ensure_future(each) for each in (self._watch(), self._write_all())]
        try:
            await asyncio.wait([*working, self._failure], return_when=asyncio.FIRST_COMPLETED)
            for each in (self._failure, *working):
                if each.done():
                    each.result()
        finally:
            for each in working:
                each.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    def finish(self) -> None:
        """Write what was heard, and the last line."""
        if self._zero is not None or self._began.is_set():
            self._drain()
            self._put({"at": self._now(), "kind": "closed"})

    async def on_connected(self) -> None:
        """Have the hub tell; after a lost link, note that there is a hole."""
        try:
            await self._begin()
        except (NotConnected, LinkLost, Closed):
            pass  # the next connection begins anew, if there is one
        except (AlephScriptError, OSError) as error:
            if not self._failure.done():
                self._failure.set_exception(error)

    async def _begin(self) -> None:
        self._drain()  # all that is unread came by the connection before
        self._sessions += 1
        if self._lost_at is not None:
            seconds = round(time.time() - self._lost_at, 3)
            self._lost_at = None
            self._put_hole("the link to the hub was lost", seconds)
        session = self._alephscript_life.present_session()
        has_requests = isinstance(session.dialect, Native)  # another hub may pass on what it gets
        if has_requests:
            try:
                await session.dialect.tell(HubEvent.RECORD_ROOMS, {"rooms": self._record_rooms})
            except UnknownEvent:  # of an older version
                has_requests = False
        if self.has_requests is None:
            self.has_requests = has_requests
            self._write(write_header(self._make_header()))
            self._began.set()

    def _make_header(self) -> Header:
        return Header(
            version=importlib.metadata.version("alephscript"),
            hub=self._alephscript_connector.address,
            namespace=self._alephscript_namespace,
            rooms=self._record_rooms,
            has_requests=bool(self.has_requests),
            at=dt.datetime.now(dt.UTC),
        )

    async def _watch(self) -> None:
        """Note when the link is lost."""
        async for state in self.states():
            if state is State.RECONNECTING and self._lost_at is None:
                self._lost_at = time.time()
        await self.run_forever()  # raises what has closed this client

    async def _write_all(self) -> None:
        await self._began.wait()
        if not self.has_requests:
            await self._write_events()
            return
        self._opened(True)  # noqa: FBT003 - as documented
        while await self._told.wait():
            self._drain()

    def _drain(self) -> None:
        """Write all records that were heard."""
        if self._told.dropped > self._dropped:
            missed = self._told.dropped - self._dropped
            self._dropped = self._told.dropped
            self._put_hole(f"{missed} records came faster than they could be written")
        while self.has_requests is not None and (event := self._told.take()) is not None:
            if isinstance(event.data, dict):
                self._put(self._place(event.data))

    def _place(self, told: dict[str, Any]) -> dict[str, Any]:
        """Give a record the place that it has in this file: its time, and names of requests."""
        at = told.pop("at", None)
        record = {"at": self._since(at if isinstance(at, int | float) else time.time()), **told}
        if self._sessions > 1:  # a hub that was restarted counts anew
            for name in ("id", "about", "inside"):
                if name in record:
                    record[name] = f"{self._sessions}/{record[name]}"
        return record

    def _since(self, at: float) -> float:
        if self._zero is None:
            self._zero = at
        return round(at - self._zero, 6)

    def _now(self) -> float:
        # Times of records are the hub's: its clock may be another one.
        return max(self._last, self._since(time.time()))

    def _put_hole(self, reason: str, seconds: float | None = None) -> None:
        length = {} if seconds is None else {"seconds": seconds}
        self._put({"at": self._now(), "kind": "hole", **length, "reason": reason})

    def _put(self, record: dict[str, Any]) -> None:
        kind, self._last = record["kind"], record["at"]
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._write(write_record(record))

    # A hub of others

    async def _write_events(self) -> None:
        """Write what the rooms of a hub are told that tells nothing but that."""
        rooms = self._record_rooms
        if events.EVERY_ROOM in rooms:
            state = await self.server_state()
            rooms = [each["roomId"] for each in state.get("rooms", []) if "roomId" in each]
        if not rooms:
            raise StateError("this hub does not say which rooms there are: name them by --room")
        async with contextlib.AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(self._hear(room)) for room in rooms]
            self._opened(False)  # noqa: FBT003 - as documented
            await asyncio.gather(*map(self._write_room, rooms, streams))

    @contextlib.asynccontextmanager
    async def _hear(self, room: str) -> AsyncIterator[Any]:
        async with AlephScriptClient(self._hub, **{"usuario": "recorder", **self._options}) as one:
            stream = one.events(buffer=_BUFFER)
            await one.subscribe(room)
            yield stream

    async def _write_room(self, room: str, stream: AsyncIterator[Event[Any]]) -> None:
        async for event in stream:
            if event.name == GAP and isinstance(event.data, Gap):
                self._put_hole("the link to the hub was lost")
                continue
            at = self._since(event.sent)
            said = {"event": event.name, "data": event.data, "from": event.sender}
            self._put({"at": at, "kind": "event", "room": room, **said})


async def record(
    hub: Any,
    rooms: Sequence[str],
    write: Callable[[bytes], object],
    *,
    opened: Callable[[bool], object] | None = None,
    counts: dict[str, int] | None = None,
    **options: Any,
) -> None:
    """Record rooms until cancelled; the last line is written then.

    Args:
        hub: The hub, as of any client.
        rooms: The rooms; ``*`` stands for all.
        write: Takes each line.
        opened: Called when all that happens from now on is written, with whether that has requests:
            a hub of other software tells events alone.
        counts: Takes how many records were written, by kind.
        options: Further arguments of the client.

    Raises:
        RequestError: The hub does not let this client record.
        ConnectionRefused: There is no hub, or it refused the client.
        OSError: The lines cannot be written.
    """
    counts = {} if counts is None else counts
    recorder = Recorder(
        hub,
        record_rooms=rooms,
        write=write,
        opened=opened or _tell_nobody,
        counts=counts,
        **options,
    )
    async with recorder:
        try:
            await recorder.record()
        finally:
            recorder.finish()


def _tell_nobody(_: bool) -> None:  # noqa: FBT001 - as it is called
    pass
