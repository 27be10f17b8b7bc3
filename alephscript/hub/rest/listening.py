"""The events of a room by HTTP, as server-sent events.

May go in: a listener's way from its request to its last event. May not: being a peer (`visitor`),
nor what a room remembers (`mesh.history`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from alephscript.hub.rest.asking import KEEP_ALIVE_SECONDS
from alephscript.hub.rest.responder import Responder, write_event
from alephscript.hub.rest.visitor import Heard, Visitor
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["listen"]

_GAP = "GAP"
_MOST_DIGITS = 15

_NOT_SAID = events.CONFIRMATIONS | {HubEvent.AUTH_ERROR}
"""Events of the hub to one client, which are not said in a room."""


async def listen(
    visitor: Visitor, room: str, headers: Mapping[str, str], responder: Responder
) -> None:
    """Tell what is said in a room, from the event after ``Last-Event-ID`` on, until the end.

    Args:
        visitor: The listener.
        room: The room.
        headers: The request's headers, by lower-case name.
        responder: Where the events go.

    Raises:
        RequestError: The visitor may not listen there, or the room is full.
    """
    subscription: dict[str, Any] = {"room": room}
    last = headers.get("last-event-id")
    if last:
        subscription["since"] = _read_position(last)
    visitor.ask(HubEvent.CLIENT_SUBSCRIBE, subscription)
    replay: list[Heard] = []
    while (heard := await visitor.hear()) is not None and heard.event:
        replay.append(heard)
    assert heard is not None
    answer = heard.outcome()
    history = answer.get("history")
    await responder.begin_stream()
    missed = answer.get("missed", 0)
    if missed != 0:
        gap = msgspec.json.encode({"room": room, "missed": missed})
        await responder.write(write_event(_GAP, gap))
    if history is not None and (not last or missed is None):
        # So that a client that hears nothing before it comes again is told all since.
        await responder.write(write_event("", b"", f"{history}.{answer['number']}"))
    for each in replay:
        await _write(each, history, responder)
    while True:
        heard = await visitor.hear(KEEP_ALIVE_SECONDS)
        if heard is None:
            await responder.keep_alive()
        else:
            await _write(heard, history, responder)


async def _write(heard: Heard, history: str | None, responder: Responder) -> None:
    if heard.event in _NOT_SAID:
        return
    # A value that was retained comes each time, and is no place to go on from.
    number = None if heard.meta.get("retained") is True else heard.meta.get("number")
    place = "" if history is None or number is None else f"{history}.{number}"
    await responder.write(write_event(heard.event, heard.data, place))


def _read_position(id: str) -> dict[str, Any]:
    """Read the id of an event; one that is none is of a history that nobody knows."""
    history, _, number = id.rpartition(".")
    if not (number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS):
        return {"history": "", "number": 0}
    return {"history": history, "number": int(number)}
