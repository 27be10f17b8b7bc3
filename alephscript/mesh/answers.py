"""Which request the SET_ event of a master answers.

An acknowledgement names its request. A SET_ does not: other software answers by an event to the
whole room, which may echo a number, or a mark of the asker, or nothing.

May go in: finding that request. May not: what becomes of it (`requests`). Pure: no socket, no
clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from alephscript.mesh.peers import OpenRequest, Peer
from alephscript.protocol import events
from alephscript.protocol.json import read_value

__all__ = ["Match", "match_answer"]


@attrs.frozen
class Match:
    """The request that a SET_ answers.

    Attributes:
        request: The request; None if there is none left that the event could answer.
        is_certain: Whether the event can belong to no other request.
    """

    request: OpenRequest | None
    is_certain: bool


def match_answer(peer: Peer, message: events.RoomMessage, fields: Mapping[str, Any]) -> Match:
    """Find the request that a SET_ of a peer answers.

    In this order: by the hub's number, if the envelope was echoed; by the asker's mark, if exactly
    one request bears it; else the oldest request that has not been answered by an event yet, which
    is certain only if it is alone (decision 0011). Requests of the room in which the event is said
    count; of another room only if the peer is no master in the one in which it speaks, as stock
    bots do that master one room and answer in another.

    Args:
        peer: The peer that sent the event.
        message: The event, its room, and the envelope's further keys.
        fields: Its data, as an object.
    """
    asked = [
        request
        for request in peer.serving.values()
        if events.answer_event(request.event) == message.event
    ]
    open_requests = [each for each in asked if each.room == message.room]
    if not open_requests and message.room not in peer.mastered:
        open_requests = asked
    number = read_value(message.extras.get("requestId"))
    if isinstance(number, str) and number.isdecimal():
        named = (each for each in asked if str(each.number) == number)
        return Match(next(named, None), is_certain=True)  # None: one that has ended already
    mark = fields.get("requestId")
    if mark is not None:
        marked = [each for each in open_requests if each.payload_id == mark]
        if len(marked) == 1:
            return Match(marked[0], is_certain=True)
        open_requests = marked or [each for each in open_requests if each.payload_id is None]
    if len({each.room for each in open_requests}) > 1:
        return Match(None, is_certain=False)  # an answer from one room is not for another
    oldest = next((each for each in open_requests if not each.answer_room), None)
    return Match(oldest, is_certain=len(open_requests) == 1)
