"""The OpenAPI 3.1 document of a mesh: an operation a capability, with the schemas that it has.

Schemas come from masters, which may be hostile, and go on to the letter if any reader of such
documents can take them: well formed, and referring to nothing but their own definitions. Else a
bounded tree stands for one that allows at least as much.

May go in: offers as a document. May not: asking for them (`reading`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from alephscript.contracts.foreign import bounded_schema
from alephscript.hub.rest.paths import capability_path
from alephscript.hub.rest.schemas import Components, copy_schema, is_sound
from alephscript.protocol import events

__all__ = ["make_document"]

Schema = dict[str, Any]

_SUCCESS: Schema = {
    "type": "object",
    "properties": {"success": {"const": True}},
    "required": ["success"],
}
_DESCRIPTION = """The capabilities of a mesh, each asked at its room.

`?timeoutMs=N` bounds how many milliseconds an answer is waited for. It is no parameter of the
operations: programs that try out all that a document allows would take a short one's 504 for a
fault of the server.
"""
_FAILURES = {
    "description": "The request ended without a result; its code, and the status, say why.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}},
}
_BEARER = {"bearer": {"type": "http", "scheme": "bearer"}}


def make_document(
    offers: Iterable[Mapping[str, Any]], *, version: str, server: str, is_guarded: bool
) -> dict[str, Any]:
    """Make the document.

    Args:
        offers: What is offered, as GET_CAPABILITIES is answered.
        version: The version of the hub's package.
        server: The address that paths are below, absolute or not.
        is_guarded: Whether requests need a token.
    """
    components = Components({"Failure": events.FAILURE_SCHEMA})
    paths = {
        capability_path(offer["room"], offer["capability"]): {"post": _operation(offer, components)}
        for offer in offers
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "AlephScript mesh",
            "version": version,
            "description": _DESCRIPTION,
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"schemas": components.schemas},
    }
    if is_guarded:
        document["components"]["securitySchemes"] = _BEARER
        document["security"] = [{"bearer": []}]
    return document


def _operation(offer: Mapping[str, Any], components: Components) -> dict[str, Any]:
    room, capability = offer["room"], offer["capability"]
    operation: dict[str, Any] = {
        "operationId": capability_path(room, capability).removeprefix("/mesh/rooms/"),
        "summary": offer.get("summary") or f"{capability} of {room}",
        "tags": [room],
        "requestBody": {"required": True, "content": _json(_own(offer.get("request"), components))},
        "responses": {
            "200": {
                "description": "The answer.",
                "content": {
                    **_json(_answer(offer, components)),
                    "text/event-stream": {
                        "schema": {
                            "type": "string",
                            "description": "Events `progress` and `part`, and at last `answer`.",
                        }
                    },
                },
            },
            "default": _FAILURES,
        },
    }
    facts = ("timeoutMs", "idempotent", "readOnly", "destructive", "streams")
    told = {key: offer[key] for key in facts if key in offer}
    return {**operation, "x-alephscript": told} if told else operation


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _own(schema: Schema | None, components: Components) -> Schema:
    """Make a schema of a master one of the document."""
    if schema is None:
        return {}
    if is_sound(schema):
        return components.take(schema)
    bounded: Schema = copy_schema(bounded_schema(schema), {})
    return bounded


def _answer(offer: Mapping[str, Any], components: Components) -> Schema:
    """Make the schema of an answer: a reply's fields beside ``success``, else under ``result``."""
    if offer.get("reply") is None:
        return _SUCCESS
    reply = _own(offer["reply"], components)
    if offer.get("streams") is True:
        return _with_result({"type": "array", "items": reply})
    target = components.resolve(reply)
    kinds = target.get("type")
    if kinds == "object" and "properties" in target:
        if target.keys() & _CLOSING:
            # Closed objects have no room for `success`.
            return {"allOf": [_SUCCESS, {k: v for k, v in target.items() if k not in _CLOSING}]}
        return {"allOf": [_SUCCESS, reply]}
    if isinstance(kinds, str) and kinds != "object":
        return _with_result(reply)
    # Keys that anybody chooses may stand beside `success`, or under `result`.
    return {"anyOf": [_with_result(reply, required=True), _SUCCESS]}


_CLOSING = {
    *("additionalProperties", "unevaluatedProperties", "propertyNames", "patternProperties"),
    *("minProperties", "maxProperties"),
}


def _with_result(schema: Schema, *, required: bool = False) -> Schema:
    return {
        "type": "object",
        "properties": {"success": {"const": True}, "result": schema},
        "required": ["success", "result"] if required else ["success"],
    }
