"""``alephscript hub --workers N``: several hub processes on one port, looked after by this one."""

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
    """Run so many workers until a signal comes; one that ends by itself is started again.

    Args:
        count: How many.
        host: The address that they listen on.
        port: The port; 0 takes a free one.

    Raises:
        CliError: The port is taken, or the first of them did not start.
    """
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    with _reserved(host, port) as reserved:
        chosen = reserved.getsockname()[1]
        ready = [asyncio.Event() for _ in range(count)]
        tasks = [loop.create_task(_look_after(chosen, each, ending)) for each in ready]
        telling = loop.create_task(_tell(host, chosen, ready))
        told_to_end = loop.create_task(ending.wait())
        # A worker that is looked after no more could not be started.
        await asyncio.wait([told_to_end, *tasks], return_when=asyncio.FIRST_COMPLETED)
        ending.set()
        telling.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


async def _tell(host: str, port: int, ready: Sequence[asyncio.Event]) -> None:
    """Say where they listen, when all do."""
    for each in ready:
        await each.wait()
    shown = f"[{host}]" if ":" in host else host
    print(f"alephscript hub listening on http://{shown}:{port}", file=sys.stderr, flush=True)


def _reserved(host: str, port: int) -> socket.socket:
    """A port that the workers may share, and nobody else."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind((host, port))  # without sharing: nobody else may have it
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
        CliError: It ended before it ever listened.
    """
    arguments = ["-m", "alephscript", *sys.argv[1:], "--port", str(port), "--workers", "1"]
    while not ending.is_set():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            "--is-worker",
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C is for this process, which passes it on
        )
        reading = asyncio.ensure_future(_pass_on(process, ready))
        told = asyncio.ensure_future(ending.wait())
        await asyncio.wait({reading, told}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await reading
        told.cancel()
        code = await process.wait()
        if not ready.is_set():
            raise CliError(f"a worker did not start (it ended with {code})")
        if not ending.is_set():
            print(f"alephscript: a worker ended ({code}); it is started again", file=sys.stderr)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_SECONDS):
                    await ending.wait()


async def _pass_on(process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
    """Print what a worker says, but not where it listens: all listen there."""
    assert process.stderr is not None
    async for line in process.stderr:
        if b"alephscript hub listening on" in line:
            ready.set()
        else:
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
