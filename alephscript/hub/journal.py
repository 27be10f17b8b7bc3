"""The last requests of a namespace: who asked what, where, how it ended, how long it took.

The journal is kept while somebody reads it, and for a minute after that; a request costs one
comparison else. It has no payloads and no sentences of errors.

May go in: what is kept of a request that has ended. May not: who may read it (`live`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from alephscript.mesh.peers import OpenRequest, Peer
from alephscript.mesh.requests import Requests
from alephscript.protocol import events

__all__ = ["ENTRIES", "Entry", "Journal"]

ENTRIES = 500
"""Requests that are kept."""

_READ_SECONDS = 60.0
"""Seconds after the last look until the journal is closed."""


class Entry(msgspec.Struct, frozen=True):
    """A request that has ended.

    Attributes:
        number: Its place in the journal; the first has 1.
        at: When it ended, seconds since 1970.
        seconds: How long it was open; 0 for one that was refused at once.
        capability: The capability that was asked for.
        room: The room that was asked, or named; empty if neither is known.
        asker: The name of the asker.
        master: The name of the master; empty if there was none.
        code: ``ok``, or an error's code.
    """

    number: int
    at: float
    seconds: float
    capability: str
    room: str
    asker: str
    master: str
    code: str


class Journal:
    """The last requests of one namespace (`alephscript.mesh.witnesses.Witness`).

    Args:
        requests: The namespace's requests.
        age: Tells how many seconds an open request has been open, by its number.

    Attributes:
        last: The number of the last entry; they begin with 1.
    """

    def __init__(self, requests: Requests, age: Callable[[int], float]) -> None:
        self.last = 0
        self._requests = requests
        self._age = age
        self._entries: deque[Entry] = deque(maxlen=ENTRIES)
        self._read_at = 0.0

    def read(self, after: int, now: float) -> list[Entry]:
        """List the kept entries after a number, the latest last, and open the journal.

        Args:
            after: A number of an entry; 0 for all.
            now: The loop's time.
        """
        self._read_at = now
        self._requests.witness = self
        new = max(0, self.last - after)
        return list(self._entries)[-new:] if new else []

    def rest(self, now: float) -> None:
        """Close the journal if nobody has read it for a while; what is in it stays."""
        if self._requests.witness is self and now - self._read_at > _READ_SECONDS:
            self._requests.witness = None

    def ended(self, request: OpenRequest, code: str) -> None:
        """Write down an open request that ends just now."""
        if request.event not in events.ASKED_OF_ONE:
            master = "" if request.master is None else request.master.peer.name
            room = request.room or request.named_room
            self._add(request.asker, request.capability, room, master, code, request.number)

    def refused(self, asker: Peer, event: str, room: Any, code: str) -> None:
        """Write down a request that was never open."""
        if event not in events.ASKED_OF_ONE:
            self._add(asker, events.capability_name(event), room, "", code, 0)

    def _add(
        self, asker: Peer, capability: str, room: Any, master: str, code: str, request: int
    ) -> None:
        # Any JSON may stand for a room, any text for a code; neither may fill the memory.
        if not (isinstance(room, str) and len(room) <= events.MAX_NAME and room.isprintable()):
            room = ""
        if len(code) > events.MAX_NAME or not code.isprintable():
            code = "error"
        self.last += 1
        seconds = self._age(request)
        self._entries.append(
            Entry(self.last, time.time(), seconds, capability, room, asker.name, master, code)
        )
