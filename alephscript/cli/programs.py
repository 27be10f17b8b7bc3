"""Programs that are given a text and asked for another one: bounded, and ended with all they start.

May go in: one run of a program, from its input to its outcome. May not: what the texts mean
(`commanding`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

import attrs

__all__ = ["MOST_OUTPUT", "Outcome", "OutputTooLarge", "run"]

MOST_OUTPUT = 1_000_000
"""Bytes of output that are taken; a hub takes no larger message."""

_MOST_ERRORS = 2_000
"""Bytes of the end of stderr that are kept."""

_GRACE_SECONDS = 2.0
"""The time that a program has to end after a SIGTERM."""


@attrs.frozen
class Outcome:
    """The end of a program.

    Attributes:
        status: Its exit status, negative for the signal that ended it.
        output: Its stdout.
        errors: The end of its stderr.
    """

    status: int
    output: bytes
    errors: str


class OutputTooLarge(Exception):
    """A program wrote more than `MOST_OUTPUT`, and was ended."""


async def run(command: Sequence[str], text: bytes) -> Outcome:
    """Run a program in a process group of its own, which has ended when this returns or raises.

    Args:
        command: The program and its arguments.
        text: Its stdin.

    Raises:
        OSError: There is no such program.
        OutputTooLarge: The program wrote too much.
    """
    process = await _start(command)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    writing = asyncio.ensure_future(_write(process.stdin, text))
    errors = asyncio.ensure_future(_read_end(process.stderr))
    output = asyncio.ensure_future(_read(process.stdout))
    ended = asyncio.ensure_future(process.wait())
    try:
        # Whichever is first: what the program has started may hold its stdout open.
        await asyncio.wait([output, ended], return_when=asyncio.FIRST_COMPLETED)
        if output.done():
            output.result()
        status = await ended
        _signal(process, signal.SIGKILL)  # what it has left behind may hold the pipes open
        return Outcome(status, await output, (await errors).decode(errors="replace"))
    except BaseException:
        await _end(process)
        raise
    finally:
        for each in (writing, errors, output, ended):
            each.cancel()
        await asyncio.gather(writing, errors, output, ended, return_exceptions=True)


async def _start(command: Sequence[str]) -> asyncio.subprocess.Process:
    """Start a program; if that is cancelled, end also what the program has started by then."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await _end(await starting)
        raise


async def _write(stream: asyncio.StreamWriter, text: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it need not read
        stream.write(text)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


async def _read(stream: asyncio.StreamReader) -> bytes:
    read = bytearray()
    while some := await stream.read(65536):
        read += some
        if len(read) > MOST_OUTPUT:
            raise OutputTooLarge
    return bytes(read)


async def _read_end(stream: asyncio.StreamReader) -> bytes:
    end = b""
    while some := await stream.read(65536):
        end = (end + some)[-_MOST_ERRORS:]
    return end


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program and all that it has started, in peace if that is quick."""
    _signal(process, signal.SIGTERM)
    ended = asyncio.ensure_future(process.wait())
    # Not asyncio.timeout: before Python 3.11.3 that raises no TimeoutError in a cancelled task.
    await asyncio.wait([ended], timeout=_GRACE_SECONDS)
    _signal(process, signal.SIGKILL)
    await ended


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)  # the leader's number is the group's
        elif process.returncode is None:  # Windows has no groups
            process.terminate()
