"""Packets are what Node's own parsers make and take: socket.io-parser and engine.io-parser."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import assume, example, given, settings, strategies as st

from alephscript.errors import RequestError
from alephscript.protocol import events, packets
from alephscript.protocol.json import parse_json, write_json
from alephscript.protocol.packets import Kind, ProtocolError
from tests.support.properties import examples
from tests.support.tools import ROOT

PARSER = ROOT / "tests" / "node" / "parser.mjs"

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ['"', "\\", "\\ud800", "\x00\x1e\x7f", "\u2028\u2029", "\U0001f916", "__proto__", "toJSON"]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMESPACES = st.sampled_from(["/", "/runtime", "/[7"]) | st.text(
    st.characters(codec="utf-8", exclude_characters=",?\x1e"), max_size=8
).map(lambda name: f"/{name}")
ACKS = st.none() | st.integers(0, 10**packets.MAX_ACK_DIGITS - 1)
EVENTS = TEXTS.filter(lambda name: name not in events.RESERVED)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
DATA: Mapping[Kind, st.SearchStrategy[Any]] = {
    Kind.CONNECT: st.none() | OBJECTS,
    Kind.DISCONNECT: st.none(),
    Kind.EVENT: st.builds(lambda name, args: [name, *args], EVENTS, st.lists(JSON, max_size=3)),
    Kind.ACK: st.lists(JSON, max_size=3),
    Kind.CONNECT_ERROR: st.builds(lambda message: {"message": message}, TEXTS),
}
"""What each kind of packet carries; None is no payload at all."""


@st.composite
def node_packets(draw: st.DrawFn) -> dict[str, Any]:
    """A Socket.IO packet as Node has it."""
    kind = draw(st.sampled_from(sorted(DATA)))
    packet = {"type": int(kind), "nsp": draw(NAMESPACES), "data": draw(DATA[kind])}
    if kind in (Kind.EVENT, Kind.ACK):
        packet["id"] = draw(ACKS)
    return {key: value for key, value in packet.items() if value is not None}


TYPES = {
    "open": packets.OPEN,
    "close": packets.CLOSE,
    "ping": packets.PING,
    "pong": packets.PONG,
    "upgrade": packets.UPGRADE,
    "noop": packets.NOOP,
}
ENGINE_PACKETS = st.sampled_from(
    [{"type": name} for name in TYPES]
    + [{"type": name, "data": packets.PROBE.decode()} for name in ("ping", "pong")]
)
MESSAGES = node_packets().map(lambda packet: {"type": "message", "packet": packet})


class Parser:
    """The Node process, asked and answered in lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def encode(self, *some: dict[str, Any]) -> bytes:
        """Packets as a polling body; of one packet it is the message itself."""
        return str(self._ask(encode=some)["body"]).encode()

    def decode(self, body: bytes) -> list[dict[str, Any]]:
        """The packets of a polling body.

        Raises:
            ValueError: Node cannot read it.
        """
        answer = self._ask(decode=body.decode())
        if "error" in answer:
            raise ValueError(answer["error"])
        return list(answer["packets"])

    def _ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline(), parse_int=float)


@pytest.fixture(scope="session")
def parser(node: str) -> Iterator[Parser]:
    """Node's parsers; the process ends with its input."""
    with subprocess.Popen(
        [node, str(PARSER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Parser(process)


def written(packet: dict[str, Any]) -> bytes:
    """A packet as we write it."""
    if "packet" not in packet:
        data: str = packet.get("data", "")
        return TYPES[packet["type"]] + data.encode()
    inner = packet["packet"]
    payload = write_json(inner["data"]) if "data" in inner else b""
    return packets.write_packet(Kind(inner["type"]), inner["nsp"], inner.get("id"), payload)


def read(message: bytes) -> dict[str, Any]:
    """A packet as we read it, in Node's words.

    Raises:
        ProtocolError: It is none.
        RequestError: Its payload is none.
    """
    if not message.startswith(packets.MESSAGE):
        (name,) = (name for name, digit in TYPES.items() if message.startswith(digit))
        return {"type": name, "data": message[1:].decode()} if message[1:] else {"type": name}
    kind, namespace, ack, payload = packets.parse_packet(message)
    if kind in (Kind.BINARY_EVENT, Kind.BINARY_ACK):
        raise ProtocolError("nothing of the mesh is binary")
    inner: dict[str, Any] = {"type": int(kind), "nsp": namespace}
    if ack is not None:
        inner["id"] = ack
    if payload:
        if kind in (Kind.EVENT, Kind.ACK):
            packets.split_values(payload)
        inner["data"] = as_node(parse_json(payload))
    return {"type": "message", "packet": inner}


def as_node(value: Any) -> Any:
    """A JSON value with JavaScript's numbers: all of them doubles."""
    return json.loads(json.dumps(value), parse_int=float)


@given(ENGINE_PACKETS | MESSAGES)
def test_node_reads_what_we_write(parser: Parser, packet: dict[str, Any]) -> None:
    """Namespace, acknowledgement id, event name and values, and Engine.IO's own packets."""
    assert parser.decode(written(packet)) == [as_node(packet)]


@given(ENGINE_PACKETS | MESSAGES)
def test_we_read_what_node_writes(parser: Parser, packet: dict[str, Any]) -> None:
    """The same, the other way."""
    assert read(parser.encode(packet)) == as_node(packet)


@given(MESSAGES)
def test_heads_are_nodes_to_the_byte(parser: Parser, packet: dict[str, Any]) -> None:
    """How a number or a text is spelt is each side's own business; the head is not."""
    head, _, _ = written(packet).partition(write_json(packet["packet"].get("data", "")))
    assert parser.encode(packet).startswith(head)


@given(st.lists(ENGINE_PACKETS | MESSAGES, min_size=1, max_size=8))
def test_polling_bodies_are_split_as_the_other_side_joined_them(
    parser: Parser, some: list[dict[str, Any]]
) -> None:
    """Whatever is in a message, a body's messages keep number, order and content."""
    sent = as_node(some)
    assert parser.decode(packets.join_polling(map(written, some))) == sent
    assert [read(each) for each in packets.split_polling(parser.encode(*some))] == sent


@pytest.mark.parametrize("kind", [Kind.EVENT, Kind.ACK])
@pytest.mark.parametrize("namespace", ["/", "/runtime"])
@pytest.mark.parametrize("attachments", [1, 12])
def test_nodes_binary_packets_are_told_by_their_heads(
    parser: Parser, kind: Kind, namespace: str, attachments: int
) -> None:
    """They are refused under their id, and their parts are told by their first byte."""
    inner = {"type": kind, "nsp": namespace, "id": 7, "data": ["E"]}
    body = parser.encode({"type": "message", "packet": inner, "attachments": attachments})
    head, *others = body.split(b"\x1e")
    found, *where, _ = packets.parse_packet(head)
    binary = {Kind.EVENT: Kind.BINARY_EVENT, Kind.ACK: Kind.BINARY_ACK}[kind]
    assert (found, where) == (binary, [namespace, 7])
    assert len(others) == attachments
    assert [each[:1] for each in packets.split_polling(body)[1:]] == [packets.BINARY] * attachments


# JavaScript takes a blank for the number 0, hence for an id; nobody writes one there.
DAMAGE = st.sampled_from([*'0123456789-,/[]{}"\\:eE.nx', "NaN", "/runtime,", "51-", '["E"]', "ñ"])


@settings(max_examples=examples(300))
@given(
    node_packets(), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), DAMAGE), max_size=3)
)
@example({"type": Kind.EVENT, "nsp": "/", "data": ["E"]}, [(1, 0, "1-")])
@example({"type": Kind.EVENT, "nsp": "/runtime", "data": ["E"]}, [(1, 0, "1-")])
@example({"type": Kind.ACK, "nsp": "/runtime", "id": 7, "data": []}, [(10, 0, "x")])
def test_what_we_take_of_damaged_packets_node_takes_alike(
    parser: Parser, packet: dict[str, Any], damage: list[tuple[int, int, str]]
) -> None:
    """Nothing passes here that stock peers refuse, or read as something else."""
    text = written({"packet": packet}).decode()[1:]
    for at, cut, instead in damage:
        text = text[:at] + instead + text[at + cut :]
    message = packets.MESSAGE + text.encode()
    assume(b"?" not in message)  # our namespaces have no query
    try:
        ours = read(message)
        kind, data = ours["packet"]["type"], ours["packet"].get("data")
        assume(data is not None and kind in (Kind.EVENT, Kind.ACK))
        if kind == Kind.EVENT:
            events.check_event(data[0] if data else None)
    except (ProtocolError, RequestError):
        return
    assert parser.decode(message) == [as_node(ours)]
