"""Programs of this package in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.support.tools import ROOT


class Process:
    """A program of this package in a process of its own, to be signalled and killed."""

    def __init__(self, *arguments: str, ready: bytes) -> None:
        self._arguments = arguments
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None
        self._line = b""

    @property
    def url(self) -> str:
        """The address of a hub: the last word of the line that says it is ready."""
        return self._line.decode().split()[-1]

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> bytes:
        """Start the program, and return the line that says it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        said = b""
        async with asyncio.timeout(60):
            async for line in self._process.stderr:
                if self._ready in line:
                    self._line = line
                    return line
                said += line
        raise AssertionError(f"{self._arguments} ended before it was ready: {said.decode()}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the process to end, and return its exit code."""
        assert self._process is not None
        async with asyncio.timeout(60):
            await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode

    async def end(self) -> None:
        """Kill the process if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Return a function that starts processes; the fixture leaves none behind."""
    async with AsyncExitStack() as processes:

        async def start(*arguments: str, ready: bytes) -> Process:
            process = Process(*arguments, ready=ready)
            processes.push_async_callback(process.end)
            await process.start()
            return process

        yield start


@pytest.fixture
def port() -> int:
    """Return a port that nobody listens on; see `choose_port`."""
    return choose_port()


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_chosen: deque[int] = deque(maxlen=100)


def choose_port() -> int:
    """Choose a port that nobody listens on, for a program that takes no port 0 or comes again.

    Systems give ports from 32768 on to whoever connects, also to those who connect to a hub that is
    down, and to whoever takes any port: a hub could not have such a port again. Each process of a
    run has ports of its own, and chooses none of the last ones again.
    """
    while True:
        port = random.randrange(20_000 + _WORKER, 32_000, _WORKERS)
        if port not in _chosen:
            _chosen.append(port)
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
                return port
