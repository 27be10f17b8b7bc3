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


async def test_what_has_ended_leaves_neither_grain_nor_timer() -> None:
    """However far away the deadlines of ended requests were, in whatever order they end."""
    passed: list[int] = []
    deadlines = Deadlines(passed.append)
    for _ in range(3):
        for key in range(500):
            deadlines.set(key, 3600 + key)
        for key in sorted(range(500), key=lambda each: (each * 7) % 500):
            deadlines.forget(key)
        assert len(deadlines._grains) <= 1
    for key in range(500):
        deadlines.set(key, 3600 + key)
        deadlines.forget(key)
        assert len(deadlines._grains) <= 1
    timers = [each.timer for each in deadlines._grains.values()]
    assert not any(timer.cancelled() for timer in timers)
    deadlines.close()
    assert passed == []


async def test_requests_one_after_the_other_share_a_timer() -> None:
    """An ended request's grain serves the next one: no timer a request."""
    deadlines = Deadlines[int](lambda _: None)
    deadlines.set(1, 3600)
    (timer,) = [each.timer for each in deadlines._grains.values()]
    made = 0
    for key in range(2, 200):
        deadlines.forget(key - 1)
        deadlines.set(key, 3600)
        (newest,) = [each.timer for each in deadlines._grains.values()]
        made += newest is not timer
        timer = newest
    assert made < 100
    deadlines.close()


async def test_a_deadline_is_set_anew_while_its_grain_rings() -> None:
    """A grain that rings is none any more: what is set then gets one of its own."""
    done = asyncio.Event()
    passed: list[str] = []

    def note(key: str) -> None:
        passed.append(key)
        if len(passed) == 1:
            deadlines.forget("other")
            deadlines.set("last", 0)
        if key == "last":
            done.set()

    deadlines = Deadlines(note)
    deadlines.set("first", 0)
    deadlines.set("other", 0)
    async with asyncio.timeout(5):
        await done.wait()
    assert passed == ["first", "last"]
    assert not deadlines._grains
