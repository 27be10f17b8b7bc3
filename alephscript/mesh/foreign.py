"""What other hubs write, checked before anything follows from it.

Other hubs are trusted, but may be of another version, and their bytes come by way of a store that
others may write to: a frame whose fields are not what its kind has changes nothing here.

May go in: the fields of each kind of frame, and how each is checked. May not: what a frame brings
about (`federation`), how it travels. Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alephscript.errors import InvalidPayload
from alephscript.mesh.census import read_census
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import read_value
from alephscript.protocol.tasks import LONGEST_TASK

__all__ = ["read_count", "read_fields", "read_flag", "read_number", "read_said", "read_text"]


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
    return events.check_event(read_value(event)), read_text(sender), read_count(at)


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
    about = read_value(value)
    if not (
        isinstance(about, dict)
        and all(isinstance(about.get(key), kind) for key, kind in _ABOUT.items())
        and type(about["seconds"]) is not bool
        and about["seconds"] <= LONGEST_TASK
        and _is_names(about["extras"].get("chain", []))
        and type(about["extras"].get("priority", 0)) is int
        and type(about["extras"].get("request", 0)) is int
        and _is_identity(about.get("identity"))
    ):
        raise InvalidPayload("not the description of an asker")
    return about


_ABOUT = {
    "sid": str,
    "name": str,
    "meta": bool,
    "seconds": int | float,
    "extras": dict,
    "envelope": dict,
}


def _is_identity(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or not {"usuario", "rooms"} <= value.keys():
        return False
    return isinstance(value["usuario"], str | None) and (
        value["rooms"] is None or _is_names(value["rooms"])
    )


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


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
    "survey": (read_number,),
    "census": (read_number, read_census),
}
"""How each field of each kind of frame is read; see `alephscript.mesh.federation`."""
