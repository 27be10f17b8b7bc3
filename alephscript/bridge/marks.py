"""Marks of what bridges say, by which it crosses one bridge and no other (decision 0043).

A hub of this package tells who says an event, who asks and who masters a room: there the name of a
bridge is its mark. Another hub tells no sender. There a bridge announces each event before it says
it, in a room that is of bridges alone; such a hub keeps the order of what one client sends, so
that the next event of that name and content is the one that was announced.

May go in: names, announcements, and finding the event that was announced. May not: sending them.
Pure: no socket, no clock.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import deque
from typing import Any

import attrs

from alephscript.protocol import events

__all__ = [
    "ANNOUNCEMENT",
    "BRIDGES",
    "Announced",
    "Announcement",
    "digest",
    "is_bridge",
    "make_sesion",
]

BRIDGES = "ALEPHSCRIPT_BRIDGES"
"""The room of announcements, on hubs that tell no sender."""

ANNOUNCEMENT = "BRIDGE_PASSES"
"""The event of an announcement."""

_SESION = re.compile(r"bridge-[0-9a-f]{8}\Z")
_LONGEST_WAIT = 10.0
"""Seconds after which an event that was announced does not come any more: it was lost."""

_MOST_WAITING = 4096
"""Announced events that are waited for."""


def make_sesion() -> str:
    """Make the sesion of a bridge, which is its mark: hubs may replace a usuario."""
    return f"bridge-{uuid.uuid4().hex[:8]}"


def is_bridge(name: str) -> bool:
    """Whether a member's name is that of a bridge."""
    return _SESION.search(name) is not None


@attrs.frozen
class Announcement:
    """The word of a bridge that it says an event next.

    Attributes:
        bridge: The bridge's sesion.
        number: The event's number among those that the bridge has said.
        event: The event's name.
        digest: The digest of its data.
    """

    bridge: str
    number: int
    event: str
    digest: str

    @classmethod
    def read(cls, data: Any) -> Announcement | None:
        """Read what was heard in the room of bridges; None if it is no announcement."""
        fields = data if isinstance(data, dict) else {}
        bridge, number = fields.get("bridge"), fields.get("number")
        event, digest = fields.get("event"), fields.get("digest")
        if not (isinstance(bridge, str) and isinstance(number, int)):
            return None
        if not (isinstance(event, str) and isinstance(digest, str)):
            return None
        return cls(bridge, number, event, digest)

    def write(self) -> dict[str, Any]:
        """Return the announcement as it stands on the wire."""
        return attrs.asdict(self)


class Announced:
    """Events that were announced and have not been heard yet."""

    def __init__(self) -> None:
        self._bridges: dict[tuple[str, str], deque[tuple[float, str]]] = {}
        self._order: deque[tuple[float, tuple[str, str]]] = deque()

    def add(self, announcement: Announcement, now: float) -> None:
        """Wait for an event that was announced.

        Args:
            announcement: The announcement.
            now: The time, in seconds.
        """
        self._forget(now, most=_MOST_WAITING - 1)
        key = (announcement.event, announcement.digest)
        self._bridges.setdefault(key, deque()).append((now, announcement.bridge))
        self._order.append((now, key))

    def take(self, event: str, digest: str, now: float) -> str | None:
        """Return the sesion of the bridge that has announced an event; None if none has."""
        self._forget(now, most=_MOST_WAITING)
        return self._pop((event, digest))

    def _pop(self, key: tuple[str, str]) -> str | None:
        waiting = self._bridges.get(key)
        if waiting is None:
            return None
        _, bridge = waiting.popleft()
        if not waiting:
            del self._bridges[key]
        return bridge

    def _forget(self, now: float, *, most: int) -> None:
        order = self._order
        while order and (len(order) > most or order[0][0] < now - _LONGEST_WAIT):
            at, key = order.popleft()
            waiting = self._bridges.get(key)
            if waiting is not None and waiting[0][0] <= at:
                self._pop(key)


def digest(event: str, data: Any) -> str:
    """Digest what is said, as a JavaScript hub passes it on.

    Such a hub has doubles for numbers, orders keys in its own way, spreads the data of SET_ events
    into an object, and puts a sender into that.
    """
    if event.startswith("SET_"):
        data = {key: each for key, each in events.spread(data).items() if key != "sender"}
    text = json.dumps(_as_javascript(data), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _as_javascript(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_javascript(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_javascript(each) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value) + 0.0  # -0 is written as 0
        except OverflowError:
            return None  # what JSON.stringify writes for Infinity
    return value
