"""What several hubs cost and bring: ``python -m tests.benchmarks.hubs``.

Hubs and master are processes of their own; a redis-server is started for them. Prints how long one
request takes, asked at the master's hub and at another one; how many are answered in a second
across hubs, as a share of those at one; the CPU of all hubs that they take, in times of those at
one; how long Redis alone takes for two such messages; and how many frames go in one message.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs

from alephscript import AlephScriptClient
from alephscript.client import loops
from alephscript.hub.cluster.commands import Command
from alephscript.hub.cluster.opening import open_connection
from alephscript.hub.cluster.resp import Commands, RedisConnection
from tests.support.redis import RedisServer

ROOT = Path(__file__).parents[2]

_QUESTION, _ANSWER = 250, 120
"""Bytes of the two messages of a request across."""


async def started(stack: AsyncExitStack, ready: bytes, *arguments: str) -> tuple[str, int]:
    """Start a program; the last word of the line by which it says that it is ready, and its id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", *arguments),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.PIPE,
    )

    async def end() -> None:
        process.kill()
        await process.communicate()

    stack.push_async_callback(end)
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while ready not in (line := await process.stderr.readline()):
            assert line
    return line.decode().split()[-1], process.pid


def cpu(pids: list[int]) -> float:
    """Seconds of CPU that processes have taken."""
    # What clock_getcpuclockid(3) returns; /proc counts in hundredths of a second.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def published(redis: RedisServer | None) -> int:
    """Messages that were sent through Redis."""
    if redis is None:
        return 0
    lines = redis.command("info", "commandstats").splitlines()
    (calls,) = [each for each in lines if each.startswith("cmdstat_publish:")] or ["calls=0,"]
    return int(calls.partition("calls=")[2].partition(",")[0])


async def one_by_one(client: AlephScriptClient, count: int) -> float:
    """Milliseconds of a request, the median."""
    took = []
    for n in range(count):
        began = time.perf_counter()
        await client.request("ECHO", n)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


async def bare(redis: RedisServer, count: int) -> float:
    """Milliseconds of two messages through Redis, there and back, with no hub: the median."""
    commands = Commands(lambda *_: None, await open_connection(redis.url(), 5))
    commands.resume()
    took: list[float] = []
    began, answered = 0.0, asyncio.Event()

    def say(channel: str, size: int) -> None:
        commands.send([Command(("PUBLISH", channel, b"x" * size), None)])

    def begin() -> None:
        nonlocal began
        began = time.perf_counter()
        say("there", _QUESTION)

    def hear(value: list[Any]) -> None:
        _, channel, data = value
        if not isinstance(data, bytes):
            if data == 2:  # subscriptions that count
                begin()
            return
        if channel == b"there":
            say("back", _ANSWER)
            return
        took.append(time.perf_counter() - began)
        if len(took) < count:
            begin()
        else:
            answered.set()

    channels = RedisConnection(hear, await open_connection(redis.url(), 5))
    channels.resume()
    channels.write(("SUBSCRIBE", "there", "back"))
    async with asyncio.timeout(30):
        await answered.wait()
    for each in (commands, channels):
        each.fail(ConnectionError("enough"))
    return statistics.median(took) * 1000


async def together(client: AlephScriptClient, seconds: float) -> int:
    """Requests that are answered in so many seconds, 64 in flight."""
    ended, until = 0, time.perf_counter() + seconds

    async def ask() -> None:
        nonlocal ended
        while time.perf_counter() < until:
            await client.request("ECHO", ended)
            ended += 1

    await asyncio.gather(*(ask() for _ in range(64)))
    return ended


@attrs.frozen
class Figures:
    """What so many hubs are like.

    Attributes:
        here: Milliseconds of a request at the master's own hub, the median.
        there: The same at another hub.
        share: Requests a second across hubs, as a share of those at one.
        times: CPU of all hubs for a request across, in times of one at one hub.
        frames: Frames in a message.
        bare: Milliseconds of the two messages through Redis alone, the median.
    """

    here: float
    there: float
    share: float
    times: float
    frames: float
    bare: float

    def cells(self) -> list[str]:
        """Write them for the table."""
        return [
            f"{self.here:.2f}",
            f"{self.there:.2f}",
            f"{self.there - self.here:+.2f}",
            f"{self.bare:.2f}",
            f"{self.share:.2f}",
            f"{self.times:.1f}",
            f"{self.frames:.0f}",
        ]


async def measure(redis: RedisServer | None, hubs: int, seconds: float) -> Figures:
    """Measure so many hubs; of one alone nothing is across."""
    shared = () if redis is None else ("--redis", redis.url())
    async with AsyncExitStack() as stack:
        programs = [
            await started(stack, b"listening on", "alephscript", "hub", "--port", "0", *shared)
            for _ in range(hubs)
        ]
        urls, pids = [url for url, _ in programs], [pid for _, pid in programs]
        await started(stack, b"is ready: ", "tests.hub.cluster.worker", urls[0], "worker")
        here = await stack.enter_async_context(AlephScriptClient(urls[0]))
        there = await stack.enter_async_context(AlephScriptClient(urls[-1]))
        for client in (here, there):
            await one_by_one(client, 300)
        same, other, alone = [], [], [0.0]
        for _ in range(5):  # in turns, since the machine is not always equally fast
            same.append(await one_by_one(here, 300))
            other.append(await one_by_one(there, 300))
            if redis is not None:
                alone.append(await bare(redis, 300))
        ended, spent, sent = [0, 0], [0.0, 0.0], [0, 0]
        for turn in range(6):
            where, client = turn % 2, (here, there)[turn % 2]
            before = cpu(pids), published(redis)
            ended[where] += await together(client, seconds / 3)
            spent[where] += cpu(pids) - before[0]
            sent[where] += published(redis) - before[1]
    costs = [seconds / requests for seconds, requests in zip(spent, ended, strict=True)]
    return Figures(
        here=statistics.median(same),
        there=statistics.median(other),
        share=ended[1] / ended[0],
        times=costs[1] / costs[0],
        frames=2 * ended[1] / (sent[1] or 1),
        bare=statistics.median(alone[1:] or alone),
    )


@contextlib.contextmanager
def own_redis() -> Iterator[RedisServer]:
    """A Redis for the measurement."""
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer("redis-server", folder)
        redis.start()
        try:
            yield redis
        finally:
            redis.kill()


async def compare(seconds: float) -> dict[str, float]:
    """What a request costs across two hubs, as shares of what one costs at one of them."""
    with own_redis() as redis:
        found = await measure(redis, 2, seconds)
    return {
        "across_p50": found.there / found.here,
        "across_rps": found.share,
        "across_cpu": found.times,
        "across_frames": found.frames,
    }


def put(*cells: str) -> None:
    """Print a line of the table."""
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


async def main() -> None:
    """Measure one, two and three hubs."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=3.0)
    seconds = options.parse_args().seconds
    with own_redis() as redis:
        put(
            *("hubs", "registry", "p50 here, ms", "p50 across, ms", "added, ms", "Redis, ms"),
            *("req/s, share", "CPU, times", "frames a message"),
        )
        put(*["---"] * 9)
        for hubs, shared in ((1, None), (1, redis), (2, redis), (3, redis)):
            cells = (await measure(shared, hubs, seconds)).cells()
            where = "memory" if shared is None else "Redis"
            put(str(hubs), where, *(cells if hubs > 1 else [cells[0], *["-"] * 6]))


if __name__ == "__main__":
    loops.run(main())
