"""Websocket frames read and written, masks, and a client's handshake (RFC 6455).

May go in: whatever RFC 6455 says. May not: what a message means (`packets`), sockets (`links`,
`hub.sockets`). A frame is read in a fifth of the time that the sans-I/O core of the websockets
library takes. No extensions, such as compression; binary messages are dropped: no peer of the mesh
speaks either.

Pure: no socket, no clock.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable

__all__ = [
    "FRAMES_A_WRITE",
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
"""The longest payload of a control frame, and of one whose length takes no bytes of its own; what
says there that it takes some."""

_BROKEN, _NO_TEXT, _TOO_BIG = 1002, 1007, 1009
_CODES = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
"""Those that a close frame may carry (section 7.4, and IANA's registry)."""

FRAMES_A_WRITE = 16
"""Frames that are gathered into one write. All frames of a turn of the loop in one would be less
work, but then the processes of a mesh work by turns, not side by side."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def write_text_frame(message: bytes) -> bytes:
    """A message as a server's websocket text frame: whole, unmasked (RFC 6455, section 5.2)."""
    size = len(message)
    if size < 126:  # noqa: PLR2004 - the RFC's own numbers
        return bytes((0x81, size)) + message
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + message
    return b"\x81\x7f" + size.to_bytes(8) + message


def mask_plainly(message: bytes, key: bytes) -> bytes:
    """A message as it is on the way from a client, or that as a message again."""
    words = len(message) // 4 + 1
    # A key times 1 in every word is the key repeated; a quarter of the time of joining bytes.
    ones = _ONES[words] if words < len(_ONES) else _ones(words)
    mixed = int.from_bytes(message, "little") ^ int.from_bytes(key, "little") * ones
    return mixed.to_bytes(words * 4, "little")[: len(message)]


def _ones(words: int) -> int:
    return int.from_bytes(b"\1\0\0\0" * words, "little")


_ONES = [_ones(words) for words in range(256)]

mask: Callable[[bytes, bytes], bytes]
"""As `mask_plainly`; in C, a tenth of the time, where websockets is installed with its own."""
try:
    from websockets.speedups import apply_mask as mask
except ImportError:
    mask = mask_plainly


def write_masked_text_frame(message: bytes) -> bytes:
    """A message as a client's websocket text frame: whole and masked (RFC 6455, section 5.3).

    Args:
        message: What it carries.
    """
    if not _keys:
        pool = os.urandom(4096)
        _keys.extend(pool[at : at + 4] for at in range(0, len(pool), 4))
    key, size = _keys.pop(), len(message)
    masked = mask(message, key)
    if size < 126:  # noqa: PLR2004 - the RFC's own numbers
        return b"\x81%c%b%b" % (0x80 | size, key, masked)
    if size < 1 << 16:
        return b"\x81\xfe%b%b%b" % (size.to_bytes(2), key, masked)
    return b"\x81\xff%b%b%b" % (size.to_bytes(8), key, masked)


_keys: list[bytes] = []
"""Masking keys from the system's randomness, fetched many at a time."""


class FrameReader:
    """Reads what a peer sends, in pieces as they come.

    Args:
        masked: Whether the peer is a client: its frames are masked, those to it are not.
        max_bytes: The largest message that is taken, in one frame or many; no less than 125.

    Attributes:
        reply: Frames to be sent to the peer and then cleared: pongs, and a close when it is closed.
        closed: Whether the peer closed, or broke the rules; nothing is read from then on.
    """

    __slots__ = (
        "_flag",
        "_head",
        "_left",
        "_max",
        "_opcode",
        "_parts",
        "_rest",
        "_wanted",
        "closed",
        "reply",
    )

    def __init__(self, *, masked: bool, max_bytes: int) -> None:
        self.reply = b""
        self.closed = False
        self._head, self._flag = (6, 0x80) if masked else (2, 0)
        self._max = self._left = max_bytes
        self._opcode = _CONTINUATION  # of a message that is not whole yet: none
        self._parts: list[bytes] = []
        self._rest = bytearray()
        self._wanted = 0

    def read(self, data: bytes) -> list[bytes]:
        """The text messages that are whole with this piece."""
        if self._wanted:
            data = self._gathered(data)
        texts: list[bytes] = []
        head, flag = self._head, self._flag
        at, end = 0, len(data)
        while not self.closed:
            stop = at + head
            if stop > end:
                break
            size = data[at + 1] ^ flag
            if (
                size == _TWO_BYTES  # as most are: without a call
                and stop + 2 <= end
                and (length := data[at + 2] << 8 | data[at + 3]) <= self._left
            ):
                stop, size = stop + 2, length
            elif size > _LONGEST_CONTROL:
                stop, size = self._long(data, at, size)
            body = stop
            stop += size
            if stop > end:
                break
            payload = data[body:stop]
            if flag:
                payload = mask(payload, data[body - 4 : body])
            if data[at] == _WHOLE_TEXT and not self._opcode:
                texts.append(payload)
            else:
                self._take(data[at], payload, texts)
            at = stop
        if at < end and not self.closed:
            self._rest += data[at:]
            self._wanted = stop - at
        return texts

    def _gathered(self, data: bytes) -> bytes:
        """All that waits, if it is enough with this piece, else nothing."""
        self._rest += data
        if len(self._rest) < self._wanted:
            return b""
        data, self._wanted = bytes(self._rest), 0
        self._rest.clear()
        return data

    def _long(self, data: bytes, at: int, mark: int) -> tuple[int, int]:
        """Where a longer frame's payload begins, and its size; beyond the end if not there."""
        begin = at + self._head + (2 if mark == _TWO_BYTES else 8)
        size = int.from_bytes(data[at + 2 : begin - self._head + 2])
        if mark > _EIGHT_BYTES:
            self._close(_BROKEN)  # a client that does not mask, or a hub that does
        elif begin > len(data):
            return begin, 0
        elif size > self._left:
            self._close(_TOO_BIG)
        else:
            return begin, size
        return len(data), 1

    def _take(self, first: int, payload: bytes, texts: list[bytes]) -> None:
        """A frame that is not a whole text message."""
        opcode = first & _OPCODE
        if first & _RESERVED:
            self._close(_BROKEN)
        elif opcode >= _CLOSE:
            self._control(first, payload)
        elif opcode > _BINARY or (opcode == _CONTINUATION) != bool(self._opcode):
            self._close(_BROKEN)  # unknown, or it continues nothing, or leaves something unfinished
        else:
            self._opcode = self._opcode or opcode
            self._left -= len(payload)
            if payload and self._opcode == _TEXT:
                self._parts.append(payload)
            if self._left < 0:
                self._close(_TOO_BIG)
            elif first & _FIN:
                if self._opcode == _TEXT:
                    texts.append(b"".join(self._parts))
                self._parts, self._left, self._opcode = [], self._max, _CONTINUATION

    def _control(self, first: int, payload: bytes) -> None:
        opcode = first & _OPCODE
        if opcode > _PONG or not first & _FIN or len(payload) > _LONGEST_CONTROL:
            self._close(_BROKEN)
        elif opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2])
            if payload and (len(payload) == 1 or code not in _CODES):
                code = _BROKEN
            try:
                payload[2:].decode()
            except UnicodeDecodeError:
                code = _NO_TEXT
            self._close(code)

    def _close(self, code: int) -> None:
        self.closed = True
        self._send(_CLOSE, code.to_bytes(2) if code else b"")

    def _send(self, opcode: int, payload: bytes) -> None:
        frame = write_text_frame if self._flag else write_masked_text_frame
        self.reply += bytes((_FIN | opcode,)) + frame(payload)[1:]


def write_close_frame(code: int, reason: str = "") -> bytes:
    """A hub's close frame; of a reason, what fits."""
    said = reason.encode()[: _LONGEST_CONTROL - 2].decode(errors="ignore").encode()
    return bytes((_FIN | _CLOSE, 2 + len(said))) + code.to_bytes(2) + said


def write_handshake(host: str, target: str, key: bytes) -> bytes:
    """A client's request for a websocket.

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
    """See whether the head of a response grants what was asked for.

    Raises:
        ConnectionError: It does not.
    """
    status, *lines = response.decode("latin-1").split("\r\n")
    version, _, code = status.partition(" ")
    if not version.startswith("HTTP/"):
        raise ConnectionError("what answered speaks no HTTP")
    if code[:3] != "101":
        raise ConnectionError(f"a websocket was refused: {code}")
    headers = {
        name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
    }
    accept = base64.b64encode(hashlib.sha1(base64.b64encode(key) + _GUID).digest()).decode()  # noqa: S324 - the RFC's
    if (
        headers.get("upgrade", "").lower() != "websocket"
        or "upgrade" not in headers.get("connection", "").lower()
        or headers.get("sec-websocket-accept") != accept
        or "sec-websocket-extensions" in headers
    ):
        raise ConnectionError("what answered is no websocket server")
