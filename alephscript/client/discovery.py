"""What a mesh tells about itself: who offers what, and how its members do. Data only, pure."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = [
    "CapabilityStats",
    "MasterChange",
    "MemberInfo",
    "MemberStats",
    "Offer",
    "Survey",
]


@attrs.frozen
class Offer:
    """One capability of one room.

    Attributes:
        room: Where it is offered.
        capability: Its name, without ``GET_``.
        masters: Who serves it, as they registered; several where the room is shared.
        group: ``single``, ``standby`` or ``shared``.
        epoch: Of the room; it grows whenever others serve.
        summary: The first paragraph of its docstring, None if its master does not say.
        request: JSON Schema of its payload, None if its master does not say or takes any JSON.
        reply: JSON Schema of its answer, or of each part of it.
        timeout_ms: Most milliseconds that a run may take.
        idempotent: Whether running twice does no harm.
        streams: Whether it answers in parts.
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


@attrs.frozen
class MasterChange:
    """Data of MASTER_CHANGED.

    Attributes:
        room: The room.
        usuario: Who serves it now, as it registered; None if nobody does.
        epoch: Of the room.
    """

    room: str
    epoch: int
    usuario: str | None = None


@attrs.frozen
class MemberInfo:
    """What a member is.

    Attributes:
        usuario: Who it registered as.
        sesion: Which of its instances it is.
        version: Of this package.
        capabilities: Names of what it offers.
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
    """How a capability did since its client was opened.

    Attributes:
        requests: How many ended.
        errors: How many of them failed, by code.
        in_flight: How many run.
        waiting: How many wait for their turn.
        p50_ms: Milliseconds that half of the last runs took at the most, None before the first.
        p95_ms: The same of 95 in 100.
        last_error: The last failure's code and text.
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
    """How a member does.

    Attributes:
        usuario: Who it registered as.
        sesion: Which of its instances it is.
        capabilities: By name.
    """

    usuario: str
    sesion: str
    capabilities: dict[str, CapabilityStats]


@attrs.frozen
class Survey:
    """What the members of a room answered.

    Attributes:
        answers: By member, as it registered.
        missing: Who was asked and did not answer in time; stock peers never do, and are not asked.
    """

    answers: dict[str, Any]
    missing: tuple[str, ...]
