"""Large payloads: what a request in flight keeps of its question."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from alephscript import AlephScriptClient, capability, observe
from alephscript.hub import Hub

pytestmark = pytest.mark.anyio

SIZE = 900_000


class Keeper(AlephScriptClient):
    """Has questions, and answers none before it is told to."""

    rooms = ("KEPT",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    @capability("KEEP")
    async def keep(self, request: dict[str, Any]) -> dict[str, Any]:
        """Hold the question until told to go on."""
        self.asked.set()
        await self.go_on.wait()
        return {"size": len(request["text"])}


class Asker(AlephScriptClient):
    """Is in the room, as those who ask at a stock hub have to be."""

    rooms = observe("KEPT")


@pytest.fixture
def traced() -> Iterator[None]:
    """Memory is counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("acknowledges", [None, False], ids=["native", "core"])
async def test_a_question_that_was_sent_is_kept_by_its_hub_and_its_method_alone(
    *, acknowledges: bool | None
) -> None:
    """The hub may need it for another master; its asker has no text, its master the value alone."""
    async with (
        Hub(port=0) as hub,
        Keeper(hub.url) as keeper,
        Asker(hub.url, acknowledges=acknowledges) as asker,
    ):
        question = {"text": "x" * SIZE}
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        asked = asyncio.create_task(asker.request("KEEP", question))
        async with asyncio.timeout(20):
            await keeper.asked.wait()
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        keeper.go_on.set()
        assert await asked == {"size": SIZE}
    assert 2 <= kept / SIZE < 2.2
