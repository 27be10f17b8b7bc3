"""Something in place of the secrets that a recording has not, as their schema wants it.

May go in: which value that is. May not: which values are secrets
(`alephscript.protocol.withholding`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alephscript.protocol.withholding import WITHHELD, schemas_at

__all__ = ["fill"]

_TEXTS = {
    "uuid": "00000000-0000-4000-8000-000000000000",
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "nobody@example.org",
    "uri": "https://example.org",
}
_LONGEST = 1_000_000
_NOTHING: Mapping[str, Any] = {"boolean": False, "null": None, "array": [], "object": {}}


def fill(payload: Any, paths: Iterable[Sequence[str | int]], schema: Any) -> Any:
    """Put a placeholder at each place of a payload where a secret was.

    Args:
        payload: The payload; containers in it are changed.
        paths: The places.
        schema: The schema of the payload; None if there is none.
    """
    for path in paths:
        value = make_placeholder(schemas_at(schema, path))
        if not path:
            return value
        holder = payload
        for step in path[:-1]:
            holder = _get(holder, step)
        if _get(holder, path[-1]) is not None:
            holder[path[-1]] = value
    return payload


def _get(holder: Any, step: str | int) -> Any:
    try:
        return holder[step]
    except (KeyError, IndexError, TypeError):
        return None


def make_placeholder(schemas: Iterable[Mapping[str, Any]]) -> Any:
    """Make a value of which schemas are likely to be true, all of them of one value."""
    words: dict[str, Any] = {}
    for schema in schemas:
        words = {**schema, **words}
    for word in ("const", "default"):
        if word in words:
            return words[word]
    for word in ("enum", "examples"):
        if isinstance(words.get(word), list) and words[word]:
            return words[word][0]
    kind = words.get("type", "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind in ("integer", "number"):
        return _make_number(words)
    return _NOTHING[kind] if kind in _NOTHING else _make_text(words)


def _make_number(words: Mapping[str, Any]) -> Any:
    for word, beyond in (("minimum", 0), ("exclusiveMinimum", 1), ("maximum", 0)):
        if isinstance(words.get(word), int | float):
            return words[word] + beyond
    return 0


def _make_text(words: Mapping[str, Any]) -> str:
    text = _TEXTS.get(words.get("format", ""), WITHHELD)
    least, most = words.get("minLength"), words.get("maxLength")
    if isinstance(least, int) and len(text) < least <= _LONGEST:
        text = text.ljust(least, ".")
    return text[:most] if isinstance(most, int) else text
