"""Notices to MCP clients of what has changed: lists of tools, resources that were read.

Clients of the protocol of 2026-07-28 listen for them, and the bus of the SDK tells those; older
ones are told as their connection has it: lists always, resources if they have subscribed.

May go in: who is told. May not: what changes (`server`).
"""

from __future__ import annotations

from typing import Any

from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ToolsListChanged
from mcp_types import EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

__all__ = ["Notices"]

_MOST_SUBSCRIPTIONS = 1000
"""Resources that one connection may subscribe to."""


class Notices:
    """The clients of a server, and what each wants to hear of.

    Attributes:
        bus: Where clients listen that know `subscriptions/listen`.
    """

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self._subscribed: dict[Connection, set[str]] = {}

    async def watch(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Note a connection that has been initialized, as middleware of the server."""
        if ctx.method == "notifications/initialized":
            connection = _connection_of(ctx)
            if connection not in self._subscribed:
                self._subscribed[connection] = set()
                connection.exit_stack.callback(self._subscribed.pop, connection, None)
        return await call_next(ctx)

    async def subscribe(
        self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams
    ) -> EmptyResult:
        """Answer resources/subscribe."""
        uris = self._subscribed.get(_connection_of(ctx), set())
        if len(uris) < _MOST_SUBSCRIPTIONS:
            uris.add(str(params.uri))
        return EmptyResult()

    async def unsubscribe(
        self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams
    ) -> EmptyResult:
        """Answer resources/unsubscribe."""
        self._subscribed.get(_connection_of(ctx), set()).discard(str(params.uri))
        return EmptyResult()

    async def tools_changed(self) -> None:
        """Tell all that the list of tools is another one."""
        await self.bus.publish(ToolsListChanged())
        for connection in list(self._subscribed):
            await connection.send_tool_list_changed()

    async def resource_changed(self, uri: str) -> None:
        """Tell those that want to know that a resource is another one."""
        await self.bus.publish(ResourceUpdated(uri=uri))
        for connection, uris in list(self._subscribed.items()):
            if uri in uris:
                await connection.send_resource_updated(uri)


def _connection_of(ctx: ServerRequestContext[Any, Any]) -> Connection:
    # The SDK has no public way to it, and a session of each request its own.
    return ctx.session._connection  # noqa: SLF001
