"""Deadlines pass in order, once, and never early."""

from __future__ import annotations

import asyncio

import pytest

from alephscript.links.deadlines import Deadlines

pytestmark = pytest.mark.anyio


async def test_each_key_passes_once_and_not_before_its_time() -> None:
    """Keys of one grain share a timer and still pass each by itself."""
    loop = asyncio.get_running_loop()
    began, passed = loop.time(), []
    done = asyncio.Event()

    def note(key: str) -> None:
        passed.append((key, loop.time() - began))
        if len(passed) == 3:
            done.set()

    deadlines = Deadlines(note)
    for key, seconds in (("late", 0.06), ("soon", 0.0), ("same", 0.0)):
        deadlines.set(key, seconds)
    assert len(deadlines) == 3
    async with asyncio.timeout(5):
        await done.wait()
    assert [key for key, _ in passed] == ["soon", "same", "late"]
    assert passed[2][1] >= 0.06
    assert len(deadlines) == 0


async def test_a_forgotten_key_does_not_pass() -> None:
    """Not even when an earlier one's callback forgets it."""
    passed: list[str] = []
    done = asyncio.Event()

    def note(key: str) -> None:
        passed.append(key)
        deadlines.forget("victim")
        if key == "last":
            done.set()

    deadlines = Deadlines(note)
    for key in ("first", "victim", "forgotten"):
        deadlines.set(key, 0)
    deadlines.set("last", 0.05)
    deadlines.forget("forgotten")
    deadlines.forget("never known")
    async with asyncio.timeout(5):
        await done.wait()
    assert passed == ["first", "last"]


async def test_setting_a_key_anew_moves_it() -> None:
    """A key has one deadline."""
    passed = asyncio.Event()
    deadlines: Deadlines[str] = Deadlines(lambda _: passed.set())
    deadlines.set("key", 3600)
    deadlines.set("key", 0)
    async with asyncio.timeout(5):
        await passed.wait()
    assert len(deadlines) == 0


async def test_closing_forgets_all() -> None:
    """Nothing passes, no timer is left."""
    deadlines: Deadlines[str] = Deadlines(lambda key: pytest.fail(f"{key} passed"))
    deadlines.set("key", 0)
    deadlines.close()
    await asyncio.sleep(0.05)
    assert len(deadlines) == 0


async def test_a_deadline_is_kept_early_by_nothing_and_late_by_a_grain() -> None:
    """What remains is at least what was asked for, and hardly more; nothing for an unknown key."""
    deadlines: Deadlines[str] = Deadlines(lambda _: None)
    clock = asyncio.get_running_loop().time
    before = clock()
    deadlines.set("a", 1.0)
    remaining, passed = deadlines.remaining("a"), clock() - before
    assert 1.0 - passed <= remaining <= 1.0 + 0.03
    assert deadlines.remaining("unknown") == 0.0
    deadlines.close()
