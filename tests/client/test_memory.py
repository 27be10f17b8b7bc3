"""What only the mesh in memory has, and how clients space their attempts."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    DeadlineExceeded,
    NotConnected,
    NotSubscribed,
    StateError,
    capability,
)
from alephscript.client.lifecycle import full_jitter
from alephscript.testing import InMemoryMesh

pytestmark = pytest.mark.anyio


class Slow(AlephScriptClient):
    """Never answers, and takes its end with composure."""

    rooms = ("SLOW",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.serving = asyncio.Event()
        self.go_on = asyncio.Event()

    @capability("WAIT")
    async def wait(self) -> dict[str, Any]:
        """Wait until told to go on."""
        self.serving.set()
        await self.go_on.wait()
        return {"late": True}


async def test_it_is_opened_once() -> None:
    """A mesh is a context manager, as a hub is."""
    async with InMemoryMesh() as mesh:
        with pytest.raises(StateError, match="open already"):
            await mesh.__aenter__()


async def test_its_options_are_the_hub_s() -> None:
    """The default time, and whether askers have to be in the room."""
    async with (
        InMemoryMesh(default_timeout=0.05, require_subscription=True) as mesh,
        Slow(mesh),
        AlephScriptClient(mesh) as client,
    ):
        with pytest.raises(NotSubscribed):
            await client.request("WAIT")
        await client.subscribe("SLOW")
        async with asyncio.timeout(5):
            with pytest.raises(DeadlineExceeded):
                await client.request("WAIT", timeout=None)


@pytest.mark.parametrize("acknowledges", [True, False])
async def test_an_answer_that_finds_no_link_is_nobody_s(
    *, acknowledges: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The capability goes on after its link was cut; the client comes back and serves."""
    async with (
        InMemoryMesh() as mesh,
        Slow(mesh, acknowledges=acknowledges, backoff=lambda: itertools.repeat(0.0)) as slow,
        AlephScriptClient(mesh, backoff=lambda: itertools.repeat(0.0)) as client,
    ):
        asked = asyncio.create_task(client.request("WAIT"))
        async with asyncio.timeout(5):
            await slow.serving.wait()
            first = slow._alephscript_session
            mesh.cut()
            with pytest.raises(ConnectionError):
                await asked
            slow.go_on.set()
            while slow._alephscript_session in (first, None) or client._alephscript_session is None:
                await asyncio.gather(slow.ready(), client.ready())
            assert await client.request("WAIT", room="SLOW") == {"late": True}
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


async def test_a_cut_link_takes_nothing() -> None:
    """Between the cut and the news of it, too."""
    async with InMemoryMesh() as mesh, AlephScriptClient(mesh) as client:
        mesh.cut()
        with pytest.raises(NotConnected):
            await client.broadcast("X", room="R")


async def test_attempts_are_spread_ever_wider_up_to_a_bound() -> None:
    """So that a thousand clients do not come back at once."""
    delays = list(itertools.islice(full_jitter(first=1.0, most=4.0), 300))
    assert all(0 <= delay <= bound for delay, bound in zip(delays, (1.0, 2.0), strict=False))
    assert all(0 <= delay <= 4.0 for delay in delays)
    assert max(delays) > 2.0
