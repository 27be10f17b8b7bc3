"""A mesh of a hundred members and thirty rooms, in which something is going on."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs

from alephscript import (
    AlephScriptClient,
    AlephScriptError,
    CapabilityError,
    RequestFor,
    capability,
    observe,
)

ROOMS = [
    f"{place}_{thing}"
    for place in ("NORTH", "SOUTH", "EAST", "WEST", "HARBOUR", "AIRPORT")
    for thing in ("WEATHER", "ORDERS", "STOCK", "ROUTES", "BILLING")
]
"""Thirty rooms, each with a bot that masters it."""

MEMBERS = 100
"""The bots among them."""

_ASKERS = ("Dashboard", "Kiosk", "Planner", "Courier", "Auditor", "Till", "Scout")


@attrs.frozen
class Measure(RequestFor[dict[str, Any]], capability="MEASURE"):
    """Measure what there is of something just now."""

    place: str
    exact: bool = False


@attrs.frozen
class Plan(RequestFor[dict[str, Any]], capability="PLAN"):
    """Plan the next hours."""

    hours: int = 6


@attrs.frozen
class Cancel(RequestFor[dict[str, Any]], capability="CANCEL"):
    """Cancel an order that has not left yet."""

    order: int


class Bot(AlephScriptClient):
    """Serves one room; takes longer for some than for others."""

    def __init__(self, hub: str, **options: Any) -> None:
        super().__init__(hub, **options)
        self._random = random.Random(str(hub) + type(self).__name__)

    @capability
    async def measure(self, request: Measure) -> dict[str, Any]:
        """Measure, in some milliseconds."""
        await asyncio.sleep(self._random.expovariate(1 / 0.004))
        return {"place": request.place, "value": self._random.randrange(100)}

    @capability
    async def plan(self, request: Plan) -> dict[str, Any]:
        """Plan, which takes longer."""
        await asyncio.sleep(self._random.expovariate(1 / 0.03))
        return {"hours": request.hours}

    @capability
    async def cancel(self, request: Cancel) -> dict[str, Any]:
        """Cancel, if it is not too late."""
        raise CapabilityError("order_left", f"order {request.order} has left already")


class Member(AlephScriptClient):
    """Asks and says something now and then."""

    async def live(self, wanted: random.Random, every: float) -> None:
        """Ask and say something for as long as it is let."""
        room = self.declarations.rooms[0].name
        value = 0
        while True:
            await asyncio.sleep(wanted.uniform(0.5, 1.5) * every)
            kind = wanted.random()
            with contextlib.suppress(AlephScriptError):
                if kind < 0.5:
                    value = max(0, value + wanted.randint(-3, 4))
                    said = {"unit": "pieces", "value": value}
                    await self.broadcast("LEVEL_CHANGED", said, room=room)
                elif kind < 0.9:
                    await self.request(Measure(place=room.lower()), room=room)
                elif kind < 0.97:
                    await self.request(Plan(), room=room)
                else:
                    await self.request(Cancel(order=wanted.randrange(1000)), room=room)


@asynccontextmanager
async def crowd(hub: str, *, every: float = 3.0) -> AsyncIterator[None]:
    """Fill a hub with `MEMBERS` members, each of which does something every so many seconds."""
    wanted = random.Random(7)
    async with AsyncExitStack() as stack:
        for room in ROOMS:
            name = f"{room.title().replace('_', '')}Bot"
            bot = type(name, (Bot,), {"rooms": (room,), "__doc__": f"Serves {room}."})
            await stack.enter_async_context(bot(hub, sesion=f"-{wanted.randbytes(16).hex()}"))
        members = []
        for number in range(MEMBERS - len(ROOMS)):
            room = ROOMS[number % len(ROOMS)]
            name = _ASKERS[number % len(_ASKERS)]
            made = type(name, (Member,), {"rooms": observe(room)})
            member = made(hub, sesion=f"-{wanted.randbytes(16).hex()}")
            members.append(await stack.enter_async_context(member))
        living = [
            asyncio.create_task(each.live(random.Random(number), every))
            for number, each in enumerate(members)
        ]
        try:
            yield
        finally:
            for task in living:
                task.cancel()
            await asyncio.gather(*living, return_exceptions=True)
