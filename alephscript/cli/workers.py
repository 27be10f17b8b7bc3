"""``alephscript hub --workers N``: several hub processes on one port, looked after by this one.

May go in: starting, watching and ending processes. May not: what a worker does, which is the same
command without ``--workers``.

A worker's stdin is a pipe from this process, which writes nothing: where it ends, so does the
worker, or a killed command would leave a mesh behind that has its port.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from alephscript.cli.options import CliError
from alephscript.hub.workers.pulse import BEAT_SECONDS, Pulse

__all__ = ["outlive_nobody", "run"]

_PAUSE_SECONDS = 0.5
"""Before a worker that ended is started again."""

_MISSED_BEATS = 10
"""So many beats of its heart a worker may miss; a look counts them and no clock, so that a machine
that slept finds its workers as they were."""


async def run(count: int, host: str, port: int, scheme: str) -> None:
    """Run workers until a signal comes; a worker that ends by itself is started again.

    Args:
        count: How many workers.
        host: The address that they listen on.
        port: The port; 0 takes a free one.
        scheme: What the address begins with under which clients find them.

    Raises:
        CliError: The port is taken, or a worker never listened.
    """
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    with (
        _reserved(host, port) as reserved,
        tempfile.TemporaryDirectory(prefix="alephscript-") as folder,
        contextlib.closing(Pulse(Path(folder), count)) as pulse,
    ):
        chosen = reserved.getsockname()[1]
        ready = [asyncio.Event() for _ in range(count)]
        tasks = [
            loop.create_task(_look_after(_Post(chosen, folder, number, count), each, pulse, ending))
            for number, each in enumerate(ready)
        ]
        report = loop.create_task(_report(f"{scheme}://{_shown(host)}:{chosen}", ready))
        stopping = loop.create_task(ending.wait())
        # Before that, a task ends only if its worker could not be started.
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        ending.set()
        report.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


def outlive_nobody(end: Callable[[], None]) -> None:
    """Have this worker end when the process is gone that looks after it, whatever ended that one.

    Args:
        end: Ends the worker.
    """
    loop = asyncio.get_running_loop()

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            end()

    loop.add_reader(sys.stdin.fileno(), look)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _report(url: str, ready: Sequence[asyncio.Event]) -> None:
    """Print where the workers listen, when all do."""
    for each in ready:
        await each.wait()
    print(f"alephscript hub listening on {url}", file=sys.stderr, flush=True)


def _reserved(host: str, port: int) -> socket.socket:
    """Reserve a port that the workers may share, and no other program."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind((host, port))  # without sharing: fails if another program has it
            port = alone.getsockname()[1]
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except (OSError, OverflowError) as exc:
        reserved.close()
        raise CliError(f"cannot listen on {host}:{port}: {exc}") from exc
    return reserved


class _Post(NamedTuple):
    """What a worker is told of its place among the others."""

    port: int
    folder: str
    number: int
    workers: int


async def _look_after(
    post: _Post, ready: asyncio.Event, pulse: Pulse, ending: asyncio.Event
) -> None:
    """Keep one worker running until all are to end.

    Raises:
        CliError: The worker ended before it ever listened.
    """
    arguments = ["-m", "alephscript", *sys.argv[1:]]
    arguments += ["--port", str(post.port), "--workers", str(post.workers)]
    while not ending.is_set():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            *("--worker", post.folder, str(post.number)),
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C goes to this process, which passes it on
        )
        reading = asyncio.ensure_future(_pass_on(process, ready))
        stopping = asyncio.ensure_future(ending.wait())
        watching = asyncio.ensure_future(_watch(process, pulse, post.number))
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        if not reading.done():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await reading
        stopping.cancel()
        code = await process.wait()
        pulse.reset(post.number)
        if not ready.is_set():
            raise CliError(f"a worker did not start (it ended with {code})")
        if not ending.is_set():
            print(f"alephscript: a worker ended ({code}); it is started again", file=sys.stderr)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_SECONDS):
                    await ending.wait()


async def _watch(process: asyncio.subprocess.Process, pulse: Pulse, number: int) -> None:
    """End a worker that hangs: its heart has begun to beat, and beats no more."""
    before, missed = 0, 0
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        beats = pulse.count(number)
        missed = missed + 1 if beats == before > 0 else 0
        before = beats
        if missed > _MISSED_BEATS:
            print("alephscript: a worker hangs; it is ended", file=sys.stderr, flush=True)
            process.kill()
            return


async def _pass_on(process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
    """Print a worker's output, but for the line that says where it listens: all listen there."""
    assert process.stderr is not None
    async for line in process.stderr:
        if b"alephscript hub listening on" in line:
            ready.set()
        else:
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
