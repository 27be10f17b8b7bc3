"""The meta of a request: the object that an asker sends beside its payload.

May go in: reading it. May not: what is decided by it, which is `requests`. Pure: no socket, no
clock.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from alephscript.protocol import events
from alephscript.protocol.json import parse_json

__all__ = ["NO_META", "RequestMeta", "is_part_count", "parse_meta", "parse_number"]

_MOST_PARTS = 1024
"""Parts of an answer that may be granted at once."""

_LONGEST_CACHED = 64
"""Metas of up to this many bytes are cached after parsing: nearly all hold one timeout."""

_MOST_DIGITS = 15
"""Digits of a request's number; `int` takes time for more, and a hub counts no further."""

_NO_EXTRAS: dict[str, Any] = {}
"""Shared by all metas without extras: a request reads them, and changes none."""


class RequestMeta(msgspec.Struct, frozen=True, eq=False):
    """What an asker says about its request.

    Attributes:
        room: The room to ask, any JSON.
        seconds: How long the asker waits, None for as long as the hub does.
        wait: Whether the request may wait for a master that offers the capability.
        extras: Keys that only the master reads.
        member: Socket id of the member that is asked about itself, if that may be one.
        retain: Whether the hub is to keep the data of the event.
    """

    room: Any = None
    seconds: float | None = None
    wait: bool = False
    extras: dict[str, Any] = _NO_EXTRAS
    member: str | None = None
    retain: bool = False


NO_META = RequestMeta()


def parse_meta(unread: Any) -> RequestMeta:
    """Parse the meta of a request; a key with a wrong value counts as absent."""
    if isinstance(unread, msgspec.Raw):
        text = bytes(unread)
        return _parse_often(text) if len(text) <= _LONGEST_CACHED else _check(parse_json(text))
    return _check(unread)


@functools.lru_cache(maxsize=1024)
def _parse_often(text: bytes) -> RequestMeta:
    """Parse a short meta once: most hold a timeout alone, and a mesh uses few of them.

    The cache saves reading the JSON and checking the keys, most of 1 µs a request. A meta with a
    chain or a trace is longer, and different each time: it would only fill the cache.
    """
    return _check(parse_json(text))


def _check(fields: Any) -> RequestMeta:
    if not isinstance(fields, dict):
        return NO_META
    timeout = fields.get("timeoutMs")
    seconds = None
    if isinstance(timeout, int | float) and not isinstance(timeout, bool):
        # An integer of JSON is unbounded in both directions.
        seconds = max(0, min(timeout, events.LONGEST_TIMEOUT * 1000)) / 1000
    extras = _NO_EXTRAS
    if "parts" in fields or "chain" in fields:
        parts, chain = fields.get("parts"), fields.get("chain")
        extras = {"parts": parts} if is_part_count(parts) else {}
        if isinstance(chain, list) and all(isinstance(each, str) for each in chain):
            extras["chain"] = chain
    if "traceparent" in fields:
        extras = {**extras, **events.parse_trace_context(fields)}
    member = fields.get("member")
    if not isinstance(member, str) or len(member) > events.MAX_NAME:
        member = None  # no socket has such an id
    is_waiting, retain = fields.get("wait") is True, fields.get("retain") is True
    return RequestMeta(fields.get("room"), seconds, is_waiting, extras, member, retain)


def parse_number(text: Any) -> int | None:
    """Parse a request's number as masters know it, a string; None if the value is no number."""
    if isinstance(text, str) and text.isdecimal() and len(text) <= _MOST_DIGITS:
        return int(text)
    return None


def is_part_count(parts: Any) -> bool:
    """Whether so many parts of an answer may be granted at once."""
    return type(parts) is int and 0 < parts <= _MOST_PARTS
