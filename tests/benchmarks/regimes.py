"""What is measured: each regime puts up a hub, does its work and notes what it found.

What is found goes into a dict as it is found, named ``metric`` or ``metric@where on the curve``, so
that what a failure left is not lost. CPU is in seconds for 1,000 requests, or 1,000 delivered
events.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import attrs

from tests.benchmarks import hubs
from tests.benchmarks.contenders import Contender, interpreter
from tests.benchmarks.machine import Process, ProcessFailed, free_port, raise_file_limit

__all__ = ["FULL", "OURS_ONLY", "QUICK", "REGIMES", "TINY", "Found", "Scale"]

Found = dict[str, float]


@attrs.frozen
class Scale:
    """How much is measured.

    Attributes:
        rounds: How often all of it is.
        seconds: How long requests are asked, for each number in flight.
        warm: How long they are asked before anything is measured; Node's compiler needs it.
        in_flight: Requests in flight at a time.
        observers: Who hears the events.
        bursts: How many bursts of events.
        burst: Events of one, at most; our listeners buffer 1,024.
        paced: Events said at 100 a second.
        deliveries: Events that reach an observer, of each room of the curve, about.
        sizes: Bytes of a question.
        room_sizes: Observers in the room.
        rooms: Rooms that the hub knows besides, each with a master.
        clients: Connections that the hub has besides.
        leaving: Connections when some of them leave.
        leaves: How often they do.
        idle: Connections when the hub's memory is looked at.
        storms: Connections that come at once.
        across_seconds: How long requests are asked across hubs, in all.
        starts: How often a hub is started, and its clients imported.
    """

    rounds: int = 3
    seconds: float = 4.0
    warm: float = 2.0
    in_flight: tuple[int, ...] = (1, 64, 256, 1024)
    observers: int = 50
    bursts: int = 12
    burst: int = 500
    paced: int = 300
    deliveries: int = 20_000
    sizes: tuple[int, ...] = (100, 1_000, 10_000, 100_000, 900_000)
    room_sizes: tuple[int, ...] = (1, 10, 100, 500, 2_000)
    rooms: tuple[int, ...] = (10, 100, 500, 2_000)
    clients: tuple[int, ...] = (10, 500, 5_000)
    leaving: tuple[int, ...] = (10, 10_000)
    leaves: int = 5
    idle: tuple[int, ...] = (500, 5_000, 19_500)  # with 20,000 files
    storms: tuple[int, ...] = (2_000,)
    across_seconds: float = 15.0
    starts: int = 5


FULL = Scale()
QUICK = Scale(
    rounds=1,
    seconds=1.0,
    warm=1.0,
    bursts=12,
    paced=100,
    deliveries=5_000,
    room_sizes=(1, 10, 100, 500),
    rooms=(10, 200),
    clients=(10, 500),
    leaving=(10, 1_000),
    idle=(500,),
    across_seconds=6.0,
    starts=2,
)
TINY = Scale(
    rounds=1,
    seconds=0.05,
    warm=0.05,
    in_flight=(1, 64),
    observers=2,
    bursts=1,
    burst=5,
    paced=2,
    deliveries=10,
    sizes=(100, 900_000),
    room_sizes=(1, 2),
    rooms=(2, 4),
    clients=(2,),
    leaving=(2,),
    leaves=1,
    idle=(2, 4),
    storms=(20,),
    across_seconds=0.6,
    starts=1,
)

_PACE_SECONDS = 0.01
_SMALLEST_BURST = 5
_LARGE_IN_FLIGHT = 4
"""Of the payload curve: as many of the largest as the hubs' buffers hold."""
_LARGE = 500_000
"""Bytes of questions whose memory is seen beside all else that a process has."""
_KILO = 1024
_LEAVING_AT_ONCE = 500
_IDLE_SECONDS = 1.0
_STORM_LOOK_SECONDS = 0.2
_OTHER_FILES = 200
"""Files that a hub has open besides its clients'."""
_THOUSAND = 1_000


class Stand:
    """A hub of its own, and whoever is started around it; all of it ends with the block."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._port = free_port()
        self._processes = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as processes:
            program = self._contender.program("hub", self._port)
            self.hub = await processes.enter_async_context(Process(program, name="the hub"))
            await self.hub.listening(self._port)
            self._processes = processes.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._processes.aclose()

    async def start(self, role: str) -> Process:
        """A process of clients, connected."""
        program = self._contender.program(role, self._port)
        process = await self._processes.enter_async_context(Process(program, name=f"the {role}"))
        await process.read()
        return process


async def _ask(
    sides: Mapping[str, Process], found: Found, *, in_flight: int, seconds: float, size: int = 0
) -> Mapping[str, float]:
    """Ask; what it gave: ``rps``, ``p50_us``, …, each side's ``…_cpu`` and their sum, ``cpu``."""
    before = {name: side.cpu() for name, side in sides.items()}
    asked = await sides["requester"].ask("ask", in_flight=in_flight, seconds=seconds, size=size)
    checked = asked["checked"]
    found["checked"] = found.get("checked", 0) + checked
    costs = {
        f"{name}_cpu": (side.cpu() - before[name]) / checked * _THOUSAND
        for name, side in sides.items()
    }
    return {
        "rps": checked / asked["seconds"],
        "p50_us": asked["p50"] * 1e6,
        "p99_us": asked["p99"] * 1e6,
        "worst_ms": asked["worst"] * 1e3,
        "cpu": sum(costs.values()),
        **costs,
    }


async def _say(
    hub: Process, master: Process, observers: Process, *, events: int, every: float = 0
) -> tuple[float, float, float]:
    """Say events and wait until all have heard them: how many, seconds, CPU of the hub.

    Raises:
        ProcessFailed: Some were lost.
    """
    expected = await observers.ask("expect", events=events)
    before = hub.cpu()
    said = await master.ask("say", events=events, every=every)
    heard = await observers.ask("collect")
    if heard["heard"] != expected["awaited"]:
        raise ProcessFailed(f"of {expected['awaited']} events {heard['heard']} were heard")
    return heard["heard"], heard["at"] - said["at"], hub.cpu() - before


async def main(contender: Contender, scale: Scale, found: Found) -> None:
    """Requests, few and many in flight, then events, in bursts and paced."""
    async with Stand(contender) as stand:
        master = await stand.start("master")
        requester = await stand.start("requester")
        sides = {"hub": stand.hub, "master": master, "requester": requester}
        await _ask(sides, found, in_flight=64, seconds=scale.warm)
        for in_flight in scale.in_flight:
            asked = await _ask(sides, found, in_flight=in_flight, seconds=scale.seconds)
            found |= {f"{metric}@{in_flight}": value for metric, value in asked.items()}

        observers = await stand.start("observers")
        await observers.ask("join", count=scale.observers)
        around = (stand.hub, master, observers)
        await _say(*around, events=scale.burst)
        bursts = [await _say(*around, events=scale.burst) for _ in range(scale.bursts)]
        heard, seconds, cpu = (sum(each) for each in zip(*bursts, strict=True))
        found["burst_per_s"] = heard / seconds
        found["burst_cpu"] = cpu / heard * _THOUSAND
        heard, _, cpu = await _say(*around, events=scale.paced, every=_PACE_SECONDS)
        found["paced_cpu"] = cpu / heard * _THOUSAND


async def payload(contender: Contender, scale: Scale, found: Found) -> None:
    """Requests of growing size, four in flight; memory by what the system gave meanwhile."""
    async with Stand(contender) as stand:
        sides = {
            "hub": stand.hub,
            "master": await stand.start("master"),
            "requester": await stand.start("requester"),
        }
        await _ask(sides, found, in_flight=_LARGE_IN_FLIGHT, seconds=scale.warm)
        for size in scale.sizes:
            for side in sides.values():
                side.forget_peak()
            before = {name: side.resident() for name, side in sides.items()}
            asked = await _ask(
                sides, found, in_flight=_LARGE_IN_FLIGHT, seconds=scale.seconds / 2, size=size
            )
            found[f"payload_rps@{size}"] = asked["rps"]
            found[f"payload_cpu@{size}"] = asked["hub_cpu"]
            if size < _LARGE:
                continue
            for name, side in sides.items():
                held = (side.peak() - before[name]) * _KILO / _LARGE_IN_FLIGHT
                found[f"payload_{name}_held@{size}"] = held / size


async def rooms(contender: Contender, scale: Scale, found: Found) -> None:
    """Bursts to a growing room, then requests beside a growing number of other rooms."""
    async with Stand(contender) as stand:
        around = (stand.hub, await stand.start("master"), await stand.start("observers"))
        present = 0
        for size in scale.room_sizes:
            await around[2].ask("join", count=size - present)
            present = size
            events = max(_SMALLEST_BURST, min(scale.burst, scale.deliveries // size))
            await _say(*around, events=events)
            heard, seconds, cpu = await _say(*around, events=events)
            found[f"room_size_per_s@{size}"] = heard / seconds
            found[f"room_size_cpu@{size}"] = cpu / heard * _THOUSAND

    async with Stand(contender) as stand:
        sides = {
            "hub": stand.hub,
            "master": await stand.start("master"),
            "requester": await stand.start("requester"),
        }
        bystanders = await stand.start("bystanders")
        await bystanders.ask("join", count=10)
        await _ask(sides, found, in_flight=64, seconds=scale.warm)
        known = 0
        for count in scale.rooms:
            await bystanders.ask("rooms", first=known, last=count)
            known = count
            asked = await _ask(sides, found, in_flight=64, seconds=scale.seconds / 2)
            found[f"rooms_rps@{count}"] = asked["rps"]
            found[f"rooms_cpu@{count}"] = asked["hub_cpu"]


async def clients(contender: Contender, scale: Scale, found: Found) -> None:
    """Requests beside a growing number of connections, then the cost when some come and leave."""
    async with Stand(contender) as stand:
        sides = {
            "hub": stand.hub,
            "master": await stand.start("master"),
            "requester": await stand.start("requester"),
        }
        bystanders = await stand.start("bystanders")
        await _ask(sides, found, in_flight=64, seconds=scale.warm)
        present = 0
        for count in scale.clients:
            await bystanders.ask("join", count=count - present)
            present = count
            await stand.hub.quiet()
            asked = await _ask(sides, found, in_flight=64, seconds=scale.seconds / 2)
            found[f"clients_rps@{count}"] = asked["rps"]
            found[f"clients_cpu@{count}"] = asked["hub_cpu"]

    async with Stand(contender) as stand:
        bystanders = await stand.start("bystanders")
        present = 0
        for count in scale.leaving:
            costs, joins = [], []
            leaving = min(count, _LEAVING_AT_ONCE)
            for _ in range(scale.leaves):
                before = stand.hub.cpu()
                await bystanders.ask("join", count=count - present)
                joins.append((stand.hub.cpu() - before) / (count - present))
                costs.append(await _leave(stand.hub, bystanders, leaving))
                present = count - leaving
            found[f"join_us@{count}"] = statistics.median(joins) * 1e6
            found[f"leave_us@{count}"] = statistics.median(costs) * 1e6


async def _leave(hub: Process, bystanders: Process, count: int) -> float:
    """Have some leave; the hub's CPU seconds for each, without what it does anyway."""
    await hub.quiet()
    idle_since, at_first = time.monotonic(), hub.cpu()
    await asyncio.sleep(_IDLE_SECONDS)
    leaving_since, before = time.monotonic(), hub.cpu()
    await bystanders.ask("leave", count=count)
    await asyncio.sleep(_IDLE_SECONDS / 10)  # a hub may tidy up when the connection is gone
    now, after = time.monotonic(), hub.cpu()
    heartbeats = (before - at_first) / (leaving_since - idle_since)
    return (after - before - heartbeats * (now - leaving_since)) / count


async def memory(contender: Contender, scale: Scale, found: Found) -> None:
    """The hub's resident memory: empty, and what each of many connections adds."""
    async with Stand(contender) as stand:
        await stand.hub.quiet()
        empty = stand.hub.resident()
        found["hub_mb"] = empty / 1024
        bystanders = await stand.start("bystanders")
        present = 0
        for count in scale.idle:
            _need_files(count)
            await bystanders.ask("join", count=count - present)
            present = count
            await stand.hub.quiet()
            found[f"idle_kb@{count}"] = (stand.hub.resident() - empty) / count


def _need_files(count: int) -> None:
    """Say so where a hub cannot have so many connections.

    Raises:
        ProcessFailed: The limit of open files is too low.
    """
    if (most := raise_file_limit()) < count + _OTHER_FILES:
        raise ProcessFailed(
            f"{count:,} connections need more than {most:,} files; raise `ulimit -n`"
        )


async def storm(contender: Contender, scale: Scale, found: Found) -> None:
    """Many come at once to a hub that was just started, while those who are there go on asking."""
    for count in scale.storms:
        _need_files(count)
        async with Stand(contender) as stand:
            sides = {
                "hub": stand.hub,
                "master": await stand.start("master"),
                "requester": await stand.start("requester"),
            }
            bystanders = await stand.start("bystanders")
            await _ask(sides, found, in_flight=1, seconds=scale.warm)
            coming = asyncio.create_task(bystanders.ask("storm", count=count))
            worst = 0.0
            while not coming.done():
                asked = await _ask(sides, found, in_flight=1, seconds=_STORM_LOOK_SECONDS)
                worst = max(worst, asked["worst_ms"])
            found[f"storm_s@{count}"] = coming.result()["seconds"]
            found[f"storm_worst_ms@{count}"] = worst


async def across(contender: Contender, scale: Scale, found: Found) -> None:
    """Requests between two hubs that share a Redis, as shares of those at one of them."""
    found |= await hubs.compare(scale.across_seconds)


async def start(contender: Contender, scale: Scale, found: Found) -> None:
    """From the program's start to its first connection; and what a program of clients imports."""
    took = []
    for _ in range(scale.starts):
        began = time.monotonic()
        async with Stand(contender):
            took.append(time.monotonic() - began)
    found["start_ms"] = statistics.median(took) * 1e3
    if contender.imports:
        imports = [await _import(contender) for _ in range(scale.starts)]
        found["import_ms"] = statistics.median(imports) * 1e3


async def _import(contender: Contender) -> float:
    """Seconds that an import statement takes in a fresh interpreter."""
    program = (
        "import time; began = time.perf_counter()\n"
        f"import {contender.imports}\n"
        "print(time.perf_counter() - began)"
    )
    process = await asyncio.create_subprocess_exec(
        *interpreter(contender.clients.options), "-c", program, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return float(output)


Regime = Callable[[Contender, Scale, Found], Awaitable[None]]

REGIMES: Mapping[str, Regime] = {
    each.__name__: each for each in (main, payload, rooms, clients, memory, storm, across, start)
}
HUB_ONLY = frozenset({"memory", "storm", "across", "start"})
"""Regimes in which other clients at the same hub would measure the same again."""
OURS_ONLY = frozenset({"across"})
"""Regimes that hold this package against itself."""
