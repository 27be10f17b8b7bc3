"""The AsyncAPI 3.0 document of client classes: rooms as channels, capabilities as operations.

A room is a channel, what is said and asked in it are messages, a capability is a request with its
reply. There is no official binding for Socket.IO, so rooms stand under ``x-socketio``.

May go in: making the document, reading one. May not: comparing two (``changes``), asking a mesh
what it offers (`alephscript.AlephScriptClient.discover`).

Pure: no socket, no clock. YAML comes with the ``[cli]`` extra.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from alephscript import contracts
from alephscript.asyncapi.changes import breaking_changes
from alephscript.asyncapi.hub import HUB_EVENTS
from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import Capability, summary
from alephscript.errors import AlephScriptError
from alephscript.protocol import events

__all__ = ["breaking_changes", "document", "dump", "load"]

Schema = dict[str, Any]

_HUB = "hub"
_SCHEMAS = "#/components/schemas/"


def document(
    *classes: type[AlephScriptClient],
    title: str = "AlephScript mesh",
    version: str | None = None,
    host: str = "localhost:3010",
) -> dict[str, Any]:
    """Make the document of what these classes offer and say.

    Args:
        classes: The classes; the events that they say are those of `AlephScriptClient.says`.
        title: The document's title.
        version: The document's version, this package's by default.
        host: Host and port of the hub.
    """
    schemas = contracts.Definitions(_SCHEMAS)
    _component("Failure", events.FAILURE_SCHEMA, schemas)
    channels: dict[str, Any] = {_HUB: _hub_channel(schemas)}
    operations: dict[str, Any] = {name: _hub_operation(name) for name in HUB_EVENTS}
    for cls in classes:
        for room in cls.declarations.rooms:
            channel = channels.setdefault(room.name, _channel(room.name))
            if not room.mastered:
                continue
            if room.name == cls.declarations.rooms[0].name:
                _add_events(cls, room.name, channel, operations, schemas)
            for capability in cls.declarations.offered(room.name):
                _add_capability(capability, room.name, channel, operations, schemas)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": title,
            "version": version or importlib.metadata.version("alephscript"),
            "description": "\n\n".join(filter(None, (summary(cls.__doc__) for cls in classes)))
            or title,
        },
        "defaultContentType": "application/json",
        "servers": {
            "production": {"host": host, "protocol": "socketio", "pathname": events.RUNTIME}
        },
        "channels": channels,
        "operations": operations,
        "components": {"schemas": _with_names(schemas.schemas)},
    }


def dump(document: Mapping[str, Any]) -> str:
    """Write a document as YAML.

    Raises:
        ModuleNotFoundError: PyYAML, of the ``[cli]`` extra, is not installed.
    """
    import yaml

    class Plain(yaml.SafeDumper):  # type: ignore[misc]
        def ignore_aliases(self, _: Any) -> bool:
            return True  # anchors help no reader

    text: str = yaml.dump(
        dict(document), Dumper=Plain, sort_keys=False, allow_unicode=True, width=100
    )
    return text


def load(text: str) -> dict[str, Any]:
    """Read a document from YAML or JSON.

    Raises:
        AlephScriptError: The text is not an AsyncAPI document.
        ModuleNotFoundError: PyYAML, of the ``[cli]`` extra, is not installed.
    """
    import yaml

    try:
        document: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as exc:  # a date of no calendar, too
        raise AlephScriptError(f"this is no YAML: {exc}") from exc
    if not isinstance(document, dict) or "asyncapi" not in document:
        raise AlephScriptError("this is no AsyncAPI document: it has no `asyncapi` field")
    return dict(document)


# Channels and operations


def _channel(room: str) -> dict[str, Any]:
    return {
        "address": room,
        "description": f"What is asked and said in {room}.",
        "messages": {},
        "x-socketio": {"namespace": events.RUNTIME, "room": room},
    }


def _hub_channel(schemas: contracts.Definitions) -> dict[str, Any]:
    messages = {
        name: {"name": name, "summary": meaning, "payload": _component(name, schema, schemas)}
        for name, (meaning, schema) in HUB_EVENTS.items()
    }
    answer = {
        "name": "answer",
        "summary": "What the hub acknowledges with.",
        "payload": _component(
            "HubAnswer",
            {
                "type": "object",
                "properties": {"success": {"type": "boolean"}},
                "required": ["success"],
            },
            schemas,
        ),
    }
    return {
        "address": events.RUNTIME,
        "description": "What clients tell the hub itself.",
        "messages": {**messages, "answer": answer},
        "x-socketio": {"namespace": events.RUNTIME},
    }


def _hub_operation(name: str) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": _ref("channels", _HUB),
        "summary": HUB_EVENTS[name][0],
        "messages": [_message_ref(_HUB, name)],
        "reply": {"channel": _ref("channels", _HUB), "messages": [_message_ref(_HUB, "answer")]},
    }


def _add_events(
    cls: type[AlephScriptClient],
    room: str,
    channel: dict[str, Any],
    operations: dict[str, Any],
    schemas: contracts.Definitions,
) -> None:
    for event, contract in cls.says.items():
        channel["messages"][event] = {
            "name": event,
            "summary": summary(contract.__doc__) or event,
            "payload": _named(event, contract, schemas),
        }
        operations[f"say_{event}"] = {
            "action": "send",
            "channel": _ref("channels", room),
            "messages": [_message_ref(room, event)],
        }


def _add_capability(
    capability: Capability,
    room: str,
    channel: dict[str, Any],
    operations: dict[str, Any],
    schemas: contracts.Definitions,
) -> None:
    request_event = events.capability_event(capability.name)
    answer_event = events.answer_event(request_event)
    meaning = summary(capability.doc) or capability.name
    channel["messages"][request_event] = {
        "name": request_event,
        "summary": meaning,
        "payload": _named(request_event, capability.payload, schemas),
    }
    channel["messages"][answer_event] = {
        "name": answer_event,
        "summary": f"The answer to {request_event}, acknowledged"
        + (" and told to the room." if capability.announce else "."),
        "payload": _component(answer_event, _answer(_schema(capability.reply, schemas)), schemas),
    }
    channel["messages"].setdefault("failure", _failure_message())
    operation: dict[str, Any] = {
        "action": "receive",
        "channel": _ref("channels", room),
        "summary": meaning,
        "messages": [_message_ref(room, request_event)],
        "reply": {
            "channel": _ref("channels", room),
            "messages": [_message_ref(room, answer_event), _message_ref(room, "failure")],
        },
    }
    facts = {
        key: value
        for key, value in capability.description().items()
        if key in ("timeoutMs", "idempotent", "streams")
    }
    if facts:
        operation["x-alephscript"] = facts
    name = capability.name
    operations[name if name not in operations else f"{name}_{room}"] = operation


def _failure_message() -> dict[str, Any]:
    return {
        "name": "failure",
        "summary": "Why a request ended without a result.",
        "payload": _ref("components/schemas", "Failure"),
    }


def _answer(reply: Schema) -> Schema:
    """Return the schema of an answer: a reply's fields beside ``success``, else ``result``."""
    success: Schema = {
        "type": "object",
        "properties": {"success": {"const": True}},
        "required": ["success"],
    }
    if not reply:
        return success
    if "$ref" in reply or reply.get("type") == "object":
        return {"allOf": [success, reply]}
    success["properties"]["result"] = reply
    return success


def _schema(declared: Any, schemas: contracts.Definitions) -> Schema:
    """Put a contract's schema with the others; return a reference to it."""
    return {} if declared is None else contracts.json_schema(declared, schemas)


def _named(message: str, declared: Any, schemas: contracts.Definitions) -> Schema:
    """Return the schema of a message, which has a name: its contract's, or the message's."""
    schema = _schema(declared, schemas)
    return schema if "$ref" in schema else _component(message, schema, schemas)


def _component(name: str, schema: Schema, schemas: contracts.Definitions) -> Schema:
    """Put a schema with the others, under a name that generators of code make a type of."""
    words = name.split("_")
    title = "".join(map(str.capitalize, words)) if len(words) > 1 else name
    made = schema or {"description": "Any JSON."}
    return schemas.refer((title, repr(made)), title, "Message", lambda: made)


def _with_names(schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    """Give a name to each part of a schema that is a type of its own to a generator of code."""
    named: dict[str, Schema] = {}

    def hoist(schema: Any, name: str) -> Any:
        inner = {key: inside(value, key, name) for key, value in schema.items()}
        if not _NAMED & inner.keys():
            return inner
        while name in schemas or name in named:
            name += "_"
        named[name] = inner
        return {"$ref": _SCHEMAS + name}

    def inside(value: Any, key: str, name: str) -> Any:
        if key == "properties":
            return {
                each: hoist(part, f"{name}{each[:1].upper()}{each[1:]}")
                for each, part in value.items()
            }
        if key in ("items", "additionalProperties") and isinstance(value, dict):
            return hoist(value, f"{name}Item")
        if key in ("anyOf", "prefixItems"):
            return [hoist(part, f"{name}{n}") for n, part in enumerate(value, 1)]
        return value

    whole = {
        name: {key: inside(value, key, name) for key, value in schema.items()}
        for name, schema in schemas.items()
    }
    return {**whole, **named}


_NAMED = frozenset({"enum", "properties", "allOf"})
"""Keys of schemas that are types of their own in most languages."""


def _ref(where: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/{where}/{name}"}


def _message_ref(channel: str, message: str) -> dict[str, Any]:
    return _ref(f"channels/{channel}/messages", message)
