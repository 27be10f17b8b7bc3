"""Values that methods of a client receive: a request to serve, an event, a gap, progress.

May go in: values handed to an application's methods. May not: how methods are declared
(`declaring`) or run (`serving`, `listening`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import attrs
import msgspec

from alephscript import contracts
from alephscript.client.arguments import is_number, unfit

__all__ = ["GAP", "Event", "Gap", "Progress", "Request"]

P = TypeVar("P")


async def _keep_nothing(_: bytes) -> None:
    """Do nothing: a request that was made by hand is no run of a task."""


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
        keep: Takes what `checkpoint` has the hub keep.
        checkpoint_data: What the run before has kept, JSON, if the request is a run of a task that
            another master has begun; else None.
    """

    payload: P
    capability: str
    room: str
    caller: str
    id: str
    deadline: float
    clock: Callable[[], float] = attrs.field(repr=False)
    report: Callable[[dict[str, Any]], None] = attrs.field(repr=False)
    keep: Callable[[bytes], Awaitable[None]] = attrs.field(default=_keep_nothing, repr=False)
    checkpoint_data: Any = None

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

    async def checkpoint(self, data: Any) -> None:
        """Have the hub keep how far a task is, for the next run if this one comes to nothing.

        Returns when what was given cannot be lost any more. A plain request, which nobody runs
        again, keeps nothing.

        Args:
            data: A contract or a JSON value, in place of what was kept before; None for nothing.

        Raises:
            ContractError: The data has no wire form.
            PayloadTooLarge: The data takes more than 262,144 bytes as JSON.
        """
        await self.keep(contracts.write(data))

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


class Event(msgspec.Struct, Generic[P], frozen=True):
    """Something that was said in a room.

    Attributes:
        room: The room; empty on a core hub while the client is in several rooms.
        name: The event's name.
        data: The event's data, decoded if the listener declares ``Event[Contract]``.
        sender: Name of the member that said it, as it registered; empty where the hub does not say.
    """

    room: str
    name: str
    data: P
    sender: str = ""
