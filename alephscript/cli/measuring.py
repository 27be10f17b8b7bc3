"""``alephscript ping``, ``bench`` and ``check``: how a running hub does.

May go in: timing what a hub and its members answer. May not: figures that members keep (`top`).
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from alephscript.cli.asking import read_payload
from alephscript.cli.options import Add, CliError, client
from alephscript.cli.printing import put_line, write_duration
from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import capability, on
from alephscript.client.messages import Event
from alephscript.errors import AlephScriptError, RequestError, UnknownEvent
from alephscript.protocol import wire

__all__ = ["add_to", "write_spread"]

_OK, _WARNING, _CRITICAL = range(3)
"""Exit statuses as monitoring systems read them."""


def add_to(add: Add) -> None:
    """Add the commands."""
    ping = add("ping", "how long a round trip to the hub takes", _ping)
    ping.add_argument("--count", type=_positive, default=10, help="round trips (%(default)s)")
    ping.add_argument(
        "--interval", type=float, default=0.1, help="seconds between two (%(default)s)"
    )
    bench = add("bench", "requests and events a second, and how long each takes", _bench)
    bench.add_argument(
        "capability",
        metavar="CAP",
        nargs="?",
        help="the capability to ask; by default one of its own, in a room of its own",
    )
    bench.add_argument("payload", metavar="JSON", nargs="?", default="{}", help="as of request")
    bench.add_argument("--room", help="room to ask; by default a room that offers CAP")
    bench.add_argument("--requests", type=_positive, default=5000, help="how many (%(default)s)")
    bench.add_argument(
        "--concurrency", type=_positive, default=32, help="how many at once (%(default)s)"
    )
    check = add("check", "one line for monitoring: 0 ok, 1 a warning, 2 critical", _check)
    check.add_argument("rooms", metavar="ROOM", nargs="*", help="rooms that need a master")
    check.add_argument(
        "--warning", type=float, default=0.5, metavar="S", help="round trip in s (%(default)s)"
    )
    check.add_argument(
        "--critical", type=float, default=2.0, metavar="S", help="round trip in s (%(default)s)"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("write a number of 1 or more")
    return int(text)


def write_spread(seconds: Sequence[float], *, percentiles: Sequence[int] = (50, 95, 99)) -> str:
    """Write how times are spread: the least, percentiles by the nearest rank, the most."""
    ordered = sorted(seconds)
    ranks = {each: max(1, math.ceil(len(ordered) * each / 100)) for each in percentiles}
    named = [f"p{each} {write_duration(ordered[rank - 1])}" for each, rank in ranks.items()]
    return ", ".join(
        [f"min {write_duration(ordered[0])}", *named, f"max {write_duration(ordered[-1])}"]
    )


async def _round_trip(asker: AlephScriptClient) -> float:
    """Ask the hub itself for little, and return the seconds until it has answered."""
    clock = time.perf_counter  # a loop's own may be rounded
    began = clock()
    try:
        await asker.discover(room="*")  # a pseudo-room, which has no capabilities
    except UnknownEvent:
        began = clock()
        await asker.server_state()  # all that a stock hub answers
    return clock() - began


async def _ping(options: argparse.Namespace) -> None:
    if not options.interval >= 0:
        raise CliError("an interval is 0 seconds or more")
    times = []
    async with client(options) as asker:
        for number in range(options.count):
            if number:
                await asyncio.sleep(options.interval)
            times.append(await _round_trip(asker))
            put_line(f"{number + 1}: {write_duration(times[-1])}")
    put_line(f"{len(times)} round trips to {options.url}: {write_spread(times)}")


class _Echo(AlephScriptClient):
    """A master that answers with what it was asked."""

    @capability("BENCH_ECHO", queue=100_000)
    async def echo(self, payload: Any) -> Any:
        """Say it again."""
        return payload


_ONE_BY_ONE = 500
_LISTENERS = 10
_BURST = 500
"""Events of one; a listener keeps 1,024 that wait."""


class _Listener(AlephScriptClient):
    """A member that counts what it hears."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.awaited = 0
        self.all_heard = asyncio.Event()

    @on("BENCH_EVENT")
    async def hear(self, _: Event[Any]) -> None:
        """Count it."""
        self.awaited -= 1
        if not self.awaited:
            self.all_heard.set()


async def _bench(options: argparse.Namespace) -> None:
    payload = read_payload(options.payload)
    async with client(options) as asker:
        if options.capability is not None:
            await _measure(
                options, lambda: asker.request(options.capability, payload, room=options.room)
            )
            return
        room = f"BENCH_{uuid.uuid4().hex[:8]}"
        async with client(options, _Echo, max_in_flight=options.concurrency) as master:
            await master.make_master(room)
            began = time.process_time()
            await _measure(options, lambda: asker.request("BENCH_ECHO", payload, room=room))
            spent = time.process_time() - began
            put_line(
                f"CPU of asker and master: {write_duration(spent / options.requests)} a request, "
                f"frames and packets in {'C' if wire.IS_COMPILED else 'Python'}"
            )
            times = []
            for _ in range(min(options.requests, _ONE_BY_ONE)):
                began = time.perf_counter()
                await asker.request("BENCH_ECHO", payload, room=room)
                times.append(time.perf_counter() - began)
            put_line(f"one at a time: {write_spread(times)}")
        await _burst(options, asker, room)


async def _burst(options: argparse.Namespace, teller: AlephScriptClient, room: str) -> None:
    """Say events to listeners as fast as they go, and print how many a second were heard."""
    events = min(options.requests, _BURST)
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(client(options, _Listener)) for _ in range(_LISTENERS)
        ]
        for each in listeners:
            each.awaited = events
            await each.subscribe(room)
        began = time.perf_counter()
        for number in range(events):
            await teller.broadcast("BENCH_EVENT", number, room=room)
        await asyncio.gather(*(each.all_heard.wait() for each in listeners))
        seconds = time.perf_counter() - began
    heard = events * len(listeners)
    put_line(
        f"{heard} events heard by {len(listeners)} listeners in {write_duration(seconds)}: "
        f"{heard / seconds:.0f}/s"
    )


async def _measure(options: argparse.Namespace, ask: Callable[[], Awaitable[Any]]) -> None:
    """Ask again and again, and print how many a second were answered, and how fast.

    Raises:
        CliError: Requests failed.
    """
    clock = time.perf_counter  # a loop's own may be rounded
    times: list[float] = []
    failures: collections.Counter[str] = collections.Counter()
    left = iter(range(options.requests))

    async def work() -> None:
        for _ in left:
            began = clock()
            try:
                await ask()
            except RequestError as error:
                failures[error.code] += 1
            else:
                times.append(clock() - began)

    began = clock()
    at_once = min(options.concurrency, options.requests)  # more would only be waited for
    await asyncio.gather(*(work() for _ in range(at_once)))
    seconds = clock() - began
    if times:
        put_line(f"{len(times)} answers in {write_duration(seconds)}: {len(times) / seconds:.0f}/s")
        put_line(write_spread(times))
    if failures:
        listed = ", ".join(f"{code} {count}" for code, count in failures.most_common())
        raise CliError(f"{failures.total()} of {options.requests} requests failed: {listed}")


async def _check(options: argparse.Namespace) -> None:
    """Print one line.

    Raises:
        SystemExit: Something is not as it should be; its code says how bad that is.
    """
    status, text = await _judge(options)
    put_line(f"{('OK', 'WARNING', 'CRITICAL')[status]} - {text}")
    if status != _OK:
        raise SystemExit(status)


async def _judge(options: argparse.Namespace) -> tuple[int, str]:
    try:
        async with client(options) as asker:
            state = await asker.server_state()
            seconds = await _round_trip(asker)
    except (AlephScriptError, CliError) as error:
        return _CRITICAL, str(error)
    mastered = {room["roomId"] for room in state["rooms"] if room.get("master")}
    figures = f"|time={seconds:.6f}s;{options.warning:g};{options.critical:g};0"
    if missing := [name for name in options.rooms if name not in mastered]:
        return _CRITICAL, f"no master: {', '.join(missing)}{figures}"
    text = f"rooms with a master: {len(mastered)}, round trip {write_duration(seconds)}{figures}"
    if seconds > options.critical:
        return _CRITICAL, text
    return (_WARNING if seconds > options.warning else _OK), text
