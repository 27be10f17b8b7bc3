"""What a mesh wants done: a shell carries effects out, in the order of the list.

==================  ===========================================================
effect              what the shell does
==================  ===========================================================
`Emit`              sends an event to one or many sockets
`Deliver`           sends an event to one socket, asks for an acknowledgement
                    under the request's number, and sets the request's deadline
                    if the effect names one
`Denied`            tells a socket, as upstream's hubs do, that its client may
                    not do something
`Acknowledge`       answers an event that asked for acknowledgement, exactly
                    once each
`Arm`               calls `Mesh.expired` with the request's number after so many
                    seconds
`ArmIdle`           the same with `Mesh.idled`, in place of the last one of the
                    request; None forgets that
`Resume`            calls `Mesh.resumed` when others have had their turn
`Ended`             forgets the deadline: the request has ended
`Claim`             has the registry make a peer master of a room; calls
                    `Federation.claimed`
`Release`           has the registry forget that
`ToHub`             sends a frame to another hub, and sets a deadline as
                    `Deliver` does
`ToRoom`            sends all other hubs what is said in a room
`SubscribeRoom`     subscribes to what other hubs say in a room; the effects
                    after it wait for the confirmation
`UnsubscribeRoom`   unsubscribes from that
`Retain`            keeps the last value of an event in a room where it outlives
                    this hub, and tells it all others
`SurveyHubs`        asks all other hubs who is there; calls
                    `Federation.surveyed`
`Keep`              has the journal keep a task; calls `Tasks.kept` when it
                    cannot be lost any more
`Look`              looks tasks up in the journal; calls `Tasks.found`
`Take`              takes over tasks of other hubs; calls `Tasks.found`
`Wake`              calls `Tasks.woken` with its key after so many seconds
`Append`            puts an event into the log of its room; calls `Logs.appended`
                    and, where hubs share the log, `Logs.heard`
`ReadLog`           reads a page of a log, once its reader has taken what it was
                    told before; calls `Logs.read`
==================  ===========================================================

May go in: effects, as data. May not: how any shell carries one out. Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from alephscript.mesh.pages import LogEntry
from alephscript.mesh.records import Record
from alephscript.mesh.retained import RetainedValue
from alephscript.protocol.events import Answer

__all__ = [
    "Acknowledge",
    "Append",
    "Arm",
    "ArmIdle",
    "Claim",
    "Deliver",
    "Denied",
    "Effect",
    "Emit",
    "Ended",
    "Keep",
    "Look",
    "ReadLog",
    "Release",
    "Resume",
    "Retain",
    "SubscribeRoom",
    "SurveyHubs",
    "Take",
    "ToHub",
    "ToRoom",
    "UnsubscribeRoom",
    "Wake",
    "WakeKey",
]


class Emit(msgspec.Struct, frozen=True, gc=False):
    """Send an event.

    Attributes:
        to: Socket ids of those who get it, at least one.
        event: Name of the event.
        args: Its arguments; a single None is an argument too.
    """

    to: tuple[str, ...]
    event: str
    args: tuple[Any, ...]


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Send an event to a master and ask for an acknowledgement under ``request``.

    Attributes:
        to: The master's socket id.
        event: Name of the event.
        args: Its arguments.
        request: The request's number.
        seconds: Seconds until the deadline; None leaves the deadline that is set.
    """

    to: str
    event: str
    args: tuple[Any, ...]
    request: int
    seconds: float | None


class Acknowledge(msgspec.Struct, frozen=True, gc=False):
    """Answer the event that ``sid`` sent with acknowledgement id ``ack``."""

    sid: str
    ack: int
    answer: Answer | msgspec.Raw


class Arm(msgspec.Struct, frozen=True):
    """Call `Mesh.expired` with this request after so many seconds."""

    request: int
    seconds: float


class ArmIdle(msgspec.Struct, frozen=True):
    """Call `Mesh.idled` with this request after so many seconds without another such effect.

    Attributes:
        request: The request's number.
        seconds: Seconds; None forgets what was set.
    """

    request: int
    seconds: float | None


class Resume(msgspec.Struct, frozen=True):
    """Call `Mesh.resumed` on the next turn: more is to be done than others can wait for."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """Forget the deadline of a request, which has ended.

    Attributes:
        request: Its number, 0 if it was refused before it got one.
        capability: The capability that was asked for, None if its master did not declare it.
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
        room: What its client named as room, any JSON.
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
        room: The room.
        declared: The peer's declaration, as JSON values.
        is_core: Whether the peer declared inside ROOM_MESSAGE.
        epoch: The room's last known epoch, which the next has to exceed.
        reclaiming: Whether the declaration goes below those of others: of a master that the hub had
            before an outage, or that yields.
    """

    sid: str
    name: str
    room: str
    declared: Mapping[str, Any]
    is_core: bool
    epoch: int
    reclaiming: bool


class Release(msgspec.Struct, frozen=True):
    """Have the registry forget that a peer masters a room."""

    sid: str
    room: str


class ToHub(msgspec.Struct, frozen=True, gc=False):
    """Send a frame to another hub; see `alephscript.mesh.federation`.

    Attributes:
        hub: The hub's name.
        frame: JSON values, some of them unread.
        request: The request's number, if the frame asks something, else 0.
        seconds: Seconds until the deadline; None leaves the deadline that is set.
    """

    hub: str
    frame: tuple[Any, ...]
    request: int = 0
    seconds: float | None = None


class ToRoom(msgspec.Struct, frozen=True):
    """Send all other hubs what is said in a room: event, data, sender and the time."""

    room: str
    frame: tuple[Any, ...]


class SubscribeRoom(msgspec.Struct, frozen=True):
    """Subscribe to what other hubs say in a room; the effects after this one wait for that."""

    room: str


class UnsubscribeRoom(msgspec.Struct, frozen=True):
    """Unsubscribe from what other hubs say in a room."""

    room: str


class Retain(msgspec.Struct, frozen=True):
    """Keep the last value of an event in a room where it outlives this hub, and tell all others.

    Attributes:
        room: The room.
        event: The event.
        value: The value; one without data is forgotten.
        is_quiet: Whether members of other hubs are told nothing: the hubs alone agree.
    """

    room: str
    event: str
    value: RetainedValue
    is_quiet: bool = False


class SurveyHubs(msgspec.Struct, frozen=True):
    """Ask all other hubs who is there.

    Attributes:
        sid: Socket id of the asker.
        ack: The asker's acknowledgement id, None if it wants no acknowledgement.
        event: ``GET_SERVER_STATE`` or ``GET_MEMBERS``.
        room: The room that is asked about, None for all.
        presence: Whether members of all dialects are asked for.
    """

    sid: str
    ack: int | None
    event: str
    room: str | None
    presence: bool = False


class Keep(msgspec.Struct, frozen=True):
    """Have the journal keep a task, in the order of these effects.

    Attributes:
        number: To be told to `Tasks.kept`; 0 if nothing waits for that, so that it may take a
            moment, and the next record of the task may take its place.
        record: The task as it is now.
        is_new: Whether the task was submitted just now: where the same owner has one with the same
            key, that one stays, and where there is no room, nothing is kept.
    """

    number: int
    record: Record
    is_new: bool = False


class Look(msgspec.Struct, frozen=True):
    """Look tasks up in the journal, for `Tasks.found`; the newest first.

    Attributes:
        number: To be told to `Tasks.found`.
        id: The only task to find; None for those that the other fields describe.
        room: Only tasks of this room; None for all.
        state: Only tasks in this state; None for all.
        before: Only tasks that were submitted before this one; None for all.
        most: How many, at the most.
    """

    number: int
    id: str | None = None
    room: str | None = None
    state: str | None = None
    before: tuple[float, str] | None = None
    most: int = 1


class Take(msgspec.Struct, frozen=True):
    """Take over tasks of other hubs by their runs, and tell `Tasks.found` their records.

    Attributes:
        number: To be told to `Tasks.found`.
        runs: The runs.
    """

    number: int
    runs: tuple[str, ...]


WakeKey = tuple[str, str | int]


class Wake(msgspec.Struct, frozen=True):
    """Call `Tasks.woken` with this key after so many seconds; None forgets that."""

    key: WakeKey
    seconds: float | None


class Append(msgspec.Struct, frozen=True):
    """Put an event into the log of its room, in the order of these effects.

    Attributes:
        number: To be told to `Logs.appended`.
        room: The room.
        entry: The event.
    """

    number: int
    room: str
    entry: LogEntry


class ReadLog(msgspec.Struct, frozen=True):
    """Read a page of a log, for `Logs.read`.

    Attributes:
        number: To be told to `Logs.read`.
        sid: Socket id of the reader, which is to have taken what it was told before; empty for the
            hub itself.
        room: The room.
        most: How many entries, at the most.
        after: Only entries behind this number; None for what the next two say.
        at: Only entries from the first on that was said then, in milliseconds since 1970.
        before: The last entries before this number. If all three are None, the page is empty, and
            begins where the log ends.
    """

    number: int
    sid: str
    room: str
    most: int
    after: int | None = None
    at: int | None = None
    before: int | None = None


Effect = (
    Append
    | ReadLog
    | Claim
    | Release
    | ToHub
    | ToRoom
    | SubscribeRoom
    | UnsubscribeRoom
    | Retain
    | SurveyHubs
    | Denied
    | Emit
    | Deliver
    | Acknowledge
    | Arm
    | ArmIdle
    | Resume
    | Ended
    | Keep
    | Look
    | Take
    | Wake
)
