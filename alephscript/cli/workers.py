"""``alephscript hub --workers N``: several hub processes on one port, looked after by this one.

May go in: starting, watching and ending processes. May not: what a worker does, which is the same
command without ``--workers``.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Sequence

from alephscript.cli.options import CliError

__all__ = ["run"]

_PAUSE_SECONDS = 0.5
"""Before a worker that ended is started again."""


async def run(count: int, host: str, port: int) -> None:
    """Run workers until a signal comes; a worker that ends by itself is started again.

    Args:
        count: How many workers.
        host: The address that they listen on.
        port: The port; 0 takes a free one.

    Raises:
        CliError: The port is taken, or a worker never listened.
    """
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    with _reserved(host, port) as reserved:
        chosen = reserved.getsockname()[1]
        ready = [asyncio.Event() for _ in range(count)]
        tasks = [loop.create_task(_look_after(chosen, each, ending)) for each in ready]
        report = loop.create_task(_report(host, chosen, ready))
        stopping = loop.create_task(ending.wait())
        # Before that, a task ends only if its worker could not be started.
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        ending.set()
        report.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


async def _report(host: str, port: int, ready: Sequence[asyncio.Event]) -> None:
    """Print where the workers listen, when all do."""
    for each in ready:
        await each.wait()
    shown = f"[{host}]" if ":" in host else host
    print(f"alephscript hub listening on http://{shown}:{port}", file=sys.stderr, flush=True)


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


async def _look_after(port: int, ready: asyncio.Event, ending: asyncio.Event) -> None:
    """Keep one worker running until all are to end.

    Raises:
        CliError: The worker ended before it ever listened.
    """
    arguments = ["-m", "alephscript", *sys.argv[1:], "--port", str(port), "--workers", "1"]
    while not ending.is_set():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            "--is-worker",
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C goes to this process, which passes it on
        )
        reading = asyncio.ensure_future(_pass_on(process, ready))
        stopping = asyncio.ensure_future(ending.wait())
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await reading
        stopping.cancel()
        code = await process.wait()
        if not ready.is_set():
            raise CliError(f"a worker did not start (it ended with {code})")
        if not ending.is_set():
            print(f"alephscript: a worker ended ({code}); it is started again", file=sys.stderr)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_SECONDS):
                    await ending.wait()


async def _pass_on(process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
    """Print a worker's output, but for the line that says where it listens: all listen there."""
    assert process.stderr is not None
    async for line in process.stderr:
        if b"alephscript hub listening on" in line:
            ready.set()
        else:
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
