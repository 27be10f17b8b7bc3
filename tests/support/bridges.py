"""Members of bridged rooms."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import attrs

from alephscript import AlephScriptClient, CapabilityError, Event, Request, capability, observe
from alephscript.bridge import Bridge
from tests.support.meshes import MeshUnderTest, at_once


@attrs.frozen
class Order:
    """What has a shape."""

    item: str
    count: int = 1


class Shop(AlephScriptClient):
    """A master of room R."""

    rooms = ("R",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.running = asyncio.Event()
        self.stopped = asyncio.Event()

    @capability("ORDER", timeout=5, destructive=True, idempotent=True)
    async def order(self, request: Order) -> dict[str, Any]:
        """Order something."""
        await self.broadcast("ORDERED", {"item": request.item})
        return {"success": True, "item": request.item, "error": None, "by": self.usuario}

    @capability("ECHO")
    async def echo(self, payload: Any) -> Any:
        """Say it back."""
        return {"echo": payload}

    @capability("COUNT", read_only=True)
    async def count(self, to: int) -> Any:
        """Count up."""
        for each in range(to):
            yield each

    @capability("FAIL")
    async def fail(self) -> None:
        """Fail in its own words."""
        raise CapabilityError("sold_out", "there is none", [{"left": 0}], retryable=True)

    @capability("ASK")
    async def ask(self, request: Request[Any]) -> dict[str, Any]:
        """Ask back, and say what the answer was."""
        return {"answer": await request.ask("WHICH", {"of": request.payload})}

    @capability("WAIT")
    async def wait(self, request: Request[Any]) -> None:
        """Wait until cancelled."""
        request.progress(0.5, f"{request.time_remaining():.0f} s are left")
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


CAPABILITIES = ("ORDER", "ECHO", "COUNT", "FAIL", "WAIT", "ASK")


class Member(AlephScriptClient):
    """A member of room R that keeps what it hears there."""

    rooms = observe("R")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stream = self.events("R", buffer=100_000)

    async def heard(self, name: str) -> list[Event[Any]]:
        """What it has heard up to an event of this name, which is not among it."""
        heard: list[Event[Any]] = []
        async with asyncio.timeout(20):
            async for event in self._stream:
                if event.name == name:
                    break
                if event.name != "MASTER_CHANGED":
                    heard.append(event)
        return heard


def make_bridge(a: MeshUnderTest, b: MeshUnderTest, **options: Any) -> Bridge:
    """A bridge of room R that is not open."""
    return Bridge(a.hub, b.hub, room="R", **{"backoff": at_once, **options})


async def offered(
    client: AlephScriptClient, name: str, *, room: str = "R", is_there: bool = True
) -> None:
    """Wait until a capability is offered in a room, or is not any more."""
    changes = client.watch_masters()
    waiting = asyncio.ensure_future(anext(changes))
    async with asyncio.timeout(20):
        while (
            name in {each.capability for each in await client.discover(room=room)}
        ) is not is_there:
            await asyncio.wait({waiting}, timeout=0.2)
            if waiting.done():
                waiting = asyncio.ensure_future(anext(changes))
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting


def counted(bridge: Bridge) -> dict[tuple[str, str, str], int]:
    """What a bridge has not passed on."""
    return {(each.direction, each.name, each.reason): each.count for each in bridge.counts()}
