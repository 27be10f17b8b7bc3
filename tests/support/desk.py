"""A desk where decorated methods serve without a link, and what tests of serving order there."""

from __future__ import annotations

import asyncio
import functools
import itertools
import types
from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from alephscript.client.calls import Delivery, HubMeta
from alephscript.client.declaring import Capability
from alephscript.client.serving import Service
from alephscript.protocol import events
from alephscript.protocol.json import parse_json, write_json


@attrs.frozen
class Order:
    """What is ordered."""

    how_many: int
    what: str


@attrs.frozen
class Bill:
    """What it costs."""

    total: int


@attrs.frozen
class LongBill(Bill):
    """A bill that says more."""

    tax: int


def record_of(function: Callable[..., Any]) -> Capability:
    """What a decorated function declares."""
    [record] = function.__alephscript_records__  # type: ignore[attr-defined]
    assert isinstance(record, Capability)
    return record


class Desk:
    """A session that notes what is answered, and serves what it is given.

    Attributes:
        service: What serves.
        answers: By the number of the request.
    """

    def __init__(self, *functions: Callable[..., Any], max_in_flight: int = 100) -> None:
        records = [record_of(function) for function in functions]
        self.dialect = self
        self.redacts = False
        owner = types.SimpleNamespace(
            **{
                record.attribute: functools.partial(function, None)
                for record, function in zip(records, functions, strict=True)
            }
        )
        offered = {record.name: record for record in records}
        self.service = Service(owner, offered, name="bot", max_in_flight=max_in_flight)
        self.answers: dict[str, events.Answer] = {}
        self.answered = asyncio.Event()
        self.parts: list[Any] = []
        self.reports: list[Any] = []
        self._ids = itertools.count(7)

    def take(self, name: str, payload: Any = None, *, caller: str = "asker1", **meta: Any) -> str:
        """A request comes; its number."""
        asked = str(next(self._ids))
        told = msgspec.convert(meta, HubMeta)
        request = Delivery(f"GET_{name}", payload, 1, told, "R", caller, asked)
        self.service.take(self, request)  # type: ignore[arg-type]
        return asked

    def cancel(self, asked: str, reason: str = "cancelled") -> None:
        """Nobody waits any more."""
        self.service.cancel(self, asked, reason)  # type: ignore[arg-type]

    async def answer_to(self, asked: str) -> events.Answer:
        """What was answered to a request."""
        async with asyncio.timeout(20):
            while asked not in self.answers:
                self.answered.clear()
                await self.answered.wait()
        return self.answers[asked]

    def hurry(self) -> None:
        """Be told that the next answer is the last for now: nothing here waits for that."""

    # What a session's dialect is to a service

    def answer(self, request: Delivery, answer: bytes) -> None:
        """Note it."""
        assert request.id not in self.answers, "answered twice"
        assert answer.startswith(b'{"success":')
        self.answers[request.id] = parse_json(answer)
        self.answered.set()

    def send_part(self, request: Delivery, part: bytes) -> None:
        """Note it."""
        self.parts.append(parse_json(part))
        self.answered.set()

    def report_progress(self, request: Delivery, progress: Any) -> None:
        """Note it."""
        self.reports.append(progress)


async def answer_of(
    function: Callable[..., Any], payload: Any = None, *, seconds: float | None = 5, **meta: Any
) -> events.Answer:
    """The answer of a decorated function, as if it were a client's method."""
    if seconds is not None:
        meta["timeoutMs"] = seconds * 1000
    desk = Desk(function)
    try:
        return await desk.answer_to(desk.take(record_of(function).name, payload, **meta))
    finally:
        await desk.service.close()


def no_secret_in(answer: events.Answer) -> dict[str, Any]:
    """The incident of an answer that tells nothing else."""
    assert (answer["success"], answer["code"]) == (False, "internal")
    assert b"1234" not in write_json(answer)
    [incident] = answer["details"]
    assert list(incident) == ["incident"]
    return dict(incident)


class Gate:
    """A capability's method that waits until it is let through, and counts who is inside."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.ran: list[str] = []
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def pass_through(self, who: str) -> None:
        """Wait inside."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.ran.append(who)
        self.entered.set()
        try:
            await self.open.wait()
        finally:
            self.inside -= 1
