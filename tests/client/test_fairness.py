"""Whose turn it is at a master that is asked for more than it can do at once."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import pytest

from alephscript import AlephScriptClient, Overloaded, Request, capability
from tests.support.desk import Desk
from tests.support.meshes import MeshUnderTest, mesh

__all__ = ["mesh"]

pytestmark = pytest.mark.anyio

GREEDY = 200


def make_desk(ran: list[str], gate: asyncio.Event, kind: str) -> tuple[Desk, Callable[[str], str]]:
    """A desk that notes who is served, of each kind of method; and how a caller asks there."""

    @capability("X", max_in_flight=1)
    async def waits(self: Any, who: str) -> None:
        await gate.wait()
        ran.append(who)

    @capability("X")
    async def computes(self: Any, who: str) -> None:
        ran.append(who)
        time.sleep(0.002)  # noqa: ASYNC251 - what it is about

    desk = Desk({"waits": waits, "computes": computes}[kind], max_in_flight=1000)
    return desk, lambda who: desk.take("X", who, caller=who)


async def test_who_asks_once_is_served_next_where_somebody_has_asked_much() -> None:
    """Behind what runs, and before all that waits."""
    ran: list[str] = []
    gate = asyncio.Event()
    desk, ask = make_desk(ran, gate, "waits")
    asked = [ask("greedy") for _ in range(GREEDY)]
    polite = ask("polite")
    gate.set()
    await desk.answer_to(polite)
    assert ran[:2] == ["greedy", "polite"]
    for each in asked:
        await desk.answer_to(each)


async def test_methods_that_wait_for_nothing_are_served_in_turn_as_well() -> None:
    """All have been taken at once, and are run one after the other."""
    ran: list[str] = []
    desk, ask = make_desk(ran, asyncio.Event(), "computes")
    asked = [ask("greedy") for _ in range(GREEDY)]
    polite = ask("polite")
    await desk.answer_to(polite)
    assert ran.index("polite") <= 2
    for each in asked:
        await desk.answer_to(each)
    assert len(ran) == GREEDY + 1


async def test_what_comes_while_methods_compute_is_read_between_two_of_them() -> None:
    """And has its turn then."""
    ran: list[str] = []
    desk, ask = make_desk(ran, asyncio.Event(), "computes")
    asked = [ask("greedy") for _ in range(GREEDY)]
    here, there = socket.socketpair()
    loop = asyncio.get_running_loop()
    loop.add_reader(here, lambda: (here.recv(1), ask("polite")))
    try:
        there.send(b"!")
        for each in asked:
            await desk.answer_to(each)
    finally:
        loop.remove_reader(here)
        here.close()
        there.close()
    assert ran.index("polite") < GREEDY / 2


async def test_plain_methods_wait_for_threads_in_turn() -> None:
    """Of which there are so many, whatever is allowed to run at once."""
    ran: list[str] = []
    loop = asyncio.get_running_loop()
    begun, gate = asyncio.Semaphore(0), threading.Semaphore(0)

    @capability("X")
    def blocks(self: Any, who: str) -> None:
        ran.append(who)
        loop.call_soon_threadsafe(begun.release)
        gate.acquire()

    threads = anyio.to_thread.current_default_thread_limiter()
    before, threads.total_tokens = threads.total_tokens, 2
    try:
        desk = Desk(blocks, max_in_flight=1000)
        asked = [desk.take("X", "greedy", caller="greedy") for _ in range(GREEDY)]
        polite = desk.take("X", "polite", caller="polite")
        assert desk.service.stats()["X"].in_flight == 2
        await begun.acquire()
        await begun.acquire()
        gate.release()  # one thread is free
        await begun.acquire()
        assert ran == ["greedy", "greedy", "polite"]
        gate.release(GREEDY)
        threads.total_tokens = 50
        for each in [polite, *asked]:
            await desk.answer_to(each)
    finally:
        gate.release(GREEDY)
        threads.total_tokens = before


async def test_callers_have_their_turns_across_capabilities_too() -> None:
    """Where all of them together are bounded."""
    ran: list[str] = []
    gate = asyncio.Event()

    @capability("X")
    async def one(self: Any, who: str) -> None:
        await gate.wait()
        ran.append(who)

    @capability("Y")
    async def other(self: Any, who: str) -> None:
        await gate.wait()
        ran.append(who)

    desk = Desk(one, other, max_in_flight=1)
    asked = [desk.take(name, "greedy", caller="greedy") for name in "XY" * 20]
    asked += [desk.take("Y", who, caller=who) for who in ("ana", "bea")]
    gate.set()
    for each in asked:
        await desk.answer_to(each)
    assert sorted(ran[:4]) == ["ana", "bea", "greedy", "greedy"]


async def test_a_full_queue_refuses_the_greedy_and_not_who_comes_next() -> None:
    """Its last request, which is the one that waits longest anyway."""
    ran: list[str] = []
    gate = asyncio.Event()

    @capability("X", max_in_flight=1, queue=10)
    async def method(self: Any, who: str) -> None:
        await gate.wait()
        ran.append(who)

    desk = Desk(method)
    asked = [desk.take("X", "greedy", caller="greedy") for _ in range(11)]
    polite = desk.take("X", "polite", caller="polite")
    refused = [each for each in asked if each in desk.answers]
    assert refused == asked[-1:]
    assert desk.answers[asked[-1]]["code"] == "overloaded"
    assert desk.answers[asked[-1]]["details"] == [{"delivered": False}]
    gate.set()
    assert (await desk.answer_to(polite))["success"]
    for each in asked:
        await desk.answer_to(each)
    assert ran[:2] == ["greedy", "polite"]


class Bench(AlephScriptClient):
    """Serves one request after the other, and notes whose it was."""

    rooms = ("BENCH",)
    served: list[str]
    gate: asyncio.Event

    @capability("PLANE", max_in_flight=1)
    async def plane(self, request: Request[Any]) -> None:
        """Wait until it is let through."""
        await self.gate.wait()
        self.served.append(request.caller)

    @capability("WAITING")
    async def waiting(self) -> int:
        """Count what waits."""
        stats = (await self.survey("stats")).answers
        return sum(
            each.capabilities["PLANE"].waiting for each in stats.values() if each.capabilities
        )


async def test_a_polite_asker_behind_two_hundred_requests_is_served_second(
    mesh: MeshUnderTest,
) -> None:
    """So it waits no more than for two others: what runs, and one turn."""
    bench = await mesh.open(Bench, usuario="bench")
    bench.served, bench.gate = [], asyncio.Event()
    greedy, polite = await mesh.open(usuario="greedy"), await mesh.open(usuario="polite")
    many = [asyncio.ensure_future(greedy.request("PLANE", timeout=30)) for _ in range(GREEDY)]
    await _until_waiting(greedy, GREEDY - 1)
    one = asyncio.ensure_future(polite.request("PLANE", timeout=30))
    await _until_waiting(greedy, GREEDY)
    bench.gate.set()
    await one
    await asyncio.gather(*many)
    assert [each.startswith("polite") for each in bench.served].index(True) <= 2


async def test_the_background_is_served_when_nothing_else_waits(mesh: MeshUnderTest) -> None:
    """And nobody goes before others where no rule of access allows that."""
    bench = await mesh.open(Bench, usuario="bench")
    bench.served, bench.gate = [], asyncio.Event()
    asker = await mesh.open(usuario="asker")
    others = {
        name: await mesh.open(usuario=name) for name in ("background", "ordinary", "important")
    }
    priorities = {"background": -3, "ordinary": 0, "important": 8}
    first = asyncio.ensure_future(asker.request("PLANE", timeout=30))
    await _until_waiting(asker, 0)
    asking = [first]
    for waiting, (name, client) in enumerate(others.items(), 1):
        asking += [
            asyncio.ensure_future(client.request("PLANE", timeout=30, priority=priorities[name]))
        ]
        await _until_waiting(asker, waiting)
    bench.gate.set()
    await asyncio.gather(*asking)
    order = [
        next(name for name in ("asker", *others) if each.startswith(name)) for each in bench.served
    ]
    assert order == ["asker", "ordinary", "important", "background"]


async def _until_waiting(asker: AlephScriptClient, number: int) -> None:
    async with asyncio.timeout(20):
        while (await asker.request("WAITING"))["result"] != number:
            pass


async def test_over_a_full_queue_the_greedy_is_told_so(mesh: MeshUnderTest) -> None:
    """At once, on any transport."""

    class Small(AlephScriptClient):
        rooms = ("SMALL",)
        gate: asyncio.Event

        @capability("X", max_in_flight=1, queue=1)
        async def method(self) -> None:
            await self.gate.wait()

    small = await mesh.open(Small, usuario="small")
    small.gate = asyncio.Event()
    asker = await mesh.open(usuario="asker")
    asking = [asyncio.ensure_future(asker.request("X", timeout=30)) for _ in range(3)]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    assert [type(each.exception()) for each in done] == [Overloaded]
    small.gate.set()
    await asyncio.gather(*set(asking) - done)
