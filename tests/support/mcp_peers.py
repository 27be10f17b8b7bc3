"""MCP clients of a mesh, and servers for it to reach."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Literal

from mcp.client.client import Client
from mcp_types import TextContent, TextResourceContents, Tool

from alephscript import AlephScriptClient, Request, capability
from alephscript.mcp import MeshServer
from alephscript.testing import InMemoryMesh
from tests.support.meshes import at_once


class Slow(AlephScriptClient):
    """Takes its time, and says how far it is."""

    rooms = ("SLOW",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.running = asyncio.Event()
        self.stopped = asyncio.Event()

    @capability("WAIT_LONG")
    async def wait_long(self, request: Request[dict[str, Any]]) -> None:
        """Wait until cancelled."""
        for each in range(1, 4):
            request.progress(each / 4, f"{each} of 4")
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


@contextlib.asynccontextmanager
async def client_of(
    mesh: InMemoryMesh, *, mode: Literal["auto", "legacy"] = "auto", **options: Any
) -> AsyncIterator[Client]:
    """An MCP client of a mesh."""
    server = MeshServer(mesh, backoff=at_once, **options)
    async with asyncio.timeout(20), Client(server, mode=mode) as client:
        yield client


async def tools_of(client: Client) -> dict[str, Tool]:
    """The tools there are, by name."""
    return {tool.name: tool for tool in (await client.list_tools()).tools}


async def until(client: Client, name: str, *, is_there: bool = True) -> None:
    """Wait until there is a tool of a name, or none any more."""
    async with client.listen(tools_list_changed=True) as changes:
        while (name in await tools_of(client)) is not is_there:
            await anext(aiter(changes))


def text_of(content: object) -> str:
    """The text of a content that has one."""
    assert isinstance(content, TextContent | TextResourceContents), content
    return content.text
