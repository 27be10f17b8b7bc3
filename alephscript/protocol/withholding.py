"""Secrets by contract: what a schema marks as one is left out of a copy of a value.

A schema marks a secret by ``writeOnly: true``, by ``format: password`` or by ``x-secret: true``.
What is marked goes, whatever it is; so does a value that stands where something with a secret in it
was to be. Where a schema leaves open which part of it holds, each part counts: rather too much is
left out than too little.

May go in: which values of a JSON value are marked. May not: what only looks like a secret
(`secrets`), where that matters (`alephscript.mesh.recording`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import attrs

__all__ = [
    "WITHHELD",
    "Copy",
    "has_secrets",
    "schemas_at",
    "scrub",
    "withhold",
    "withhold_in_answer",
]

WITHHELD = "[redacted]"
"""What stands in place of a secret."""

_SHORTEST = 4
"""Characters of a secret that is recognised elsewhere; shorter ones stand in too much else."""

Path = tuple[str | int, ...]


@attrs.frozen
class Copy:
    """A copy of a value without its secrets.

    Attributes:
        value: The copy.
        paths: Where `WITHHELD` stands in it for something else.
        secrets: Texts and numbers that were left out, as far as they can be recognised elsewhere.
    """

    value: Any
    paths: tuple[Path, ...] = ()
    secrets: tuple[str, ...] = ()


def has_secrets(schema: Any) -> bool:
    """Whether a schema marks anything as a secret."""
    return isinstance(schema, Mapping) and _marks_anything(schema, schema)


def withhold(value: Any, schema: Any) -> Copy:
    """Copy a value without what its schema marks as secrets.

    Args:
        value: Any JSON, no deeper than others may send.
        schema: Its JSON Schema; what is none marks nothing.
    """
    if not has_secrets(schema):
        return Copy(value)
    copying = _Copying(schema)
    copy = copying.copy(value, [schema], ())
    return Copy(copy, tuple(copying.paths), tuple(dict.fromkeys(copying.secrets)))


def withhold_in_answer(answer: Any, reply: Any) -> Copy:
    """Copy an answer without what the schema of its reply marks as secrets.

    Args:
        answer: The answer, whose fields are those of the reply; or ``result`` is the reply.
        reply: JSON Schema of the reply; what is none marks nothing.
    """
    if not has_secrets(reply) or not isinstance(answer, dict):
        return withhold(answer, reply)
    copying = _Copying(reply)
    known = list(_expand([reply], reply))
    copy = {}
    for key, each in answer.items():
        schemas = [*_of_field(known, key), *([reply] if key == "result" else ())]
        copy[key] = each if key == "success" else copying.copy(each, schemas, (key,))
    return Copy(copy, tuple(copying.paths), tuple(dict.fromkeys(copying.secrets)))


def schemas_at(schema: Any, path: Sequence[str | int]) -> list[Mapping[str, Any]]:
    """List all that a schema says of the value at a place."""
    if not isinstance(schema, Mapping):
        return []
    known = list(_expand([schema], schema))
    for step in path:
        inner = _of_item(known, step) if isinstance(step, int) else _of_field(known, step)
        known = list(_expand(inner, schema))
    return known


def scrub(value: Any, secrets: Sequence[str]) -> Copy:
    """Copy a value without certain texts, wherever they stand in it.

    Args:
        value: Any JSON, no deeper than others may send.
        secrets: The texts, of `Copy.secrets`.
    """
    if not secrets:
        return Copy(value)
    paths: list[Path] = []
    longest_first = sorted(secrets, key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in longest_first:
            text = text.replace(secret, WITHHELD)
        return text

    def copy(each: Any, path: Path) -> Any:
        if isinstance(each, dict):
            return {hide(key): copy(inner, (*path, hide(key))) for key, inner in each.items()}
        if isinstance(each, list):
            return [copy(inner, (*path, index)) for index, inner in enumerate(each)]
        if isinstance(each, str):
            hidden: Any = hide(each)
        else:
            hidden = WITHHELD if _is_number(each) and str(each) in secrets else each
        if hidden != each:
            paths.append(path)
        return hidden

    return Copy(copy(value, ()), tuple(paths))


class _Copying:
    """One walk through a value beside its schema."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.paths: list[Path] = []
        self.secrets: list[str] = []
        self._root = root

    def copy(self, value: Any, schemas: Sequence[Any], path: Path) -> Any:
        if not schemas or value is None:
            return value
        known = list(_expand(schemas, self._root))
        if any(map(_is_marked, known)):
            return self._leave_out(value, path)
        if isinstance(value, dict):
            return {
                key: self.copy(each, list(_of_field(known, key)), (*path, key))
                for key, each in value.items()
            }
        if isinstance(value, list):
            return [
                self.copy(each, list(_of_item(known, index)), (*path, index))
                for index, each in enumerate(value)
            ]
        if any(_marks_anything(each, self._root) for each in known):
            return self._leave_out(value, path)  # a text, say, in place of an object with a secret
        return value

    def _leave_out(self, value: Any, path: Path) -> str:
        self.paths.append(path)
        self.secrets += filter(lambda text: len(text) >= _SHORTEST, _texts_of(value))
        return WITHHELD


def _is_marked(schema: Mapping[str, Any]) -> bool:
    return (
        schema.get("writeOnly") is True
        or schema.get("format") == "password"
        or schema.get("x-secret") is True
    )


_TOGETHER = ("allOf", "anyOf", "oneOf")
_BESIDE = ("if", "then", "else", "not", "dependentSchemas")


def _expand(schemas: Iterable[Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give schemas, and all that they say of the same value."""
    todo, seen = list(schemas), set[int]()
    while todo:
        schema = todo.pop()
        if not isinstance(schema, Mapping) or id(schema) in seen:
            continue
        seen.add(id(schema))
        yield schema
        todo.append(_follow(schema, root))
        for word in _TOGETHER:
            parts = schema.get(word)
            todo += parts if isinstance(parts, list) else ()
        for word in _BESIDE:
            part = schema.get(word)
            todo += part.values() if word == "dependentSchemas" and _is_object(part) else (part,)


def _follow(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return what a reference inside its own document leads to; None for any other."""
    path = schema.get("$ref")
    if not isinstance(path, str) or not path.startswith("#"):
        return None
    target: Any = root
    for step in path.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        target = target.get(name) if isinstance(target, Mapping) else None
    return target


def _of_field(schemas: Sequence[Mapping[str, Any]], key: str) -> Iterator[Any]:
    """Give what schemas of an object say of a field, however its name is spelt."""
    for schema in schemas:
        fields = schema.get("properties")
        named = [
            each
            for name, each in (fields.items() if _is_object(fields) else ())
            if name == key or _plain(str(name)) == _plain(key)
        ]
        yield from named
        patterns = schema.get("patternProperties")
        yield from patterns.values() if _is_object(patterns) else ()  # strangers' are not run
        if not named:
            yield from (schema.get(word) for word in _OTHER_FIELDS)


_OTHER_FIELDS = ("additionalProperties", "unevaluatedProperties")


def _of_item(schemas: Sequence[Mapping[str, Any]], index: int) -> Iterator[Any]:
    """Give what schemas of an array say of an item."""
    for schema in schemas:
        for word in ("prefixItems", "items"):
            items = schema.get(word)
            if not isinstance(items, list):
                yield items
            elif index < len(items):
                yield items[index]
        yield from (schema.get(word) for word in ("contains", "additionalItems"))
        yield schema.get("unevaluatedItems")


def _marks_anything(schema: Any, root: Mapping[str, Any]) -> bool:
    """Whether anything in a schema, or in what it refers to, is marked."""
    todo, seen = [schema], set[int]()
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Mapping):
            if _is_marked(each):
                return True
            todo.append(_follow(each, root))
            todo += each.values()
        elif isinstance(each, list):
            todo += each
    return False


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts_of(each)
    elif isinstance(value, str) or _is_number(value):
        yield str(value)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
