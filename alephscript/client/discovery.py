"""Values that a mesh tells about itself: offers, changes of masters, members and their counts.

May go in: data. May not: asking for it (`client`, `surveying`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from typing import Any

import attrs

__all__ = [
    "CapabilityStats",
    "MasterChange",
    "Member",
    "MemberInfo",
    "MemberStats",
    "Offer",
    "Survey",
]


@attrs.frozen
class Offer:
    """One capability of one room.

    Attributes:
        room: The room that it is offered in.
        capability: Its name, without ``GET_``.
        masters: Names of the members that serve it; several where the room is shared.
        group: ``single``, ``standby`` or ``shared``.
        epoch: The room's count of masters, which grows whenever others serve.
        summary: The first paragraph of its docstring, None if its master does not say.
        request: JSON Schema of its payload, None if its master does not say or takes any JSON.
        reply: JSON Schema of its answer, or of each part of it.
        timeout_ms: Most milliseconds that a run may take.
        idempotent: Whether running twice does no harm.
        read_only: Whether a run changes nothing, None if its master does not say.
        destructive: Whether a run may undo or delete what others keep, None if its master does not
            say.
        streams: Whether it answers in parts.
        tags: Words that its master sorts it under; stock masters have them.
    """

    room: str
    capability: str
    masters: tuple[str, ...]
    group: str
    epoch: int
    summary: str | None = None
    request: dict[str, Any] | None = None
    reply: dict[str, Any] | None = None
    timeout_ms: int | None = None
    idempotent: bool = False
    streams: bool = False
    tags: tuple[str, ...] = ()
    read_only: bool | None = None
    destructive: bool | None = None


@attrs.frozen
class MasterChange:
    """Data of MASTER_CHANGED.

    Attributes:
        room: The room.
        epoch: The room's count of masters.
        usuario: Name of the member that serves it now; None if nobody does.
        displaced: For a master that this concerns: whether it stands by from now on, or masters the
            room again.
    """

    room: str
    epoch: int
    usuario: str | None = None
    displaced: bool | None = None


@attrs.frozen
class Member:
    """A member of a room.

    Attributes:
        usuario: The name that it registered.
        sesion: Which instance of that name it is; empty if it does not say.
    """

    usuario: str
    sesion: str = ""


@attrs.frozen
class MemberInfo:
    """A member's description of itself.

    Attributes:
        usuario: The name that it registered.
        sesion: Which instance of that name it is.
        version: Version of this package there.
        capabilities: Names of the capabilities that it offers.
        summary: The first paragraph of its class's docstring.
        uptime_ms: Milliseconds since it was opened.
    """

    usuario: str
    sesion: str
    version: str
    capabilities: tuple[str, ...]
    summary: str
    uptime_ms: int


@attrs.frozen
class CapabilityStats:
    """Counts of a capability since its client was opened.

    Attributes:
        requests: How many requests have ended.
        errors: How many of those failed, by code.
        in_flight: How many requests run.
        waiting: How many requests wait for their turn.
        p50_ms: Median of the last runs, in milliseconds; None before the first.
        p95_ms: 95th percentile of the last runs, in milliseconds; None before the first.
        last_error: Text and code of the last failure.
    """

    requests: int
    errors: dict[str, int]
    in_flight: int
    waiting: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    last_error: str | None = None


@attrs.frozen
class MemberStats:
    """A member's counts.

    Attributes:
        usuario: The name that it registered.
        sesion: Which instance of that name it is.
        capabilities: The counts of each capability, by name.
    """

    usuario: str
    sesion: str
    capabilities: dict[str, CapabilityStats]


@attrs.frozen
class Survey:
    """The answers of the members of a room.

    Attributes:
        answers: By the member's name.
        missing: Names of members that were asked and did not answer in time; stock peers know no
            such question, and are not asked.
    """

    answers: dict[str, Any]
    missing: tuple[str, ...]
