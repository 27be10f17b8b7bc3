"""Engine.IO 4 and Socket.IO 5 packets, read no further than is needed.

May go in: how packets look, and taking them apart. May not: what an event means (`events`), which
JSON is accepted (`json`), frames (`websocket`).

A hub mostly passes on what it does not read: here a packet's head is split off, its JSON is checked
in one pass for what would break other peers, and its values stay the bytes they came as
(`msgspec.Raw`, decision 0004). Code that wants a value parses it; code that passes a value on
copies its bytes.

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
    "BINARY",
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
    "write_numbered",
    "write_packet",
]

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
"""Engine.IO packet types, as the first byte of a text message."""

BINARY = b"b"
"""First byte of a binary message in a polling body, in base64."""

PROBE = b"probe"
"""Data of the ping and pong that try a websocket out before the upgrade."""

MAX_ACK_DIGITS = 15
"""Digits of an acknowledgement id; JavaScript counts no further exactly, so no peer needs more."""

_SEPARATOR = b"\x1e"


class ProtocolError(AlephScriptError, ValueError):
    """A packet of a peer is not valid, or cannot be answered; the connection has to end."""


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
"""A Socket.IO packet whose payload is not yet read: its kind; its namespace, ``/`` unless it names
one, without a query behind it; its acknowledgement id, None if there is none; its JSON text, empty
if there is none."""

_HEAD = re.compile(
    rb"4([0-6])(?:(?<=[56])[0-9]{1,10}-)?(?:(/[^,?]*)(?:[?][^,]*)?(?:,|\Z))?([0-9]*)"
)
_KINDS = {b"%d" % kind: kind for kind in Kind}
_RUNTIME_HEADS = {
    b"4%d%b," % (kind, events.RUNTIME.encode()): kind for kind in (Kind.EVENT, Kind.ACK)
}
"""Heads of nearly all packets, up to the acknowledgement id: one lookup instead of `_HEAD`, and a
microsecond less a packet."""
_ID_START = len(next(iter(_RUNTIME_HEADS)))
_ID_STOP = _ID_START + MAX_ACK_DIGITS

LONGEST_HEAD = _ID_STOP
"""Bytes that the head of an event or an acknowledgement in the usual namespace has at most."""


def parse_packet(message: bytes) -> Packet:
    """Split a Socket.IO packet's head from its payload.

    Args:
        message: An Engine.IO message, its ``4`` included.

    Raises:
        ProtocolError: The head is not that of a packet, or longer than a packet needs.
    """
    kind = _RUNTIME_HEADS.get(message[:_ID_START])
    if kind is not None:
        # Payloads of these kinds are arrays; -1 if none begins where one has to.
        payload_start = message.find(b"[", _ID_START, _ID_STOP + 1)
        if payload_start == _ID_START:
            return kind, events.RUNTIME, None, message[payload_start:]
        if payload_start != -1:
            ack = message[_ID_START:payload_start]
            if ack.isdigit():
                return kind, events.RUNTIME, int(ack), message[payload_start:]
    return _parse_any_packet(message)


def _parse_any_packet(message: bytes) -> Packet:
    head = _HEAD.match(message)
    if head is None:
        raise ProtocolError(f"no Socket.IO packet begins with {message[:2]!r}")
    digit, namespace, ack = head.groups()
    if len(ack) > MAX_ACK_DIGITS or (namespace and len(namespace) > events.MAX_NAME):
        raise ProtocolError("the packet's head is longer than any")
    try:
        name = namespace.decode() if namespace else "/"
    except UnicodeDecodeError:
        raise ProtocolError("the packet's namespace is no UTF-8") from None
    return _KINDS[digit], name, int(ack) if ack else None, message[head.end() :]


def write_packet(kind: Kind, namespace: str, ack: int | None = None, payload: bytes = b"") -> bytes:
    """Write a packet as an Engine.IO message, ``4`` included."""
    if ack is None:
        return packet_head(kind, namespace) + payload
    return write_numbered(packet_head(kind, namespace), ack, payload)


def write_numbered(head: bytes, number: int, payload: bytes) -> bytes:
    """Write a packet that has an acknowledgement id, behind a head that is there already."""
    return b"%b%d%b" % (head, number, payload)


@functools.lru_cache
def packet_head(kind: Kind, namespace: str) -> bytes:
    """Write what all packets of a kind in a namespace begin with."""
    prefix = b"" if namespace == "/" else b"%b," % namespace.encode()
    return b"4%d%b" % (kind, prefix)


_ABSENT = msgspec.Raw()
"""Stands for an argument that an event does not have."""
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def split_values(payload: bytes) -> list[msgspec.Raw]:
    """Split a packet's JSON array into its values, unread, in one pass over the text.

    The pass refuses what would break another peer: text that is no JSON, NaN and infinities,
    lone surrogates, text that is no UTF-8, nesting deeper than `MAX_DEPTH`.

    Raises:
        InvalidPayload: The payload is not a JSON array.
        PayloadTooLarge: The payload is nested too deeply.
    """
    if not is_shallow_utf8(payload):
        parse_json(payload)  # raises, and says what is wrong
    try:
        return _split(payload)
    except RecursionError:
        raise PayloadTooLarge(f"nested deeper than {MAX_DEPTH} levels") from None
    except msgspec.DecodeError as exc:
        raise InvalidPayload(f"not a JSON array: {exc}") from None


class _Event(msgspec.Struct, array_like=True, gc=False):
    """An event as nearly all are: a name, its data, and its meta; what follows is checked only."""

    name: str
    data: msgspec.Raw = _ABSENT
    meta: msgspec.Raw = _ABSENT


_read_event = msgspec.json.Decoder(_Event).decode


def split_event(payload: bytes) -> tuple[Any, Sequence[msgspec.Raw]]:
    """Split an event into its name and its first two arguments, unread.

    Everything is checked as `split_values` checks it. Further arguments mean nothing in the mesh
    and are left out.

    Raises:
        InvalidPayload: The payload is not a JSON array, or an empty one.
        PayloadTooLarge: The payload is nested too deeply.
    """
    if not is_shallow_utf8(payload):
        parse_json(payload)  # raises, and says what is wrong
    try:
        event = _read_event(payload)  # a microsecond less than splitting, then reading the name
    except (msgspec.DecodeError, RecursionError):
        values = split_values(payload)  # raises, unless only the name is no text
        if not values:
            raise InvalidPayload("an event is an array that begins with its name") from None
        return parse_json(values[0]), values[1:3]
    if event.meta is not _ABSENT:
        return event.name, (event.data, event.meta)
    return event.name, () if event.data is _ABSENT else (event.data,)


def open_packet(
    sid: str, *, upgrades: Sequence[str], ping_interval: float, ping_timeout: float, max_bytes: int
) -> bytes:
    """Write the message by which a hub opens an Engine.IO connection.

    Args:
        sid: The connection's id.
        upgrades: Transports that the client may change to.
        ping_interval: Seconds between heartbeats.
        ping_timeout: Seconds that the client may take to answer a ping.
        max_bytes: The largest message that the hub takes.
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
    """Join Engine.IO messages to the body of a polling response or request."""
    return _SEPARATOR.join(messages)


def split_polling(body: bytes) -> list[bytes]:
    """Split a polling body into its Engine.IO messages.

    Raises:
        ProtocolError: A message is empty.
    """
    messages = body.split(_SEPARATOR)
    if b"" in messages:
        raise ProtocolError("empty messages are not accepted")
    return messages
