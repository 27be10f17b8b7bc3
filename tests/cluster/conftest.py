"""Hubs as processes of their own that share a Redis, and can be killed and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Program:
    """A program of ours in a process of its own; its url, if it is a hub."""

    def __init__(self, process: asyncio.subprocess.Process, line: bytes) -> None:
        self._process = process
        self.url = line.decode().split()[-1]
        assert process.stderr is not None
        self._reading = asyncio.ensure_future(process.stderr.read())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ended(self) -> int:
        """Its exit code, when it has ended."""
        async with asyncio.timeout(30):
            return await self._process.wait()

    async def end(self) -> None:
        """Kill it, if it still is there."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


Start = Callable[..., Awaitable[Program]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts programs, and leaves none behind."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, ready: bytes = b"listening on") -> Program:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", *arguments),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            assert process.stderr is not None
            async with asyncio.timeout(30):
                while ready not in (line := await process.stderr.readline()):
                    assert line, f"{arguments} ended before it was ready"
            program = Program(process, line)
            stack.push_async_callback(program.end)
            return program

        yield start


@pytest.fixture
async def hub(start: Start) -> Callable[..., Awaitable[Program]]:
    """Starts a hub that shares a Redis, on a free port or a given one."""
    return lambda redis, port="0": start("alephscript", "hub", "--port", port, "--redis", redis)
