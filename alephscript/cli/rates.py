"""The rows of ``alephscript top``: rates made of counts, sorted and filtered.

May go in: figures of a mesh as rows. May not: asking for them, terminals (`top`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from alephscript.client.discovery import MemberInfo, MemberStats, Offer
from alephscript.protocol import events
from alephscript.protocol.names import short_name

__all__ = ["SORTS", "Rates", "Row", "choose", "opened_at", "write_age"]


@attrs.frozen
class Row:
    """A capability at one member.

    Attributes:
        capability: Its name.
        room: The rooms in which the member offers it.
        member: Who the member is.
        age: Seconds that the member has been open, None if it does not say.
        rate: Requests that ended, a second.
        in_flight: Requests that run.
        p50: Milliseconds, None before the first.
        p95: Milliseconds, None before the first.
        errors: How many requests failed, by code.
        requests: How many requests have ended.
    """

    capability: str
    room: str
    member: str
    age: float | None = None
    rate: float = 0.0
    in_flight: int = 0
    p50: float | None = None
    p95: float | None = None
    errors: Mapping[str, int] = {}
    requests: int = 0

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(self.errors.values())


SORTS: Mapping[str, Callable[[Row], Any]] = {
    "busy": lambda row: (-row.rate, -row.in_flight, -row.requests),
    "slow": lambda row: -(row.p95 or 0),
    "errors": lambda row: -row.failed,
    "name": lambda row: row.capability,
    "member": lambda row: row.member,
}
"""What comes first, by the name of an order."""


def choose(rows: Iterable[Row], order: str, wanted: str) -> list[Row]:
    """Sort rows, and leave those that have a text in a name."""
    wanted = wanted.casefold()
    found = [
        row for row in rows if wanted in f"{row.capability}\n{row.room}\n{row.member}".casefold()
    ]
    return sorted(found, key=lambda row: (SORTS[order](row), row.capability, row.member))


class Rates:
    """Makes rows of counts, knowing those of the last time."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], int] = {}

    def rows(
        self,
        stats: Mapping[str, MemberStats],
        ages: Mapping[str, float],
        offers: Sequence[Offer],
        seconds: float,
    ) -> list[Row]:
        """Make a row for each capability of each member.

        Args:
            stats: The counts, by the name of the member.
            ages: Seconds that members have been open, by name.
            offers: What is offered where.
            seconds: The time since the last call.
        """
        rooms: dict[tuple[str, str], list[str]] = {}
        for offer in offers:
            for name in offer.masters:
                rooms.setdefault((name, offer.capability), []).append(offer.room)
        rows = []
        now: dict[tuple[str, str], int] = {}
        for name, member in stats.items():
            for capability, counts in member.capabilities.items():
                key = (name, capability)
                now[key] = counts.requests
                done = counts.requests - self._before.get(key, counts.requests)
                rows.append(
                    Row(
                        capability,
                        ", ".join(rooms.get((name, events.capability_name(capability)), ())),
                        short_name(member.usuario, member.sesion),
                        ages.get(name),
                        max(0, done) / seconds,
                        counts.in_flight,
                        counts.p50_ms,
                        counts.p95_ms,
                        counts.errors,
                        counts.requests,
                    )
                )
        self._before = now
        return rows


def opened_at(infos: Mapping[str, MemberInfo], now: float) -> dict[str, float]:
    """Return when members were opened, on the clock of ``now``."""
    return {name: now - info.uptime_ms / 1000 for name, info in infos.items()}


def write_age(seconds: float | None) -> str:
    """Write a time in its largest unit, in four characters at the most: ``59s``, ``3h``."""
    if seconds is None:
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{min(999, int(seconds // size))}{unit}"
    return f"{max(0, int(seconds))}s"
