"""JSON as every peer of the mesh can read it: strict, finite, nested no deeper than `MAX_DEPTH`.

May go in: reading and writing JSON text, and the checks of it. May not: what a payload means
(`events`), how it is framed (`packets`), contracts of users (`contracts`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from alephscript.errors import InvalidPayload, PayloadTooLarge

__all__ = [
    "MAX_DEPTH",
    "is_plain",
    "needs_no_depth_check",
    "parse_json",
    "read_value",
    "write_json",
    "write_plain_json",
]

MAX_DEPTH = 64
"""Levels of nesting; deeper payloads break the JSON parsers of other peers."""


def read_value(item: Any) -> Any:
    """An argument as Python values, whether or not it was read yet.

    Raises:
        InvalidPayload: It was not, and cannot be.
        PayloadTooLarge: It is nested too deeply.
    """
    if not isinstance(item, msgspec.Raw):
        return item
    return parse_json(item)


def parse_json(text: str | bytes | msgspec.Raw) -> Any:
    """JSON that every peer of the mesh would accept.

    Raises:
        InvalidPayload: Not JSON, or NaN, an infinity, a number out of range.
        PayloadTooLarge: Nested deeper than `MAX_DEPTH`.
    """
    value = _decoded(text)
    if not needs_no_depth_check(text.encode() if isinstance(text, str) else bytes(text)):
        check_depth(value)
    return value


def needs_no_depth_check(text: bytes) -> bool:
    """Whether a text needs no closer look at its nesting, and is UTF-8: nearly all are."""
    # Brackets inside strings count too: this bound is cheap, and passing it is the rule.
    if len(text) > _SHORT and text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        return False
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


_SHORT = 2 * MAX_DEPTH
"""Bytes that hold no deeper nesting."""


def _decoded(text: str | bytes | msgspec.Raw) -> Any:
    try:
        return _decode(text)
    except RecursionError:
        raise PayloadTooLarge(f"nested deeper than {MAX_DEPTH} levels") from None
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise InvalidPayload(f"not valid JSON: {exc}") from None


_decode = msgspec.json.Decoder().decode


def write_json(value: Any) -> bytes:
    """The JSON text of a value, compact, refusing what has none.

    Raises:
        InvalidPayload: It holds NaN, an infinity, bytes or another thing that JSON cannot carry.
        PayloadTooLarge: Nested deeper than `MAX_DEPTH`.
    """
    if is_plain(value):
        return write_plain_json(value)
    try:
        text = _encode_strictly(value).encode()
    except RecursionError:
        raise PayloadTooLarge(f"nested deeper than {MAX_DEPTH} levels") from None
    except (TypeError, ValueError) as exc:  # also a lone surrogate, which has no UTF-8
        raise InvalidPayload(f"no JSON form: {exc}") from None
    return _checked(text, value)


def write_plain_json(value: Any) -> bytes:
    """The JSON text of a value that is known to hold nothing but what JSON can carry.

    Raises:
        InvalidPayload: A text in it has no UTF-8.
        PayloadTooLarge: Nested deeper than `MAX_DEPTH`.
    """
    try:
        text = _encode(value)
    except RecursionError:
        raise PayloadTooLarge(f"nested deeper than {MAX_DEPTH} levels") from None
    except (TypeError, ValueError) as exc:
        raise InvalidPayload(f"no JSON form: {exc}") from None
    return text if len(text) <= _SHORT else _checked(text, value)


def _checked(text: bytes, value: Any) -> bytes:
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        check_depth(value)
    return text


_encode = msgspec.json.Encoder().encode


# msgspec writes null for NaN and base64 for bytes, in silence: only what is plain is left to it.
_encode_strictly = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def is_plain(value: Any, levels: int = MAX_DEPTH) -> bool:  # noqa: C901 - unrolled: hot
    """Whether a value is made of nothing but JSON's own types, finite, and nested no deeper."""
    kind = type(value)
    if kind is dict:
        if not levels:
            return False
        for key, child in value.items():
            if type(key) is not str:
                return False
            if type(child) not in _SCALARS and not is_plain(child, levels - 1):
                return False
        return True
    if kind is list or kind is tuple:
        if not levels:
            return False
        for child in value:
            if type(child) not in _SCALARS and not is_plain(child, levels - 1):
                return False
        return True
    if kind is float:
        return math.isfinite(value)
    return kind in _SCALARS


_SCALARS = frozenset({str, int, bool, type(None), msgspec.Raw})
"""Unread values were checked when they came."""


def check_depth(value: Any) -> None:
    """Refuse nesting that breaks other peers' parsers, without recursing itself.

    Raises:
        PayloadTooLarge: Nested deeper than `MAX_DEPTH`.
    """
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, _CONTAINERS)
        ]
        if not level:
            return
    raise PayloadTooLarge(f"nested deeper than {MAX_DEPTH} levels")


_CONTAINERS = (dict, list, tuple)
