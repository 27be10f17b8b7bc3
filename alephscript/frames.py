"""Engine.IO 4 and Socket.IO 5 packets, read no further than is needed.

A hub mostly passes on what it does not read: here a packet's head is taken apart, its JSON is
checked in one pass for what would break other peers, and its values stay the bytes they came as
(`msgspec.Raw`). Whoever wants a value decodes it; whoever passes it on, copies it.

Layout of a text message, after Engine.IO's protocol revision 4 and Socket.IO's revision 5::

    Engine.IO   <type digit><data>
    Socket.IO   4<kind digit>[<attachments>-][/namespace,][<ack id>][<JSON>]

Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

import msgspec

from alephscript import wire
from alephscript.errors import AlephScriptError, InvalidPayload, PayloadTooLarge

__all__ = [
    "CLOSE",
    "MAX_ACK_DIGITS",
    "MESSAGE",
    "NOOP",
    "OPEN",
    "PING",
    "PONG",
    "PROBE",
    "UPGRADE",
    "Kind",
    "Packet",
    "ProtocolError",
    "decode",
    "encode",
    "join_polling",
    "masked_text_frame",
    "open_packet",
    "split_polling",
    "text_frame",
    "unmask",
    "values",
]

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
"""Engine.IO packet types, as the first byte of a text message."""

PROBE = b"probe"
"""Data of the ping and pong that try a websocket out before the upgrade."""

MAX_ACK_DIGITS = 15
"""Digits of an acknowledgement id; more than JavaScript counts exactly is nobody's honest id."""

_SEPARATOR = b"\x1e"


class ProtocolError(AlephScriptError, ValueError):
    """A peer sent what is no packet, or one that cannot be answered; its connection is done for."""


class Kind(IntEnum):
    """Socket.IO packet kinds."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


class Packet(NamedTuple):
    """A Socket.IO packet whose payload is not yet read.

    Attributes:
        kind: What it is.
        namespace: ``/`` unless it names one; a query behind the name is cut off.
        ack: The acknowledgement id, None if there is none.
        payload: The JSON text, empty if there is none.
    """

    kind: Kind
    namespace: str
    ack: int | None
    payload: bytes


_HEAD = re.compile(rb"([0-6])(?:(?<=[56])[0-9]{1,10}-)?(?:(/[^,?]*)(?:[?][^,]*)?(?:,|\Z))?([0-9]*)")
_KINDS = {b"%d" % kind: kind for kind in Kind}
_KNOWN_HEADS = {b"%d%b," % (kind, wire.RUNTIME.encode()): kind for kind in (Kind.EVENT, Kind.ACK)}
"""Heads of nearly all packets: those of the usual namespace are found by one lookup."""
_LONGEST_HEAD = max(map(len, _KNOWN_HEADS))


def decode(message: bytes) -> Packet:
    """Take a Socket.IO packet's head apart.

    Args:
        message: What follows Engine.IO's ``4``.

    Raises:
        ProtocolError: There is no packet of that kind, or its head is longer than any.
    """
    comma = message.find(b",", 0, _LONGEST_HEAD) + 1
    known = _KNOWN_HEADS.get(message[:comma])
    if known is not None:
        body = message.find(b"[", comma, comma + MAX_ACK_DIGITS + 1)
        if body == comma:
            return Packet(known, wire.RUNTIME, None, message[body:])
        digits = message[comma:body]
        if body > 0 and digits.isdigit():
            return Packet(known, wire.RUNTIME, int(digits), message[body:])
    head = _HEAD.match(message)
    if head is None:
        raise ProtocolError(f"no Socket.IO packet begins with {message[:1]!r}")
    kind, namespace, ack = head.groups()
    if len(ack) > MAX_ACK_DIGITS or (namespace and len(namespace) > wire.MAX_NAME):
        raise ProtocolError("the packet's head is longer than any")
    try:
        name = namespace.decode() if namespace else "/"
    except UnicodeDecodeError:
        raise ProtocolError("the packet's namespace is no UTF-8") from None
    return Packet(_KINDS[kind], name, int(ack) if ack else None, message[head.end() :])


def encode(kind: Kind, namespace: str, ack: int | None = None, payload: bytes = b"") -> bytes:
    """A packet as an Engine.IO message, ``4`` included."""
    if ack is None:
        return _head(kind, namespace) + payload
    return b"%b%d%b" % (_head(kind, namespace), ack, payload)


@functools.lru_cache
def _head(kind: Kind, namespace: str) -> bytes:
    where = b"" if namespace == "/" else b"%b," % namespace.encode()
    return b"4%d%b" % (kind, where)


_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def values(payload: bytes) -> list[msgspec.Raw]:
    """The values of a packet's JSON array, unread, in one pass over the text.

    The pass refuses what would break another peer: text that is no JSON, NaN and infinities,
    lone surrogates, text that is no UTF-8, nesting deeper than `wire.MAX_DEPTH`.

    Raises:
        InvalidPayload: It is no JSON array.
        PayloadTooLarge: It is nested too deeply.
    """
    # Brackets inside strings count too: this bound is cheap, and passing it is the rule.
    if (
        len(payload) > 2 * wire.MAX_DEPTH
        and payload.count(b"[") + payload.count(b"{") > wire.MAX_DEPTH
    ):
        wire.loads(payload)
    try:
        if not payload.isascii():
            payload.decode()
        return _split(payload)
    except RecursionError:
        raise PayloadTooLarge(f"nested deeper than {wire.MAX_DEPTH} levels") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidPayload(f"not a JSON array: {exc}") from None


def open_packet(
    sid: str, *, upgrades: Sequence[str], ping_interval: float, ping_timeout: float, max_bytes: int
) -> bytes:
    """Engine.IO's handshake.

    Args:
        sid: The connection's id.
        upgrades: Transports that it may change to.
        ping_interval: Seconds between heartbeats.
        ping_timeout: Seconds that the peer may take to answer one.
        max_bytes: The largest message that is taken.
    """
    return OPEN + msgspec.json.encode(
        {
            "sid": sid,
            "upgrades": list(upgrades),
            "pingInterval": round(ping_interval * 1000),
            "pingTimeout": round(ping_timeout * 1000),
            "maxPayload": max_bytes,
        }
    )


def text_frame(message: bytes) -> bytes:
    """A message as a server's websocket text frame: whole, unmasked (RFC 6455, section 5.2)."""
    size = len(message)
    if size < 126:  # noqa: PLR2004 - the RFC's own numbers
        return bytes((0x81, size)) + message
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + message
    return b"\x81\x7f" + size.to_bytes(8) + message


def masked_text_frame(message: bytes) -> bytes:
    """A message as a client's websocket text frame: whole and masked (RFC 6455, section 5.3)."""
    if not _keys:
        _keys.extend(memoryview(os.urandom(4096)).cast("I"))
    key = _keys.pop()
    size = len(message)
    words = size // 4 + 1
    # A key times 1 in every word is the key repeated; a quarter of the time of joining bytes.
    ones = _ONES[words] if words < len(_ONES) else _ones(words)
    mixed = int.from_bytes(message, "little") ^ key * ones
    masked = mixed.to_bytes(words * 4, "little")[:size]
    if size < 126:  # noqa: PLR2004 - the RFC's own numbers
        return b"\x81%c%b%b" % (0x80 | size, key.to_bytes(4, "little"), masked)
    length = size.to_bytes(2) if size < 1 << 16 else size.to_bytes(8)
    mark = 0xFE if size < 1 << 16 else 0xFF
    return b"\x81%c%b%b%b" % (mark, length, key.to_bytes(4, "little"), masked)


def _ones(words: int) -> int:
    return int.from_bytes(b"\1\0\0\0" * words, "little")


_ONES = [_ones(words) for words in range(256)]
_keys: list[int] = []
"""Masking keys from the system's randomness, fetched many at a time."""


def join_polling(messages: Iterable[bytes]) -> bytes:
    """Engine.IO messages as the body of a polling response or request."""
    return _SEPARATOR.join(messages)


def split_polling(body: bytes) -> list[bytes]:
    """The Engine.IO messages of a polling body.

    Raises:
        ProtocolError: One of them is binary (base64 behind a ``b``), or empty.
    """
    messages = body.split(_SEPARATOR)
    for message in messages:
        if not message or message[:1] == b"b":
            raise ProtocolError("empty and binary messages are not accepted")
    return messages


def unmask(data: bytes, key: bytes) -> bytes:
    """What a client's frame carries, without its mask; the same as masking it again."""
    size = len(data)
    words = size // 4 + 1
    ones = _ONES[words] if words < len(_ONES) else _ones(words)
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(key, "little") * ones
    return mixed.to_bytes(words * 4, "little")[:size]
