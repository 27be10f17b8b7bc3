"""Clients inside other programs: opened without a mesh, told of their life, with middleware."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    CallNext,
    CapabilityError,
    Closed,
    DeadlineExceeded,
    NotConnected,
    PermissionDenied,
    Request,
    State,
    StateError,
    capability,
    sync,
)
from alephscript.hub import Hub

pytestmark = pytest.mark.anyio


class Greeter(AlephScriptClient):
    """Offers what is asked here, in each way in which a method may be written."""

    rooms = ("R",)

    @capability("GREET")
    async def greet(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Greet."""
        return {"text": f"hello {payload['who']}"}

    @capability("GREET_PLAINLY")
    def greet_plainly(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Greet in a thread."""
        return {"text": f"hello {request.payload['who']}"}

    @capability("COUNT")
    async def count(self) -> AsyncIterator[int]:
        """Answer in parts."""
        for n in range(3):
            yield n


async def test_it_opens_without_a_hub_and_asks_when_there_is_one(mesh: Any) -> None:
    """Until then nothing is sent; `wait_for_master` waits for the link and the master."""
    await mesh.stop()
    async with asyncio.timeout(20), mesh.make(wait=False) as client:
        assert client.state is State.CONNECTING
        with pytest.raises(NotConnected):
            await client.request("GREET", {"who": "you"})
        with pytest.raises(DeadlineExceeded) as late:
            await client.request("GREET", {"who": "you"}, wait_for_master=True, timeout=0.05)
        assert late.value.details == [{"delivered": False}]
        asked = asyncio.create_task(
            client.request("GREET", {"who": "you"}, wait_for_master=True, timeout=15)
        )
        await mesh.start()
        await client.ready()
        async with mesh.make(Greeter):
            assert await asked == {"text": "hello you"}


async def test_one_that_waits_for_its_hub_is_closed_at_once(mesh: Any) -> None:
    """What waits on it ends."""
    await mesh.stop()
    async with asyncio.timeout(10):
        client = await mesh.make(wait=False).__aenter__()
        asked = asyncio.create_task(client.request("X", wait_for_master=True, timeout=60))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(Closed):
            await asked


async def test_a_client_that_is_not_open_waits_for_nothing(mesh: Any) -> None:
    """It says how it is opened."""
    with pytest.raises(StateError, match="async with"):
        await mesh.make().request("X", wait_for_master=True)


def test_a_blocking_client_opens_without_a_hub() -> None:
    """And says so when it is asked for something."""
    with sync.AlephScriptClient("http://127.0.0.1:9", wait=False) as client:
        assert client.state is State.CONNECTING
        with pytest.raises(NotConnected):
            client.request("X")


async def test_with_the_wrong_kind_of_with_a_sentence_says_the_right_one() -> None:
    """Both classes have one name."""
    client: Any = AlephScriptClient()
    with pytest.raises(StateError, match=r"alephscript\.sync"), client:
        pass
    blocking: Any = sync.AlephScriptClient()
    with pytest.raises(StateError, match=r"async with alephscript\.AlephScriptClient"):
        async with blocking:
            pass


async def test_a_mounted_hub_says_what_to_do() -> None:
    """It has a port of its own."""
    with pytest.raises(StateError, match=r"hub\.asgi\(\)"):
        await Hub(port=0)({"type": "http"}, None, None)


async def test_hooks_are_called_at_each_connection_and_before_the_end(mesh: Any) -> None:
    """While there is a link, on which they may ask."""
    happened: asyncio.Queue[str] = asyncio.Queue()

    class Told(Greeter):
        async def on_connected(self) -> None:
            happened.put_nowait((await self.request("GREET", {"who": "me"}))["text"])

        async def on_closing(self) -> None:
            happened.put_nowait((await self.request("GREET", {"who": "you"}))["text"])
            raise ValueError("is logged")

    async with asyncio.timeout(20):
        async with mesh.make(Told) as client:
            assert await happened.get() == "hello me"
            await mesh.stop()
            await mesh.start()
            assert await happened.get() == "hello me"
        assert await happened.get() == "hello you"
        assert client.state is State.CLOSED


async def test_a_hook_may_close_its_client(mesh: Any) -> None:
    """Each of them."""

    class Brief(Greeter):
        async def on_connected(self) -> None:
            await self.close()

    async with asyncio.timeout(10):
        client = mesh.make(Brief)
        await client.__aenter__()
        await client._alephscript_life.until(State.CLOSED)
        await client.close()


async def test_middleware_is_called_in_order_around_each_kind_of_method(mesh: Any) -> None:
    """The first outermost; each sees the decoded payload, and may change it."""
    seen: list[str] = []

    async def outer(request: Request[Any], call_next: CallNext) -> Any:
        seen.append(f"outer {request.capability}")
        try:
            return await call_next(request)
        finally:
            seen.append("outer again")

    async def inner(request: Request[Any], call_next: CallNext) -> Any:
        seen.append("inner")
        if isinstance(request.payload, dict) and "who" in request.payload:
            request = attrs.evolve(request, payload={"who": request.payload["who"].upper()})
        return await call_next(request)

    class Wrapped(Greeter):
        middleware = (outer, inner)

    await mesh.open(Wrapped)
    client = await mesh.open()
    for name in ("GREET", "GREET_PLAINLY"):
        assert await client.request(name, {"who": "you"}) == {"text": "hello YOU"}
        assert seen == [f"outer {name}", "inner", "outer again"]
        seen.clear()
    assert [part async for part in client.stream("COUNT")] == [0, 1, 2]


async def test_middleware_may_refuse_and_answer_by_itself(
    mesh: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is an answer, as from a method."""
    caplog.set_level(logging.CRITICAL)

    async def guard(request: Request[Any], call_next: CallNext) -> Any:
        if request.caller.startswith("Stranger"):
            raise CapabilityError(PermissionDenied.code, "not you")
        if request.payload == {"who": "nobody"}:
            raise CapabilityError("nobody_there")
        return {"text": "from outside"} if request.payload == {} else await call_next(request)

    class Guarded(Greeter):
        middleware = (guard,)

    await mesh.open(Guarded)
    client, stranger = await mesh.open(), await mesh.open(usuario="Stranger")
    assert await client.request("GREET", {"who": "you"}) == {"text": "hello you"}
    assert await client.request("GREET", {}) == {"text": "from outside"}
    with pytest.raises(CapabilityError, match="nobody_there"):
        await client.request("GREET", {"who": "nobody"})
    with pytest.raises(PermissionDenied, match="not you"):
        await stranger.request("GREET", {"who": "you"})
