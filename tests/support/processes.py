"""Programs of this package in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.support.tools import ROOT


class Process:
    """A program of ours in a process of its own, that can be killed, stopped and started again."""

    def __init__(self, *arguments: str, ready: bytes) -> None:
        self._arguments = arguments
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None
        self._line = b""

    @property
    def url(self) -> str:
        """Where it listens, if it is a hub: the last word by which it says that it is ready."""
        return self._line.decode().split()[-1]

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> bytes:
        """Start it; the line by which it says that it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        async with asyncio.timeout(20):
            async for line in self._process.stderr:
                if self._ready in line:
                    self._line = line
                    return line
        raise AssertionError(f"{self._arguments} ended before it was ready")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, when it has ended."""
        assert self._process is not None
        async with asyncio.timeout(20):
            await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode

    async def end(self) -> None:
        """Kill it if it still is there."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts processes, and leaves none behind."""
    async with AsyncExitStack() as processes:

        async def start(*arguments: str, ready: bytes) -> Process:
            process = Process(*arguments, ready=ready)
            processes.push_async_callback(process.end)
            await process.start()
            return process

        yield start


@pytest.fixture
def port() -> int:
    """A free one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: int = server.getsockname()[1]
        return found
