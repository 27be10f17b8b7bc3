"""Pages of a log: what was read of it at once.

May go in: entries and pages, as data. May not: who is told of them (`log`), how they are kept
(`hub.store`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

__all__ = ["LogEntry", "LogPage"]


class LogEntry(msgspec.Struct, eq=False):
    """An event in a log, or the hole where the log could not take events.

    Attributes:
        number: Its number in the log; that of its `Append` until it is there, 0 if it never is.
        event: The event's name; empty for a hole.
        data: Its data, JSON text.
        sender: Name of the member that said it.
        at: When the hub took it, milliseconds since 1970.
        lost: How many events the hole stands for; 0 for an event.
    """

    number: int
    event: str
    data: msgspec.Raw
    sender: str
    at: int
    lost: int = 0


class LogPage(msgspec.Struct, eq=False):
    """A part of a log, in order.

    Attributes:
        history: Name of the room's log.
        entries: The entries.
        begin: The number after which the page begins.
        first: Number of the oldest entry that the log has; the next one's if it has none.
        last: Number of the last one that the log ever had.
        has_lost: Whether the log has dropped entries of the time that was asked for.
    """

    history: str
    entries: Sequence[LogEntry]
    begin: int
    first: int
    last: int
    has_lost: bool = False
