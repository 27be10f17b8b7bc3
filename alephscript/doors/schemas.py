"""Schemas of masters on their way through a door: which can go on to the letter.

May go in: whether any client can take a schema as it is. May not: what stands for one that is not
sound (`contracts.foreign`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from alephscript.protocol.text import printable

__all__ = ["is_sound", "look_up", "references"]

_LONGEST_SCHEMA = 100_000
_DEEPEST_SCHEMA = 64


def is_sound(schema: Any) -> bool:
    """Whether any client can take a schema as it is: valid, bounded, and self-contained."""
    if not isinstance(schema, dict):
        return False
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        if len(text) > _LONGEST_SCHEMA or _depth(schema) > _DEEPEST_SCHEMA or _is_obeyed(schema):
            return False
        Draft202012Validator.check_schema(schema)
        for reference in references(schema):
            if not isinstance(look_up(schema, reference), dict):
                return False
        validator = Draft202012Validator(schema)
        values: tuple[Any, ...] = ({}, [], "", 0, None)
        for value in values:  # a schema that never ends shows at any of these
            validator.is_valid(value)
    except Exception:  # noqa: BLE001 - of a stranger's schema, whatever it is
        return False
    return True


def _is_obeyed(value: Any) -> bool:
    """Whether a text in a value has characters that a reader would obey, beside line ends."""
    if isinstance(value, str):
        return any(printable(each) != each for each in value.replace("\t", " ").splitlines())
    if isinstance(value, Mapping):
        return any(_is_obeyed(key) or _is_obeyed(each) for key, each in value.items())
    return isinstance(value, list) and any(map(_is_obeyed, value))


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= _DEEPEST_SCHEMA:
        depth += 1
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


def references(schema: Any) -> list[str]:
    """Find all references in a schema."""
    found: list[str] = []
    rest = [schema]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            found += [
                each
                for key, each in value.items()
                if key in ("$ref", "$dynamicRef", "$recursiveRef", "$id") and isinstance(each, str)
            ]
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return found


def look_up(schema: Any, reference: str) -> Any:
    """Follow a pointer within a schema; None where it points to nothing, or outside."""
    if reference == "#":
        return schema
    if not reference.startswith("#/"):
        return None
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        schema = schema.get(key) if isinstance(schema, dict) else None
    return schema
