"""`McpMaster`: an MCP server as the master of a room, each of its tools a capability.

May go in: what a mesh asks of an MCP server. May not: the connection to that server (`upstream`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent, Tool
from pydantic import BaseModel

from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import Capability, Declarations, RoomRole
from alephscript.client.environment import DEFAULT_HUB
from alephscript.client.lifecycle import State, full_jitter
from alephscript.client.messages import Request
from alephscript.errors import (
    AlephScriptError,
    CapabilityError,
    MasterLost,
    RequestError,
)
from alephscript.links.transport import Transport
from alephscript.mcp.tools import CONTENT, shown, text_of
from alephscript.mcp.upstream import (
    Server,
    ServerUnreachable,
    Upstream,
    connect,
    innermost,
    name_server,
)
from alephscript.protocol import events

__all__ = ["McpMaster"]

logger = logging.getLogger("alephscript.mcp")

T = TypeVar("T")

_LAST_DELAY = 20.0
"""Seconds between two attempts where the given delays have ended."""

READ_RESOURCE = "MCP_READ_RESOURCE"
GET_PROMPT = "MCP_GET_PROMPT"

_RESOURCE_SCHEMA = {
    "type": "object",
    "properties": {
        "uri": {
            "type": "string",
            "description": "Address of the resource; without one, resources are listed.",
        }
    },
}
_PROMPT_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {
            "type": "string",
            "description": "Name of the prompt; without one, prompts are listed.",
        },
        "arguments": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


@attrs.frozen
class _Described(Capability):
    """A capability that an MCP server describes, rather than a method's types."""

    described: Mapping[str, Any] = attrs.field(factory=dict)

    def description(self) -> dict[str, Any]:
        return dict(self.described)


class McpMaster(AlephScriptClient):
    """The master of a room that offers the tools of an MCP server.

    ::

        async with McpMaster("http://127.0.0.1:3006/mcp", room="FILES", hub=url):
            ...

    Each tool is a capability: its name in upper case, its own name an alias, its schemas to the
    letter. A tool with structured content is answered by that object, another by
    ``{"content": […]}``. MCP_READ_RESOURCE and MCP_GET_PROMPT stand for resources and prompts.

    Tools that come and go change what is offered. If the server dies, open requests end with
    `MasterLost` at once, the client resigns, and it serves again when the server has been started
    or reached again.

    Args:
        server: The MCP server: the address of its streamable HTTP, the parameters of its command
            (``mcp.StdioServerParameters``), or one in this process.
        room: The room.
        hub: The hub, as for `alephscript.AlephScriptClient`.
        options: Further options of the client; with ``retry_open`` an MCP server that is not there
            yet is waited for, too, and ``backoff`` is for both.

    Raises:
        ServerUnreachable: At entering: there is no such MCP server.
    """

    def __init__(
        self,
        server: Server,
        *,
        room: str,
        hub: str | Transport = DEFAULT_HUB,
        **options: Any,
    ) -> None:
        self._room = events.check_room_name(room)
        self.declarations = self._declare(())
        super().__init__(hub, **options)
        self._at = server
        self._backoff = options.get("backoff", full_jitter)
        self._waits = bool(options.get("retry_open"))
        self._upstream: Upstream | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tools: dict[str, str] = {}
        self._is_stale = False
        self._away = ""
        self._known_collisions: set[str] = set()

    async def __aenter__(self) -> Self:
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(first))
        try:
            await first
            await super().__aenter__()
        except BaseException:
            await self._stop_keeper()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        await self._stop_keeper()

    # Serving

    async def call_tool(self, request: Request[Any]) -> dict[str, Any]:
        """Answer a request by a call of the tool that it names."""
        payload = request.payload
        if not isinstance(payload, dict):
            raise CapabilityError("invalid_payload", "the payload of a tool is an object")

        async def report(
            progress: float, total: float | None = None, message: str | None = None
        ) -> None:
            fraction = progress / total if total else progress
            request.progress(min(max(fraction, 0.0), 1.0), message or "")

        server = self._present()
        name = self._tools.get(request.capability)
        if name is None:
            raise CapabilityError("unknown_capability", f"{request.capability} has gone")
        result = await self._of(
            server, server.client.call_tool(name, payload, progress_callback=report)
        )
        return _answer(result)

    async def read_resource(self, request: Request[Any]) -> dict[str, Any]:
        """Answer MCP_READ_RESOURCE: the contents of a resource, or the lists of them."""
        uri = request.payload.get("uri") if isinstance(request.payload, dict) else None
        server = self._present()
        if isinstance(uri, str):
            return _plain(await self._of(server, server.client.read_resource(uri)))
        return {
            "resources": await self._of(server, server.list_all("resources")),
            "resourceTemplates": await self._of(server, server.list_all("resource_templates")),
        }

    async def get_prompt(self, request: Request[Any]) -> dict[str, Any]:
        """Answer MCP_GET_PROMPT: a prompt with its arguments filled in, or the list of them."""
        payload = request.payload if isinstance(request.payload, dict) else {}
        name, arguments = payload.get("name"), payload.get("arguments")
        server = self._present()
        if isinstance(name, str):
            given = arguments if isinstance(arguments, dict) else {}
            given = {key: str(value) for key, value in given.items()}
            return _plain(await self._of(server, server.client.get_prompt(name, given)))
        return {"prompts": await self._of(server, server.list_all("prompts"))}

    def _present(self) -> Upstream:
        if self._upstream is None:
            raise _gone(delivered=False)
        return self._upstream

    async def _of(self, server: Upstream, work: Coroutine[Any, Any, T]) -> T:
        """Wait for what a server does, no longer than the server lives.

        Raises:
            CapabilityError: The server refused, or is gone.
        """
        try:
            return await server.work(work)
        except ConnectionError as error:
            raise _gone(delivered=not isinstance(error, ConnectionRefusedError)) from None
        except MCPError as error:
            code = "invalid_payload" if error.error.code == INVALID_PARAMS else "mcp_error"
            details = [{"code": error.error.code, "data": error.error.data}]
            raise CapabilityError(code, error.error.message, details) from None
        except (RuntimeError, ValueError) as error:  # the SDK's, of a result that breaks the rules
            raise CapabilityError("mcp_error", shown(str(error))) from None

    # Offering

    async def _keep(self, first: asyncio.Future[None]) -> None:
        """Be connected to the server, again and again."""
        delays = self._backoff()
        states = asyncio.create_task(self._redeclare())
        try:
            while True:
                served = asyncio.Event()
                why = await self._serve(first, served)
                if served.is_set():
                    delays = self._backoff()
                if not first.done():
                    if not self._waits:
                        first.set_exception(ServerUnreachable(name_server(self._at), why))
                        return
                    first.set_result(None)
                self._tell_away(why)
                await self._offer(())
                await asyncio.sleep(next(delays, _LAST_DELAY))
        finally:
            states.cancel()

    async def _serve(self, first: asyncio.Future[None], served: asyncio.Event) -> str:
        """Serve by one connection, and say why it ended."""

        async def serve() -> None:
            async with connect(self._at) as server:
                self._upstream = server
                await self._offer(await self._capabilities(server))
                served.set()
                self._away = ""
                if not first.done():
                    first.set_result(None)
                async with contextlib.aclosing(server.changes()) as changes:
                    async for _ in changes:
                        await self._offer(await self._capabilities(server))

        # A task of its own: the SDK's cancel scopes cancel the one that they were opened in.
        connection = asyncio.create_task(serve())
        try:
            await asyncio.wait({connection})
        finally:
            self._upstream = None
            if not connection.done():
                connection.cancel()
                await asyncio.wait({connection})
        if connection.cancelled():
            return "the connection is lost"
        failure = connection.exception()
        return "the connection is lost" if failure is None else innermost(failure)

    def _tell_away(self, why: str) -> None:
        """Warn once that the server is away, and again when another reason is known."""
        if why != self._away:
            self._away = why
            logger.warning(
                "%s: the MCP server %s is away (%s); trying again",
                self.usuario,
                name_server(self._at),
                why,
                extra={"usuario": self.usuario, "server": name_server(self._at), "reason": why},
            )

    async def _stop_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})

    async def _capabilities(self, server: Upstream) -> list[Capability]:
        found: dict[str, Capability] = {}
        names_of_tools: dict[str, str] = {}
        has = server.client.server_capabilities
        extra = {READ_RESOURCE: has.resources, GET_PROMPT: has.prompts}
        for name, is_there in extra.items():
            if is_there is not None:
                described = _OWN[name]
                method = "read_resource" if name == READ_RESOURCE else "get_prompt"
                found[name] = _capability(name, (), method, described)
        tools: Sequence[Tool] = await server.tools() if has.tools is not None else ()
        for tool in tools:
            upper = tool.name.upper()
            names = [each for each in (upper, tool.name) if _is_free(each, found)]
            if not names or names[0] != upper:
                self._tell_collision(tool.name, names)
            if not names:
                continue
            aliases = tuple(dict.fromkeys(names[1:]) if names[0] != names[-1] else ())
            made = _capability(names[0], aliases, "call_tool", _describe(tool))
            names_of_tools[made.name] = tool.name
            for each in (made.name, *aliases):
                found[events.capability_name(each)] = made
        self._tools = names_of_tools
        return [each for name, each in found.items() if name == each.name]

    def _tell_collision(self, tool: str, names: Sequence[str]) -> None:
        if tool in self._known_collisions:
            return
        self._known_collisions.add(tool)
        logger.warning(
            "%s: the name of the tool %s is taken; %s",
            self.usuario,
            shown(tool),
            f"it is offered as {names[0]} alone" if names else "it is not offered",
            extra={"usuario": self.usuario, "tool": tool},
        )

    async def _offer(self, capabilities: Iterable[Capability]) -> None:
        """Offer these, and nothing else, now and on every later connection."""
        declared, before = self._declare(capabilities), self.declarations
        self._is_stale = False
        if declared.capabilities:
            self._alephscript_declare(declared)
            self._alephscript_masters[self._room] = declared.mastery(self._room, "single")
        else:
            self._alephscript_masters.pop(self._room, None)
        if self.state is State.NEW:
            self._alephscript_declare(declared)
            return
        try:
            if not declared.capabilities:
                try:
                    await self.resign(self._room)
                finally:
                    # Not before: what still comes in hears that the server is gone, not that there
                    # never was such a capability.
                    self._alephscript_declare(declared)
            elif not before.capabilities or declared == before:
                await self.make_master(self._room)
            else:
                # Hubs tell who serves, and not what: in one go, so that no request falls between.
                await asyncio.gather(self.resign(self._room), self.make_master(self._room))
        except AlephScriptError as error:
            self._is_stale = True
            logger.debug(
                "%s could not tell what it offers: %s",
                self.usuario,
                error.code if isinstance(error, RequestError) else type(error).__name__,
                extra={"usuario": self.usuario},
            )

    async def _redeclare(self) -> None:
        """Tell a new session what it was not told when that changed."""
        async for state in self.states():
            if state is State.READY and self._is_stale and self.declarations.capabilities:
                self._is_stale = False
                with contextlib.suppress(RequestError):
                    await self.make_master(self._room)

    def _declare(self, capabilities: Iterable[Capability]) -> Declarations:
        named = {
            events.capability_name(name): each
            for each in capabilities
            for name in (each.name, *each.aliases)
        }
        return Declarations((RoomRole(self._room, mastered=bool(named)),), named, {})


_OWN: Mapping[str, Mapping[str, Any]] = {
    READ_RESOURCE: {
        "summary": "Read a resource of the MCP server, or list its resources.",
        "request": _RESOURCE_SCHEMA,
        "readOnly": True,
        "idempotent": True,
    },
    GET_PROMPT: {
        "summary": "Get a prompt of the MCP server, or list its prompts.",
        "request": _PROMPT_SCHEMA,
        "readOnly": True,
        "idempotent": True,
    },
}


def _capability(
    name: str, aliases: tuple[str, ...], method: str, described: Mapping[str, Any]
) -> Capability:
    return _Described(
        name=events.capability_name(name),
        attribute=method,
        rooms=(),
        aliases=aliases,
        timeout=None,
        announce=False,
        idempotent=described.get("idempotent", False),
        on_asker_lost="cancel",
        max_in_flight=None,
        queue=1024,
        streams=False,
        payload=None,
        reply=None,
        wants_request=True,
        takes_payload=True,
        blocking=False,
        described=described,
    )


def _gone(*, delivered: bool) -> CapabilityError:
    details = [{"delivered": delivered}]
    return CapabilityError(MasterLost.code, "the MCP server is gone", details, retryable=True)


def _describe(tool: Tool) -> dict[str, Any]:
    hints = tool.annotations
    fields = {
        "summary": tool.description,
        "request": tool.input_schema,
        "reply": tool.output_schema,
        "idempotent": hints and hints.idempotent_hint,
        "readOnly": hints and hints.read_only_hint,
        "destructive": hints and hints.destructive_hint,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _is_free(name: str, found: Mapping[str, Capability]) -> bool:
    """Whether a capability may be called so, and none is."""
    try:
        event = events.request_event(name)
    except RequestError:
        return False
    return event not in events.ANSWERED_BY_HUB and events.capability_name(name) not in found


def _answer(result: CallToolResult) -> dict[str, Any]:
    """Make the answer that a tool's result stands for.

    Raises:
        CapabilityError: The tool failed.
    """
    content = _plain(result)["content"]
    structured = result.structured_content
    if result.is_error:
        texts = [each.text for each in result.content if isinstance(each, TextContent)]
        if isinstance(structured, dict) and isinstance(structured.get("code"), str):
            message, details = structured.get("message"), structured.get("details")
            raise CapabilityError(
                structured["code"][: events.MAX_NAME],
                message if isinstance(message, str) else "\n".join(texts),
                details if isinstance(details, list) else (),
            )
        others = [each for each in content if each.get("type") != "text"]
        raise CapabilityError("tool_failed", "\n".join(texts) or "the tool failed", others)
    if structured is None:
        return {"content": content}
    fields = dict(structured) if isinstance(structured, dict) else {"result": structured}
    return fields if _says_the_same(result, structured) else {**fields, CONTENT: content}


def _says_the_same(result: CallToolResult, structured: Any) -> bool:
    """Whether the content is the structured content as JSON, repeated for old clients."""
    if not result.content:
        return True
    first = result.content[0]
    if len(result.content) > 1 or not isinstance(first, TextContent):
        return False
    if first.text == text_of(structured):
        return True
    try:
        return bool(json.loads(first.text) == structured)
    except ValueError:
        return False


def _plain(model: BaseModel) -> dict[str, Any]:
    """JSON values of what the SDK has read, without what is about the protocol alone."""
    fields = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: fields[key] for key in fields if key in _FIELDS}


_FIELDS = {"content", "contents", "description", "messages"}
