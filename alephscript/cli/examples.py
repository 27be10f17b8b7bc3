"""Example payloads: a small value that fits a schema, for a line to copy.

May go in: values made of schemas. May not: how a call is written (`showing`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alephscript.contracts.foreign import bounded_schema

__all__ = ["example"]

_SIMPLE: Mapping[str, Any] = {
    "string": "…",
    "integer": 0,
    "number": 0.5,
    "boolean": True,
    "array": [],
}


def example(schema: Any) -> Any:
    """Make a small value that fits a JSON Schema, with all that is required and nothing else.

    A schema comes from anybody: one that is too large, or is none, has an example that is too
    small.
    """
    return _example(bounded_schema(schema))


def _example(schema: Mapping[str, Any]) -> Any:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0])
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object" or "properties" in schema:
        fields = schema.get("properties", {})
        return {name: _example(fields[name]) for name in schema.get("required", ())}
    return _SIMPLE.get(kind) if isinstance(kind, str) else None
