"""Capabilities as tools: their schemas, what goes into a call and what comes out.

All of it comes from masters, which may be hostile: no name, text or schema of one master may cost
a model the tools of another. A schema goes on to the letter if it is sound; else a bounded tree
stands for it that allows at least as much.

May go in: an `Offer` as an MCP tool. May not: asking the mesh (`server`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
from jsonschema import Draft202012Validator
from mcp.server.context import ServerRequestContext
from mcp_types import CallToolResult, ContentBlock, TextContent, Tool, ToolAnnotations
from pydantic import TypeAdapter, ValidationError

from alephscript.client.discovery import Offer
from alephscript.contracts.foreign import bounded_schema
from alephscript.doors.schemas import is_sound, look_up, references
from alephscript.doors.texts import as_json, shown
from alephscript.errors import RequestError

__all__ = [
    "CONTENT",
    "Context",
    "MeshTool",
    "OwnTool",
    "make_tool",
    "text_of",
    "write_failure",
]

Schema = dict[str, Any]
Context = ServerRequestContext[Any, Any]
"""The call that a tool answers."""

CONTENT = "_content"
"""Key of an answer beside its fields: MCP content that says more than they do."""

_PAYLOAD = "payload"
_RESULT = "result"
_CONTENTS: TypeAdapter[list[ContentBlock]] = TypeAdapter(list[ContentBlock])


@attrs.frozen
class MeshTool:
    """A capability of the mesh as a tool.

    Attributes:
        tool: The tool as MCP clients see it.
        offer: The capability.
        wraps_payload: Whether the payload is one argument, since the payload is no object.
        wraps_result: Whether the answer is one field, since the answer is no object.
    """

    tool: Tool
    offer: Offer
    wraps_payload: bool
    wraps_result: bool

    def payload_of(self, arguments: Mapping[str, Any]) -> Any:
        """Return the payload that the arguments of a call stand for."""
        return arguments.get(_PAYLOAD) if self.wraps_payload else dict(arguments)

    def result_of(self, answer: dict[str, Any]) -> CallToolResult:
        """Return the result of a call that was answered."""
        fields = {key: value for key, value in answer.items() if key != CONTENT}
        if self.offer.reply is None and fields.keys() == {"content"}:
            # As a tool of an MCP server has it that knows no structured content.
            content = _read_contents(fields["content"])
            if content is not None:
                return CallToolResult(content=content)
        if self.wraps_result and fields.keys() != {_RESULT}:
            fields = {_RESULT: fields or None}
        content = _read_contents(answer.get(CONTENT)) or [
            TextContent(type="text", text=text_of(fields))
        ]
        return CallToolResult(content=content, structured_content=fields)


@attrs.frozen
class OwnTool:
    """A tool of the server's own, beside those of the mesh.

    Attributes:
        tool: The tool as MCP clients see it.
        run: Answers its arguments; a `RequestError` reaches the model with code and details.
    """

    tool: Tool
    run: Callable[[dict[str, Any], Context], Awaitable[dict[str, Any]]]


def make_tool(offer: Offer, name: str) -> MeshTool:
    """Make the tool of an offer."""
    request, wraps_payload = _as_object(offer.request, _PAYLOAD)
    reply: Schema | None = None
    wraps_result = False
    if offer.streams and offer.reply is not None:
        parts, _ = _as_object(offer.reply, "items", always=True)
        definitions = {key: value for key, value in parts.items() if key == "$defs"}
        items = {"type": "array", "items": parts["properties"]["items"]}
        reply = {**_object_of(_RESULT, items), **definitions}
    elif offer.reply is not None:
        reply, wraps_result = _as_object(offer.reply, _RESULT)
    tool = Tool(
        name=name,
        description=shown(_describe(offer, name)),
        input_schema=request,
        output_schema=reply,
        annotations=ToolAnnotations(
            read_only_hint=offer.read_only,
            destructive_hint=offer.destructive,
            idempotent_hint=offer.idempotent or None,
        ),
    )
    return MeshTool(tool, offer, wraps_payload, wraps_result)


def write_failure(error: RequestError) -> CallToolResult:
    """Write an error for a model: code, message, details."""
    text = f"{shown(error.code)}: {shown(error.message)}"
    if error.details:
        text += f" {as_json(error.details)}"
    fields = {"code": error.code, "message": error.message, "details": error.details}
    content: list[ContentBlock] = [TextContent(type="text", text=text)]
    return CallToolResult(content=content, structured_content=fields, is_error=True)


def text_of(fields: Any) -> str:
    """Write structured content for clients that know none: as JSON, a text as it is."""
    value = fields
    if isinstance(fields, dict) and fields.keys() == {_RESULT}:
        value = fields[_RESULT]
    return value if isinstance(value, str) else as_json(value)


def _describe(offer: Offer, name: str) -> str:
    text = offer.summary or f"{offer.capability} of {offer.room}"
    if offer.tags:
        text += f" ({', '.join(offer.tags)})"
    if name == offer.capability or offer.summary is None:
        return text
    return f"{text}\n\n{offer.capability} in the room {offer.room}."


def _read_contents(value: Any) -> list[ContentBlock] | None:
    """Read the content of a tool's result, None if it is none."""
    if not isinstance(value, list):
        return None
    try:
        return _CONTENTS.validate_python(value)
    except ValidationError:
        return None


def _object_of(key: str, schema: Any, *, required: bool = True) -> Schema:
    made: Schema = {"type": "object", "properties": {key: schema}}
    return {**made, "required": [key]} if required else made


def _as_object(schema: Any, key: str, *, always: bool = False) -> tuple[Schema, bool]:
    """Make the schema of an object: the schema itself, or an object with the value under a key.

    Returns:
        The schema, and whether the value is under the key.
    """
    if not is_sound(schema):
        schema = bounded_schema(schema)
    if not always:
        if schema.get("type") == "object":
            return schema, False
        if "type" not in schema and not schema.keys() & _CHOICES:
            return {**schema, "type": "object"}, False
        target = _resolve(schema)
        if target.get("type") == "object":
            rest = {name: value for name, value in schema.items() if name != "$ref"}
            return {**target, **rest}, False
    if any(not each.startswith("#/$defs/") for each in references(schema)):
        schema = bounded_schema(schema)  # what they refer to would be somewhere else
    inner = {name: value for name, value in schema.items() if name != "$defs"}
    is_optional = Draft202012Validator(schema).is_valid(None) if key == _PAYLOAD else False
    outer = _object_of(key, inner, required=not is_optional)
    return ({**outer, "$defs": schema["$defs"]} if "$defs" in schema else outer), True


_CHOICES = {"$ref", "anyOf", "oneOf", "allOf", "enum", "const", "not"}


def _resolve(schema: Schema) -> Schema:
    """Return what a schema refers to, through a few references; the schema itself without."""
    target: Any = schema
    for _ in range(8):
        if not isinstance(target, dict) or not isinstance(target.get("$ref"), str):
            break
        target = look_up(schema, target["$ref"])
    return target if isinstance(target, dict) else {}
