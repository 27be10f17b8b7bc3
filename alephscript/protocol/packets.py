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
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import msgspec

from alephscript.errors import AlephScriptError, InvalidPayload, PayloadTooLarge
from alephscript.protocol import events
from alephscript.protocol.json import MAX_DEPTH, is_shallow_utf8, parse_json

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
    "join_polling",
    "open_packet",
    "packet_head",
    "parse_packet",
    "split_event",
    "split_polling",
    "split_values",
    "write_packet",
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


Packet = tuple[Kind, str, int | None, bytes]
"""A Socket.IO packet whose payload is not yet read: what it is; its namespace, ``/`` unless it
names one, without a query behind it; its acknowledgement id, None if there is none; its JSON text,
empty if there is none."""

_HEAD = re.compile(
    rb"4([0-6])(?:(?<=[56])[0-9]{1,10}-)?(?:(/[^,?]*)(?:[?][^,]*)?(?:,|\Z))?([0-9]*)"
)
_KINDS = {b"%d" % kind: kind for kind in Kind}
_RUNTIME_HEADS = {
    b"4%d%b," % (kind, events.RUNTIME.encode()): kind for kind in (Kind.EVENT, Kind.ACK)
}
"""Heads of nearly all packets: those of the usual namespace are found by one lookup."""
_RUNTIME_HEAD = len(next(iter(_RUNTIME_HEADS)))
_LONGEST_HEAD = _RUNTIME_HEAD + MAX_ACK_DIGITS + 1


def parse_packet(message: bytes) -> Packet:
    """Take a Socket.IO packet's head apart.

    Args:
        message: An Engine.IO message, its ``4`` included.

    Raises:
        ProtocolError: There is no packet of that kind, or its head is longer than any.
    """
    known = _RUNTIME_HEADS.get(message[:_RUNTIME_HEAD])
    if known is not None:
        body = message.find(b"[", _RUNTIME_HEAD, _LONGEST_HEAD)
        digits = message[_RUNTIME_HEAD:body]
        if digits.isdigit() and body > 0:
            return known, events.RUNTIME, int(digits), message[body:]
        if body == _RUNTIME_HEAD:
            return known, events.RUNTIME, None, message[body:]
    head = _HEAD.match(message)
    if head is None:
        raise ProtocolError(f"no Socket.IO packet begins with {message[:2]!r}")
    kind, namespace, ack = head.groups()
    if len(ack) > MAX_ACK_DIGITS or (namespace and len(namespace) > events.MAX_NAME):
        raise ProtocolError("the packet's head is longer than any")
    try:
        name = namespace.decode() if namespace else "/"
    except UnicodeDecodeError:
        raise ProtocolError("the packet's namespace is no UTF-8") from None
    return _KINDS[kind], name, int(ack) if ack else None, message[head.end() :]


def write_packet(kind: Kind, namespace: str, ack: int | None = None, payload: bytes = b"") -> bytes:
    """A packet as an Engine.IO message, ``4`` included."""
    if ack is None:
        return packet_head(kind, namespace) + payload
    return b"%b%d%b" % (packet_head(kind, namespace), ack, payload)


@functools.lru_cache
def packet_head(kind: Kind, namespace: str) -> bytes:
    """What all packets of a kind in a namespace begin with."""
    where = b"" if namespace == "/" else b"%b," % namespace.encode()
    return b"4%d%b" % (kind, where)


_NOTHING = msgspec.Raw()
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def split_values(payload: bytes) -> list[msgspec.Raw]:
    """The values of a packet's JSON array, unread, in one pass over the text.

    The pass refuses what would break another peer: text that is no JSON, NaN and infinities,
    lone surrogates, text that is no UTF-8, nesting deeper than `MAX_DEPTH`.

    Raises:
        InvalidPayload: It is no JSON array.
        PayloadTooLarge: It is nested too deeply.
    """
    if not is_shallow_utf8(payload):
        parse_json(payload)
    try:
        return _split(payload)
    except RecursionError:
        raise PayloadTooLarge(f"nested deeper than {MAX_DEPTH} levels") from None
    except msgspec.DecodeError as exc:
        raise InvalidPayload(f"not a JSON array: {exc}") from None


class _Event(msgspec.Struct, array_like=True, gc=False):
    """An event as nearly all are: a name, its data, and what is said besides."""

    name: str
    data: msgspec.Raw = _NOTHING
    meta: msgspec.Raw = _NOTHING


_take_event_apart = msgspec.json.Decoder(_Event).decode


def split_event(payload: bytes) -> tuple[Any, Sequence[msgspec.Raw]]:
    """An event's name, and its first two arguments, unread; checked as `split_values` checks them.

    Nothing in the mesh has a meaning for further arguments: they are checked and left behind.

    Raises:
        InvalidPayload: It is no JSON array, or an empty one.
        PayloadTooLarge: It is nested too deeply.
    """
    if not is_shallow_utf8(payload):
        parse_json(payload)
    try:
        said = _take_event_apart(payload)
    except (msgspec.DecodeError, RecursionError):
        found = split_values(payload)  # a name that is no text, or a failure to be told
        if not found:
            raise InvalidPayload("an event is an array that begins with its name") from None
        return parse_json(found[0]), found[1:3]
    if said.meta is not _NOTHING:
        return said.name, (said.data, said.meta)
    return said.name, () if said.data is _NOTHING else (said.data,)


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
