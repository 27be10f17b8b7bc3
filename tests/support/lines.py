"""Lines to a hub that can be cut, stalled and half-opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest


class Line:
    """A line to a hub that carries bytes until the test cuts or stalls the line."""

    def __init__(self, port: int) -> None:
        self._hub_port = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.accepted = 0
        self.url = ""

    async def open(self) -> str:
        """Listen, and return the address that clients connect to."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self.url

    def stall(self) -> None:
        """Let nothing through, and keep the sockets: half open on both sides."""
        self._flowing.clear()

    def flow(self) -> None:
        """Let everything through again."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def close(self) -> None:
        """Reset every connection, and stop listening."""
        self.cut()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.append(writer)
        try:
            to_hub, from_hub = None, None
            from_hub, to_hub = await asyncio.open_connection("127.0.0.1", self._hub_port)
            self._writers.append(to_hub)
            await asyncio.gather(self._pump(reader, to_hub), self._pump(from_hub, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            if to_hub is not None:
                to_hub.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("one side has gone")


@pytest.fixture
async def line_to() -> AsyncIterator[Callable[[int], Awaitable[Line]]]:
    """Return a function that opens lines to a hub's port."""
    async with AsyncExitStack() as lines:

        async def make(port: int) -> Line:
            line = Line(port)
            lines.push_async_callback(line.close)
            await line.open()
            return line

        yield make
