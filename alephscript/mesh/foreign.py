"""What other hubs write, checked before anything follows from it.

Other hubs are trusted, but may be of another version, and their bytes come by way of a store that
others may write to: a frame whose fields are not what its kind has changes nothing here.

May go in: the fields of each kind of frame, and how each is checked. May not: what a frame brings
about (`federation`), how it travels. Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from alephscript.errors import InvalidPayload
from alephscript.mesh.census import read_census
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import read_value
from alephscript.protocol.tasks import LONGEST_TASK

__all__ = [
    "read_announcement",
    "read_count",
    "read_fields",
    "read_flag",
    "read_frame",
    "read_number",
    "read_said",
    "read_text",
]


def read_frame(text: bytes | msgspec.Raw) -> tuple[str, str, Sequence[Any]]:
    """Read a frame as it came: its namespace, its kind and its fields.

    The kinds that requests are made of are read in one go; `read_fields` says the same of them.

    Raises:
        RequestError: As `read_fields`.
        DecodeError: Of msgspec: the text is no JSON, or a field is not valid.
    """
    head = _read_head(text)
    read = _READERS.get(head.kind)
    if read is None:
        _, _, *fields = _split(text)
        return head.namespace, head.kind, read_fields(head.kind, fields)
    return head.namespace, head.kind, read(text)


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
    if type(number) is not int or not 0 <= number <= _LARGEST:
        raise InvalidPayload("not a number that counts")
    return number


_LARGEST = 2**53
"""The last whole number up to which all JSON readers agree."""


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
    if value not in _NOTES:
        raise InvalidPayload("not an event about a request")
    return str(value)


_NOTES = (HubEvent.REQUEST_PART, HubEvent.REQUEST_PROGRESS, HubEvent.REQUEST_CHECKPOINT)


def _read_about(value: Any) -> dict[str, Any]:
    """Read what an asker's hub says of the asker and the request."""
    about: dict[str, Any] = read_value(value)
    try:
        msgspec.convert(about, _About)
    except msgspec.ValidationError:
        raise InvalidPayload("not the description of an asker") from None
    return about


class _Identity(msgspec.Struct):
    usuario: str | None
    rooms: list[str] | None


class _Extras(msgspec.Struct):
    chain: list[str] = []
    priority: int = 0
    request: int = 0


class _About(msgspec.Struct):
    sid: str
    name: str
    meta: bool
    seconds: Annotated[float, msgspec.Meta(le=LONGEST_TASK)]
    extras: _Extras
    envelope: dict[str, Any]
    identity: _Identity | None = None


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


# The same, for the kinds of which there are many: a frame is read by msgspec alone.

_Number = Annotated[int, msgspec.Meta(gt=0, le=_LARGEST)]


class _Head(msgspec.Struct, array_like=True, gc=False):
    namespace: str
    kind: str


class _Frame(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    namespace: str
    kind: str
    number: _Number
    sid: str


class _Ask(_Frame):
    room: str | None
    event: str
    data: msgspec.Raw
    about: msgspec.Raw


class _Answer(_Frame):
    answer: msgspec.Raw
    room: str


class _Note(_Frame):
    event: str
    data: msgspec.Raw


class _More(_Frame):
    parts: _Number


class _Said(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    event: str
    data: msgspec.Raw
    sender: str
    at: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = 0


_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_head = msgspec.json.Decoder(_Head).decode
_read_announcement = msgspec.json.Decoder(_Said).decode
_decode_ask = msgspec.json.Decoder(_Ask).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_note = msgspec.json.Decoder(_Note).decode
_decode_more = msgspec.json.Decoder(_More).decode


def _ask(text: bytes | msgspec.Raw) -> Sequence[Any]:
    ask = _decode_ask(text)
    room, event = ask.room, events.check_event(ask.event)
    if room is not None:
        events.check_room_name(room)
    if not event.startswith("GET_"):
        raise InvalidPayload("not a question")
    return ask.number, ask.sid, room, event, ask.data, _read_about(ask.about)


def _answer(text: bytes | msgspec.Raw) -> Sequence[Any]:
    answer = _decode_answer(text)
    return answer.number, answer.sid, answer.answer, answer.room


def _note(text: bytes | msgspec.Raw) -> Sequence[Any]:
    note = _decode_note(text)
    return note.number, note.sid, _read_note(note.event), note.data


def _more(text: bytes | msgspec.Raw) -> Sequence[Any]:
    more = _decode_more(text)
    return more.number, more.sid, more.parts


_READERS: Mapping[str, Callable[[bytes | msgspec.Raw], Sequence[Any]]] = {
    "ask": _ask,
    "answer": _answer,
    "note": _note,
    "more": _more,
}
