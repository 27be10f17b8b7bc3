"""Schemas of strangers, put into one document.

Work is in proportion to a schema's size, whatever is in it: no pattern of a stranger is matched,
no value validated.

May go in: whether a JSON Schema is well formed, and moving its definitions. May not: what becomes
of one that is not (`openapi`). Pure: no socket, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec

__all__ = ["Components", "copy_schema", "is_sound"]

Schema = dict[str, Any]

_DEEPEST = 32
_LONGEST_PATTERN = 1000
_REFERENCE = re.compile(r"#/(?:\$defs|definitions)/([^/~%]+)")
_SETS = ("[[", "--", "&&", "~~", "||")
"""What Python warns of in a pattern: operations on sets, one day."""
_COMPONENTS = "#/components/schemas/"


def is_sound(schema: Any) -> bool:
    """Whether any reader of an OpenAPI document can take a JSON Schema as it is.

    Args:
        schema: Any JSON.

    Returns:
        True if all its keywords have values of the right form, its references lead to definitions
        of its own, and whether a value fits can be found out in a finite time.
    """
    if not isinstance(schema, dict):
        return False
    definitions = _definitions(schema)
    if not _is_schema(schema, definitions, 0):
        return False
    # The items of a list may be such lists, but one reader of documents does not follow that
    # within `allOf`.
    return not _has_circle(
        definitions, _IN_PLACE | ({"items"} if _has_key(schema, "allOf") else set())
    )


class Components:
    """The schemas of a document that are referred to by name.

    Args:
        schemas: Those that are there from the beginning.

    Attributes:
        schemas: The schemas, by name.
    """

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self.schemas = dict(schemas)
        self._names: dict[tuple[str, bytes], str] = {}

    def take(self, schema: Schema) -> Schema:
        """Take over the definitions of a sound schema; return the schema, which refers to them."""
        definitions = _definitions(schema)
        names = {name: self._name(name, definitions) for name in definitions}
        for name, new in names.items():
            if new not in self.schemas:
                self.schemas[new] = copy_schema(definitions[name], names)
        own = {key: value for key, value in schema.items() if key not in _LEFT_OUT}
        moved: Schema = copy_schema(own, names)
        return moved

    def resolve(self, schema: Schema) -> Schema:
        """Return what a schema refers to; the schema itself if it refers to nothing."""
        target: Any = schema
        while isinstance(target, dict) and isinstance(target.get("$ref"), str):
            target = self.schemas[target["$ref"].removeprefix(_COMPONENTS)]
        return target if isinstance(target, dict) else {}

    def _name(self, name: str, definitions: Mapping[str, Any]) -> str:
        """Name a definition: the same name for the same, with all that it leads to."""
        reached = {each: definitions[each] for each in _reach(name, definitions)}
        key = (name, msgspec.json.encode(reached, order="sorted"))
        if key not in self._names:
            plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
            taken = {*self.schemas, *self._names.values()}
            new, number = plain, 2
            while new in taken:
                new, number = f"{plain}_{number}", number + 1
            self._names[key] = new
        return self._names[key]


_DEFINITIONS = ("$defs", "definitions")
_LEFT_OUT = (*_DEFINITIONS, "$schema")


def _definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in reversed(_DEFINITIONS):
        if isinstance(schema.get(key), dict):
            found |= schema[key]
    return found


def _references(schema: Any, through: frozenset[str]) -> Iterator[str]:
    """Find the names of the definitions that a sound schema refers to, through these keywords."""
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key == "$ref":
            yield value.rpartition("/")[2]
        elif key in through:
            inner = [value] if key in _ONE else value.values() if key in _BY_NAME else value
            for each in inner:
                yield from _references(each, through)


def _has_key(schema: Any, key: str) -> bool:
    if isinstance(schema, dict):
        return key in schema or any(_has_key(each, key) for each in schema.values())
    return isinstance(schema, list) and any(_has_key(each, key) for each in schema)


def _reach(name: str, definitions: Mapping[str, Any]) -> list[str]:
    reached, left = {name: None}, [name]
    while left:
        for each in _references(definitions[left.pop()], _ALL):
            if each in definitions and each not in reached:
                reached[each] = None
                left.append(each)
    return [*reached]


def _has_circle(definitions: Mapping[str, Any], through: frozenset[str]) -> bool:
    """Whether a definition leads back to itself through these keywords alone."""
    graph = {name: set(_references(each, through)) for name, each in definitions.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return True
    return False


def copy_schema(schema: Any, names: Mapping[str, str]) -> Any:
    """Copy a sound schema, without defaults that may not fit, which some readers do not take.

    Args:
        schema: The schema.
        names: The names of components, by those of the definitions that it refers to.
    """
    if not isinstance(schema, dict):
        return schema
    copied: Schema = {}
    for key, value in schema.items():
        if key == "$ref":
            copied[key] = _COMPONENTS + names[value.rpartition("/")[2]]
        elif key in _ONE:
            copied[key] = copy_schema(value, names)
        elif key in _SEVERAL:
            copied[key] = [copy_schema(each, names) for each in value]
        elif key in _BY_NAME:
            copied[key] = {name: copy_schema(each, names) for name, each in value.items()}
        elif key != "default" or _is_default(value, schema):
            copied[key] = value
    return copied


# What each keyword may hold


def _is_schema(schema: Any, definitions: Mapping[str, Any], depth: int) -> bool:
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return False
    for key, value in schema.items():
        inner: Collection[Any] = ()
        if key in _ONE:
            inner = (value,)
        elif key in _SEVERAL and isinstance(value, list) and value:
            inner = value
        elif key in _BY_NAME and isinstance(value, dict):
            inner = value.values()
            if key == "patternProperties" and not all(map(_is_pattern, value)):
                return False
        elif not _fits(key, value, definitions, depth):
            return False
        if not all(_is_schema(each, definitions, depth + 1) for each in inner):
            return False
    return True


def _fits(key: str, value: Any, definitions: Mapping[str, Any], depth: int) -> bool:
    """Whether a keyword that holds no schemas may have a value."""
    if key == "$ref":
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        return match is not None and match[1] in definitions
    if key == "$schema":
        return depth == 0 and isinstance(value, str)
    check = _VALUES.get(key)
    return key not in _REFUSED if check is None else check(value)


def _is_default(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a default is known to fit its schema: only what is simple is looked at."""
    return all(_allows(key, each, value) for key, each in schema.items())


def _allows(key: str, each: Any, value: Any) -> bool:
    match key:
        case "type":
            return any(_is_of(value, kind) for kind in (each if isinstance(each, list) else [each]))
        case "enum":
            return any(value == one and type(value) is type(one) for one in each)
        case "anyOf":
            return any(isinstance(one, dict) and _is_default(value, one) for one in each)
        case "items" | "additionalProperties" | "properties":
            return value in ([], {})
        case _:
            return key in _ANNOTATIONS or not (key in _VALUES or key in _REFUSED)


def _is_of(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return bool(kind == "boolean")
    if kind == "number":
        return isinstance(value, int | float)
    expected = _TYPES.get(kind) if isinstance(kind, str) else None
    return expected is not None and isinstance(value, expected)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_type(value: Any) -> bool:
    if isinstance(value, list):
        names = [each for each in value if isinstance(each, str)]
        return bool(value) and len({*names}) == len(value) and all(map(_is_type, names))
    return isinstance(value, str) and value in _KINDS


def _are_names(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return False
    return len({*value}) == len(value)


def _is_pattern(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > _LONGEST_PATTERN:
        return False
    if any(each in value for each in _SETS):
        return False
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


_ONE = frozenset(
    {
        *("items", "contains", "not", "if", "then", "else", "propertyNames", "contentSchema"),
        *("additionalProperties", "unevaluatedItems", "unevaluatedProperties"),
    }
)
_IN_PLACE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
"""Keywords whose schemas are about the same value."""
_SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_BY_NAME = frozenset({"properties", "patternProperties", "dependentSchemas", *_DEFINITIONS})
_ALL = _ONE | _SEVERAL | _BY_NAME
_REFUSED = frozenset(
    {
        # They lead elsewhere, or mean something else in OpenAPI.
        *_ALL,
        *("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"),
        *("$ref", "$vocabulary", "discriminator", "xml", "externalDocs", "dependencies"),
        *("nullable", "id"),
    }
)
_ANNOTATIONS = frozenset(
    {"default", "title", "description", "$comment", "examples", "deprecated", "readOnly"}
)
_TYPES: Mapping[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_KINDS = frozenset({*_TYPES, "number"})
_VALUES: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        (
            *("title", "description", "format", "$comment"),
            *("contentEncoding", "contentMediaType"),
        ),
        _is(str),
    ),
    **dict.fromkeys(("uniqueItems", "deprecated", "readOnly", "writeOnly"), _is(bool)),
    **dict.fromkeys(("enum", "examples"), _is(list)),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        _is_number,
    ),
    **dict.fromkeys(
        (
            *("minLength", "maxLength", "minItems", "maxItems"),
            *("minContains", "maxContains", "minProperties", "maxProperties"),
        ),
        _is_count,
    ),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "type": _is_type,
    "required": _are_names,
    "dependentRequired": lambda value: (
        isinstance(value, dict) and all(map(_are_names, value.values()))
    ),
    "pattern": _is_pattern,
    "const": lambda _: True,
    "example": lambda _: True,
}
