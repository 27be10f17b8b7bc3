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

from alephscript.mesh.meta import parse_number
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
    if not peer.serving:
        return Match(None, is_certain=False)
    served, room = peer.find_served(), message.room
    event = f"GET_{message.event.removeprefix('SET_')}"  # whose `answer_event` this is
    number = read_value(message.extras.get("requestId"))
    if isinstance(number, str) and number.isdecimal():
        named = peer.serving.get(parse_number(number) or 0)
        if named is not None and named.event != event:
            named = None
        return Match(named, is_certain=True)  # None: one that has ended already
    candidates = served.of_event(room, event)
    if not candidates.all and room not in peer.mastered:
        rooms = served.rooms_of(event)
        if len(rooms) != 1:  # an answer from one room is not for another
            return Match(None, is_certain=False)
        (room,) = rooms
        candidates = served.of_event(room, event)
    mark = fields.get("requestId")
    if mark is not None:
        marked = served.of_mark(room, event, mark)
        if len(marked.all) == 1:
            return Match(next(iter(marked.all.values())), is_certain=True)
        candidates = marked if marked.all else served.of_mark(room, event, None)
    oldest = next(iter(candidates.unseen.values()), None)
    return Match(oldest, is_certain=len(candidates.all) == 1)
