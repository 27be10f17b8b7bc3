"""Websocket frames read and written, masks, and a client's handshake (RFC 6455).

May go in: whatever RFC 6455 says. May not: what a message means (`packets`), sockets (`links`,
`hub.sockets`). A frame is read in a fifth of the time that the sans-I/O core of the websockets
library takes (decision 0008). No extensions, such as compression; binary messages are dropped: no
peer of the mesh speaks either.

Pure: no socket, no clock.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alephscript.protocol.packets import Packet

__all__ = [
    "FRAMES_A_WRITE",
    "GOODBYE_CODES",
    "FrameReader",
    "check_handshake",
    "mask",
    "mask_plainly",
    "write_close_frame",
    "write_handshake",
    "write_masked_text_frame",
    "write_text_frame",
]

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN, _RESERVED, _OPCODE = 0x80, 0x70, 0x0F
_WHOLE_TEXT = _FIN | _TEXT
_LONGEST_CONTROL, _TWO_BYTES, _EIGHT_BYTES = 125, 126, 127
"""The longest payload of a control frame, and of any frame whose size takes no bytes of its own;
the marks in place of a size that takes two or eight."""

_BROKEN, _NO_TEXT, _TOO_BIG = 1002, 1007, 1009
_CODES = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
"""Codes that a close frame may carry (section 7.4, and IANA's registry)."""

GOODBYE_CODES = (1000, 1001)
"""Codes with which a program, or a page, closes that has nothing more to do here."""

FRAMES_A_WRITE = 16
"""Frames that are gathered into one write. All frames of a turn of the loop in one would be less
work, but then the processes of a mesh work by turns, not side by side (decision 0003)."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def write_text_frame(message: bytes) -> bytes:
    """Frame a message as a server's text: whole, unmasked (RFC 6455, section 5.2)."""
    size = len(message)
    if size < len(_HEADS):
        return _HEADS[size] + message
    return _head(size, 0) + message


def _head(size: int, flag: int) -> bytes:
    """Make what a whole text frame begins with; ``flag`` is 0x80 where it is masked."""
    if size <= _LONGEST_CONTROL:
        return bytes((_WHOLE_TEXT, flag | size))
    if size < 1 << 16:
        return bytes((_WHOLE_TEXT, flag | _TWO_BYTES)) + size.to_bytes(2)
    return bytes((_WHOLE_TEXT, flag | _EIGHT_BYTES)) + size.to_bytes(8)


# Of nearly all messages: to make a head takes a third of the time of a frame.
_HEADS = [_head(size, 0) for size in range(1024)]
_MASKED_HEADS = [_head(size, 0x80) for size in range(1024)]


def mask_plainly(message: bytes | memoryview, key: bytes) -> bytes:
    """Mask a message, or unmask it: the same operation, in Python (RFC 6455, section 5.3)."""
    words = len(message) // 4 + 1
    # A key times 1 in every word is the key repeated; a quarter of the time of joining bytes.
    ones = _ONES[words] if words < len(_ONES) else _ones(words)
    mixed = int.from_bytes(message, "little") ^ int.from_bytes(key, "little") * ones
    return mixed.to_bytes(words * 4, "little")[: len(message)]


def _ones(words: int) -> int:
    return int.from_bytes(b"\1\0\0\0" * words, "little")


_ONES = [_ones(words) for words in range(256)]


def _choose_mask(message: bytes | memoryview, key: bytes) -> bytes:
    """Mask, and choose what masks from now on; here, since importing websockets takes its time."""
    global mask  # noqa: PLW0603 - chosen once
    try:
        from websockets.speedups import apply_mask as mask
    except ImportError:
        mask = mask_plainly
    return mask(message, key)


mask: Callable[[bytes | memoryview, bytes], bytes] = _choose_mask
"""As `mask_plainly`; where the websockets package is installed its C, in a tenth of the time."""


bytes(4 << 20)
# glibc gives the memory of each large message back to the system, and fetches its pages anew for
# the next, 0.5 ms for 900 kB - until it has seen a larger piece freed, as it has now. Nobody
# touches that piece: no page of it ever exists.


def write_masked_text_frame(message: bytes) -> bytes:
    """Frame a message as a client's text: whole and masked (RFC 6455, section 5.3)."""
    if not _keys:
        pool = os.urandom(4096)
        # A list: a generator would be resumed once a key.
        _keys.extend([pool[at : at + 4] for at in range(0, len(pool), 4)])
    key, size = _keys.pop(), len(message)
    masked = mask(message, key)
    if size < len(_MASKED_HEADS):
        return _MASKED_HEADS[size] + key + masked
    return _head(size, 0x80) + key + masked


_LARGE = 65_536
"""Bytes from which on a message is not copied to be taken apart."""

_keys: list[bytes] = []
"""Masking keys from the system's randomness, fetched many at a time."""


class FrameReader:
    """Reads the frames that a peer sends, in pieces as they come.

    Args:
        masked: Whether the peer is a client: a client masks its frames, a hub does not.
        max_bytes: The largest message that is taken, in one frame or many; no less than 125.

    Attributes:
        reply: Frames to be sent to the peer and then cleared: pongs, and a close when it is closed.
        closed: Whether the peer closed, or broke the rules; nothing is read from then on.
        binaries: Count of binary messages, which are dropped; counted down as `extras`.
        extras: Count of frames that were no whole message: control frames and fragments. Whoever
            bounds them counts down.
        wanted: Bytes that have to be there before the frame that has begun is looked at again; 0 if
            none has.
    """

    # What is kept between two calls of `read`:
    # - the beginning of a frame that is not all there (`_rest`), and how many bytes of that frame
    #   have to be there before looking at it again is worth while (`wanted`; 0 without a rest);
    # - the fragments of a text message that is not all there (`_fragments`), how many bytes more it
    #   may have (`_left`), and whether it is text or binary (`_unfinished`, an opcode; 0 for none).
    __slots__ = (
        "_fragments",
        "_header",
        "_left",
        "_mask_bit",
        "_max",
        "_rest",
        "_unfinished",
        "binaries",
        "closed",
        "extras",
        "reply",
        "wanted",
    )

    def __init__(self, *, masked: bool, max_bytes: int) -> None:
        self.reply = b""
        self.closed = False
        self.extras = self.binaries = 0
        self._header, self._mask_bit = (6, 0x80) if masked else (2, 0)
        self._max = self._left = max_bytes
        self._unfinished = _CONTINUATION
        self._fragments = bytearray()  # not a list: an object a fragment is many times its size
        self._rest = bytearray()
        self.wanted = 0

    def read(self, data: bytes) -> list[bytes]:  # noqa: C901, PLR0912, PLR0915 - unrolled: hot
        """Read the text messages that are whole with this piece."""
        is_large = False
        if self.wanted:
            rest = self._rest
            rest += data
            if len(rest) < self.wanted:
                return []
            is_large = self.wanted > _LARGE
            self.wanted, self._rest = 0, bytearray()
            data = rest if is_large else bytes(rest)  # type: ignore[assignment]
        messages: list[bytes] = []
        header, mask_bit = self._header, self._mask_bit
        start, end = 0, len(data)
        while not self.closed:
            # As far as the header reaches, with a longer size, with the payload: each time that
            # the data ends before, this is what has to be there.
            stop = start + header
            if stop > end:
                break
            size = data[start + 1] ^ mask_bit
            if size > _LONGEST_CONTROL:
                if size == _TWO_BYTES:
                    stop += 2
                    if stop > end:
                        break
                    size = data[start + 2] << 8 | data[start + 3]
                elif size == _EIGHT_BYTES:
                    stop += 8
                    if stop > end:
                        break
                    size = int.from_bytes(data[start + 2 : start + 10])
                else:  # the mask bit is wrong: a client that does not mask, or a hub that does
                    self._close(_BROKEN)
                    break
                if size > self._left:  # before the payload is waited for
                    self._close(_TOO_BIG)
                    break
            payload_start = stop
            stop += size
            if stop > end:
                break
            if is_large:  # data may be a bytearray
                payload = _cut(data, payload_start, stop, masked=bool(mask_bit))
            elif mask_bit:
                payload = mask(data[payload_start:stop], data[payload_start - 4 : payload_start])
            else:
                payload = data[payload_start:stop]
            if data[start] == _WHOLE_TEXT and not self._unfinished:  # as nearly all are: no call
                messages.append(payload)
            else:
                self._take(data[start], payload, messages)
            start = stop
        if start < end and not self.closed:
            self._rest += data[start:]
            self.wanted = stop - start
        return messages

    if TYPE_CHECKING:

        def read_packets(self, data: bytes) -> Sequence[bytes | Packet]:
            """Read as `read` does; a reader in C takes heads of packets apart in the same go.

            Returns:
                The messages, each as it is, or as what `packets.parse_packet` makes of it.
            """
    else:
        read_packets = read

    def half_bytes(self) -> int:
        """Count the bytes that are kept of a message that is not whole."""
        return len(self._rest) + len(self._fragments)

    def _take(self, first: int, payload: bytes, messages: list[bytes]) -> None:
        """Handle a frame that is not a whole text message.

        Args:
            first: The frame's first byte.
            payload: The frame's payload, unmasked.
            messages: Where a text message goes that is whole with this frame.
        """
        self.extras += 1
        opcode = first & _OPCODE
        if first & _RESERVED:
            self._close(_BROKEN)  # an extension, such as compression, which was not agreed upon
        elif opcode >= _CLOSE:
            self._take_control(first, payload)
        elif opcode > _BINARY or (opcode == _CONTINUATION) != bool(self._unfinished):
            self._close(_BROKEN)  # unknown, or it continues nothing, or leaves something unfinished
        else:
            self._take_fragment(first, payload, messages)

    def _take_fragment(self, first: int, payload: bytes, messages: list[bytes]) -> None:
        self._unfinished = self._unfinished or first & _OPCODE
        self._left -= len(payload)
        if self._unfinished == _TEXT:
            self._fragments += payload
        if self._left < 0:
            self._close(_TOO_BIG)
        elif first & _FIN:
            if self._unfinished == _TEXT:
                messages.append(bytes(self._fragments))
                self._fragments = bytearray()
            else:
                self.binaries += 1
            self._left, self._unfinished = self._max, _CONTINUATION

    def _take_control(self, first: int, payload: bytes) -> None:
        opcode = first & _OPCODE
        if opcode > _PONG or not first & _FIN or len(payload) > _LONGEST_CONTROL:
            self._close(_BROKEN)
        elif opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _CLOSE:
            self._close(_code_to_echo(payload))

    def _close(self, code: int) -> None:
        self.closed = True
        self._send(_CLOSE, code.to_bytes(2) if code else b"")

    def _send(self, opcode: int, payload: bytes) -> None:
        write = write_text_frame if self._mask_bit else write_masked_text_frame
        self.reply += bytes((_FIN | opcode,)) + write(payload)[1:]


def _cut(data: bytes | bytearray, start: int, stop: int, *, masked: bool) -> bytes:
    """Cut a payload out of a piece, copied and unmasked in one go."""
    with memoryview(data) as whole, whole[start:stop] as part:
        return mask(part, bytes(whole[start - 4 : start])) if masked else bytes(part)


def _code_to_echo(payload: bytes) -> int:
    """Choose the code that a close frame is answered with; 0 for none, as it had none."""
    code = int.from_bytes(payload[:2])
    if payload and (len(payload) == 1 or code not in _CODES):
        code = _BROKEN
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return _NO_TEXT
    return code


def write_close_frame(code: int, reason: str = "") -> bytes:
    """Write a hub's close frame, with as much of a reason as fits."""
    fitting = reason.encode()[: _LONGEST_CONTROL - 2].decode(errors="ignore").encode()
    return bytes((_FIN | _CLOSE, 2 + len(fitting))) + code.to_bytes(2) + fitting


def write_handshake(host: str, target: str, key: bytes) -> bytes:
    """Write a client's request for a websocket.

    Args:
        host: The server's name, and its port unless that is the usual one.
        target: Path and query.
        key: Sixteen random bytes.
    """
    return (
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(key).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode("ascii")


def check_handshake(response: bytes, key: bytes) -> None:
    """Check that the head of a response grants the websocket that was asked for.

    Raises:
        ConnectionError: The response is not HTTP, refuses or redirects, or its headers are wrong.
    """
    status, *lines = response.decode("latin-1").split("\r\n")
    version, _, code = status.partition(" ")
    if not version.startswith("HTTP/"):
        raise ConnectionError("what answered speaks no HTTP")
    if code[:3] != "101":
        raise ConnectionError(f"a websocket was refused: {code}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    options = [each.strip() for each in headers.get("connection", "").lower().split(",")]
    accept = base64.b64encode(hashlib.sha1(base64.b64encode(key) + _GUID).digest()).decode()  # noqa: S324 - the RFC's
    if (
        headers.get("upgrade", "").lower() != "websocket"
        or "upgrade" not in options
        or headers.get("sec-websocket-accept") != accept
        or "sec-websocket-extensions" in headers
    ):
        raise ConnectionError("what answered is no websocket server")
