"""``alephscript watch``: what is said in a room, or in all of them.

May go in: being in rooms, and a line for each event. May not: escaping (`printing`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from alephscript.cli.options import Add, client, which_room
from alephscript.cli.printing import Style, complain, put, put_parts
from alephscript.client.client import AlephScriptClient
from alephscript.client.messages import Event
from alephscript.errors import AlephScriptError, NotConnected, PermissionDenied, RequestError
from alephscript.protocol import events
from alephscript.protocol.names import short_name

__all__ = ["add_to", "put_event"]

_LOOK_SECONDS = 1.0
"""How often new rooms are looked for; a hub announces only their masters."""


_PRESENCE = frozenset({events.HubEvent.MEMBER_JOINED.value, events.HubEvent.MEMBER_LEFT.value})
"""Events that are told only to those who ask for them."""


def add_to(add: Add) -> None:
    """Add the command."""
    watch = add("watch", "print what is said in a room", _watch)
    watch.add_argument("room", metavar="ROOM", help="the room; * for all, new ones included")
    watch.add_argument(
        "events", metavar="EVENT", nargs="*", default=[], help="only these; all without"
    )
    watch.add_argument("--json", action="store_true", help="one JSON object a line")
    watch.add_argument("--count", type=int, default=0, help="end after so many (0: never)")


async def _watch(options: argparse.Namespace) -> None:
    everywhere = options.room == events.EVERY_ROOM
    async with client(options) as watcher, contextlib.AsyncExitStack() as stack:
        stream = stack.enter_context(contextlib.closing(watcher.events(None, *options.events)))
        shown = "all rooms" if everywhere else options.room
        near = "" if everywhere else await which_room(watcher, options.room)
        if everywhere:
            await stack.enter_async_context(_in_all_rooms(watcher))
        else:
            presence = not _PRESENCE.isdisjoint(options.events)
            await watcher.subscribe(options.room, presence=presence)
        complain(f"watching {shown} on {options.url}{near}")
        seen = 0
        async for event in stream:
            if options.json:
                put(_as_json(event))
            else:
                put_event(event, has_room=everywhere)
            seen += 1
            if seen == options.count:
                return


def _as_json(event: Event[Any]) -> dict[str, Any]:
    said = msgspec.structs.asdict(event)
    del said["sent"], said["position"]
    if not event.retained:
        del said["retained"]
    return {"time": event.at.astimezone().isoformat(timespec="milliseconds"), **said}


def put_event(event: Event[Any], *, has_room: bool) -> None:
    """Print an event for a person."""
    data = json.dumps(event.data, ensure_ascii=False, default=str)
    put_parts(
        (event.at.astimezone().strftime("%H:%M:%S"), Style.DIM),
        (event.room if has_room else "", Style.CYAN),
        (short_name(event.sender) if event.sender else "", Style.GREEN),
        (event.name, Style.BOLD),
        ("(retained)" if event.retained else "", Style.DIM),
        (data, Style.PLAIN),
    )


@contextlib.asynccontextmanager
async def _in_all_rooms(watcher: AlephScriptClient) -> AsyncIterator[None]:
    """Be in all rooms that there are, and in each that there will be."""
    known: set[str] = set()
    with contextlib.suppress(PermissionDenied):  # then changes of masters are heard in the rooms
        await watcher.subscribe(events.EVERY_ROOM)
    await _enter_new_rooms(watcher, known)
    looking = asyncio.ensure_future(_keep_looking(watcher, known))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _keep_looking(watcher: AlephScriptClient, known: set[str]) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        with contextlib.suppress(AlephScriptError):  # a hub that is away has no rooms
            await _enter_new_rooms(watcher, known)


async def _enter_new_rooms(watcher: AlephScriptClient, known: set[str]) -> None:
    state = await watcher.server_state()
    for name in {room["roomId"] for room in state["rooms"]} - known - {events.EVERY_ROOM}:
        try:
            await watcher.subscribe(name)
        except NotConnected:
            raise
        except RequestError as error:
            complain(f"alephscript: {name} is not watched: {error}")
        known.add(name)
