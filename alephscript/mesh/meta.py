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

__all__ = [
    "NO_META",
    "RequestMeta",
    "is_part_count",
    "parse_meta",
    "parse_number",
    "parse_priority",
]

_MOST_PARTS = 1024
"""Parts of an answer that may be granted at once."""

_LONGEST_CACHED = 64
"""Metas of up to this many bytes are cached after parsing: nearly all hold one timeout."""

_MOST_DIGITS = 15
"""Digits of a request's number; `int` takes time for more, and a hub counts no further."""

_NO_EXTRAS: dict[str, Any] = {}
"""Shared by all metas without extras: a request reads them, and changes none."""


class RequestMeta(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What an asker says about its request.

    Attributes:
        room: The room to ask, any JSON.
        seconds: How long the asker waits, None for as long as the hub does.
        wait: Whether the request may wait for a master that offers the capability.
        extras: Keys that only the master reads.
        idle: How many seconds may pass without a sign of life, None for the whole time.
        member: Socket id of the member that is asked about itself, if that may be one.
        retain: Whether the hub is to keep the data of the event.
    """

    room: Any = None
    seconds: float | None = None
    wait: bool = False
    extras: dict[str, Any] = _NO_EXTRAS
    member: str | None = None
    idle: float | None = None
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
    seconds = _parse_seconds(fields.get("timeoutMs"))
    idle = _parse_seconds(fields["idleMs"]) if "idleMs" in fields else None
    extras = _NO_EXTRAS
    if "parts" in fields or "chain" in fields:
        parts, chain = fields.get("parts"), fields.get("chain")
        extras = {"parts": parts} if is_part_count(parts) else {}
        if isinstance(chain, list) and all(isinstance(each, str) for each in chain):
            extras["chain"] = chain
    if "priority" in fields:
        priority = parse_priority(fields["priority"])
        if priority:
            extras = {**extras, "priority": priority}
    if fields.get("answers") is True:
        extras = {**extras, "answers": True}
    if "traceparent" in fields:
        extras = {**extras, **events.parse_trace_context(fields)}
    member = fields.get("member")
    if not isinstance(member, str) or len(member) > events.MAX_NAME:
        member = None  # no socket has such an id
    is_waiting, retain = fields.get("wait") is True, fields.get("retain") is True
    return RequestMeta(fields.get("room"), seconds, is_waiting, extras, member, idle, retain)


def _parse_seconds(value: Any) -> float | None:
    """Parse milliseconds as seconds, a day at the most; None for what is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    # An integer of JSON is unbounded in both directions.
    return max(0, min(value, events.LONGEST_TIMEOUT * 1000)) / 1000


def parse_number(text: Any) -> int | None:
    """Parse a request's number as masters know it, a string; None if the value is no number."""
    if isinstance(text, str) and text.isdecimal() and len(text) <= _MOST_DIGITS:
        return int(text)
    return None


def parse_priority(value: Any) -> int:
    """Parse a priority: the nearest that there is; 0 for what is no whole number."""
    if type(value) is not int:
        return 0
    return max(-events.MAX_PRIORITY, min(value, events.MAX_PRIORITY))


def is_part_count(parts: Any) -> bool:
    """Whether so many parts of an answer may be granted at once."""
    return type(parts) is int and 0 < parts <= _MOST_PARTS
