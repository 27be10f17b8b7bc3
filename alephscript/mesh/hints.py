"""The name that an asker may have meant, where nobody has the one that it gave.

May go in: which names may be told to whom, and how often. May not: which names are near
(`alephscript.protocol.names`). Pure: no socket, no clock.
"""

from __future__ import annotations

import itertools
from typing import Any

from alephscript.errors import NoMaster
from alephscript.mesh.peers import Peer
from alephscript.mesh.rooms import Rooms
from alephscript.protocol.names import did_you_mean, find_near

__all__ = ["with_hint"]

_MOST_ROOMS = 16
"""Rooms of a capability that are looked at, since each asks the hub's rule of access."""


def with_hint(
    error: NoMaster, rooms: Rooms, asker: Peer, capability: str, named_room: Any
) -> NoMaster:
    """Add the near name to an error, if there is one that its asker may use.

    People make few mistakes: a connection is told so many near names, and no more, so that
    misspelling costs a hub no more than its asker.

    Args:
        error: The error that the asker is to get.
        rooms: The rooms of the mesh.
        asker: The asker.
        capability: The capability that it asks for.
        named_room: The room that it names, any JSON; None leaves the choice to the hub.
    """
    if asker.hints <= 0 or (named_room is not None and rooms.get(named_room) is not None):
        return error
    asker.hints -= 1
    if named_room is not None:
        mastered = (room.name for room in rooms if room.masters.serving)
        near = [
            name
            for name in find_near(named_room, mastered)
            if rooms.is_allowed(asker, "ask", name, capability)
        ]
    else:
        near = [
            name
            for name in find_near(capability, rooms.capabilities)
            if any(
                rooms.is_allowed(asker, "ask", room.name, name)
                for room in itertools.islice(rooms.offering(None, name), _MOST_ROOMS)
            )
        ]
    return NoMaster(error.message + did_you_mean(near), error.details)
