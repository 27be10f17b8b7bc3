"""What a mounted hub costs: ``python -m tests.benchmarks.mounted``.

A hub on a port of its own, and hubs mounted in a Starlette application under uvicorn, hypercorn and
granian, each a process of its own with a master of its own, are asked in turns, since the machine
is not always equally fast. Prints requests a second, 64 in flight, how long one takes, and the CPU
that 1,000 requests take of the hub's process, and each as a share of the hub's own port.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from alephscript import AlephScriptClient, Request, capability
from alephscript.client import loops
from alephscript.hub import Hub
from tests.benchmarks.hubs import one_by_one, put, together
from tests.benchmarks.machine import free_port

__all__ = ["app", "main"]

app = Starlette(routes=[Mount("/mesh", app=Hub().asgi())])
"""What the servers serve."""

_APP = "tests.benchmarks.mounted:app"

SERVERS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "own port": lambda port: ("alephscript", "hub", "--port", port),
    "uvicorn": lambda port: ("uvicorn", _APP, "--port", port, "--log-level", "warning"),
    "hypercorn": lambda port: ("hypercorn", _APP, "--bind", f"127.0.0.1:{port}", "-k", "uvloop"),
    "granian": lambda port: ("granian", "--interface", "asgi", "--port", port, "--no-log", _APP),
}
"""Where a hub can be, and what is started for that."""


class Echo(AlephScriptClient):
    """The master."""

    rooms = ("ROOM",)

    @capability("ECHO")
    async def echo(self, request: Request[Any]) -> dict[str, Any]:
        """Answer with what was asked."""
        return {"n": request.payload}


async def _master(url: str) -> None:
    async with Echo(url, retry_open=True):
        await asyncio.Event().wait()


class _Door:
    """A hub somewhere, its master, and who asks it."""

    def __init__(self, process: asyncio.subprocess.Process, client: AlephScriptClient) -> None:
        self._process = process
        self._client = client
        self.rates: list[float] = []
        self.times: list[float] = []
        self.costs: list[float] = []

    async def measure(self, seconds: float) -> None:
        """Ask for some seconds."""
        before = _cpu(self._process.pid)
        self.rates.append(await together(self._client, seconds))
        spent = _cpu(self._process.pid) - before
        self.costs.append(spent / (self.rates[-1] * seconds) * 1_000)
        self.times.append(await one_by_one(self._client, 300))


def _cpu(pid: int) -> float:
    """Seconds of CPU of a process and its children, threads included."""
    total = 0.0
    for each in (pid, *_children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(each) for each in found]


async def _open(stack: AsyncExitStack, server: str) -> _Door:
    port = str(free_port())
    url = f"http://127.0.0.1:{port}" + ("" if server == "own port" else "/mesh")
    process = await _start(stack, "-m", *SERVERS[server](port))
    await _start(stack, "-m", "tests.benchmarks.mounted", "--serve", url)
    client = AlephScriptClient(url, retry_open=True)
    await stack.enter_async_context(client)
    await client.request("ECHO", 0, timeout=30, wait_for_master=True)
    return _Door(process, client)


async def _start(stack: AsyncExitStack, *arguments: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stderr=asyncio.subprocess.DEVNULL
    )

    async def end() -> None:
        process.terminate()
        await process.wait()

    stack.push_async_callback(end)
    return process


async def _measure(rounds: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        doors = {server: await _open(stack, server) for server in SERVERS}
        for door in doors.values():
            await together(door._client, 1.0)
        for _ in range(rounds):
            for door in doors.values():
                await door.measure(seconds)
    put("hub", "req/s", "share", "p50, ms", "share", "CPU s of 1,000", "share")
    put(*["---"] * 7)
    first = next(iter(doors.values()))
    for server, door in doors.items():
        cells = [server]
        for mine, own in (
            (door.rates, first.rates),
            (door.times, first.times),
            (door.costs, first.costs),
        ):
            shares = [each / other for each, other in zip(mine, own, strict=True)]
            cells += [f"{statistics.median(mine):,.3f}", f"{statistics.median(shares):.2f}"]
        put(*cells)


def main() -> None:
    """Measure, or be the master of one of the hubs."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--serve", help=argparse.SUPPRESS)
    given = options.parse_args()
    loops.run(_master(given.serve) if given.serve else _measure(given.rounds, given.seconds))


if __name__ == "__main__":
    main()
