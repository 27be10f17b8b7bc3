"""``alephscript run``: bots by their classes, and again whenever their code changes.

May go in: clients served side by side until a signal comes; the process that starts them anew. May
not: what a bot of a command line is (`commanding`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from alephscript.cli.describing import find_class
from alephscript.cli.options import Add, CliError, auth_of, client
from alephscript.cli.printing import complain
from alephscript.client import loops
from alephscript.client.lifecycle import State
from alephscript.errors import StateError

__all__ = ["add_to", "serve_all", "show_log"]

_DRAIN_SECONDS = 10.0
"""How long open requests may take after a SIGTERM."""

_IS_CHILD = "ALEPHSCRIPT_RUN_CHILD"
"""Variable that a process has which `run --reload` started."""


def add_to(add: Add) -> None:
    """Add the command."""
    command = add("run", "serve with client classes until interrupted", _run)
    command.add_argument("classes", metavar="MODULE:CLASS", nargs="+", help="client classes")
    command.add_argument(
        "--reload", action="store_true", help="start again when a Python file here changes"
    )


async def _run(options: argparse.Namespace) -> None:
    if options.reload and _IS_CHILD not in os.environ:
        await _reload()
        return
    client(options)  # refuses an address, a namespace or a token that cannot be one
    show_log()
    bots = []
    for path in options.classes:
        cls = find_class(path)
        arguments = {
            "namespace": options.namespace,
            "auth": auth_of(options),
            "retry_open": True,
        }
        try:
            inspect.signature(cls).bind(options.url, **arguments)
        except TypeError as exc:
            raise CliError(
                f"{path} cannot be made by run: {exc}; pass on what AlephScriptClient takes, as in "
                "def __init__(self, *args, **options)"
            ) from exc
        bots.append(cls(options.url, **arguments))
    await serve_all(bots)


def show_log() -> None:
    """Have the log of what is served shown on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


class Server(Protocol):
    """A client, or what has the same life."""

    @property
    def state(self) -> State:
        """Where it is in that life."""
        ...

    async def run_forever(self) -> None:
        """Serve until closed, cancelled or refused for good."""
        ...

    async def drain(self, timeout: float | None = None) -> None:
        """Finish what runs, then close."""
        ...

    async def close(self) -> None:
        """Leave the mesh."""
        ...


async def serve_all(bots: Sequence[Server]) -> None:
    """Serve until SIGINT, or SIGTERM, which lets requests finish.

    Raises:
        ConnectionRefused: The hub refused one of them, for good; the others are closed.
    """
    running = [asyncio.ensure_future(each.run_forever()) for each in bots]
    ending: set[asyncio.Future[None]] = set()

    def drain() -> None:
        ending.update(asyncio.ensure_future(each.drain(_DRAIN_SECONDS)) for each in bots)

    def interrupt() -> None:
        for each in running:
            each.cancel()
        # The next one ends all: a method may block, or refuse to be cancelled.
        loops.ignore(signal.SIGINT)
        signal.signal(signal.SIGINT, loops.end_program)

    loops.listen(signal.SIGINT, interrupt)
    loops.listen(signal.SIGTERM, drain)
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for each in running:
            each.cancel()
        outcomes = await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(*(each.close() for each in bots if each.state is not State.NEW))
    for outcome in outcomes:
        if isinstance(outcome, asyncio.CancelledError):
            continue
        if isinstance(outcome, StateError) and ending:
            continue  # closed before there was a hub
        if outcome is not None:
            raise outcome


async def _reload() -> None:
    """Run this command in a process of its own, and again after each change of a Python file.

    Raises:
        CliError: Nothing here tells changes.
    """
    try:
        from watchfiles import PythonFilter, awatch
    except ModuleNotFoundError as exc:
        raise CliError("--reload needs watchfiles: pip install 'alephscript[cli]'") from exc
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loops.listen(number, ending.set)
    process = await _start()
    try:
        async for changes in awatch(".", watch_filter=PythonFilter(), stop_event=ending):
            names = sorted({Path(path).name for _, path in changes})
            complain(f"alephscript: {', '.join(names)} changed; starting again")
            await _end(process)
            process = await _start()
    finally:
        await _end(process)


async def _start() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alephscript", *sys.argv[1:]),
        # Compiled code is known by its source's size and second: a change in the same second, of
        # as many characters, would not be seen.
        env={**os.environ, _IS_CHILD: "1", "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,  # a terminal's Ctrl+C goes to this process, which ends that one
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process in peace, or after a while at once."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        ended = asyncio.ensure_future(process.wait())
        # Not asyncio.timeout: before Python 3.11.3 that raises no TimeoutError in a cancelled task.
        await asyncio.wait([ended], timeout=_DRAIN_SECONDS + 2)
        if not ended.done():
            process.kill()
    await process.wait()
