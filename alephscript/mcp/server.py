"""`MeshServer`: a mesh as an MCP server, any mesh, any room.

May go in: what MCP clients ask of a mesh. May not: how a capability becomes a tool (`tools`), who
is told of changes (`notices`), events that are kept (`recent`).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import signal
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    GetPromptRequestParams,
    GetPromptResult,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    Prompt,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ServerCapabilities,
    TextContent,
    TextResourceContents,
)

from alephscript.client import loops
from alephscript.client.client import AlephScriptClient
from alephscript.client.discovery import Offer
from alephscript.client.environment import DEFAULT_HUB
from alephscript.client.lifecycle import State
from alephscript.client.messages import Progress, Question
from alephscript.doors.catalogue import Catalogue, KnownOffers, is_same
from alephscript.doors.listening import address_of, listen
from alephscript.doors.texts import as_json, shown
from alephscript.errors import (
    ContractError,
    InvalidPayload,
    NotConnected,
    RequestError,
    UnknownCapability,
)
from alephscript.links.transport import Transport
from alephscript.mcp.eliciting import Call, Conversation, Conversations
from alephscript.mcp.notices import Notices
from alephscript.mcp.recent import RecentEvents, recent_events
from alephscript.mcp.tools import (
    Context,
    MeshTool,
    OwnTool,
    make_tool,
    write_failure,
)

__all__ = ["MeshServer"]

_MOST_TOOLS = 500
_MOST_KNOWN = 2 * _MOST_TOOLS
"""Capabilities that keep their names, those included that have gone."""
_TIMEOUT = 60.0
"""Seconds that a call may take by default, as MCP clients wait."""
_JSON = "application/json"


class MeshServer(Server[Any]):
    """A mesh as an MCP server: a tool for each capability, events of rooms as resources.

    ::

        server = MeshServer("http://127.0.0.1:3010", rooms=["LOBBY"])
        asyncio.run(server.serve_stdio())

    A call that is cancelled cancels its request; progress of the request is progress of the call; a
    failed request is a result with ``isError``, its text ``code: message details``. What a
    capability asks back is elicited from clients that know how. The hub need not be there when the
    server starts, and may be started again.

    Subclasses may add tools of their own (`own_tools`), name those of the mesh (`tool_name`) or
    hide them (`shows`), and add resources and prompts (`resources`, `read`, `prompts`, `prompt`).

    Args:
        hub: The hub, as for `alephscript.AlephScriptClient`.
        rooms: Rooms whose capabilities are tools; all by default.
        observed: Rooms whose events are resources; by default ``rooms``.
        name: Name of the server, as MCP clients see it.
        options: Further options of the client; ``timeout`` is 60 s by default.

    Attributes:
        client: The member of the mesh that asks.
        tools: The tools of the mesh, by name.
    """

    def __init__(
        self,
        hub: str | Transport = DEFAULT_HUB,
        *,
        rooms: Collection[str] = (),
        observed: Collection[str] | None = None,
        name: str = "alephscript",
        **options: Any,
    ) -> None:
        self._rooms = frozenset(rooms)
        self._notices = Notices()
        self._conversations = Conversations()
        super().__init__(
            name,
            version=importlib.metadata.version("alephscript"),
            lifespan=_lifespan,
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_read_resource=self._read_resource,
            on_subscribe_resource=self._notices.subscribe,
            on_unsubscribe_resource=self._notices.unsubscribe,
            on_subscriptions_listen=ListenHandler(self._notices.bus),
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
        )
        self.middleware.append(self._notices.watch)
        given = {"usuario": "mcp-server", "timeout": _TIMEOUT, "retry_open": True, **options}
        self._make_client: Callable[[], AlephScriptClient] = lambda: AlephScriptClient(hub, **given)
        self.client = self._make_client()
        self.tools: dict[str, MeshTool] = {}
        self._events = {room: RecentEvents() for room in (rooms if observed is None else observed)}
        self._opened = 0
        self._own = {each.tool.name: each for each in self.own_tools()}
        self._known = KnownOffers(_MOST_KNOWN, self._own, self.tool_name)
        self._catalogue = self._make_catalogue()

    # What a subclass may add

    def own_tools(self) -> Sequence[OwnTool]:
        """Return tools beside those of the mesh, whose names no capability can take."""
        return [recent_events(self._events)] if self._events else []

    def tool_name(self, offer: Offer) -> str:
        """Return the name that a capability's tool has where no other is called so."""
        return offer.capability

    def shows(self, offer: Offer) -> bool:
        """Return whether a capability is a tool."""
        return not self._rooms or offer.room in self._rooms

    def resources(self) -> Sequence[Resource]:
        """Return what can be read."""
        return [
            Resource(
                uri=self.events_uri(room),
                name=self.events_uri(room),
                description=f"What was said in {room} of late; subscribe to hear of more.",
                mime_type=_JSON,
            )
            for room in self._events
        ]

    async def read(self, uri: str) -> Any:
        """Return a resource as JSON values.

        Raises:
            LookupError: There is no such resource.
            RequestError: The mesh does not give it.
        """
        for room, events in self._events.items():
            if uri == self.events_uri(room):
                return events.since(0)
        raise LookupError(uri)

    def events_uri(self, room: str) -> str:
        """Return the address of the resource that holds the events of a room."""
        return f"mesh://{room}/events"

    def prompts(self) -> Sequence[Prompt]:
        """Return the prompts that there are."""
        return ()

    def prompt(self, name: str, arguments: Mapping[str, str]) -> GetPromptResult:  # noqa: ARG002
        """Return a prompt, one of `prompts`, with its arguments filled in."""
        raise LookupError(name)

    # Running

    async def serve_stdio(self) -> None:
        """Serve the process's parent on stdin and stdout, until stdin ends."""
        async with stdio_server() as (read, write):
            await self.run(read, write, self.create_initialization_options())

    async def serve_http(
        self, port: int, *, host: str = "127.0.0.1", ready: Callable[[str], None] | None = None
    ) -> None:
        """Serve streamable HTTP at ``/mcp`` from the main thread, until SIGINT or SIGTERM.

        Args:
            port: The port, 0 for a free one.
            host: The address to listen on.
            ready: Called with the address of ``/mcp`` as soon as it can be asked.

        Raises:
            OSError: The port cannot be had.
        """
        import uvicorn

        listening = listen(host, port)
        app = self.streamable_http_app(host=host)
        config = uvicorn.Config(app, access_log=False)
        server = uvicorn.Server(config)

        def stop() -> None:
            server.should_exit = True

        # Its own handlers would end the process by the signal that they were given.
        server.capture_signals = contextlib.nullcontext
        for each in (signal.SIGINT, signal.SIGTERM):
            loops.listen(each, stop)
        with listening:
            if ready is not None:
                ready(f"{address_of(listening)}/mcp")
            await server.serve(sockets=[listening])

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """Announce the notices that are sent: of tools, not of prompts and lists of resources."""
        return super().create_initialization_options(
            notification_options or NotificationOptions(tools_changed=True),
            experimental_capabilities,
            extensions,
        )

    def get_capabilities(self, *args: Any, **kwargs: Any) -> ServerCapabilities:
        """Announce no notices that never come, as the SDK would to those that listen."""
        found = super().get_capabilities(*args, **kwargs)
        for each in (found.prompts, found.resources):
            if each is not None:
                each.list_changed = False
        return found

    async def ask(
        self,
        capability: str,
        payload: Any,
        ctx: Call | None = None,
        *,
        room: str | None = None,
        timeout: float | None = None,
        on_ask: Callable[[Question[Any]], Any] | None = None,
    ) -> dict[str, Any]:
        """Ask the mesh, and pass progress on to the client whose call it is.

        Args:
            capability: The capability.
            payload: A JSON value.
            ctx: The call.
            room: The room to ask.
            timeout: Seconds to wait; by default those of the client.
            on_ask: Answers what the capability asks back, as in
                `alephscript.AlephScriptClient.request`.

        Raises:
            RequestError: The request failed.
        """
        options: dict[str, Any] = {"room": room, "on_ask": on_ask}
        if timeout is not None:
            options["timeout"] = timeout
        if ctx is None:
            return await self.client.request(capability, payload, **options)
        reports: asyncio.Queue[Progress | None] = asyncio.Queue()

        async def report() -> None:
            while (progress := await reports.get()) is not None:
                await ctx.session.report_progress(progress.fraction, 1.0, progress.message or None)

        reporter = asyncio.create_task(report())
        try:
            answer: dict[str, Any] = await self.client.request(
                capability, payload, on_progress=reports.put_nowait, **options
            )
            reports.put_nowait(None)
            await reporter  # what was reported comes before the answer
            return answer
        finally:
            reporter.cancel()

    # What MCP clients ask

    async def _list_tools(
        self,
        ctx: Context,  # noqa: ARG002
        params: PaginatedRequestParams | None,  # noqa: ARG002
    ) -> ListToolsResult:
        await self._catalogue.first_look()
        own = [each.tool for each in self._own.values()]
        return ListToolsResult(tools=own + [each.tool for each in self.tools.values()])

    async def _call_tool(
        self, ctx: Context, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        arguments = params.arguments or {}
        await self._catalogue.first_look()
        own, tool = self._own.get(params.name), self.tools.get(params.name)
        try:
            if own is not None:
                answer = await own.run(arguments, ctx)
                content: list[ContentBlock] = [TextContent(type="text", text=as_json(answer))]
                return CallToolResult(content=content, structured_content=answer)
            if tool is None:
                if self.client.state is not State.READY:
                    raise NotConnected  # noqa: TRY301 - handled like that of a request
                message = f"there is no tool {shown(params.name)}: list the tools again"
                return write_failure(UnknownCapability(message))
            result = await self._ask_for(tool, ctx, params)
            return result if isinstance(result, InputRequiredResult) else tool.result_of(result)
        except NotConnected as error:
            message = "there is no hub at the moment; `alephscript hub` starts one"
            return write_failure(NotConnected(message, error.details))
        except ContractError as error:
            return write_failure(InvalidPayload(str(error), error.problems))
        except RequestError as error:
            return write_failure(error)

    async def _ask_for(
        self, tool: MeshTool, ctx: Context, params: CallToolRequestParams
    ) -> dict[str, Any] | InputRequiredResult:
        """Ask a tool's capability, or go on with a call that it has asked something back of."""
        if params.request_state is not None:
            answers = params.input_responses or {}
            return await self._conversations.resume(ctx, params.request_state, answers)
        offer, payload = tool.offer, tool.payload_of(params.arguments or {})
        limit = None if offer.timeout_ms is None else offer.timeout_ms / 1000

        async def ask(conversation: Conversation | None) -> dict[str, Any]:
            on_ask = None if conversation is None else conversation.on_ask
            call = ctx if conversation is None else conversation
            return await self.ask(
                offer.capability, payload, call, room=offer.room, timeout=limit, on_ask=on_ask
            )

        return await self._conversations.begin(ctx, ask)

    def _input_schema(self, name: str) -> dict[str, Any] | None:
        own, tool = self._own.get(name), self.tools.get(name)
        if own is not None:
            return own.tool.input_schema
        return None if tool is None else tool.tool.input_schema

    async def _list_resources(
        self,
        ctx: Context,  # noqa: ARG002
        params: PaginatedRequestParams | None,  # noqa: ARG002
    ) -> ListResourcesResult:
        return ListResourcesResult(resources=list(self.resources()))

    async def _read_resource(
        self,
        ctx: Context,  # noqa: ARG002
        params: ReadResourceRequestParams,
    ) -> ReadResourceResult:
        uri = str(params.uri)
        try:
            text = as_json(await self.read(uri))
        except LookupError:
            raise MCPError(INVALID_PARAMS, f"there is no resource {shown(uri)}") from None
        except RequestError as error:
            data = {"code": error.code, "details": error.details}
            message = f"{shown(error.code)}: {shown(error.message)}"
            raise MCPError(INTERNAL_ERROR, message, data) from None
        contents = TextResourceContents(uri=uri, mime_type=_JSON, text=text)
        return ReadResourceResult(contents=[contents])

    async def _list_prompts(
        self,
        ctx: Context,  # noqa: ARG002
        params: PaginatedRequestParams | None,  # noqa: ARG002
    ) -> ListPromptsResult:
        return ListPromptsResult(prompts=list(self.prompts()))

    async def _get_prompt(
        self,
        ctx: Context,  # noqa: ARG002
        params: GetPromptRequestParams,
    ) -> GetPromptResult:
        known = {each.name: each for each in self.prompts()}
        given, prompt = params.arguments or {}, known.get(params.name)
        if prompt is None:
            raise MCPError(INVALID_PARAMS, f"there is no prompt {shown(params.name)}")
        for each in prompt.arguments or ():
            if each.required and each.name not in given:
                raise MCPError(INVALID_PARAMS, f"{prompt.name}: {each.name}: missing")
        return self.prompt(params.name, given)

    # What the mesh says

    @contextlib.asynccontextmanager
    async def _membership(self) -> AsyncIterator[None]:
        """Be in the mesh, once for all MCP clients."""
        self._opened += 1
        if self._opened > 1:
            try:
                yield
            finally:
                self._opened -= 1
            return
        if self.client.state is State.CLOSED:
            self.client = self._make_client()
            self._catalogue = self._make_catalogue()
        running = asyncio.create_task(self.client.run_forever())
        await asyncio.sleep(0)
        noting = asyncio.create_task(self._note_events())
        try:
            async with self._catalogue.follow():
                try:
                    yield
                finally:
                    self._opened -= 1
                    await self.client.close()
        finally:
            running.cancel()
            noting.cancel()
            await asyncio.wait((running, noting))
            self.tools = {}

    def _make_catalogue(self) -> Catalogue:
        return Catalogue(self.client, self._offer, begin=self._begin)

    async def _begin(self) -> None:
        for room in self._events:
            await self.client.subscribe(room)

    async def _note_events(self) -> None:
        if not self._events:
            return
        async for event in self.client.events():
            events = self._events.get(event.room)
            if events is not None:
                events.note(event)
                await self._notices.resource_changed(self.events_uri(event.room))

    async def _offer(self, offers: Sequence[Offer]) -> None:
        here = [each for each in offers if self.shows(each)][:_MOST_TOOLS]
        names = self._known.name(here)
        tools = {}
        for offer in here:
            name = names[offer.room, offer.capability]
            now = self.tools.get(name)
            tools[name] = now if now and is_same(now.offer, offer) else make_tool(offer, name)
        if {name: each.tool for name, each in tools.items()} != {
            name: each.tool for name, each in self.tools.items()
        }:
            self.tools = tools
            await self._notices.tools_changed()
        self.tools = tools


@contextlib.asynccontextmanager
async def _lifespan(server: Server[Any]) -> AsyncIterator[AlephScriptClient]:
    """Own the one client of the mesh for all that are connected."""
    assert isinstance(server, MeshServer)
    async with server._membership():  # noqa: SLF001 - it is the server's own
        yield server.client
