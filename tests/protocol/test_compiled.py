"""What is compiled does what is pure: the same values, the same errors, the same bytes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, strategies as st

from alephscript.protocol import _wire
from alephscript.protocol.json import parse_json
from tests.support.tools import ROOT
from tests.support.ways import COMPILED, PURE, Way

MASKED = pytest.mark.parametrize("masked", [True, False], ids=["client's", "hub's"])
BOTH = (PURE, COMPILED)


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """What a call returns, or the class and the text of what it raises."""
    try:
        return function(*args)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is compared
        return type(exc), str(exc)


def frame(first: int, payload: bytes, *, masked: bool) -> bytes:
    """A frame of any kind."""
    whole = PURE.write_masked_text_frame if masked else PURE.write_text_frame
    return bytes([first]) + whole(payload)[1:]


def unmasked(data: bytes) -> bytes:
    """What a reader has to send, without what is drawn."""
    plain = b""
    while data:
        size = data[1] & 0x7F
        key, payload = data[2:6], data[6 : 6 + size]
        plain += data[:2] + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
        data = data[6 + size :]
    return plain


def transcript(way: Way, pieces: list[bytes], *, masked: bool, most: int) -> list[Any]:
    """All that can be seen of a reader, piece by piece."""
    reader = way.FrameReader(masked=masked, max_bytes=most)
    seen: list[Any] = []
    for piece in pieces:
        texts = reader.read(piece)
        assert {type(text) for text in texts} <= {bytes}
        seen.append((texts, reader.wanted, reader.half_bytes(), reader.extras, reader.binaries))
    reply = reader.reply if masked else unmasked(reader.reply)
    return [*seen, reader.closed, reply]


def packets_of(way: Way, pieces: list[bytes], *, masked: bool, most: int) -> list[Any]:
    """The same, with packets where messages are packets."""
    reader = way.FrameReader(masked=masked, max_bytes=most)
    seen: list[Any] = []
    for piece in pieces:
        read = [
            each if isinstance(each, tuple) else outcome(PURE.parse_packet, each)
            for each in reader.read_packets(piece)
        ]
        seen.append((read, reader.wanted, reader.half_bytes()))
    return [*seen, reader.closed]


def assert_alike(pieces: list[bytes], *, masked: bool, most: int) -> None:
    """Whatever is read, both read it, as messages and as packets."""
    for read in (transcript, packets_of):
        pure, compiled = (read(way, pieces, masked=masked, most=most) for way in BOTH)
        assert pure == compiled


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The pieces of a stream."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data, b""]


HEADS = st.sampled_from(
    [b"42/runtime,", b"43/runtime,", b"42/runtime", b"42", b"451-/a,", b"4", b""]
)
DIGITS = st.text("0123456789", max_size=18).map(str.encode)
MESSAGES = st.builds(
    lambda *parts: b"".join(parts),
    HEADS,
    DIGITS,
    st.sampled_from([b"[", b"[", b""]),
    st.binary(max_size=20),
)


FIRST = st.sampled_from([0x81] * 4 + [0x01, 0x80, 0x00, 0x88, 0x89, 0x8A, 0x82, 0x02, 0xC1, 0x83])
SIZES = st.sampled_from([0, 1, 2, 3, 4, 7, 8, 9, 63, 64, 65, 124, 125, 126, 127, 1500])
PAYLOADS = SIZES.map(lambda size: (bytes(range(3, 250)) * 7)[:size])


@MASKED
@given(
    st.lists(st.tuples(FIRST, PAYLOADS | st.binary(max_size=9) | MESSAGES), max_size=6),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_streams_are_read_alike(
    masked: bool, some: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    """However they are cut, whether they keep the rules or not."""
    data = b"".join(frame(first, payload, masked=masked) for first, payload in some)
    assert_alike(cut(data, sizes), masked=masked, most=2_000)


@MASKED
@given(
    st.binary(max_size=60) | st.builds(lambda rest: b"\x81" + rest, st.binary(max_size=60)),
    st.lists(st.integers(0, 20), max_size=8),
)
@example(b"\x81\xff" + b"\xff" * 12, [])
@example(b"\x81\x7f" + b"\x7f" * 12, [1, 1, 1, 1])
def test_any_bytes_are_read_alike(masked: bool, data: bytes, sizes: list[int]) -> None:
    """Sizes of 64 bits, too."""
    for most in (125, 70_000, 1 << 62):
        assert_alike(cut(data, sizes), masked=masked, most=most)


@MASKED
@given(
    FIRST,
    st.integers(65_500, 65_600) | st.integers(200_000, 200_009),
    st.lists(st.integers(0, 70_000), max_size=6),
    st.sampled_from([0, 1, 70_000]),
    MESSAGES,
)
def test_large_frames_are_read_alike(
    masked: bool, first: int, size: int, sizes: list[int], before: int, head: bytes
) -> None:
    """In pieces of any size, behind others, alone or as a part of a text."""
    text = (head + bytes(range(251)) * (size // 251 + 1))[:size]
    some = [(0x01, b"a" * before), (0x80, b"b"), (first, text), (0x80, text), (0x81, b"end")]
    data = b"".join(frame(each, payload, masked=masked) for each, payload in some)
    assert_alike(cut(data, sizes), masked=masked, most=400_000)


@given(st.binary(max_size=300) | st.sampled_from([65_535, 65_536, 70_001]).map(bytes))
def test_frames_are_written_alike(message: bytes) -> None:
    """Byte for byte, but for the key of a mask."""
    assert PURE.write_text_frame(message) == COMPILED.write_text_frame(message)
    pure, compiled = (way.write_masked_text_frame(message) for way in BOTH)
    head = len(compiled) - len(message) - 4
    assert (len(pure), pure[:head]) == (len(compiled), compiled[:head])
    reader = PURE.FrameReader(masked=True, max_bytes=len(message) + 125)
    assert reader.read(compiled) == [message]


def test_masking_keys_do_not_repeat() -> None:
    """Beyond what is fetched of them at once."""
    keys = {COMPILED.write_masked_text_frame(b"")[2:] for _ in range(5_000)}
    assert len(keys) > 4_990


@given(MESSAGES)
@example(b"42/runtime,[]")
@example(b"42/runtime,123456789012345[]")
@example(b"42/runtime,1234567890123456[]")
@example(b"42/runtime,007[]")
def test_heads_are_read_alike(message: bytes) -> None:
    """Heads of peers, of others, and what is none."""
    assert outcome(PURE.parse_packet, message) == outcome(COMPILED.parse_packet, message)


@given(st.binary(max_size=20), st.integers(0, 10**15), st.binary(max_size=40))
def test_numbered_packets_are_written_alike(head: bytes, number: int, payload: bytes) -> None:
    """Byte for byte."""
    assert PURE.write_numbered(head, number, payload) == COMPILED.write_numbered(
        head, number, payload
    )


SPOILED = st.sampled_from(
    [
        *(bytes([byte]) for byte in b'\\"[]{},:\x00\x1f\xff\xc3 0-'),
        *(b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\u00", b"\\x"),
        *(b"NaN", b"1e999", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80"),
    ]
)
ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
) | st.text(st.characters(codec="utf-8"), max_size=80)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
ARRAYS = st.builds(
    lambda name, rest: [name, *rest], st.text(max_size=9) | VALUES, st.lists(VALUES, max_size=9)
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """JSON arrays, of all sizes and with all escapes, whole and spoiled."""
    value = draw(ARRAYS)
    text = json.dumps(
        value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
    )
    written = text.encode()
    for spoiler in draw(st.lists(SPOILED, max_size=2)):
        at = draw(st.integers(0, len(written)))
        written = written[:at] + spoiler + written[at + draw(st.integers(0, 3)) :]
    # As large as what is scanned in C, by what means nothing.
    space = b" " * draw(st.sampled_from([0, 0, 2_100]))
    return space + written if draw(st.booleans()) else written + space


def taken_apart(way: Way, text: bytes) -> list[Any]:
    """The values of a payload as such, and as an event; or why it is none."""
    values = outcome(way.split_values, text)
    event = outcome(way.split_event, text)
    if isinstance(values, list):
        assert {type(value) for value in values} <= {msgspec.Raw}
        values = [bytes(value) for value in values]
    if not isinstance(event[0], type):
        event = event[0], [bytes(arg) for arg in event[1]]
    return [values, event]


@given(texts() | st.binary(max_size=80))
def test_payloads_are_taken_apart_alike(text: bytes) -> None:
    """Or refused for the same reason."""
    assert taken_apart(PURE, text) == taken_apart(COMPILED, text)


@given(st.text('[]{}",:0123456789.eE+- \\utrfalsn\x7f\n', max_size=30).map(str.encode))
def test_what_looks_like_json_is_taken_apart_alike(text: bytes) -> None:
    """Above all numbers and words; small, and as large as what is scanned in C."""
    for payload in (text, b"[%b]" % text, b"[%b%b]" % (b" " * 2_100, text)):
        assert taken_apart(PURE, payload) == taken_apart(COMPILED, payload)


@pytest.mark.parametrize("depth", [62, 63, 64, 65, 66, 5_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
@pytest.mark.parametrize("size", [0, 2_100])
def test_depth_is_counted_alike(depth: int, brackets: tuple[bytes, bytes], size: int) -> None:
    """To the level at which it is too much."""
    opening, closing = brackets
    times = depth // (len(opening.replace(b'"a":', b"")))
    text = b'["E",%b%b%b1%b]' % (b" " * size, b"[" * (depth % 2), opening * times, closing * times)
    text += b"]" * (depth % 2)
    assert taken_apart(PURE, text) == taken_apart(COMPILED, text)
    assert PURE.is_shallow_utf8(text) == COMPILED.is_shallow_utf8(text)


@pytest.mark.parametrize("at", range(0, 140, 3))
def test_a_character_is_seen_wherever_it_is(at: int) -> None:
    """Within what is looked at in one go, and at its edges."""
    for odd in (
        b'"',
        b"\\",
        b"\x1f",
        b"\x80",
        b"\xc3\xb1",
        b"\xf0\x9f\x98\x80",
        b"\xf4\x90\x80\x80",
    ):
        string = b"x" * at + odd + b"x" * (2_500 - at)
        for text in (b'["%b"]' % string, b'["E","%b"]' % string, b'["E","%b' % string):
            assert taken_apart(PURE, text) == taken_apart(COMPILED, text)


def is_json(text: bytes) -> bool:
    """Whether a decoder takes it."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


@given(texts() | st.text('[]{}"\\ax', max_size=300).map(str.encode) | st.binary(max_size=300))
def test_what_is_shallow_is_told_alike(text: bytes) -> None:
    """Of JSON; of other text the answer means nothing."""
    if is_json(text):
        assert PURE.is_shallow_utf8(text) == COMPILED.is_shallow_utf8(text)
    else:
        COMPILED.is_shallow_utf8(text)


@given(st.lists(st.binary(max_size=4) | st.text(max_size=3).map(str.encode), max_size=60))
def test_utf8_is_told_alike(parts: list[bytes]) -> None:
    """Of all that is one string, well formed or not."""
    text = b'"%b"' % b"".join(parts).translate(None, b'"\\[{')
    assert PURE.is_shallow_utf8(text) == COMPILED.is_shallow_utf8(text)


class Text(str):
    """A type that JSON does not have, though it looks like one."""

    __slots__ = ()


STRANGE = st.sampled_from([math.nan, math.inf, b"x", Text("x"), object, {1}, "\ud800", 1 << 70])
ANY = st.recursive(
    ATOMS | STRANGE | st.just(msgspec.Raw(b"[1]")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(ANY)
def test_values_are_written_alike(value: Any) -> None:
    """Or refused for the same reason."""
    assert PURE.is_plain(value) == COMPILED.is_plain(value)
    assert outcome(PURE.write_json, value) == outcome(COMPILED.write_json, value)
    assert outcome(PURE.write_plain_json, value) == outcome(COMPILED.write_plain_json, value)


@pytest.mark.parametrize("depth", [63, 64, 65, 10_000])
def test_values_are_as_deep_alike(depth: int) -> None:
    """No deeper than `MAX_DEPTH`, however deep they are."""
    value: Any = 1
    for level in range(depth):
        value = ([value], {"a": value}, (value,))[level % 3]
    assert PURE.is_plain(value) == COMPILED.is_plain(value) == (depth <= 64)
    assert outcome(PURE.write_json, value) == outcome(COMPILED.write_json, value)
    assert outcome(PURE.write_plain_json, value) == outcome(COMPILED.write_plain_json, value)


def test_it_is_compiled_from_what_is_there() -> None:
    """Else the others compare what nobody has any more; `poe compile` compiles it again."""
    source = ROOT / "alephscript" / "protocol" / "_wire.pyx"
    assert _wire.__source__ == hashlib.sha256(source.read_bytes()).hexdigest()


def test_a_value_stays_when_its_payload_is_gone() -> None:
    """Values of large payloads are not copied: they keep what they are part of."""
    texts = [b'["E",{"a":"%b"}]' % (b"%d" % number * 1_000) for number in range(10)]
    kept = [COMPILED.split_event(bytes(bytearray(text)))[1][0] for text in texts]
    assert [parse_json(each) for each in kept] == [json.loads(text)[1] for text in texts]
    assert [msgspec.json.encode([each]) for each in kept] == [
        b"[%b]" % text[5:-1] for text in texts
    ]
