"""One connection to an MCP server: what it lists, that lists change, and that it is gone.

May go in: one connection, from its beginning to its end. May not: when to try again, what a mesh is
told (`master`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ListenNotSupportedError
from mcp.server.lowlevel import Server as LowlevelServer
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, EmptyResult, PingRequest, Tool, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from alephscript.doors import upstream
from alephscript.doors.upstream import without_password
from alephscript.errors import ConnectionRefused
from alephscript.mcp.elicited import Elicited
from alephscript.protocol.text import printable

__all__ = ["Server", "ServerUnreachable", "Upstream", "connect", "name_server"]

Server = str | StdioServerParameters | MCPServer | LowlevelServer[Any]

T = TypeVar("T")

_HEARTBEAT = 1.0
"""Seconds between two looks whether an idle server is still there."""
_BEATS_OF_LISTENERS = 10
"""Heartbeats between such looks where a stream of notices would end with the server."""
_MOST_PAGES = 100


class ServerUnreachable(ConnectionRefused):
    """An MCP server could not be started, or reached; ``url`` is its address or its command."""

    def __str__(self) -> str:
        where = f"cannot connect to the MCP server {self.url}"
        return f"{where}: {self.reason}; start it by hand to see why"


class Upstream(upstream.Upstream):
    """A server that is connected.

    Attributes:
        client: The SDK's client of it.
        elicited: What it asks about calls in hand.
    """

    def __init__(self, client: Client, changed: asyncio.Event, elicited: Elicited) -> None:
        super().__init__()
        self.client = client
        self.elicited = elicited
        self._changed = changed

    async def work(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for what the server does; cancelling cancels it there.

        Raises:
            ConnectionError: The server is gone; `ConnectionRefusedError` if it was before.
            MCPError: The server refused.
        """
        try:
            return await super().work(work)
        except MCPError as error:
            if error.error.code == CONNECTION_CLOSED:
                self.gone.set()
                raise ConnectionError("the server is gone") from error
            raise

    async def tools(self) -> list[Tool]:
        """List all tools."""
        tools: list[Tool] = []
        cursor = None
        for _ in range(_MOST_PAGES):
            page = await self.client.list_tools(cursor=cursor, cache_mode="refresh")
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return tools

    async def list_all(self, what: str) -> list[Any]:
        """List all resources, resource_templates or prompts, as JSON values."""
        listed: list[Any] = []
        cursor = None
        for _ in range(_MOST_PAGES):
            page = await getattr(self.client, f"list_{what}")(cursor=cursor)
            listed += [
                each.model_dump(mode="json", by_alias=True, exclude_none=True)
                for each in getattr(page, what)
            ]
            cursor = page.next_cursor
            if cursor is None:
                break
        return listed

    async def changes(self) -> AsyncGenerator[None, None]:
        """Iterate over changes of what the server lists, until the server is gone."""
        watchers = [asyncio.create_task(self._listen()), asyncio.create_task(self._watch())]
        gone = asyncio.create_task(self.gone.wait())
        try:
            while not self.gone.is_set():
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait({changed, gone}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if self._changed.is_set():
                    self._changed.clear()
                    yield
        finally:
            for task in (*watchers, gone):
                task.cancel()

    async def _listen(self) -> None:
        """Hear of changes as clients of the protocol of 2026-07-28 do."""
        while True:
            try:
                async with self.client.listen(tools_list_changed=True) as events:
                    async for _ in events:
                        self._changed.set()
            except ListenNotSupportedError:
                return
            except Exception:  # noqa: BLE001 - whatever it was, the next look tells
                await self._look()
            await asyncio.sleep(_HEARTBEAT)
            self._changed.set()  # there is no replay

    async def _watch(self) -> None:
        beats = _BEATS_OF_LISTENERS if self._is_modern else 1
        while True:
            await asyncio.sleep(_HEARTBEAT * beats)
            await self._look()

    @property
    def _is_modern(self) -> bool:
        return self.client.protocol_version in MODERN_PROTOCOL_VERSIONS

    async def _look(self) -> None:
        """Look whether the server is there; one that is slow to answer is."""
        try:
            async with asyncio.timeout(_HEARTBEAT):
                if self._is_modern:  # which has no ping
                    await self.client.list_tools(cache_mode="refresh")
                else:
                    await self.client.session.send_request(PingRequest(), EmptyResult)
        except TimeoutError:
            pass
        except MCPError as error:
            if error.error.code == CONNECTION_CLOSED:
                self.gone.set()
        except Exception:  # noqa: BLE001 - of a transport, whichever it is
            self.gone.set()


@contextlib.asynccontextmanager
async def connect(server: Server) -> AsyncIterator[Upstream]:
    """Connect to a server; its tools are those of the moment."""
    changed = asyncio.Event()

    async def hear(message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed.set()

    elicited = Elicited()
    async with Client(server, message_handler=hear, elicitation_callback=elicited.answer) as client:
        yield Upstream(client, changed, elicited)


def name_server(server: Server) -> str:
    """Name a server for a person: its address without a password, or its command."""
    if isinstance(server, StdioServerParameters):
        return printable(server.command, 100)
    if isinstance(server, str):
        return without_password(server)
    return server.name
