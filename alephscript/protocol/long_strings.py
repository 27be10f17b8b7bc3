"""Long strings in JSON, written by orjson where that is installed: a fifth of the time.

msgspec looks at a string byte by byte, 0.37 ns each, orjson at sixteen at once. Their texts of a
string are the same to the byte, those of a number are not: so orjson writes the strings alone, and
msgspec all else around them. To look for long strings costs more than to write a value that has
none, so nobody looks before a text of the same kind had some (`Habit`).

May go in: which strings are worth it, and how they are written. May not: which values JSON can
carry (`json`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["LARGE", "Habit", "write_long_strings"]

LARGE = 16_384
"""Bytes of a JSON text in which long strings are worth while."""

_LONG = 4_096
_FEW = 64
"""Quotes that are looked at in a text, and children of an object or a list: it has none beyond."""
_LEVELS = 8

_write_string: Callable[[str], bytes] | None
try:
    from orjson import dumps as _write_string
except ImportError:
    _write_string = None


class Habit:
    """The likeness of the texts of one kind: whether the last one had long strings.

    Attributes:
        is_long: Whether the next value is to be looked through for long strings.
    """

    __slots__ = ("is_long",)

    def __init__(self) -> None:
        self.is_long = False

    def note(self, text: bytes) -> None:
        """Take note of a text, which need not be told if it is not `LARGE` and none was before."""
        self.is_long = _write_string is not None and len(text) > LARGE and _has_long_string(text)


def _has_long_string(text: bytes) -> bool:
    """Whether one of the first strings of a text is long."""
    start = end = text.find(b'"')
    for _ in range(_FEW):
        end = text.find(b'"', end + 1)
        if end - start > _LONG:
            return True
        if end < 0:
            return False
        if text[end - 1] != _BACKSLASH:  # else it ends nothing, or seldom
            start = end = text.find(b'"', end + 1)
    return False


_BACKSLASH = ord("\\")


def write_long_strings(value: Any, levels: int = _LEVELS) -> Any:
    """Return a value with JSON text in place of its long strings; whoever writes it copies that.

    Args:
        value: JSON values, not changed; or a `msgspec.Struct` that is nobody else's, changed.
        levels: How deep strings are looked for.
    """
    kind = type(value)
    if kind is str:
        if len(value) < _LONG:
            return value
        try:
            return msgspec.Raw(_write_in_pieces(value))
        except TypeError:  # a lone surrogate, which msgspec refuses in the words of `json`
            return value
    if not levels:
        return value
    levels -= 1
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            setattr(value, name, write_long_strings(getattr(value, name), levels))
    elif kind is dict and len(value) <= _FEW:
        return {key: write_long_strings(child, levels) for key, child in value.items()}
    elif (kind is list or kind is tuple) and len(value) <= _FEW:
        return [write_long_strings(child, levels) for child in value]
    return value


def _write_in_pieces(text: str) -> bytes | bytearray:
    """Write a string; in pieces, as orjson asks for eight bytes a character before it begins."""
    assert _write_string is not None
    if len(text) <= _PIECE:
        return _write_string(text)
    written = bytearray(b'"')
    for start in range(0, len(text), _PIECE):
        written += memoryview(_write_string(text[start : start + _PIECE]))[1:-1]
    written += b'"'
    return written


_PIECE = 131_072
