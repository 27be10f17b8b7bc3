"""What other hubs write, checked before anything follows from it.

Other hubs are trusted, but may be of another version, and their bytes come by way of a store that
others may write to: a frame whose fields are not what its kind has changes nothing here.

May go in: the fields of each kind of frame, and how each is checked. May not: what a frame brings
about (`federation`), how it travels, how those of a message are read in one go (`frames`). Pure: no
socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from alephscript.errors import InvalidPayload
from alephscript.mesh.census import read_census
from alephscript.mesh.frames import LARGEST, NOTES, About, Said, check_about
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import read_value

__all__ = [
    "read_announcement",
    "read_count",
    "read_fields",
    "read_flag",
    "read_frame",
    "read_kind",
    "read_number",
    "read_said",
    "read_text",
]


def read_frame(text: bytes | msgspec.Raw) -> tuple[str, str, Sequence[Any]]:
    """Read a frame as it came: its namespace, its kind and its fields.

    Hubs of the version before write frames so; see `read_kind` for those of this one.

    Raises:
        RequestError: As `read_fields`.
        DecodeError: Of msgspec: the text is no list in JSON.
    """
    namespace, *frame = _split(text)
    return read_text(namespace), *read_kind(frame)


def read_kind(frame: bytes | msgspec.Raw | Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Read a frame: its kind and its fields.

    Args:
        frame: The text of a frame, or the kind and the fields, read or unread.

    Raises:
        RequestError: As `read_fields`.
        DecodeError: Of msgspec: the text is no list in JSON.
    """
    unread, *fields = _split(frame) if isinstance(frame, bytes | msgspec.Raw) else frame
    kind = read_text(unread)
    return kind, read_fields(kind, fields)


def read_announcement(text: bytes | msgspec.Raw) -> tuple[str, msgspec.Raw, str, int]:
    """Read what was said in a room: event, data, the sender's name, and when (0: not told).

    `read_said` says whether the event may be said.

    Raises:
        DecodeError: Of msgspec: the text is no JSON, or a field is not valid.
    """
    said = _read_announcement(text)
    return said.event, said.data, said.sender, said.at


def read_fields(kind: str, fields: Sequence[Any]) -> list[Any]:
    """Read the fields of a frame; what is only passed on stays unread.

    Args:
        kind: The frame's kind.
        fields: Its fields, read or unread.

    Raises:
        InvalidPayload: The kind is unknown, or a field is missing, one too many, or not valid.
        PayloadTooLarge: A field is nested too deeply.
    """
    readers = _FRAMES.get(kind)
    if readers is None:
        raise InvalidPayload("a frame of an unknown kind")
    if len(readers) != len(fields):
        raise InvalidPayload(f"a frame of {len(fields)} fields, not {len(readers)}")
    return [read(field) for read, field in zip(readers, fields, strict=True)]


def read_said(event: Any, sender: Any, at: Any) -> tuple[str, str, int]:
    """Read which event was said in a room, by whom, and when.

    Raises:
        InvalidPayload: The sender is no text, or the time is none.
        UnknownEvent: The event has no name that all peers survive.
    """
    name = read_value(event)
    if name != HubEvent.TASK_CHANGED:  # which hubs say themselves, and nobody else
        events.check_event(name)
    return name, read_text(sender), read_count(at)


def read_text(value: Any) -> str:
    """Read a text.

    Raises:
        InvalidPayload: The value is something else.
    """
    value = read_value(value)
    if type(value) is not str:
        raise InvalidPayload("not a text")
    return value


def read_flag(value: Any) -> bool:
    """Read true or false.

    Raises:
        InvalidPayload: The value is something else.
    """
    value = read_value(value)
    if type(value) is not bool:
        raise InvalidPayload("neither true nor false")
    return value


def read_number(value: Any) -> int:
    """Read a number that counts something.

    Raises:
        InvalidPayload: The value is something else.
    """
    number = read_count(value)
    if number == 0:
        raise InvalidPayload("not a number that counts")
    return number


def read_count(value: Any) -> int:
    """Read a whole number, 0 or more.

    Raises:
        InvalidPayload: The value is something else.
    """
    number = read_value(value)
    if type(number) is not int or not 0 <= number <= LARGEST:
        raise InvalidPayload("not a number that counts")
    return number


def _read_room(value: Any) -> str | None:
    value = read_value(value)
    return None if value is None else events.check_room_name(value)


def _read_room_name(value: Any) -> str:
    return events.check_room_name(read_value(value))


def _read_room_names(value: Any) -> list[str]:
    names = read_value(value)
    if not isinstance(names, list):
        raise InvalidPayload("not a list of rooms")
    return list(map(events.check_room_name, names))


def _read_object(value: Any) -> dict[str, Any]:
    fields = read_value(value)
    if not isinstance(fields, dict):
        raise InvalidPayload("not an object")
    return fields


def _read_members(value: Any) -> list[tuple[str, str]]:
    """Read who is in a room: pairs of usuario and sesion."""
    members = read_value(value)
    try:
        return [(read_text(usuario), read_text(sesion)) for usuario, sesion in members]
    except (TypeError, ValueError):
        raise InvalidPayload("not a list of members") from None


def _read_question(value: Any) -> str:
    name = events.check_event(read_value(value))
    if not name.startswith("GET_"):
        raise InvalidPayload("not a question")
    return name


def _read_note(value: Any) -> str:
    value = read_value(value)
    if value not in NOTES:
        raise InvalidPayload("not an event about a request")
    return str(value)


def _read_about(value: Any) -> About:
    """Read what an asker's hub says of the asker and the request."""
    try:
        about = value if isinstance(value, About) else msgspec.convert(read_value(value), About)
    except msgspec.ValidationError:
        raise InvalidPayload("not the description of an asker") from None
    if about.extras or about.envelope:
        check_about(about)
    return about


_FRAMES: Mapping[str, Sequence[Callable[[Any], Any]]] = {
    "ask": (
        *(read_number, read_text, _read_room, _read_question),
        *(lambda data: data, _read_about),
    ),
    "cancel": (read_number, read_text, read_text),
    "more": (read_number, read_text, read_number),
    "answer": (read_number, read_text, lambda answer: answer, read_text),
    "moved": (read_number, read_text),
    "lost": (read_number, read_text),
    "cut": (read_number, read_text),
    "note": (read_number, read_text, _read_note, lambda data: data),
    "task": (read_text, read_text, lambda answer: answer),
    "kept": (read_text, _read_object),
    "watch": (_read_room_name,),
    "unwatch": (_read_room_name,),
    "present": (_read_room_name, _read_members),
    "joined": (_read_room_name, read_text, read_text),
    "left": (_read_room_name, read_text, read_text, read_text),
    "record": (_read_room_names,),
    "recorded": (read_text, lambda record: record),
    "survey": (read_number,),
    "census": (read_number, read_census),
}
"""How each field of each kind of frame is read; see `alephscript.mesh.federation`."""


_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_announcement = msgspec.json.Decoder(Said).decode
