"""Events that clients tell the hub itself, with their schemas.

May go in: what stands in each document, whatever its classes. May not: making the document.

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alephscript.protocol import events

__all__ = ["HUB_EVENTS"]

Schema = dict[str, Any]

_ROOM: Schema = {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}
HUB_EVENTS: Mapping[str, tuple[str, Schema]] = {
    "CLIENT_REGISTER": (
        "Register a name.",
        {
            "type": "object",
            "properties": {"usuario": {"type": "string"}, "sesion": {"type": "string"}},
            "required": ["usuario"],
        },
    ),
    "CLIENT_SUSCRIBE": (
        "Be in a room.",
        {
            "type": "object",
            "properties": {"room": {"type": "string"}, "presence": {"type": "boolean"}},
            "required": ["room"],
        },
    ),
    "CLIENT_UNSUSCRIBE": ("Leave a room.", _ROOM),
    "MAKE_MASTER": (
        "Become the master of a room.",
        {
            "type": "object",
            "properties": {
                "room": {"type": "string"},
                "features": {"type": "array", "items": {"type": "string"}},
                "group": {"enum": list(events.GROUPS)},
                "out": {"type": "boolean"},
            },
            "required": ["room"],
        },
    ),
    "ROOM_MESSAGE": (
        "Say something in a room.",
        {
            "type": "object",
            "properties": {
                "event": {"type": "string"},
                "room": {"type": "string"},
                "data": {},
                "retain": {"type": "boolean"},
            },
            "required": ["event", "room"],
        },
    ),
    "GET_SERVER_STATE": ("Ask which members are where, and which of them master what.", {}),
    "GET_CAPABILITIES": ("Ask which capabilities are offered, with schemas.", {}),
}
