"""JSON as every peer of the mesh can read it: strict, finite, nested no deeper than `MAX_DEPTH`.

May go in: reading and writing JSON text, and the checks of it. May not: what a payload means
(`events`), how it is framed (`packets`), contracts of users (`contracts`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import msgspec

from alephscript.errors import InvalidPayload, PayloadTooLarge

__all__ = [
    "MAX_DEPTH",
    "is_plain",
    "is_shallow_utf8",
    "parse_json",
    "read_value",
    "write_json",
    "write_plain_json",
]

MAX_DEPTH = 64
"""Levels of nesting; deeper payloads break the JSON parsers of other peers."""


def read_value(item: Any) -> Any:
    """Read an argument, unless that was done already.

    Raises:
        InvalidPayload: The argument is unread, and its text is not valid.
        PayloadTooLarge: The argument is unread, and nested too deeply.
    """
    if not isinstance(item, msgspec.Raw):
        return item
    return parse_json(item)


def parse_json(text: str | bytes | msgspec.Raw) -> Any:
    """Read JSON that every peer of the mesh would accept.

    Raises:
        InvalidPayload: The text is not JSON, or holds NaN, an infinity or a number out of range.
        PayloadTooLarge: The text is nested deeper than `MAX_DEPTH`.
    """
    try:
        value = _decode(text)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise InvalidPayload(f"not valid JSON: {exc}") from None
    if not _is_shallow(text.encode() if isinstance(text, str) else bytes(text)):
        raise _too_deep()
    return value


def is_shallow_utf8(text: bytes) -> bool:
    """Whether a JSON text is UTF-8 and nested no deeper than `MAX_DEPTH`, without reading it.

    A text of which this is true can be read by a typed decoder, or passed on unread; that it is
    JSON remains to be seen by that decoder. Of a text that is no JSON the answer means nothing.
    """
    # `_is_shallow`, without the call where a text is as short as most: each packet comes by here.
    if len(text) >= _LARGE:
        if not _is_shallow(text):
            return False
    elif (
        len(text) > _SHORT
        and text.count(b"[") + text.count(b"{") > MAX_DEPTH
        and _depth(text) > MAX_DEPTH
    ):
        return False
    if text.isascii():  # as most are; makes no object
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_shallow(text: bytes) -> bool:
    # In order of cost; a packet seldom needs the second condition, a list of objects the third.
    return len(text) <= _SHORT or not _has_many_brackets(text) or _depth(text) <= MAX_DEPTH


def _has_many_brackets(text: bytes) -> bool:
    """Whether more than `MAX_DEPTH` brackets are opened, as far as that takes to see.

    To find a byte takes a tenth of the time of counting: a large text of few values is one string.
    """
    left = MAX_DEPTH
    for bracket in (b"[", b"{"):
        at = text.find(bracket)
        while at >= 0:
            if not left:
                return True
            left -= 1
            at = text.find(bracket, at + 1)
    return False


_SHORT = 2 * MAX_DEPTH
"""Bytes that hold no deeper nesting."""

_LARGE = 8_192
"""Bytes from which on finding is quicker than counting, even a list of objects."""


def _depth(text: bytes) -> int:
    """Count the levels of nesting of a JSON text.

    Brackets within strings do not count. A loop over the text would take longer than reading it;
    each step here is one pass in C, so that no text takes more than some 50 ns a byte, and a list
    of objects 0.1 µs an object.
    """
    if b"\\" in text:
        # Backslashes occur in strings only, and go from left to right in pairs; what is left of
        # each run, if anything, escapes the character after it.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Quotes alternate now: one begins a string, the next one ends it. Two side by side have no
    # bracket between them, so dropping both changes nothing for the others, whichever they are.
    steps = text.translate(_STEPS, _NO_STEPS).replace(b'""', b"")
    if b'"' in steps:  # a string holds a bracket
        steps = b"".join(steps.split(b'"')[::2])
    return max(itertools.accumulate(memoryview(steps).cast("b")), default=0)


_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""A bracket as the step that it takes, one level down or up, in a signed byte."""

_NO_STEPS = bytes(set(range(256)).difference(b'[{]}"'))
"""Bytes that have nothing to do with nesting."""


def _too_deep() -> PayloadTooLarge:
    return PayloadTooLarge(f"nested deeper than {MAX_DEPTH} levels")


_decode = msgspec.json.Decoder().decode


def write_json(value: Any) -> bytes:
    """Write a value as JSON, compact.

    Raises:
        InvalidPayload: The value holds NaN, an infinity, bytes or another thing that JSON cannot
            carry.
        PayloadTooLarge: The value is nested deeper than `MAX_DEPTH`.
    """
    is_safe = is_plain(value)  # and so nested no deeper
    try:
        text = _encode(value) if is_safe else _encode_strictly(value).encode()
    except RecursionError:
        raise _too_deep() from None
    except (TypeError, ValueError) as exc:  # also a lone surrogate, which has no UTF-8
        raise InvalidPayload(f"no JSON form: {exc}") from None
    if not is_safe and not _is_shallow(text):
        raise _too_deep()
    return text


def write_plain_json(value: Any) -> bytes:
    """Write a value as JSON that is known to hold nothing but what JSON can carry.

    Raises:
        InvalidPayload: A text in it has no UTF-8.
        PayloadTooLarge: The value is nested deeper than `MAX_DEPTH`.
    """
    try:
        text = _encode(value)
    except RecursionError:
        raise _too_deep() from None
    except (TypeError, ValueError) as exc:
        raise InvalidPayload(f"no JSON form: {exc}") from None
    # No call for what is short, as most are.
    if len(text) > _SHORT and not _is_shallow(text):
        raise _too_deep()
    return text


_encode = msgspec.json.Encoder().encode


# msgspec writes null for NaN and base64 for bytes, in silence: only what is plain is left to it
# (decision 0016).
_encode_strictly = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def is_plain(value: Any, levels: int = MAX_DEPTH) -> bool:  # noqa: C901 - unrolled: hot
    """Whether a value is made of JSON's own types alone, finite, and nested no deeper than that."""
    # Looking, then msgspec, takes 2 µs a message less than the standard library's encoder.
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
"""Types of which every value is plain; what is unread was checked when it came."""
