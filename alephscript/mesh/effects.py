"""What a mesh wants done: a shell carries these out, in order.

=============  ================================================================
effect         what the shell does
=============  ================================================================
`Emit`         sends an event to one or many sockets
`Deliver`          sends an event to one socket, asks for an acknowledgement under the request's
               number, and sets the request's deadline if it is told one
`Denied`       tells a socket, as upstream's hubs do, that it may not do something
`Acknowledge`  answers an event that asked for acknowledgement, exactly once each
`Arm`          calls `Mesh.expired` with the request's number after so many seconds
`Ended`        forgets that: the request has ended
`Claim`        has the registry make a peer master of a room; calls `Federation.claimed`
`Release`      has the registry forget that
`ToHub`        sends a frame to another hub, and sets a deadline as `Deliver` does
`ToRoom`       tells all other hubs what is said in a room
`Attend`       hears what other hubs say in a room, before anything that follows is done
`Abandon`      does not any more
`SurveyHubs`       asks all other hubs who is there; calls `Federation.surveyed`
=============  ================================================================

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from alephscript.protocol.events import Answer

__all__ = [
    "Abandon",
    "Acknowledge",
    "Arm",
    "Attend",
    "Claim",
    "Deliver",
    "Denied",
    "Effect",
    "Emit",
    "Ended",
    "Release",
    "SurveyHubs",
    "ToHub",
    "ToRoom",
]


class Emit(msgspec.Struct, frozen=True):
    """Send an event.

    Attributes:
        to: Socket ids, at least one.
        event: Name of the event.
        args: Its arguments; a single None is an argument too.
    """

    to: tuple[str, ...]
    event: str
    args: tuple[Any, ...]


class Deliver(msgspec.Struct, frozen=True):
    """Send an event to a master and ask for an acknowledgement under ``request``.

    Attributes:
        to: The master's socket id.
        event: Name of the event.
        args: Its arguments.
        request: The request's number.
        seconds: Until its deadline; None leaves the one that is set.
    """

    to: str
    event: str
    args: tuple[Any, ...]
    request: int
    seconds: float | None


class Acknowledge(msgspec.Struct, frozen=True):
    """Answer the event that ``sid`` sent with acknowledgement id ``ack``."""

    sid: str
    ack: int
    answer: Answer | msgspec.Raw


class Arm(msgspec.Struct, frozen=True):
    """Call `Mesh.expired` with this request after so many seconds."""

    request: int
    seconds: float


class Ended(msgspec.Struct, frozen=True):
    """A request has ended; its deadline means nothing any more.

    Attributes:
        request: Its number, 0 if it was refused before it got one.
        capability: What was asked for, None if nobody declared it.
        code: How it ended: ``ok``, or an error's code.
    """

    request: int
    capability: str | None
    code: str


class Denied(msgspec.Struct, frozen=True):
    """Send ``auth_error {reason, room, action, timestamp}``; the time is the shell's.

    Attributes:
        to: A socket's id.
        reason: ``room not allowed: R`` or ``room required``.
        room: What it named as room, any JSON.
        action: ``subscribe`` or ``room_message``.
    """

    to: str
    reason: str
    room: Any
    action: str


class Claim(msgspec.Struct, frozen=True):
    """Have the registry make a peer master of a room.

    Attributes:
        sid: The peer's socket id.
        name: What others see as its name.
        ack: Its acknowledgement id, None if it wants none.
        room: The room.
        declared: What it declared, as JSON says it.
        by_envelope: Whether it declared inside ROOM_MESSAGE.
        epoch: The room's last known one, which the next has to exceed.
        gently: Whether masters that are there already go first: it comes back, it does not come.
    """

    sid: str
    name: str
    ack: int | None
    room: str
    declared: Mapping[str, Any]
    by_envelope: bool
    epoch: int
    gently: bool


class Release(msgspec.Struct, frozen=True):
    """Have the registry forget that a peer masters a room."""

    sid: str
    room: str


class ToHub(msgspec.Struct, frozen=True):
    """Send a frame to another hub; see `alephscript.mesh.federation`.

    Attributes:
        hub: The hub's name.
        frame: JSON values, some of them unread.
        request: The request's number, if the frame asks something, else 0.
        seconds: Until its deadline; None leaves the one that is set.
    """

    hub: str
    frame: tuple[Any, ...]
    request: int = 0
    seconds: float | None = None


class ToRoom(msgspec.Struct, frozen=True):
    """Tell all other hubs what is said in a room."""

    room: str
    frame: tuple[Any, ...]


class Attend(msgspec.Struct, frozen=True):
    """Hear what other hubs say in a room; what follows in the list waits for that."""

    room: str


class Abandon(msgspec.Struct, frozen=True):
    """Hear no more what other hubs say in a room."""

    room: str


class SurveyHubs(msgspec.Struct, frozen=True):
    """Deliver all other hubs who is there.

    Attributes:
        sid: Who wants to know.
        ack: Its acknowledgement id, None if it wants none.
        event: ``GET_SERVER_STATE`` or ``GET_MEMBERS``.
        room: The room that it asks about, None for all.
    """

    sid: str
    ack: int | None
    event: str
    room: str | None


Effect = (
    Claim
    | Release
    | ToHub
    | ToRoom
    | Attend
    | Abandon
    | SurveyHubs
    | Denied
    | Emit
    | Deliver
    | Acknowledge
    | Arm
    | Ended
)
