"""Schemas of strangers: a JSON Schema of anybody as a small tree that is well formed.

A schema comes from a master, so it may refer to itself, have values of wrong types, or grow with
each level. Whoever draws one (a form, an example, the list of tools of a model) draws the tree made
here: without references, of known keywords only, and within one budget for the whole of it.

May go in: reading schemas that others wrote. May not: the schemas of contracts (`json_schema`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["bounded_schema"]

Schema = dict[str, Any]

MOST_SCHEMAS = 256
"""Schemas in a tree: that of the payload, of fields, items and alternatives."""

MOST_CHARACTERS = 20_000
"""Characters of names, descriptions and choices in a tree."""

_DEEPEST = 16
_MOST_REFERENCES = 8
"""References that follow each other."""
_MOST_ALTERNATIVES = 16
_MOST_CHOICES = 500
_LONGEST_DESCRIPTION = 500
_LONGEST_NAME = 256

_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def bounded_schema(schema: Any) -> Schema:
    """Copy a JSON Schema as a tree of bounded size, without references.

    What is beyond the budget, or means nothing, is left out, so that the tree may allow more than
    the schema does, and nothing less. Required fields are the first to be kept.

    Args:
        schema: Any JSON.
    """
    return _Reader(schema).read(schema, 0)


class _Reader:
    """Reads one schema.

    Args:
        root: The whole of it, whose definitions are referred to.
    """

    def __init__(self, root: Any) -> None:
        definitions = root.get("$defs", root.get("definitions")) if isinstance(root, dict) else None
        self._definitions = definitions if isinstance(definitions, dict) else {}
        self._schemas = MOST_SCHEMAS
        self._characters = MOST_CHARACTERS

    def read(self, schema: Any, depth: int) -> Schema:
        """Read a schema that has been paid for."""
        layers = self._resolve(schema)
        if not layers or depth > _DEEPEST:
            return {}
        found: Mapping[str, Any] = {}
        for layer in reversed(layers):
            # Only known keys: a schema may have a million of others.
            found = {**found, **{key: layer[key] for key in _KEYS if key in layer}}
        tree: Schema = {}
        for key, value in self._simple(found):
            tree[key] = value
        if (alternatives := found.get("anyOf", found.get("oneOf"))) is not None:
            self._add_list(tree, "anyOf", alternatives, depth)
        self._add_fields(tree, found.get("properties"), found.get("required"), depth)
        if isinstance(found.get("items"), dict) and self._pay(1):
            tree["items"] = self.read(found["items"], depth + 1)
        self._add_list(tree, "prefixItems", found.get("prefixItems"), depth)
        others = found.get("additionalProperties")
        # Beside fields these would hold for a field that is left out, too.
        if isinstance(others, dict) and not found.get("properties") and self._pay(1):
            tree["additionalProperties"] = self.read(others, depth + 1)
        return tree

    def _resolve(self, schema: Any) -> list[Mapping[str, Any]]:
        """Follow references; return the schemas on the way, of which the first ones hold."""
        layers: list[Mapping[str, Any]] = []
        while isinstance(schema, dict):
            layers.append(schema)
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return layers
            if len(layers) > _MOST_REFERENCES or len(reference) > 2 * _LONGEST_NAME:
                return []
            schema = self._definitions.get(reference.rpartition("/")[2])
        return []

    def _simple(self, found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Read the keywords that hold no schemas."""
        if kind := _read_type(found.get("type")):
            yield "type", kind
        for key in ("title", "description", "format"):
            text = found.get(key)
            if isinstance(text, str) and self._pay_for([text := text[:_LONGEST_DESCRIPTION]]):
                yield key, text
        for key in _NUMBERS:
            if type(found.get(key)) in (int, float) and self._pay_for([found[key]]):
                yield key, found[key]
        choices = found.get("enum")
        if (
            isinstance(choices, list)
            and 0 < len(choices) <= _MOST_CHOICES
            and self._pay_for(choices)
        ):
            yield "enum", list(choices)
        for key in ("const", "default"):
            if key in found and self._pay_for([found[key]]):
                yield key, found[key]

    def _add_fields(self, tree: Schema, properties: Any, required: Any, depth: int) -> None:
        """Add the fields of an object: all, or the required ones, or none."""
        if not isinstance(required, list):
            required = []
        if not isinstance(properties, dict):
            properties = {}
        if not properties and not required:
            return
        some = (name for name in required[:MOST_SCHEMAS] if isinstance(name, str))
        needed = dict.fromkeys(some)
        names = [*needed]
        if len(properties) <= self._schemas:
            names += [name for name in properties if name not in needed]
        names = [name for name in names if len(name) <= _LONGEST_NAME]
        # All siblings are paid for before any child, which may take what is left.
        if not self._pay(len(names)) or not self._pay_for(names):
            return
        tree["properties"] = {name: self.read(properties.get(name), depth + 1) for name in names}
        tree["required"] = [name for name in names if name in needed]

    def _add_list(self, tree: Schema, key: str, schemas: Any, depth: int) -> None:
        if not isinstance(schemas, list) or not 0 < len(schemas) <= _MOST_ALTERNATIVES:
            return
        if self._pay(len(schemas)):
            tree[key] = [self.read(each, depth + 1) for each in schemas]

    def _pay(self, schemas: int) -> bool:
        """Take schemas from the budget, if it has as many."""
        if schemas > self._schemas:
            return False
        self._schemas -= schemas
        return True

    def _pay_for(self, values: Sequence[Any]) -> bool:
        """Take the characters of plain values from the budget; others cannot be paid for."""
        cost = 0
        for value in values:
            if isinstance(value, str):
                cost += len(value)
            elif isinstance(value, int):
                cost += value.bit_length()
            elif value is not None and not isinstance(value, float):
                return False
            if cost > self._characters:
                return False
        self._characters -= cost
        return True


def _read_type(kind: Any) -> str | list[str] | None:
    """Return a type, or a list of types, if it is one."""
    if isinstance(kind, str):
        return kind if kind in _TYPES else None
    if not isinstance(kind, list) or len(kind) > len(_TYPES):
        return None
    kinds = [each for each in kind if isinstance(each, str) and each in _TYPES]
    return kinds if len(kinds) == len(set(kinds)) == len(kind) else None


_KEYS = (
    *("type", "title", "description", "format", *_NUMBERS, "enum", "const", "default"),
    *("anyOf", "oneOf", "properties", "required", "items", "prefixItems", "additionalProperties"),
)
