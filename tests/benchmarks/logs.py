"""What a log costs what is said: ``python -m tests.benchmarks.logs``.

Two hubs that are alike, but for the log of one of them in a file, tell the same events to as many
observers, in turns. Prints deliveries a second and the hub's CPU for 1,000 of them, with the log as
a share of those without.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import attrs

from alephscript import AlephScriptClient
from tests.benchmarks.hubs import cpu, started

ROOM = "BENCH"


@attrs.define
class Stand:
    """A hub, its speaker, and what its observers have heard.

    Attributes:
        pid: The hub's process.
        speaker: The member that says all events.
        rates: Deliveries a second, of each burst.
        costs: The hub's seconds of CPU for 1,000 deliveries, of each burst.
    """

    pid: int
    speaker: AlephScriptClient
    sockets: list[aiohttp.ClientWebSocketResponse]
    rates: list[float] = attrs.Factory(list)
    costs: list[float] = attrs.Factory(list)

    async def say(self, events: int) -> None:
        """Say a burst, and wait until everybody has heard it."""
        hearing = [asyncio.create_task(_hear(each, events)) for each in self.sockets]
        began, before = time.perf_counter(), cpu([self.pid])
        for number in range(events):
            await self.speaker.broadcast("TICK", {"number": number, "text": "x" * 100}, room=ROOM)
            if number % 50 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*hearing)
        count = events * len(self.sockets)
        self.rates.append(count / (time.perf_counter() - began))
        self.costs.append((cpu([self.pid]) - before) / count * 1000)


async def _hear(socket: aiohttp.ClientWebSocketResponse, left: int) -> None:
    while left:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise RuntimeError("an observer was cut off")
        if message.data == "2":
            await socket.send_str("3")
        elif "TICK" in message.data:
            left -= 1


async def _open(stack: AsyncExitStack, observers: int, *arguments: str) -> Stand:
    command = ("alephscript", "hub", "--port", "0", *arguments)
    url, pid = await started(stack, b"listening on", *command)
    speaker = await stack.enter_async_context(AlephScriptClient(url, usuario="speaker"))
    http = await stack.enter_async_context(aiohttp.ClientSession())
    sockets: list[Any] = []
    for _ in range(observers):
        address = f"{url}/socket.io/?EIO=4&transport=websocket"
        socket = await stack.enter_async_context(http.ws_connect(address))
        await socket.send_str("40/runtime,")
        await socket.send_str(f'42/runtime,1["CLIENT_SUSCRIBE",{{"room":"{ROOM}"}}]')
        while "43/runtime,1" not in (await socket.receive_str()):
            pass
        sockets.append(socket)
    return Stand(pid, speaker, sockets)


async def main() -> None:
    """Measure, with and without a log."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--observers", type=int, default=50)
    options.add_argument("--events", type=int, default=4000, help="of a burst")
    options.add_argument("--bursts", type=int, default=20)
    given = options.parse_args()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        plain = await _open(stack, given.observers)
        logged = await _open(stack, given.observers, "--log", ROOM, "--data", folder)
        for stand in (plain, logged):
            await stand.say(given.events)
            stand.rates.clear()
            stand.costs.clear()
        for _ in range(given.bursts):
            for stand in (plain, logged):
                await stand.say(given.events)
    rates = [statistics.median(each.rates) for each in (plain, logged)]
    costs = [statistics.median(each.costs) * 1000 for each in (plain, logged)]
    sys.stdout.write(
        f"deliveries a second: {rates[0]:,.0f} without, {rates[1]:,.0f} with a log: "
        f"{rates[1] / rates[0]:.2f}\n"
        f"ms of the hub's CPU for 1,000: {costs[0]:.2f} without, {costs[1]:.2f} with: "
        f"{costs[0] / costs[1]:.2f}\n"
    )


if __name__ == "__main__":
    asyncio.run(main())
