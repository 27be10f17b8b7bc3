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


def decode(message: bytes) -> Packet:
    """Take a Socket.IO packet's head apart.

    Args:
        message: What follows Engine.IO's ``4``.

    Raises:
        ProtocolError: There is no packet of that kind, or its head is longer than any.
    """
    head = _HEAD.match(message)
    if head is None:
        raise ProtocolError(f"no Socket.IO packet begins with {message[:1]!r}")
    kind, namespace, ack = head.groups()
    if len(ack) > MAX_ACK_DIGITS or (namespace and len(namespace) > wire.MAX_NAME):
        raise ProtocolError("the packet's head is longer than any")
    return Packet(
        _KINDS[kind],
        namespace.decode("utf-8", "replace") if namespace else "/",
        int(ack) if ack else None,
        message[head.end() :],
    )


def encode(kind: Kind, namespace: str, ack: int | None = None, payload: bytes = b"") -> bytes:
    """A packet as an Engine.IO message, ``4`` included."""
    where = b"" if namespace == "/" else b"%b," % namespace.encode()
    number = b"" if ack is None else b"%d" % ack
    return b"4%d%b%b%b" % (kind, where, number, payload)


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
    if payload.count(b"[") + payload.count(b"{") > wire.MAX_DEPTH:
        wire.loads(payload)
    try:
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
    size = len(message)
    key = os.urandom(4)
    mask = int.from_bytes((key * (size // 4 + 1))[:size])
    masked = (int.from_bytes(message) ^ mask).to_bytes(size)
    if size < 126:  # noqa: PLR2004 - the RFC's own numbers
        return bytes((0x81, 0x80 | size)) + key + masked
    if size < 1 << 16:
        return b"\x81\xfe" + size.to_bytes(2) + key + masked
    return b"\x81\xff" + size.to_bytes(8) + key + masked


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
