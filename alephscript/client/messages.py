"""Values that methods of a client receive: a request to serve, an event, a gap, progress.

May go in: values handed to an application's methods. May not: how methods are declared
(`declaring`) or run (`serving`, `listening`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs
import msgspec

from alephscript.client.arguments import is_number, unfit

__all__ = ["GAP", "Event", "Gap", "Progress", "Request"]

P = TypeVar("P")


@attrs.frozen
class Request(Generic[P]):
    """A request as its handler sees it, for handlers that declare ``Request[Payload]``.

    Attributes:
        payload: The payload, decoded.
        capability: The capability's name.
        room: The room that was asked, empty where the hub does not say.
        caller: Name of the member that asks, as it registered; empty where the hub does not say.
        id: The request's number at the hub, empty where there is none.
        deadline: When the asker stops waiting, on `clock`; infinite if it does not say.
        clock: Gives the time that `deadline` is measured in, seconds.
        report: Takes what `progress` passes on to the asker.
    """

    payload: P
    capability: str
    room: str
    caller: str
    id: str
    deadline: float
    clock: Callable[[], float] = attrs.field(repr=False)
    report: Callable[[dict[str, Any]], None] = attrs.field(repr=False)

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell the asker how far the work is; askers that do not listen miss nothing.

        Args:
            fraction: The share that is done, 0 to 1.
            message: One sentence for a person.

        Raises:
            ContractError: The fraction is no number.
        """
        if not is_number(fraction):
            raise unfit("progress", "fraction", f"a finite number, and not {fraction!r}")
        self.report({"fraction": float(fraction), "message": message})

    def time_remaining(self) -> float:
        """Return the seconds until nobody waits for the answer any more, never below zero."""
        return max(0.0, self.deadline - self.clock())


@attrs.frozen
class Progress:
    """A report of how far a request is.

    Attributes:
        fraction: The share that is done, 0 to 1.
        message: One sentence for a person.
    """

    fraction: float
    message: str = ""


GAP = "GAP"
"""Event that a client delivers to itself after it has missed events of a room."""


@attrs.frozen
class Gap:
    """Data of a `GAP` event.

    Attributes:
        missed: How many events are lost, None if that cannot be known.
    """

    missed: int | None


_LATEST = 253_402_300_799.0
"""Seconds since 1970 at the end of the year 9999, the last that a datetime knows."""


class Event(msgspec.Struct, Generic[P], frozen=True, eq=False):
    """Something that was said in a room; equal to another one if the same was said there.

    Attributes:
        room: The room; empty on a core hub while the client is in several rooms.
        name: The event's name.
        data: The event's data, decoded if the listener declares ``Event[Contract]``.
        sender: Name of the member that said it, as it registered; empty where the hub does not say.
        retained: Whether it was said before the client came, and is the last of its name; see
            `AlephScriptClient.broadcast`.
        sent: When it was said, as `at`, in seconds since 1970.
    """

    room: str
    name: str
    data: P
    sender: str = ""
    retained: bool = False
    sent: float = 0.0

    @property
    def at(self) -> dt.datetime:
        """When the hub took it, by its clock; on stock hubs, when the client heard it. In UTC."""
        return dt.datetime.fromtimestamp(min(max(self.sent, 0.0), _LATEST), dt.UTC)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return _said(self) == _said(other)

    def __hash__(self) -> int:
        return hash(_said(self))


def _said(event: Event[Any]) -> tuple[Any, ...]:
    return event.room, event.name, event.data, event.sender, event.retained
