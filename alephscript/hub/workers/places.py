"""The place of a socket: which of the workers on a port it belongs to, by what it asks for first.

May go in: reading the first line of a request. May not: sockets. Pure.

A session belongs to the worker that opened it, and says so in its id. A member belongs where the
other members of its room are: a request within one worker costs a third of one between two. Clients
of this package name their room in the query of their handshake (``room=``); others go anywhere.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

__all__ = ["Place", "find_place", "mark_of"]


class Place(NamedTuple):
    """The worker that a socket belongs to.

    Attributes:
        worker: The worker's number.
        is_needed: Whether no other worker can serve the socket.
    """

    worker: int
    is_needed: bool


def mark_of(worker: int) -> str:
    """Return how the ids of a worker's sessions begin."""
    return f"{worker}."


def find_place(head: bytes, workers: int) -> Place | None:
    """Find where a socket belongs.

    Args:
        head: The first bytes that came from it.
        workers: How many workers there are.

    Returns:
        None if the socket belongs nowhere in particular.
    """
    line, end, _ = head.partition(b"\r\n")
    parts = line.split(b" ")
    if not end or len(parts) != _PARTS or not parts[1].startswith(b"/socket.io/?"):
        return None
    try:
        query = parse_qs(urlsplit(parts[1].decode("ascii")).query)
    except ValueError:
        return None
    if "sid" in query:
        number, mark, _ = query["sid"][-1].partition(".")
        is_ours = mark and number.isascii() and number.isdecimal() and len(number) <= _DIGITS
        return Place(int(number), is_needed=True) if is_ours and int(number) < workers else None
    if "room" in query:
        # The same in each process, which Python's own hash is not.
        return Place(zlib.crc32(query["room"][-1].encode()) % workers, is_needed=False)
    return None


_PARTS = 3
"""Method, target and version are a request's first line."""

_DIGITS = 4
