"""A value that a person fills in, entry by entry: a flat form of any JSON Schema.

Terminals, MCP clients and other simple forms know texts, numbers, choices and yes or no. A field of
another kind is given as JSON.

May go in: what is to be filled in by a schema, and the value that was. May not: how somebody is
asked.

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from alephscript.contracts.foreign import bounded_schema
from alephscript.errors import InvalidPayload, RequestError
from alephscript.protocol.json import parse_json

__all__ = ["Entry", "make_entries", "read_entries"]

Schema = dict[str, Any]
Kind = Literal["boolean", "string", "integer", "number", "json"]

WHOLE = "result"
"""The name of the one entry of a value that is no object."""


@attrs.frozen
class Entry:
    """One thing to be filled in.

    Attributes:
        name: The field's name.
        kind: What is to be given; ``json`` for what only JSON can say.
        about: A few words for a person, empty if there are none.
        is_required: Whether the entry may not be left out.
        choices: The texts of which one is to be given; none for any.
        default: What is meant if nothing is given, None for nothing.
        schema: The field's schema, bounded and without references.
    """

    name: str
    kind: Kind
    about: str
    is_required: bool
    choices: tuple[str, ...] = ()
    default: Any = None
    schema: Schema = attrs.field(factory=dict, repr=False)


def make_entries(schema: Any) -> list[Entry]:
    """List what a value of a schema is filled in by: its fields, or the value as one entry.

    Args:
        schema: Any JSON; None for a value of which nothing is known.
    """
    tree = _without_null(bounded_schema(schema))
    fields = tree.get("properties")
    if fields is None:
        return [_make_entry(WHOLE, tree, is_required=True)]
    required = tree.get("required", ())
    return [_make_entry(name, each, is_required=name in required) for name, each in fields.items()]


def read_entries(schema: Any, given: Mapping[str, Any]) -> Any:
    """Make the value of what was filled in; entries that are left out count as not given.

    Args:
        schema: The schema that the entries were made of.
        given: JSON values by the names of entries; those of kind ``json`` are texts.

    Raises:
        InvalidPayload: A text is no JSON.
    """
    entries = make_entries(schema)
    values: dict[str, Any] = {}
    for entry in entries:
        value = given.get(entry.name)
        if value is None:
            continue
        if entry.kind == "json" and isinstance(value, str):
            try:
                value = parse_json(value)
            except RequestError as error:
                detail = {"path": entry.name, "message": error.message}
                raise InvalidPayload(f"{entry.name}: {error.message}", [detail]) from None
        values[entry.name] = value
    is_whole = _without_null(bounded_schema(schema)).get("properties") is None
    return values.get(WHOLE) if is_whole else values


def _make_entry(name: str, schema: Schema, *, is_required: bool) -> Entry:
    tree = _without_null(schema)
    choices = _choices_of(tree)
    kind: Kind = "json"
    if choices:
        kind = "string"
    elif tree.get("type") in ("boolean", "string", "integer", "number") and "enum" not in tree:
        kind = tree["type"]
    elif not tree.keys() & {"type", "anyOf", "enum", "const", "properties"}:
        kind = "string"  # nothing is known of it
    # A contract's titles say no more than its names do.
    return Entry(
        name, kind, tree.get("description", ""), is_required, choices, tree.get("default"), tree
    )


def _choices_of(tree: Schema) -> tuple[str, ...]:
    choices: Sequence[Any] = tree.get("enum", ())
    if not choices and isinstance(tree.get("const"), str):
        choices = (tree["const"],)
    return tuple(choices) if all(isinstance(each, str) for each in choices) else ()


def _without_null(tree: Schema) -> Schema:
    """Return what a schema allows besides null, as far as that is one thing."""
    others = [each for each in tree.get("anyOf", ()) if each.get("type") != "null"]
    if len(others) == 1:
        return {**others[0], **{key: each for key, each in tree.items() if key != "anyOf"}}
    kind = tree.get("type")
    if isinstance(kind, list):
        kinds = [each for each in kind if each != "null"]
        return {**tree, "type": kinds[0] if len(kinds) == 1 else kinds}
    return tree
