"""`McpMaster`: an MCP server as the master of a room, each of its tools a capability.

May go in: what a mesh asks of an MCP server. May not: the connection to that server (`upstream`).
"""

from __future__ import annotations

import json
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent, Tool
from pydantic import BaseModel

from alephscript.client.declaring import Capability
from alephscript.client.described import describe_capability
from alephscript.client.environment import DEFAULT_HUB
from alephscript.client.messages import Request
from alephscript.doors.master import ForeignMaster
from alephscript.doors.texts import shown
from alephscript.errors import CapabilityError, ConnectionRefused
from alephscript.links.transport import Transport
from alephscript.mcp.tools import CONTENT, text_of
from alephscript.mcp.upstream import Server, ServerUnreachable, Upstream, connect, name_server
from alephscript.protocol import events

__all__ = ["McpMaster"]

T = TypeVar("T")

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


class McpMaster(ForeignMaster[Upstream]):
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
        self._at = server
        self._tools: dict[str, str] = {}
        super().__init__(
            room=room, hub=hub, server=f"the MCP server {name_server(server)}", **options
        )

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
            server, request, server.client.call_tool(name, payload, progress_callback=report)
        )
        return _answer(result)

    async def read_resource(self, request: Request[Any]) -> dict[str, Any]:
        """Answer MCP_READ_RESOURCE: the contents of a resource, or the lists of them."""
        uri = request.payload.get("uri") if isinstance(request.payload, dict) else None
        server = self._present()
        if isinstance(uri, str):
            return _plain(await self._of(server, request, server.client.read_resource(uri)))
        return {
            "resources": await self._of(server, request, server.list_all("resources")),
            "resourceTemplates": await self._of(
                server, request, server.list_all("resource_templates")
            ),
        }

    async def get_prompt(self, request: Request[Any]) -> dict[str, Any]:
        """Answer MCP_GET_PROMPT: a prompt with its arguments filled in, or the list of them."""
        payload = request.payload if isinstance(request.payload, dict) else {}
        name, arguments = payload.get("name"), payload.get("arguments")
        server = self._present()
        if isinstance(name, str):
            given = arguments if isinstance(arguments, dict) else {}
            given = {key: str(value) for key, value in given.items()}
            return _plain(await self._of(server, request, server.client.get_prompt(name, given)))
        return {"prompts": await self._of(server, request, server.list_all("prompts"))}

    async def _of(self, server: Upstream, request: Request[Any], work: Coroutine[Any, Any, T]) -> T:
        """Wait for what a server does for a request, no longer than the server lives.

        Raises:
            CapabilityError: The server refused, or is gone.
        """
        try:
            with server.elicited.about(request):
                return await server.work(work)
        except ConnectionError as error:
            raise self._gone(delivered=not isinstance(error, ConnectionRefusedError)) from None
        except MCPError as error:
            code = "invalid_payload" if error.error.code == INVALID_PARAMS else "mcp_error"
            details = [{"code": error.error.code, "data": error.error.data}]
            raise CapabilityError(code, error.error.message, details) from None
        except (RuntimeError, ValueError) as error:  # the SDK's, of a result that breaks the rules
            raise CapabilityError("mcp_error", shown(str(error))) from None

    # Offering

    def _connect(self) -> AbstractAsyncContextManager[Upstream]:
        return connect(self._at)

    def _unreachable(self, reason: str) -> ConnectionRefused:
        return ServerUnreachable(name_server(self._at), reason)

    async def _capabilities(self, server: Upstream) -> list[Capability]:
        has = server.client.server_capabilities
        own = []
        if has.resources is not None:
            own.append(describe_capability(READ_RESOURCE, "read_resource", _OWN[READ_RESOURCE]))
        if has.prompts is not None:
            own.append(describe_capability(GET_PROMPT, "get_prompt", _OWN[GET_PROMPT]))
        tools: Sequence[Tool] = await server.tools() if has.tools is not None else ()
        described = [(tool.name, _describe(tool)) for tool in tools]
        found, self._tools = self._name_all(described, "call_tool", own)
        return found


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
