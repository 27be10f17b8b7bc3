"""A hub that closes waits for what is under way, but not for ever."""

from __future__ import annotations

import asyncio

import pytest

from alephscript.hub.settling import settle

pytestmark = pytest.mark.anyio


async def test_what_is_settled_is_waited_for_no_longer() -> None:
    """However much time there is."""
    looks = iter([False, False, True])
    await settle(lambda: next(looks), 60)
    assert list(looks) == []


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_the_time_is_bounded_also_in_a_task_that_was_cancelled(is_cancelled: bool) -> None:
    """What comes after the waiting is done."""
    closed: list[str] = []

    async def live() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await settle(lambda: False, 0.01)
            closed.append("all")

    if not is_cancelled:
        await settle(lambda: False, 0.01)
        return
    living = asyncio.create_task(live())
    await asyncio.sleep(0)
    living.cancel()
    await living
    assert closed == ["all"]
