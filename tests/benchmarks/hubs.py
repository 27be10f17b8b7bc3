"""What several hubs cost and bring: ``python -m tests.benchmarks.hubs``.

Hubs and master are processes of their own; a redis-server is started for them. Prints how long one
request takes, asked at the master's hub and at another one, and how many are answered in a second
across hubs, as a share of those at one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from alephscript import AlephScriptClient
from alephscript.client import loops
from tests.support.redis import RedisServer

ROOT = Path(__file__).parents[2]


async def started(stack: AsyncExitStack, ready: bytes, *arguments: str) -> str:
    """Start a program; the last word of the line by which it says that it is ready."""
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
    return line.decode().split()[-1]


async def one_by_one(client: AlephScriptClient, count: int) -> float:
    """Milliseconds of a request, the median."""
    took = []
    for n in range(count):
        began = time.perf_counter()
        await client.request("ECHO", n)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


async def together(client: AlephScriptClient, seconds: float) -> float:
    """Requests a second, 64 in flight."""
    ended, until = 0, time.perf_counter() + seconds

    async def ask() -> None:
        nonlocal ended
        while time.perf_counter() < until:
            await client.request("ECHO", ended)
            ended += 1

    await asyncio.gather(*(ask() for _ in range(64)))
    return ended / seconds


async def measure(redis: str | None, hubs: int, seconds: float) -> list[str]:
    """A line of the table for so many hubs."""
    shared = () if redis is None else ("--redis", redis)
    async with AsyncExitStack() as stack:
        urls = [
            await started(stack, b"listening on", "alephscript", "hub", "--port", "0", *shared)
            for _ in range(hubs)
        ]
        await started(stack, b"is ready: ", "tests.cluster.worker", urls[0], "worker")
        here = await stack.enter_async_context(AlephScriptClient(urls[0]))
        there = await stack.enter_async_context(AlephScriptClient(urls[-1]))
        for client in (here, there):
            await one_by_one(client, 300)
        same, other = [], []
        for _ in range(5):  # in turns, since the machine is not always equally fast
            same.append(await one_by_one(here, 300))
            other.append(await one_by_one(there, 300))
        rates = [await together(client, seconds) for client in (here, there)]
    crossing = "-" if hubs == 1 else f"{statistics.median(other):.2f}"
    added = "-" if hubs == 1 else f"{statistics.median(other) - statistics.median(same):+.2f}"
    rate = "-" if hubs == 1 else f"{rates[1] / rates[0]:.2f}"
    kind = "memory" if redis is None else "Redis"
    return [str(hubs), kind, f"{statistics.median(same):.2f}", crossing, added, rate]


def put(*cells: str) -> None:
    """Print a line of the table."""
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


async def main() -> None:
    """Measure one, two and three hubs."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=3.0)
    seconds = options.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer("redis-server", folder)
        redis.start()
        try:
            put("hubs", "registry", "p50 here, ms", "p50 across, ms", "added, ms", "req/s, share")
            put(*["---"] * 6)
            put(*await measure(None, 1, seconds))
            for hubs in (1, 2, 3):
                put(*await measure(redis.url(), hubs, seconds))
        finally:
            redis.kill()


if __name__ == "__main__":
    loops.run(main())
