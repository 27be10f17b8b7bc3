"""A client as a program: it serves until a signal ends it.

May go in: what signals do to a client. May not: which event loop there is, and how a program ends
(`loops`).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Protocol

from alephscript.client import loops, threads
from alephscript.errors import ConnectionRefused, StateError

__all__ = ["run"]


class _Client(Protocol):
    """What a client is to its program."""

    usuario: str

    async def run_forever(self) -> None:
        """Serve until closed, cancelled or refused for good."""
        ...

    async def drain(self, timeout: float | None = None) -> None:
        """Leave the mesh in peace."""
        ...


def run(client: _Client, drain_seconds: float) -> None:
    """Serve until a SIGINT, which cancels what runs, or a SIGTERM, which lets requests finish.

    Args:
        client: The client, which may be new.
        drain_seconds: How long requests may take to finish.

    Raises:
        ConnectionRefused: As `AlephScriptClient.run`.
        StateError: As `AlephScriptClient.run`.
    """
    loops.check_free()
    interrupts: list[signal.Signals] = []

    async def main() -> None:
        running = asyncio.ensure_future(client.run_forever())
        draining: set[asyncio.Future[None]] = set()

        def drain() -> None:
            draining.add(asyncio.ensure_future(client.drain(drain_seconds)))

        def interrupt() -> None:
            running.cancel()
            interrupts.append(signal.SIGINT)
            # The next one ends all: a method may block, or refuse to be cancelled.
            loops.ignore(signal.SIGINT)
            signal.signal(signal.SIGINT, loops.end_program)

        loops.listen(signal.SIGINT, interrupt)
        loops.listen(signal.SIGTERM, drain)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await running
        except StateError:
            if not draining:  # else it was closed before there was a hub
                raise

    try:
        # Here rather than when the interpreter ends, where a second SIGINT would be in vain.
        loops.run(main(), lambda: threads.wait_for_threads() if interrupts else None)
    except ConnectionRefused as error:
        loops.end_with_sentence(client.usuario, error)
        raise
