"""Values that a client's methods and callables receive: requests, questions, events, progress.

May go in: values handed to an application's methods. May not: how methods are declared
(`declaring`) or run (`serving`, `listening`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar, overload

import attrs
import msgspec

from alephscript import contracts
from alephscript.client.arguments import is_number, unfit
from alephscript.contracts import RequestFor
from alephscript.errors import NoAnswerer
from alephscript.protocol.events import Position

__all__ = ["GAP", "Event", "Gap", "Progress", "Question", "Request"]

P = TypeVar("P")
R = TypeVar("R")


async def _ask_nobody(*_: Any) -> Any:
    raise NoAnswerer("this request has no asker")


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
        put: Puts to the asker what `ask` asks.
        keep: Takes what `checkpoint` has the hub keep.
        checkpoint_data: What the run before has kept, JSON, if the request is a run of a task that
            another master has begun; else None.
        is_task: Whether the request is a run of a task, which outlives its asker.
    """

    payload: P
    capability: str
    room: str
    caller: str
    id: str
    deadline: float
    clock: Callable[[], float] = attrs.field(repr=False)
    report: Callable[[dict[str, Any]], None] = attrs.field(repr=False)
    put: Callable[..., Awaitable[Any]] = attrs.field(default=_ask_nobody, repr=False)
    keep: Callable[[bytes], Awaitable[None]] = attrs.field(default=_keep_nothing, repr=False)
    checkpoint_data: Any = None
    is_task: bool = False

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

    @overload
    async def ask(self, question: RequestFor[R], /, *, timeout: float | None = None) -> R: ...
    @overload
    async def ask(
        self,
        question: str,
        payload: Any = None,
        /,
        *,
        timeout: float | None = None,
        reply: type[R],
    ) -> R: ...
    @overload
    async def ask(
        self,
        question: str | Question[Any],
        payload: Any = None,
        /,
        *,
        timeout: float | None = None,
    ) -> dict[str, Any]: ...
    async def ask(
        self,
        question: Any,
        payload: Any = None,
        /,
        *,
        timeout: float | None = None,
        reply: Any = None,
    ) -> Any:
        """Ask the asker something before the work goes on, and wait for the answer.

        ::

            approval = await request.ask(Approve(what="send it"), timeout=600)  # an Approval

        Only the asker is asked, by its ``on_ask``. Where a method does not catch what this raises,
        its asker gets the error as it is. A plain method calls this by
        ``anyio.from_thread.run(request.ask, …)``.

        Args:
            question: A typed request, which names what is asked and the type of the answer; or a
                name; or a `Question`, as it was asked of somebody else.
            payload: With a name: a JSON value, or a contract.
            timeout: Seconds to wait; None for as long as the request has. Never longer than that.
            reply: With a name: the contract to decode the answer to.

        Returns:
            The answer's fields; with a typed request or ``reply``, that type.

        Raises:
            NoAnswerer: The asker takes no questions, or is gone.
            DeadlineExceeded: No answer came in time.
            InvalidPayload: The answer does not fit.
            CapabilityError: The asker refused, in its own words.
        """
        return await self.put(question, payload, timeout, reply)

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
class Question(Generic[P]):
    """What a capability asks its asker; ``question["what"]`` is a field of the payload.

    A callable that is given as ``on_ask`` gets one, or only the payload: what it annotates decides
    (``Question``, ``Question[Approve]``, ``Approve``).

    Attributes:
        capability: Name of what is asked.
        payload: What is asked in particular: JSON, or of the type that the callable annotates.
        summary: A sentence for a person, empty if the master gives none.
        request: JSON Schema of the payload, None if the master gives none.
        reply: JSON Schema of the answer, None if the master gives none.
    """

    capability: str
    payload: P
    summary: str = ""
    request: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    reply: Mapping[str, Any] | None = attrs.field(default=None, repr=False)

    def __getitem__(self, field: str) -> Any:
        payload: Any = self.payload
        return payload[field]


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
        position: Where it stands in the history of its room, if the hub keeps one; see
            `AlephScriptClient.subscribe`. None of a retained one, which may be older than all that
            is kept: `at` is where to read on from.
    """

    room: str
    name: str
    data: P
    sender: str = ""
    retained: bool = False
    sent: float = 0.0
    position: Position | None = None

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
