"""Packets are read like python-socketio reads them, no further than needed, and never wrongly."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import socketio.packet
from hypothesis import given, strategies as st

from alephscript.errors import InvalidPayload, PayloadTooLarge, RequestError
from alephscript.protocol import packets
from alephscript.protocol.json import MAX_DEPTH
from alephscript.protocol.packets import Kind, ProtocolError
from tests.support.ways import WAYS, Way

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
NAMESPACES = st.sampled_from(["/", "/runtime", "/a-b", "/ñ"])
ACKS = st.none() | st.integers(0, 10**15 - 1)
KINDS = st.sampled_from([Kind.CONNECT, Kind.DISCONNECT, Kind.EVENT, Kind.ACK, Kind.CONNECT_ERROR])


def read(way: Way, payload: bytes) -> list[Any]:
    """The values of a payload, decoded."""
    return [msgspec.json.decode(value) for value in way.split_values(payload)]


@WAYS
@given(KINDS, NAMESPACES, ACKS, st.lists(JSON, max_size=3))
def test_a_packet_reads_as_it_was_written(
    way: Way, kind: Kind, namespace: str, ack: int | None, data: list[Any]
) -> None:
    """Head and payload survive the way there and back."""
    payload = json.dumps(data).encode()
    packet = way.parse_packet(packets.write_packet(kind, namespace, ack, payload))
    assert packet == (kind, namespace, ack, payload)


@WAYS
@given(NAMESPACES, ACKS, st.lists(JSON, min_size=1, max_size=3))
def test_packets_are_python_socketios_to_the_byte(
    way: Way, namespace: str, ack: int | None, data: list[Any]
) -> None:
    """The same head, and a payload that reads the same, in both directions."""
    theirs = socketio.packet.Packet(socketio.packet.EVENT, data, namespace, ack).encode()
    assert (
        packets.write_packet(Kind.EVENT, namespace, ack, _payload_of(theirs))
        == b"4" + theirs.encode()
    )
    kind, *head, payload = way.parse_packet(b"4" + theirs.encode())
    assert (kind, head, read(way, payload)) == (Kind.EVENT, [namespace, ack], data)


def _payload_of(encoded: str) -> bytes:
    return encoded[encoded.index("[") :].encode()


@WAYS
@pytest.mark.parametrize(
    ("message", "packet"),
    [
        (b"0", (Kind.CONNECT, "/", None, b"")),
        (b'0/runtime,{"token":"x"}', (Kind.CONNECT, "/runtime", None, b'{"token":"x"}')),
        (b"1/runtime,", (Kind.DISCONNECT, "/runtime", None, b"")),
        (b"1/runtime", (Kind.DISCONNECT, "/runtime", None, b"")),
        (b'2/runtime?a=b,7["E"]', (Kind.EVENT, "/runtime", 7, b'["E"]')),
        (b'20["E"]', (Kind.EVENT, "/", 0, b'["E"]')),
        (b"3/runtime,12[]", (Kind.ACK, "/runtime", 12, b"[]")),
        (b'51-/runtime,7["E",{}]', (Kind.BINARY_EVENT, "/runtime", 7, b'["E",{}]')),
        (b'61-7["E",{}]', (Kind.BINARY_ACK, "/", 7, b'["E",{}]')),
        (b'2-["E"]', (Kind.EVENT, "/", None, b'-["E"]')),
    ],
)
def test_heads_that_peers_send(way: Way, message: bytes, packet: tuple[Any, ...]) -> None:
    """Every part of a head is optional but the kind."""
    assert way.parse_packet(b"4" + message) == packet


@WAYS
@pytest.mark.parametrize(
    "message",
    [b"", b"4", b"47", b"4x", b"4\xff", b"42" + b"9" * 16 + b"[]", b"42/" + b"n" * 300 + b',["E"]'],
)
def test_what_is_no_packet_is_a_protocol_error(way: Way, message: bytes) -> None:
    """There is nobody to answer and nothing to answer to."""
    with pytest.raises(ProtocolError):
        way.parse_packet(message)


@WAYS
@given(st.binary(max_size=60))
def test_arbitrary_bytes_raise_nothing_but_our_own(way: Way, message: bytes) -> None:
    """Head and payload of anything at all."""
    try:
        *_, payload = way.parse_packet(b"4" + message)
        way.split_values(payload)
    except (ProtocolError, RequestError):
        pass


@WAYS
@given(st.lists(JSON, max_size=4))
def test_values_are_passed_on_unread(way: Way, data: list[Any]) -> None:
    """Splitting an array and joining it again changes no value."""
    values = way.split_values(json.dumps(data).encode())
    assert json.loads(msgspec.json.encode(values)) == data


@WAYS
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"null",
        b"7",
        b"[",
        b"[1,]",
        b'["E",NaN]',
        b'["E",-Infinity]',
        b'["E","\\ud800"]',
        b'["E","\xff"]',
        b'["E","\xed\xa0\x80"]',
        b'["E"]x',
    ],
)
def test_text_that_breaks_other_peers_is_an_invalid_payload(way: Way, payload: bytes) -> None:
    """What a JavaScript or Python peer could not parse is not passed on to it."""
    with pytest.raises(InvalidPayload):
        way.split_values(payload)
    with pytest.raises(InvalidPayload):
        way.split_event(payload)


@WAYS
@given(
    st.lists(JSON, min_size=1, max_size=5)
    | st.text().map(lambda name: [name, {"data": 1}, {"meta": 2}])
)
def test_an_event_is_the_first_values_of_its_array(way: Way, data: list[Any]) -> None:
    """Whatever its name is, a text or not; the mesh has no meaning for what comes third."""
    name, args = way.split_event(json.dumps(data).encode())
    assert [name, *map(msgspec.json.decode, args)] == data[:3]


@WAYS
def test_an_event_has_a_name(way: Way) -> None:
    """An empty array is none."""
    with pytest.raises(InvalidPayload):
        way.split_event(b"[]")


@WAYS
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5000, 200_000])
def test_deep_nesting_is_too_large(way: Way, depth: int) -> None:
    """Parsers of other peers give up, or worse, long before a message is full."""
    for taken_apart in (way.split_values, way.split_event):
        with pytest.raises(PayloadTooLarge):
            taken_apart(b'["E",' + b"[" * depth + b"]" * depth + b"]")


@WAYS
def test_brackets_in_strings_are_no_nesting(way: Way) -> None:
    """The cheap bound errs on the safe side only."""
    text = "[{" * 500
    assert read(way, json.dumps([text]).encode()) == [text]


def test_the_handshake_is_in_milliseconds() -> None:
    """Engine.IO counts so."""
    packet = packets.open_packet(
        "sid", upgrades=["websocket"], ping_interval=25, ping_timeout=0.5, max_bytes=1000
    )
    assert packet[:1] == packets.OPEN
    assert json.loads(packet[1:]) == {
        "sid": "sid",
        "upgrades": ["websocket"],
        "pingInterval": 25000,
        "pingTimeout": 500,
        "maxPayload": 1000,
    }


def test_polling_bodies_split_as_they_were_joined() -> None:
    """Messages of one body keep order and content."""
    messages = [b"2", b'42["E"]', b"3"]
    assert packets.split_polling(packets.join_polling(messages)) == messages


@pytest.mark.parametrize("body", [b"", b"2\x1e", b"\x1e2"])
def test_polling_bodies_hold_no_empty_message(body: bytes) -> None:
    """Every message has a type."""
    with pytest.raises(ProtocolError):
        packets.split_polling(body)
