"""Frames are read as the websockets library reads them, however they are cut; so is a handshake."""

from __future__ import annotations

import logging

import pytest
from hypothesis import example, given, strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import CLIENT, SERVER, Protocol, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from alephscript.protocol.websocket import check_handshake, write_close_frame, write_handshake
from tests.support.ways import WAYS, Way

MAX_BYTES = 10_000
"""More than the frames of a test sum up to: websockets counts pings between fragments, too."""
quiet = logging.getLogger("tests.websockets")
quiet.setLevel(logging.CRITICAL)

MASKED = pytest.mark.parametrize("masked", [True, False], ids=["client's", "hub's"])
CUTS = st.lists(st.integers(1, 200), max_size=8)
SIZES = st.sampled_from([0, 1, 3, 4, 124, 125, 126, 127, 300, 1500])
PAYLOADS = SIZES.map(lambda size: bytes(range(256)).ljust(size, b"x")[:size]) | st.binary(
    max_size=9
)
FRAMES = st.builds(
    Frame,
    st.sampled_from([*([Opcode.TEXT] * 3), *([Opcode.CONT] * 2), *Opcode]),
    PAYLOADS,
    st.sampled_from([True, True, False]),
    st.sampled_from([False] * 9 + [True]),
)
CLOSES = st.builds(
    lambda code, reason: code.to_bytes(2) + reason,
    st.sampled_from([999, 1000, 1004, 1005, 1006, 1007, 1011, 1015, 2999, 3000, 4999, 5000]),
    st.sampled_from([b"", b"bye", "\u00f1".encode(), b"\xff"]),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes as they may come."""
    cut = []
    for size in cuts:
        cut.append(data[:size])
        data = data[size:]
    return [*filter(None, cut), data]


def ours(way: Way, data: list[bytes], *, masked: bool) -> tuple[list[bytes], int | None, bytes]:
    """The texts, the code of the close that is sent, if one is, and all that is sent."""
    reader = way.FrameReader(masked=masked, max_bytes=MAX_BYTES)
    texts = [text for piece in data for text in reader.read(piece)]
    sent = sent_frames(reader.reply, masked=not masked)
    closes = [frame.data for frame in sent if frame.opcode is Opcode.CLOSE]
    assert len(closes) == reader.closed
    pongs = b"|".join(frame.data for frame in sent if frame.opcode is Opcode.PONG)
    return texts, int.from_bytes(closes[0]) if closes else None, pongs


def theirs(data: list[bytes], *, masked: bool) -> tuple[list[bytes], int | None, bytes]:
    """The same by websockets."""
    side = Protocol(SERVER if masked else CLIENT, max_size=MAX_BYTES, logger=quiet)
    for piece in data:
        if side.state is State.OPEN:
            side.receive_data(piece)
    texts: list[bytes] = []
    parts: list[bytes] | None = None
    for frame in side.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.TEXT:
            parts = []
        if parts is not None and frame.opcode in (Opcode.TEXT, Opcode.CONT):
            parts.append(bytes(frame.data))
            if frame.fin:
                texts.append(b"".join(parts))
                parts = None
    sent = sent_frames(b"".join(side.data_to_send()), masked=not masked)
    closes = [frame.data for frame in sent if frame.opcode is Opcode.CLOSE]
    pongs = b"|".join(frame.data for frame in sent if frame.opcode is Opcode.PONG)
    return texts, int.from_bytes(closes[0][:2]) if closes else None, pongs


def sent_frames(data: bytes, *, masked: bool) -> list[Frame]:
    """What a peer that is sent these bytes reads."""
    peer = Protocol(SERVER if masked else CLIENT, logger=quiet)
    peer.receive_data(data)
    read = peer.events_received()
    assert all(isinstance(frame, Frame) for frame in read)
    assert peer.parser_exc is None
    return [Frame(frame.opcode, bytes(frame.data)) for frame in read if isinstance(frame, Frame)]


def written(way: Way, some: list[Frame], *, masked: bool) -> bytes:
    """The bytes of frames, legal or not."""
    data = b""
    for frame in some:
        first = frame.fin << 7 | frame.rsv1 << 6 | frame.opcode
        whole = way.write_masked_text_frame if masked else way.write_text_frame
        data += bytes([first]) + whole(bytes(frame.data))[1:]
    return data


@WAYS
@MASKED
@given(st.lists(FRAMES, max_size=6), CUTS)
def test_frames_are_read_as_websockets_reads_them(
    way: Way, masked: bool, some: list[Frame], cuts: list[int]
) -> None:
    """Texts, pongs and whether it ends, for frames that keep the rules and that do not."""
    data = pieces(written(way, some, masked=masked), cuts)
    texts, code, pongs = ours(way, data, masked=masked)
    their_texts, their_code, their_pongs = theirs(data, masked=masked)
    assert (texts, pongs, code is None) == (their_texts, their_pongs, their_code is None)


@WAYS
@MASKED
@pytest.mark.parametrize(
    ("some", "code"),
    [
        ([Frame(Opcode.TEXT, b"x", rsv1=True)], 1002),
        ([Frame(Opcode.CONT, b"x")], 1002),
        ([Frame(Opcode.TEXT, b"x", fin=False), Frame(Opcode.TEXT, b"x")], 1002),
        ([Frame(Opcode.PING, b"x", fin=False)], 1002),
        ([Frame(Opcode.PING, b"x" * 126)], 1002),
        ([Frame(Opcode.TEXT, b"x" * 10_001)], 1009),
        ([Frame(Opcode.TEXT, b"x" * 9_999, fin=False), Frame(Opcode.CONT, b"xx")], 1009),
        ([Frame(Opcode.BINARY, b"x" * 9_999, fin=False), Frame(Opcode.CONT, b"xx")], 1009),
        ([Frame(Opcode.TEXT, b"x" * 6_000, fin=False), Frame(Opcode.CONT, b"x" * 6_000)], 1009),
    ],
)
def test_what_breaks_a_rule_is_told_which(
    way: Way, masked: bool, some: list[Frame], code: int
) -> None:
    """By the code that websockets tells it by."""
    data = [written(way, some, masked=masked)]
    assert ours(way, data, masked=masked) == theirs(data, masked=masked) == ([], code, b"")


@WAYS
@MASKED
@given(
    st.binary(max_size=40) | st.builds(lambda size: b"\x81" + size, st.binary(max_size=40)), CUTS
)
@example(b"\x81\xff" + b"\xff" * 12, [])
@example(b"\x81\x7f" + b"\xff" * 12, [])
def test_any_bytes_are_read_as_websockets_reads_them(
    way: Way, masked: bool, data: bytes, cuts: list[int]
) -> None:
    """What is no frame ends it; by what, and if not before its last byte, is nobody's concern."""
    cut = pieces(data, cuts)
    texts, code, pongs = ours(way, cut, masked=masked)
    their_texts, their_code, their_pongs = theirs(cut, masked=masked)
    assert (texts, pongs) == (their_texts, their_pongs)
    assert code is None or their_code is not None


@WAYS
@MASKED
@given(CLOSES | st.binary(max_size=3))
def test_a_close_is_answered_as_websockets_answers_it(way: Way, masked: bool, body: bytes) -> None:
    """With its own code, unless that is none that may be sent."""
    data = [written(way, [Frame(Opcode.TEXT, b"1"), Frame(Opcode.CLOSE, body)], masked=masked)]
    assert ours(way, data, masked=masked) == theirs(data, masked=masked)


@WAYS
@MASKED
def test_nothing_is_read_after_a_close(way: Way, masked: bool) -> None:
    """In the same piece or in later ones."""
    some = [Frame(Opcode.CLOSE, b""), Frame(Opcode.TEXT, b"late")]
    reader = way.FrameReader(masked=masked, max_bytes=MAX_BYTES)
    assert reader.read(written(way, some, masked=masked)) == []
    reply = reader.reply
    assert reader.read(written(way, some, masked=masked)) == []
    assert (reader.closed, reader.reply) == (True, reply)


@WAYS
@MASKED
def test_a_megabyte_is_read_from_any_pieces(way: Way, masked: bool) -> None:
    """As a transport brings it, and again after it."""
    text = bytes(range(256)) * 4096
    reader = way.FrameReader(masked=masked, max_bytes=len(text))
    data = written(way, [Frame(Opcode.TEXT, text), Frame(Opcode.TEXT, b"")], masked=masked)
    for _ in range(2):
        read = [
            each for piece in pieces(data, [1, 5, *[65_536] * 20]) for each in reader.read(piece)
        ]
        assert read == [text, b""]


@WAYS
@MASKED
def test_what_follows_a_large_message_is_read_with_it(way: Way, masked: bool) -> None:
    """In the piece that ends it, whole and begun; all of it bytes."""
    text = bytes(range(256)) * 1024
    small = [Frame(Opcode.TEXT, b"%d" % number) for number in range(50)]
    data = written(way, [Frame(Opcode.TEXT, text), *small], masked=masked)
    reader = way.FrameReader(masked=masked, max_bytes=len(text))
    for cut in (len(text) // 2, len(data) - 3):
        read = reader.read(data[:cut]) + reader.read(data[cut:])
        assert read == [text, *(each.data for each in small)]
        assert {type(each) for each in read} == {bytes}


@pytest.mark.parametrize("reason", ["", "bye", "x" * 123, "\u00f1" * 80])
def test_a_hub_closes_with_a_code_and_as_much_of_a_reason_as_fits(reason: str) -> None:
    """A close frame takes 123 bytes of it."""
    client = Protocol(CLIENT, logger=quiet)
    client.receive_data(write_close_frame(1000, reason))
    (frame,) = client.events_received()
    assert isinstance(frame, Frame)
    close = Close.parse(bytes(frame.data))
    assert close.code == 1000
    assert close.reason == reason.encode()[:123].decode(errors="ignore")


KEY = bytes(range(16))


def grant(head: bytes) -> bytes:
    """What a server of websockets' answers."""
    server = ServerProtocol(logger=quiet)
    server.receive_data(head)
    (asked,) = server.events_received()
    assert isinstance(asked, Request)
    assert asked.headers["Host"] == "hub.example:3010"
    assert asked.path == "/mesh/socket.io/?EIO=4"
    server.send_response(server.accept(asked))
    assert server.state is State.OPEN
    return b"".join(server.data_to_send())


def test_a_server_grants_what_is_asked_and_it_is_seen() -> None:
    """The head without the empty line at its end."""
    head = grant(write_handshake("hub.example:3010", "/mesh/socket.io/?EIO=4", KEY))
    check_handshake(head.partition(b"\r\n\r\n")[0], KEY)


def test_what_is_asked_is_what_websockets_asks() -> None:
    """Header by header, its extensions and its name left out."""
    client = ClientProtocol(parse_uri("ws://hub.example:3010/mesh/socket.io/?EIO=4"), logger=quiet)
    client.send_request(client.connect())
    lines = b"".join(client.data_to_send()).split(b"\r\n")
    mine = write_handshake("hub.example:3010", "/mesh/socket.io/?EIO=4", KEY).split(b"\r\n")
    ignored = (b"Sec-WebSocket-Key", b"User-Agent", b"Sec-WebSocket-Extensions")
    assert sorted(each for each in mine if not each.startswith(ignored)) == sorted(
        each for each in lines if not each.startswith(ignored)
    )


@pytest.mark.parametrize(
    "connection",
    [b"keep-alive, Upgrade", b"upgrade,keep-alive", b"keep-alive\r\nConnection: Upgrade"],
)
def test_a_grant_may_say_more_of_its_connection(connection: bytes) -> None:
    """In one header or in two, as proxies do."""
    head = grant(write_handshake("hub.example:3010", "/mesh/socket.io/?EIO=4", KEY))
    head = head.replace(b"Connection: Upgrade", b"Connection: " + connection)
    check_handshake(head.partition(b"\r\n\r\n")[0], KEY)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 403 Forbidden", "refused: 403 Forbidden"),
        (b"HTTP/1.1 101", b"SSH-2.0", "no HTTP"),
        (b"Upgrade: websocket", b"Upgrade: h2c", "no websocket server"),
        (b"Connection: Upgrade", b"Connection: close", "no websocket server"),
        (b"Connection: Upgrade", b"Connection: no-upgrade", "no websocket server"),
        (b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 302 Found", "refused: 302 Found"),
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x", "no websocket server"),
        (b"Upgrade: ", b"Sec-WebSocket-Extensions: x\r\nUpgrade: ", "no websocket server"),
    ],
)
def test_what_is_not_granted_is_no_websocket(old: bytes, new: bytes, why: str) -> None:
    """And it is said why."""
    head = grant(write_handshake("hub.example:3010", "/mesh/socket.io/?EIO=4", KEY))
    assert old in head
    with pytest.raises(ConnectionError, match=why):
        check_handshake(head.replace(old, new).partition(b"\r\n\r\n")[0], KEY)
