"""One process of a contender in Python: its hub, requester, master, observers or bystanders.

``python -m tests.benchmarks.roles FILE ROLE PORT OPTIONS``

A hub serves until it is ended. The others connect, say ``{"ready": true}`` and then do what each
line of their input tells them, and say what came of it in a line. They measure what only they can
see; what they cost is the driver's to read. tests/node/bench_socketio.mjs is the same for Node.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import sys
import time
from collections.abc import Awaitable, Coroutine, Iterable
from types import ModuleType
from typing import Any

from tests.benchmarks import work
from tests.benchmarks.contenders import Bystander, Options

_AT_ONCE = 10
_BYSTANDERS_ROOM = "ESPERA"
_IN_A_ROOM = 5_000
"""Half as many as a room may have."""
_SILENCE_SECONDS = 10.0


class WrongAnswer(RuntimeError):
    """An answer was not that of the question it came for."""


class Role:
    """What a process is told to do: each method is a command."""

    def __init__(self, module: ModuleType, port: int, options: Options) -> None:
        self._module = module
        self._at = (port, options)

    async def connect(self) -> None:
        """What it does before it is told anything."""


class Requester(Role):
    """Asks."""

    async def connect(self) -> None:
        self._ask = await self._module.requester(*self._at)
        self._numbers = itertools.count(1)

    async def ask(self, in_flight: int, seconds: float, size: int = 0) -> dict[str, float]:
        """Ask for some seconds, always with so many questions in flight.

        Args:
            in_flight: Questions that wait for their answers at any time.
            seconds: How long new ones are asked.
            size: Bytes of each question and, about, of each answer.

        Returns:
            Answers ``checked``, one and all those of their questions, ``seconds`` until the last
            came, and the questions' ``p50``, ``p99`` and ``worst``, seconds.
        """
        clock, ask, relleno = time.perf_counter, self._ask, work.filling(size)
        took: list[float] = []
        began = clock()
        until = began + seconds

        async def keep_asking() -> None:
            while (asked := clock()) < until:
                number = next(self._numbers)
                if not await ask(number, relleno):
                    raise WrongAnswer(f"question {number} got another's answer")
                took.append(clock() - asked)

        await asyncio.gather(*(keep_asking() for _ in range(in_flight)))
        ended = clock() - began
        took.sort()
        p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
        found = {"checked": len(took), "seconds": ended, "p50": p50, "p99": p99}
        return {**found, "worst": took[-1]}


class Master(Role):
    """Answers, and says what happened."""

    async def connect(self) -> None:
        self._say = await self._module.master(*self._at)

    async def say(self, events: int, every: float = 0) -> dict[str, float]:
        """Say some events.

        Args:
            events: How many.
            every: Seconds from one to the next; 0 is as fast as they go.

        Returns:
            ``at``, when it began.
        """
        began = time.monotonic()
        for number in range(events):
            await self._say(number)
            if every:
                await asyncio.sleep(max(0.0, began + (number + 1) * every - time.monotonic()))
        return {"at": began}


class Observers(Role):
    """Hear."""

    async def connect(self) -> None:
        self._clients = 0
        self._heard = 0
        self._awaited = 0
        self._last = 0.0
        self._all_heard = asyncio.Event()

    async def join(self, count: int) -> dict[str, int]:
        """So many more are in the room."""
        await _in_groups(self._module.observer(*self._at, self._hear) for _ in range(count))
        self._clients += count
        return {"clients": self._clients}

    async def expect(self, events: int) -> dict[str, int]:
        """From now on count, until each has heard so many."""
        self._heard, self._awaited = 0, events * self._clients
        self._all_heard.clear()
        return {"awaited": self._awaited}

    async def collect(self) -> dict[str, float]:
        """Wait until all is heard, or nothing more for ten seconds.

        Returns:
            ``heard``, how many events, and ``at``, when the last of them came.
        """
        before = -1
        while self._heard < self._awaited and self._heard > before:
            before = self._heard
            try:
                await asyncio.wait_for(self._all_heard.wait(), _SILENCE_SECONDS)
            except TimeoutError:
                self._last = time.monotonic()
        return {"heard": self._heard, "at": self._last}

    def _hear(self) -> None:
        self._heard += 1
        if self._heard == self._awaited:
            self._last = time.monotonic()
            self._all_heard.set()


class Bystanders(Role):
    """Are there."""

    async def connect(self) -> None:
        self._there: list[Bystander] = []

    async def join(self, count: int) -> dict[str, int]:
        """So many more are there, in a few rooms."""
        await _in_groups(self._join() for _ in range(count))
        return {"clients": len(self._there)}

    async def storm(self, count: int) -> dict[str, float]:
        """So many more come at once; in how many ``seconds`` all of them were there."""
        began = time.monotonic()
        await asyncio.gather(*(self._join() for _ in range(count)))
        return {"clients": len(self._there), "seconds": time.monotonic() - began}

    async def _join(self) -> None:
        bystander = await self._module.bystander(*self._at)
        await bystander.join(f"{_BYSTANDERS_ROOM}_{len(self._there) // _IN_A_ROOM}")
        self._there.append(bystander)

    async def rooms(self, first: int, last: int) -> dict[str, int]:
        """They are in some more rooms, each in its share of them and their master."""

        async def one(number: int) -> None:
            bystander = self._there[number % len(self._there)]
            await bystander.join(f"SALA_{number}")
            await bystander.master(f"SALA_{number}")

        for number in range(first, last):  # one after the other: a bystander does one thing at once
            await one(number)
        return {"rooms": last}

    async def leave(self, count: int) -> dict[str, int]:
        """So many are there no more."""
        leaving, self._there = self._there[:count], self._there[count:]
        await _in_groups(each.leave() for each in leaving)
        return {"clients": len(self._there)}


ROLES = {
    "requester": Requester,
    "master": Master,
    "observers": Observers,
    "bystanders": Bystanders,
}


async def _in_groups(work: Iterable[Awaitable[None]]) -> None:
    works = iter(work)
    while group := list(itertools.islice(works, _AT_ONCE)):
        await asyncio.gather(*group)


async def _follow(role: Role) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    await role.connect()
    _print({"ready": True})
    while line := await lines.readline():
        told = json.loads(line)
        _print(await getattr(role, told.pop("command"))(**told))


def _print(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _run(main: Coroutine[Any, Any, None], options: Options) -> None:
    if options.get("uvloop"):
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


def _main(file: str, role: str, port: str, given: str) -> None:
    options: Options = json.loads(given)
    sys.modules.update(dict.fromkeys(options.get("without", ())))
    module = importlib.import_module(f"tests.benchmarks.contenders.{file}")
    if role == "hub":
        _run(module.serve(int(port), options), options)
    else:
        _run(_follow(ROLES[role](module, int(port), options)), options)


if __name__ == "__main__":
    _main(*sys.argv[1:])
