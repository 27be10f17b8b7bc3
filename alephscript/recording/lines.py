"""The file of a recording: JSON lines, the first one a header.

Each further line is a record: ``{"at": seconds since the first, "kind": …, "room": …, …}``. Kinds:

==========  ======================================================================================
kind        fields
==========  ======================================================================================
`master`    usuario (null: none), epoch, capabilities: by name, with their schemas
`request`   id, capability, payload, from, usuario, sesion, timeoutMs?, streams?, inside?: the
            request that it was made for
`part`      id, data: a part of a streamed answer
`question`  id, about: the request whose master asks back, data
`answer`    id, answer: as acknowledged, failures included
`end`       id, code: a request that ended without an answer
`refused`   capability, from, code: a request that nobody was asked
`event`     event, data, from, usuario?, sesion?, retain?
`hole`      seconds?, reason: what happened meanwhile is not known
`closed`    the recording was ended, not cut off
==========  ======================================================================================

``redacted`` lists the paths of what was left out of payload, answer or data; ``omitted`` stands in
place of one that is too large, and is its size in bytes.

May go in: this form, written and read. May not: files, what is done with records. Pure: no socket,
no clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from alephscript.errors import AlephScriptError, InvalidPayload, PayloadTooLarge
from alephscript.protocol.json import parse_json, write_json

__all__ = [
    "FORMAT",
    "Header",
    "Record",
    "Recording",
    "read_recording",
    "write_header",
    "write_record",
]

FORMAT = 1
"""The version of this form; a reader refuses any other."""

Record = dict[str, Any]


@attrs.frozen
class Header:
    """The first line of a recording.

    Attributes:
        version: The version of this package that wrote it.
        hub: The hub's address.
        namespace: Its namespace.
        rooms: The rooms that were recorded; ``*`` stands for all.
        has_requests: Whether the hub told requests; a stock hub tells events alone.
        at: When it was begun.
    """

    version: str
    hub: str
    namespace: str
    rooms: Sequence[str]
    has_requests: bool
    at: dt.datetime


@attrs.frozen
class Recording:
    """A recording that was read.

    Attributes:
        header: Its first line.
        records: All others, as they are in the file.
        notes: What is to be known of it: that it was cut off, or has holes. A sentence each.
    """

    header: Header
    records: Sequence[Record]
    notes: Sequence[str] = ()


def write_header(header: Header) -> bytes:
    """Write the first line."""
    return _write(
        {
            "alephscript": "recording",
            "format": FORMAT,
            "version": header.version,
            "hub": header.hub,
            "namespace": header.namespace,
            "rooms": list(header.rooms),
            "requests": header.has_requests,
            "at": header.at.isoformat(),
        }
    )


def write_record(record: Mapping[str, Any]) -> bytes:
    """Write a line."""
    return _write(record)


def _write(fields: Mapping[str, Any]) -> bytes:
    return write_json(dict(fields)) + b"\n"


def read_recording(lines: Iterable[bytes]) -> Recording:
    """Read a recording.

    A last line that was cut off is left out, and noted.

    Args:
        lines: The lines of its file, each with its end.

    Raises:
        AlephScriptError: This is no recording, one of another form, or damaged.
    """
    remaining = iter(lines)
    header = _read_header(next(remaining, b""))
    records: list[Record] = []
    notes: list[str] = []
    damaged = 0
    for number, line in enumerate(remaining, 2):
        if damaged:
            raise AlephScriptError(f"line {damaged} is damaged: it is no record")
        record = _read_object(line) if line.endswith(b"\n") else None
        if record is None or not _is_record(record):
            damaged = number  # the last one may be, of a recorder that was killed
        else:
            records.append(record)
    if damaged:
        notes.append(f"line {damaged}, the last one, was cut off, and is left out")
    elif not records or records[-1]["kind"] != "closed":
        notes.append("the recording was cut off: requests at its end may lack their answers")
    holes = [each for each in records if each["kind"] == "hole"]
    notes += [f"at {each['at']:.3f} s there is a hole: {each.get('reason')}" for each in holes]
    if not header.has_requests:
        notes.append("the hub told no requests, so that there is nothing to ask")
    return Recording(header, records, notes)


def _read_header(line: bytes) -> Header:
    if not line.strip():
        raise AlephScriptError("this is no recording: it is empty")
    fields = _read_object(line)
    if fields is None or fields.get("alephscript") != "recording":
        raise AlephScriptError(
            "this is no recording: its first line does not say so; `alephscript record` makes one"
        )
    if fields.get("format") != FORMAT:
        raise AlephScriptError(
            f"this recording has the form {fields.get('format')!r}, and this version of "
            f"alephscript reads {FORMAT}: take the version that made it ({fields.get('version')})"
        )
    rooms = fields.get("rooms")
    try:
        at = dt.datetime.fromisoformat(str(fields.get("at")))
    except ValueError:
        at = dt.datetime.fromtimestamp(0, dt.UTC)
    return Header(
        version=str(fields.get("version")),
        hub=str(fields.get("hub")),
        namespace=str(fields.get("namespace")),
        rooms=tuple(map(str, rooms)) if isinstance(rooms, list) else (),
        has_requests=fields.get("requests") is not False,
        at=at,
    )


def _read_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = parse_json(line)
    except (InvalidPayload, PayloadTooLarge):
        return None
    return value if isinstance(value, dict) else None


_TEXT, _NAME = (str,), (str, type(None))
_FIELDS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "master": {"room": _TEXT, "usuario": _NAME, "capabilities": (dict,)},
    "request": {
        "room": _TEXT,
        "id": _TEXT,
        "capability": _TEXT,
        "from": _TEXT,
        "usuario": _TEXT,
        "sesion": _TEXT,
    },
    "part": {"id": _TEXT},
    "question": {"id": _TEXT, "about": _TEXT},
    "answer": {"id": _TEXT},
    "end": {"id": _TEXT, "code": _TEXT},
    "refused": {"capability": _TEXT, "code": _TEXT},
    "event": {"room": _NAME, "event": _TEXT, "from": _TEXT},
}
"""Fields that a record of a kind has, and their types; a later version may know further kinds."""

_OPTIONAL: Mapping[str, tuple[type, ...]] = {
    "timeoutMs": (int, float),
    "inside": _TEXT,
    "usuario": _NAME,
    "sesion": _TEXT,
    "redacted": (list,),
}
"""Fields that any record may have, and their types."""


def _is_record(record: Record) -> bool:
    kind, at = record.get("kind"), record.get("at")
    if not isinstance(kind, str) or not isinstance(at, int | float) or isinstance(at, bool):
        return False
    if not all(isinstance(record.get(name), t) for name, t in _FIELDS.get(kind, {}).items()):
        return False
    if not all(isinstance(record[name], t) for name, t in _OPTIONAL.items() if name in record):
        return False
    return all(map(_is_path, record.get("redacted", ())))


def _is_path(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(step, str | int) for step in value)
