"""What a mesh wants done: a shell carries these out, in order.

=============  ================================================================
effect         what the shell does
=============  ================================================================
`Emit`         sends an event to one or many sockets
`Ask`          sends an event to one socket, asks for an acknowledgement under the request's
               number, and sets the request's deadline if it is told one
`Denied`       tells a socket, as upstream's hubs do, that it may not do something
`Acknowledge`  answers an event that asked for acknowledgement, exactly once each
`Arm`          calls `Mesh.expired` with the request's number after so many seconds
`Ended`       forgets that: the request has ended
=============  ================================================================

Pure: no socket, no clock.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from alephscript.wire import Answer

__all__ = ["Acknowledge", "Arm", "Ask", "Denied", "Effect", "Emit", "Ended"]


class Emit(NamedTuple):
    """Send an event.

    Attributes:
        to: Socket ids, at least one.
        event: Name of the event.
        args: Its arguments; a single None is an argument too.
    """

    to: tuple[str, ...]
    event: str
    args: tuple[Any, ...]


class Ask(NamedTuple):
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


class Acknowledge(NamedTuple):
    """Answer the event that ``sid`` sent with acknowledgement id ``ack``."""

    sid: str
    ack: int
    answer: Answer | msgspec.Raw


class Arm(NamedTuple):
    """Call `Mesh.expired` with this request after so many seconds."""

    request: int
    seconds: float


class Ended(NamedTuple):
    """A request has ended; its deadline means nothing any more.

    Attributes:
        request: Its number, 0 if it was refused before it got one.
        capability: What was asked for, None if nobody declared it.
        code: How it ended: ``ok``, or an error's code.
    """

    request: int
    capability: str | None
    code: str


class Denied(NamedTuple):
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


Effect = Denied | Emit | Ask | Acknowledge | Arm | Ended
