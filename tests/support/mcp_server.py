"""An MCP server on the SDK of its authors, for masters to reach: ``python FILE [PORT]``.

Without a port it speaks on stdio. It waits, fails, dies and changes its tools when it is told to.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.subscriptions import InMemorySubscriptionBus, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp_types import ToolAnnotations


class Waits:
    """What became of calls of ``wait``."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.cancelled = asyncio.Event()


def make_server(waits: Waits | None = None) -> MCPServer:
    """Make the server."""
    bus = InMemorySubscriptionBus()
    server = MCPServer("trial", version="1", subscriptions=bus, log_level="ERROR")
    seen = waits or Waits()

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool(name="get_pid")
    def get_pid() -> int:
        """Say which process this is."""
        return os.getpid()

    @server.tool()
    async def wait(ctx: Context[Any, Any]) -> str:
        """Wait until cancelled."""
        await ctx.report_progress(1, 2, "half way")
        seen.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.cancelled.set()
        return ""

    @server.tool()
    def fail(how: str) -> str:
        """Fail."""
        if how == "protocol":
            raise MCPError(-32050, "out of ink", {"left": 0})
        raise ToolError("there is no ink")

    @server.tool(name="Add")
    def add_again(a: int) -> int:
        """Have a name like another's."""
        return a

    @server.tool()
    async def grow(ctx: Context[Any, Any]) -> str:
        """Have one tool more."""
        server.add_tool(grown, name="grown")
        await bus.publish(ToolsListChanged())
        await ctx.session.send_tool_list_changed()
        return "done"

    @server.resource("trial://text", mime_type="text/plain")
    def text() -> str:
        """A text."""
        return "hello"

    @server.prompt()
    def greet(who: str) -> str:
        """Greet somebody."""
        return f"hello {who}"

    return server


def grown() -> str:
    """Be a tool that came later."""
    return "grown"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        make_server().run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        make_server().run("stdio")
