"""Differences between two documents that break a program which relies on the older one.

May go in: comparing documents, whoever made them. May not: making one.

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from alephscript.asyncapi.hub import HUB_EVENTS
from alephscript.errors import AlephScriptError

__all__ = ["breaking_changes", "broken_schemas"]


def breaking_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the changes that break a program which relies on the old document, a sentence each.

    A request may ask for less and take more; an answer or an event may say more. What is no
    AsyncAPI in a document says nothing.

    Raises:
        AlephScriptError: A reference in a document leads nowhere.
    """
    return [*_broken_operations(old, new), *_broken_messages(old, new)]


def broken_schemas(
    old: Mapping[str, Any], new: Mapping[str, Any], where: str, *, is_request: bool
) -> list[str]:
    """List the changes of a schema that break a program which relies on the old one.

    Args:
        old: The old schema, whole: references lead into itself.
        new: The new one, too.
        where: What it is the schema of.
        is_request: Whether it is what is asked, not what is answered or said.

    Raises:
        AlephScriptError: A reference in a schema leads nowhere.
    """
    return list(_broken_schemas((old, old), (new, new), where, is_request=is_request))


def _broken_operations(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    remaining = _mapping(new, "operations")
    for name in _mapping(old, "operations"):
        if name not in remaining:
            yield f"{name} is gone"


def _broken_messages(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for channel, described in _mapping(old, "channels").items():
        counterpart = _mapping(new, "channels").get(channel)
        if counterpart is None:
            yield f"the room {channel} is gone"
            continue
        messages = _mapping(described, "messages")
        for name in messages:
            changed = _mapping(counterpart, "messages").get(name)
            if changed is None:
                yield f"{channel} has no {name} any more"
                continue
            is_request = str(name).startswith("GET_") or name in HUB_EVENTS
            before = _mapping(messages, name).get("payload")
            after = _mapping(counterpart["messages"], name).get("payload")
            yield from _broken_schemas(
                (old, before), (new, after), str(name), is_request=is_request
            )


_Place = tuple[Mapping[str, Any], Any]
"""A document, and a schema in it."""


def _broken_schemas(old: _Place, new: _Place, where: str, *, is_request: bool) -> Iterator[str]:
    """Give the changes that break; a request may demand less, an answer may say more.

    Each pair of schemas is compared once, where it is first met: schemas may contain themselves.
    """
    todo, seen = deque([(where, old[1], new[1])]), set()
    while todo:
        where, *pair = todo.popleft()
        first, second = _follow(old[0], pair[0]), _follow(new[0], pair[1])
        if (id(first), id(second)) in seen:
            continue
        seen.add((id(first), id(second)))
        before, after = _whole(old[0], first), _whole(new[0], second)
        if before.kind and after.kind and before.kind != after.kind:
            yield f"{where} is {after.kind}, was {before.kind}"
            continue
        yield from _broken_fields(before, after, where, is_request=is_request)
        for field in sorted(before.properties.keys() & after.properties.keys()):
            todo.append((f"{where}.{field}", before.properties[field], after.properties[field]))
        if before.items is not None and after.items is not None:
            todo.append((f"{where}[]", before.items, after.items))


def _broken_fields(
    before: _Schema, after: _Schema, where: str, *, is_request: bool
) -> Iterator[str]:
    """Give the changes of one schema, without what is inside its fields."""
    if is_request:
        for field in sorted(after.required - before.required):
            yield f"{where} asks for {field}"
    else:
        for field in sorted(before.properties.keys() - after.properties.keys()):
            yield f"{where} has no {field} any more"
        for field in sorted((before.required - after.required) & after.properties.keys()):
            yield f"{where} may lack {field}"
    removed, added = before.choices - after.choices, after.choices - before.choices
    if is_request and after.choices and removed:
        yield f"{where} does not take {', '.join(sorted(removed))} any more"
    if not is_request and before.choices and added:
        yield f"{where} may be {', '.join(sorted(added))}, too"


@attrs.frozen
class _Schema:
    """What is compared of a schema: its own words and those of its ``allOf`` together.

    Attributes:
        kind: Its ``type``.
        properties: Its fields.
        required: Names of the fields that it demands.
        choices: Its ``enum``, as texts.
        items: The schema of its items.
    """

    kind: Any
    properties: Mapping[str, Any]
    required: frozenset[str]
    choices: frozenset[str]
    items: Any


def _whole(document: Mapping[str, Any], schema: Mapping[str, Any]) -> _Schema:
    """Put a schema's parts together; words that are of no use to a comparison are left out."""
    parts, todo = {id(schema): schema}, deque([schema])
    while todo:
        for each in _list(todo.popleft().get("allOf")):
            part = _follow(document, each)
            if id(part) not in parts:
                parts[id(part)] = part
                todo.append(part)

    def gather(word: str) -> Any:
        return next((each[word] for each in parts.values() if word in each), None)

    properties: dict[str, Any] = {}
    for part in parts.values():
        fields = part.get("properties")
        properties.update(fields if isinstance(fields, dict) else {})
    required = [name for part in parts.values() for name in _list(part.get("required"))]
    return _Schema(
        gather("type"),
        {str(name): field for name, field in properties.items()},
        frozenset(map(str, required)),
        frozenset(map(str, _list(gather("enum")))),
        gather("items"),
    )


def _follow(document: Mapping[str, Any], schema: Any) -> Mapping[str, Any]:
    """Return the schema that a reference leads to; what is no schema says nothing.

    Raises:
        AlephScriptError: The reference leads nowhere.
    """
    seen = set()
    while isinstance(schema, dict) and isinstance(path := schema.get("$ref"), str):
        target: Any = document
        for step in path.removeprefix("#/").split("/"):
            target = target.get(step) if isinstance(target, dict) else None
        if target is None or path in seen:
            raise AlephScriptError(f"the reference {path} leads to no schema of its document")
        seen.add(path)
        schema = target
    return schema if isinstance(schema, dict) else _NOTHING


_NOTHING: dict[str, Any] = {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any, key: str) -> dict[str, Any]:
    """Return a field that has to be an object; what else it is says nothing."""
    field = value.get(key) if isinstance(value, Mapping) else None
    return field if isinstance(field, dict) else {}
