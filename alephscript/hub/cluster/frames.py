"""The bytes that hubs write to each other and to their registry.

=============  ==================================  ====================================
written        holds                               read by
=============  ==================================  ====================================
frame          hub, namespace, kind, fields        one hub (`alephscript.mesh.federation`)
announcement   hub, event, data, sender            all hubs that subscribed to a room
entry          name, dialect, declaration          all hubs, inside the record of a room
record         epoch, masters with their entries   all hubs
=============  ==================================  ====================================

May go in: how these are written and read. May not: when they are sent (`cluster`), or by what
(`redis`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from alephscript.errors import RequestError
from alephscript.hub.cluster.registry import Standings
from alephscript.mesh.effects import Claim
from alephscript.mesh.federation import Entry
from alephscript.protocol import events
from alephscript.protocol.json import read_value

__all__ = [
    "MALFORMED",
    "Announcement",
    "Frame",
    "read_announcement",
    "read_field",
    "read_frame",
    "read_standing",
    "read_standings",
    "write_announcement",
    "write_entry",
    "write_field",
    "write_frame",
]

MALFORMED = (msgspec.DecodeError, RequestError, ValueError, TypeError, KeyError, IndexError)
"""What reading and following something can raise that another version of a hub has written."""


Frame = tuple[str, str, msgspec.Raw, list[msgspec.Raw]]
"""A frame that was read: the sender's name, the namespace, and unread its kind and fields."""

Announcement = tuple[str, msgspec.Raw, msgspec.Raw, msgspec.Raw]
"""What was said in a room: the hub's name, and unread event, data and the sender's name."""


def write_frame(hub: str, namespace: str, frame: Sequence[Any]) -> bytes:
    """Write a frame: its kind and its fields, some of them unread."""
    return _encode([hub, namespace, *frame])


def read_frame(data: bytes) -> Frame:
    """Read a frame; raises one of `MALFORMED`."""
    hub, namespace, kind, *fields = _split(data)
    return str(read_value(hub)), str(read_value(namespace)), kind, fields


def write_announcement(hub: str, frame: Sequence[Any]) -> bytes:
    """Write what was said in a room: event, data, sender."""
    return _encode([hub, *frame])


def read_announcement(data: bytes) -> Announcement:
    """Read what was said in a room; raises one of `MALFORMED`."""
    hub, event, payload, sender = _split(data)
    return str(read_value(hub)), event, payload, sender


def write_entry(claim: Claim) -> bytes:
    """Write what other hubs have to know of a master."""
    return _encode([claim.name, claim.is_core, claim.declared])


def read_standings(pairs: Sequence[bytes]) -> Standings:
    """Read all rooms of the registry: field and record by turns."""
    standings: dict[tuple[str, str], tuple[int, list[Entry]]] = {}
    for field, record in _in_pairs(pairs):
        standings[read_field(field.decode())] = read_standing(msgspec.json.decode(record))
    return standings


def read_standing(record: Any) -> tuple[int, list[Entry]]:
    """Read a room's epoch and masters from its record."""
    masters = record["masters"] or []  # Lua writes an empty table as an object
    return int(record["epoch"]), [_read_entry(hub, sid, text) for hub, sid, _, text in masters]


def write_field(namespace: str, room: str) -> str:
    """Write a room and its namespace as one key."""
    return f"{namespace}\n{room}"  # no namespace of a hub has a line end in it


def read_field(field: str) -> tuple[str, str]:
    """Read namespace and room from their key."""
    namespace, room = field.split("\n", 1)
    return namespace, room


# Kept, since each decision about a room brings all its masters again, which nearly all are known.
@functools.lru_cache(maxsize=4096)
def _read_entry(hub: str, sid: str, text: str) -> Entry:
    name, is_core, declared = msgspec.json.decode(text)
    return Entry(hub, sid, name, _read_declaration(msgspec.json.encode(declared)), is_core)


@functools.lru_cache(maxsize=1024)
def _read_declaration(text: bytes) -> events.Declaration:
    """Read a declaration; instances of one class declare the same, which is kept once."""
    return events.parse_declaration(msgspec.json.decode(text))


def _in_pairs(values: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(values[::2], values[1::2], strict=True)


_encode = msgspec.json.Encoder().encode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
