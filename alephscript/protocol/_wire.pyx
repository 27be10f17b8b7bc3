# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, embedsignature=False, binding=False
"""Frames, packets' heads and the check of JSON in C: what `websocket`, `packets` and `json` do.

May go in: a function that each message passes by and that has a pure one of the same name, which is
the oracle in the tests of both, and which is called here for whatever is rare or wrong, so that
errors are raised, and worded, in one place. May not: a rule of the mesh, an error's text, anything
that the pure modules cannot do; a reason to be here is a figure in decision 0057.

Optional: `wire` chooses. Built by `hatch_build.py`; typed by the pure functions, in `_wire.pyi`.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.dict cimport PyDict_Next
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_FromUnsignedLongLong
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

import os

import msgspec

from alephscript.protocol import events, json as _json, packets as _packets, websocket as _websocket

__all__ = [
    "FrameReader",
    "is_plain",
    "is_shallow_utf8",
    "parse_packet",
    "split_event",
    "split_values",
    "write_json",
    "write_masked_text_frame",
    "write_numbered",
    "write_plain_json",
    "write_text_frame",
]

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **, Py_ssize_t) except -1
    PyObject *_new_bytes "PyBytes_FromStringAndSize" (const char *, Py_ssize_t) except NULL
    char *_bytes_of "PyBytes_AS_STRING" (PyObject *)
    bint PyFloat_CheckExact(object)
    double PyFloat_AS_DOUBLE(object)

# Loops over bytes, written so that compilers make them vectors of 16 bytes and more. Each reads and
# writes within the bounds it is given.
cdef extern from *:
    """
    #include <math.h>

    static void xor_into(unsigned char *CYTHON_RESTRICT out, const unsigned char *CYTHON_RESTRICT in,
                         Py_ssize_t size, const unsigned char *key, Py_ssize_t phase) {
        unsigned char turned[8];
        uint64_t mask, word;
        Py_ssize_t at;
        for (at = 0; at < 8; at++) turned[at] = key[(phase + at) & 3];
        memcpy(&mask, turned, 8);
        for (at = 0; at + 8 <= size; at += 8) {
            memcpy(&word, in + at, 8);
            word ^= mask;
            memcpy(out + at, &word, 8);
        }
        for (; at < size; at++) out[at] = in[at] ^ turned[at & 7];
    }

    /* Whether 64 bytes of a JSON string mean nothing but themselves: no quote, backslash or control
       character, nothing beyond ASCII. */
    static inline int is_plain_block(const unsigned char *text) {
        unsigned char odd = 0;
        int at;
        for (at = 0; at < 64; at++) {
            unsigned char byte = text[at];
            odd |= (unsigned char)((byte == '"') | (byte == '\\\\') | ((signed char)byte < 0x20));
        }
        return !odd;
    }

    /* Count opening brackets of at most 2**31 bytes, and tell whether all is ASCII. */
    static Py_ssize_t count_brackets(const unsigned char *text, Py_ssize_t size, int *is_ascii) {
        Py_ssize_t count = 0, at = 0;
        unsigned char high = 0;
        while (at < size) {
            /* Of a block of 128 a counter of one byte holds the sum. */
            Py_ssize_t stop = size - at < 128 ? size : at + 128;
            unsigned char some = 0;
            for (; at < stop; at++) {
                unsigned char byte = text[at];
                high |= byte;
                some += (unsigned char)((byte | 0x20) == '{');
            }
            count += some;
        }
        *is_ascii = high < 0x80;
        return count;
    }

    /* Bytes of the UTF-8 sequence that begins here with a byte beyond ASCII; 0 if it is none
       (Unicode's table 3-7: no surrogates, nothing longer than needed, nothing beyond U+10FFFF). */
    static inline int utf8_length(const unsigned char *text, Py_ssize_t left) {
        unsigned char first = text[0];
        #define TAIL(n) ((text[n] & 0xC0) == 0x80)
        if (first < 0xC2 || first > 0xF4) return 0;
        if (first < 0xE0) return left >= 2 && TAIL(1) ? 2 : 0;
        if (first < 0xF0) {
            if (left < 3 || !TAIL(1) || !TAIL(2)) return 0;
            if (first == 0xE0 && text[1] < 0xA0) return 0;
            if (first == 0xED && text[1] > 0x9F) return 0;
            return 3;
        }
        if (left < 4 || !TAIL(1) || !TAIL(2) || !TAIL(3)) return 0;
        if (first == 0xF0 && text[1] < 0x90) return 0;
        if (first == 0xF4 && text[1] > 0x8F) return 0;
        return 4;
        #undef TAIL
    }
    """
    void xor_into(uint8_t *, const uint8_t *, Py_ssize_t, const uint8_t *, Py_ssize_t) noexcept nogil
    bint is_plain_block(const uint8_t *) noexcept nogil
    Py_ssize_t count_brackets(const uint8_t *, Py_ssize_t, int *) noexcept nogil
    int utf8_length(const uint8_t *, Py_ssize_t) noexcept nogil
    bint isfinite(double) noexcept nogil


# Frames (RFC 6455)

cdef enum:
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA
    FIN = 0x80
    RESERVED = 0x70
    OPCODE = 0x0F
    WHOLE_TEXT = 0x81
    LONGEST_CONTROL = 125
    TWO_BYTES = 126
    EIGHT_BYTES = 127
    BROKEN = 1002
    TOO_BIG = 1009
    LARGE = 65536  # bytes of a frame from which on it is put together where it will stay
    HEAD = 32  # bytes that hold the head of an event or an acknowledgement
    KEYS = 4096  # bytes of masking keys that are fetched at once

cdef bytes _keys = b""
cdef Py_ssize_t _used_keys = 0
_fetch = os.urandom
_code_to_echo = _websocket._code_to_echo


cdef inline Py_ssize_t head_size(Py_ssize_t size) noexcept:
    """Count the bytes before a key or a payload."""
    if size <= LONGEST_CONTROL:
        return 2
    return 4 if size < 1 << 16 else 10


cdef inline uint8_t *put_head(uint8_t *out, Py_ssize_t size, uint8_t flag) noexcept:
    """Write what a whole text frame begins with; return where the rest begins."""
    cdef int at
    out[0] = WHOLE_TEXT
    if size <= LONGEST_CONTROL:
        out[1] = flag | <uint8_t>size
        return out + 2
    if size < 1 << 16:
        out[1] = flag | TWO_BYTES
        out[2] = <uint8_t>(size >> 8)
        out[3] = <uint8_t>size
        return out + 4
    out[1] = flag | EIGHT_BYTES
    for at in range(8):
        out[2 + at] = <uint8_t>(<uint64_t>size >> (56 - 8 * at))
    return out + 10


cdef const uint8_t *next_key() except NULL:
    """Take a masking key, of the system's randomness."""
    global _keys, _used_keys
    cdef const uint8_t *key
    if _used_keys + 4 > PyBytes_GET_SIZE(_keys):
        _keys = _fetch(KEYS)
        _used_keys = 0
    key = <const uint8_t *>PyBytes_AS_STRING(_keys) + _used_keys
    _used_keys += 4
    return key


def write_text_frame(bytes message not None):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, head_size(size) + size)
    cdef uint8_t *out = put_head(<uint8_t *>PyBytes_AS_STRING(frame), size, 0)
    memcpy(out, PyBytes_AS_STRING(message), size)
    return frame


def write_masked_text_frame(bytes message not None):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
    cdef const uint8_t *key = next_key()
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, head_size(size) + 4 + size)
    cdef uint8_t *out = put_head(<uint8_t *>PyBytes_AS_STRING(frame), size, 0x80)
    memcpy(out, key, 4)
    xor_into(out + 4, <const uint8_t *>PyBytes_AS_STRING(message), size, key, 0)
    return frame


@cython.final
cdef class FrameReader:
    # Between two calls of `read`: the beginning of a frame that is not all there, in `_rest`; of a
    # large one the payload alone, unmasked, in `_large`, which grows with what has come.
    cdef public bytes reply
    cdef public bint closed
    cdef public Py_ssize_t extras
    cdef public Py_ssize_t binaries
    cdef readonly Py_ssize_t wanted
    cdef long long _max
    cdef long long _left
    cdef Py_ssize_t _header
    cdef uint8_t _mask_bit
    cdef int _unfinished
    cdef bytearray _fragments
    cdef bytearray _rest
    cdef PyObject *_large
    cdef Py_ssize_t _filled
    cdef Py_ssize_t _size
    cdef Py_ssize_t _skipped  # of a large one, of which the head is known already
    cdef uint64_t _number
    cdef uint8_t _kind
    cdef uint8_t _first
    cdef uint8_t[4] _key

    def __init__(self, *, bint masked, long long max_bytes):
        self.reply = b""
        self._header = 6 if masked else 2
        self._mask_bit = 0x80 if masked else 0
        self._max = self._left = max_bytes

    def __dealloc__(self):
        Py_XDECREF(self._large)

    def read(self, data):
        return self._read(data, False)

    def read_packets(self, data):
        return self._read(data, True)

    cdef list _read(self, data, bint has_heads):
        cdef bytes piece = <bytes>data if PyBytes_CheckExact(data) else bytes(data)
        cdef list messages = []
        cdef const uint8_t *text
        cdef Py_ssize_t start = 0, end, stop, payload_start, header = self._header
        cdef uint64_t size
        cdef uint8_t mask_bit = self._mask_bit
        cdef bytes payload
        cdef int at
        cdef Py_ssize_t skipped
        cdef uint64_t number = 0
        cdef uint8_t[HEAD] head
        cdef Py_ssize_t known
        cdef bint is_large
        if self.wanted:
            if self._large is not NULL:
                start = self._fill(<const uint8_t *>PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
                if self._filled < self._size:
                    return messages
                self._finish(messages)
            else:
                self._rest += piece
                if PyByteArray_GET_SIZE(self._rest) < self.wanted:
                    return messages
                piece = bytes(self._rest)
                self._rest = None
            self.wanted = 0
        text = <const uint8_t *>PyBytes_AS_STRING(piece)
        end = PyBytes_GET_SIZE(piece)
        stop = start
        while not self.closed:
            # As far as the header reaches, with a longer size, with the payload: each time that
            # the data ends before, this is what has to be there.
            stop = start + header
            if stop > end:
                break
            size = text[start + 1] ^ mask_bit
            if size > LONGEST_CONTROL:
                if size == TWO_BYTES:
                    stop += 2
                    if stop > end:
                        break
                    size = <uint64_t>text[start + 2] << 8 | text[start + 3]
                elif size == EIGHT_BYTES:
                    stop += 8
                    if stop > end:
                        break
                    size = 0
                    for at in range(2, 10):
                        size = size << 8 | text[start + at]
                else:  # the mask bit is wrong: a client that does not mask, or a hub that does
                    self._close(BROKEN)
                    break
                if size > <uint64_t>self._left:  # before the payload is waited for
                    self._close(TOO_BIG)
                    break
            payload_start = stop
            stop += <Py_ssize_t>size
            is_large = stop > end
            if is_large and stop - start <= LARGE:
                break
            skipped = head[1] = 0
            if has_heads and text[start] == WHOLE_TEXT and not self._unfinished:
                # The head becomes values, and is no object before.
                known = min(HEAD, min(stop, end) - payload_start)
                if mask_bit:
                    xor_into(head, text + payload_start, known, text + payload_start - 4, 0)
                else:
                    memcpy(head, text + payload_start, known)
                skipped = head_of(head, known, &number)
            if is_large:
                self._first, self._kind, self._number = text[start], head[1], number
                self._skipped, self._size, self._filled = skipped, <Py_ssize_t>size - skipped, 0
                if mask_bit:
                    memcpy(self._key, text + payload_start - 4, 4)
                self._large = _new_bytes(NULL, min(self._size, LARGE))
                payload_start += skipped
                self._fill(text + payload_start, end - payload_start)
                self.wanted = stop - start
                return messages
            payload_start += skipped
            payload = PyBytes_FromStringAndSize(
                NULL if mask_bit else <char *>(text + payload_start), stop - payload_start
            )
            if mask_bit:
                xor_into(
                    <uint8_t *>PyBytes_AS_STRING(payload),
                    text + payload_start,
                    stop - payload_start,
                    text + payload_start - skipped - 4,
                    skipped,
                )
            if skipped:
                messages.append(packet_of(head[1], skipped, number, payload))
            elif text[start] == WHOLE_TEXT and not self._unfinished:
                messages.append(payload)
            else:
                self._take(text[start], payload, messages)
            start = stop
        if start < end and not self.closed:
            self._rest = bytearray(piece[start:])
            self.wanted = stop - start
        return messages

    def half_bytes(self):
        cdef Py_ssize_t size = 0
        if self._large is not NULL:
            size = self.wanted - self._size + self._filled
        elif self._rest is not None:
            size = PyByteArray_GET_SIZE(self._rest)
        if self._fragments is not None:
            size += PyByteArray_GET_SIZE(self._fragments)
        return size

    cdef Py_ssize_t _fill(self, const uint8_t *text, Py_ssize_t length) except -1:
        """Add to a large frame; return how many bytes belong to it."""
        cdef Py_ssize_t taken = min(length, self._size - self._filled)
        cdef Py_ssize_t needed = self._filled + taken, room
        cdef uint8_t *out
        if needed > PyBytes_GET_SIZE(<object>self._large):
            # By four times what is there, so that it is seldom moved, but no peer's word about
            # what will come takes memory.
            room = min(self._size, 4 * needed)
            _PyBytes_Resize(&self._large, room)
        out = <uint8_t *>_bytes_of(self._large) + self._filled
        if self._mask_bit:
            xor_into(out, text, taken, self._key, self._skipped + self._filled)
        else:
            memcpy(out, text, taken)
        self._filled = needed
        return taken

    cdef int _finish(self, list messages) except -1:
        """Take a large frame that is all there."""
        cdef bytes payload
        payload = <bytes>self._large
        Py_XDECREF(self._large)
        self._large = NULL
        if self._skipped:
            messages.append(packet_of(self._kind, self._skipped, self._number, payload))
        elif self._first == WHOLE_TEXT and not self._unfinished:
            messages.append(payload)
        else:
            self._take(self._first, payload, messages)
        return 0

    cdef int _take(self, uint8_t first, bytes payload, list messages) except -1:
        """Handle a frame that is not a whole text message."""
        cdef int opcode = first & OPCODE
        self.extras += 1
        if first & RESERVED:
            self._close(BROKEN)
        elif opcode >= CLOSE:
            self._take_control(first, payload)
        elif opcode > BINARY or (opcode == CONTINUATION) != bool(self._unfinished):
            self._close(BROKEN)
        else:
            self._take_fragment(first, payload, messages)
        return 0

    cdef int _take_fragment(self, uint8_t first, bytes payload, list messages) except -1:
        self._unfinished = self._unfinished or first & OPCODE
        self._left -= PyBytes_GET_SIZE(payload)
        if self._unfinished == TEXT:
            if self._fragments is None:
                self._fragments = bytearray()
            self._fragments += payload
        if self._left < 0:
            self._close(TOO_BIG)
        elif first & FIN:
            if self._unfinished == TEXT:
                messages.append(bytes(self._fragments))
                self._fragments = None
            else:
                self.binaries += 1
            self._left, self._unfinished = self._max, CONTINUATION
        return 0

    cdef int _take_control(self, uint8_t first, bytes payload) except -1:
        cdef int opcode = first & OPCODE
        if opcode > PONG or not first & FIN or PyBytes_GET_SIZE(payload) > LONGEST_CONTROL:
            self._close(BROKEN)
        elif opcode == PING:
            self._send(PONG, payload)
        elif opcode == CLOSE:
            self._close(_code_to_echo(payload))
        return 0

    cdef int _close(self, int code) except -1:
        self.closed = True
        self._send(CLOSE, code.to_bytes(2, "big") if code else b"")
        return 0

    cdef int _send(self, int opcode, bytes payload) except -1:
        cdef bytes frame
        frame = write_text_frame(payload) if self._mask_bit else write_masked_text_frame(payload)
        self.reply += bytes((FIN | opcode,)) + frame[1:]
        return 0


# Packets

cdef bytes _runtime = events.RUNTIME.encode() + b","
cdef str _runtime_name = events.RUNTIME
cdef object _EVENT = _packets.Kind.EVENT
cdef object _ACK = _packets.Kind.ACK
cdef Py_ssize_t _id_start = 2 + len(_runtime)
cdef Py_ssize_t _max_digits = _packets.MAX_ACK_DIGITS
_parse_any = _packets.parse_packet


cdef inline Py_ssize_t head_of(const uint8_t *text, Py_ssize_t size, uint64_t *number) noexcept:
    """Return the length of a packet's head that is as most are, and its number; 0 for others."""
    cdef Py_ssize_t at = _id_start
    if (
        size <= at
        or text[0] != c"4"
        or (text[1] != c"2" and text[1] != c"3")
        or memcmp(text + 2, PyBytes_AS_STRING(_runtime), at - 2)
    ):
        return 0
    number[0] = 0
    while at < size and c"0" <= text[at] <= c"9" and at - _id_start < _max_digits:
        number[0] = number[0] * 10 + (text[at] - c"0")
        at += 1
    if at >= size or text[at] != c"[" or (text[_id_start] == c"0" and at > _id_start + 1):
        return 0
    return at


cdef object packet_of(uint8_t kind, Py_ssize_t head, uint64_t number, bytes payload):
    return (
        _EVENT if kind == c"2" else _ACK,
        _runtime_name,
        None if head == _id_start else PyLong_FromUnsignedLongLong(number),
        payload,
    )


def parse_packet(message):
    cdef const uint8_t *text
    cdef Py_ssize_t size, at
    cdef uint64_t number = 0
    if PyBytes_CheckExact(message):
        text = <const uint8_t *>PyBytes_AS_STRING(message)
        size = PyBytes_GET_SIZE(message)
        at = head_of(text, size, &number)
        if at:
            return packet_of(
                text[1], at, number, PyBytes_FromStringAndSize(<const char *>text + at, size - at)
            )
    return _parse_any(message)


def write_numbered(bytes head not None, uint64_t number, bytes payload not None):
    cdef uint8_t[20] digits
    cdef int count = 0
    cdef Py_ssize_t before = PyBytes_GET_SIZE(head), after = PyBytes_GET_SIZE(payload)
    cdef bytes packet
    cdef char *out
    while True:
        count += 1
        digits[20 - count] = <uint8_t>(c"0" + number % 10)
        number //= 10
        if not number:
            break
    packet = PyBytes_FromStringAndSize(NULL, before + count + after)
    out = PyBytes_AS_STRING(packet)
    memcpy(out, PyBytes_AS_STRING(head), before)
    memcpy(out + before, digits + 20 - count, count)
    memcpy(out + before + count, PyBytes_AS_STRING(payload), after)
    return packet


# JSON

cdef enum:
    MAX_DEPTH = 64
    MOST_VALUES = 8  # of an array that is split here
    SCANNED = 2048  # bytes from which on scanning beats msgspec, whose values cost less to make

assert MAX_DEPTH == _json.MAX_DEPTH

_encode = msgspec.json.Encoder().encode
_write_any = _json.write_json
_write_any_plain = _json.write_plain_json
_is_any_sound = _json.is_shallow_utf8
_split_any = _packets.split_values
_split_any_event = _packets.split_event
_read_values = _packets._split
_read_event = _packets._read_event
cdef object _Raw = msgspec.Raw
cdef object _ABSENT = _packets._ABSENT


cdef bint is_utf8(const uint8_t *text, Py_ssize_t size) noexcept:
    cdef Py_ssize_t at = 0
    cdef int length
    while at < size:
        if text[at] < 0x80:
            at += 1
            continue
        length = utf8_length(text + at, size - at)
        if not length:
            return False
        at += length
    return True


cdef int depth_of(const uint8_t *text, Py_ssize_t size) noexcept:
    """Count the levels of nesting of a JSON text, as far as one too many."""
    cdef Py_ssize_t at = 0
    cdef int depth = 0, deepest = 0
    cdef bint is_string = False
    cdef uint8_t byte
    while at < size:
        byte = text[at]
        if is_string:
            if byte == c"\\":
                at += 1
            elif byte == c'"':
                is_string = False
        elif byte == c'"':
            is_string = True
        elif (byte | 0x20) == c"{":
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > MAX_DEPTH:
                    break
        elif (byte | 0x20) == c"}":
            depth -= 1
        at += 1
    return deepest


cdef bint is_sound(const uint8_t *text, Py_ssize_t size) noexcept:
    cdef int is_ascii
    cdef Py_ssize_t brackets = count_brackets(text, size, &is_ascii)
    if brackets > MAX_DEPTH and depth_of(text, size) > MAX_DEPTH:
        return False
    return is_ascii or is_utf8(text, size)


def is_shallow_utf8(text):
    if PyBytes_CheckExact(text):
        return is_sound(<const uint8_t *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return _is_any_sound(text)


cdef inline Py_ssize_t skip_space(const uint8_t *text, Py_ssize_t at, Py_ssize_t size) noexcept:
    while at < size and (
        text[at] == c" " or text[at] == c"\n" or text[at] == c"\r" or text[at] == c"\t"
    ):
        at += 1
    return at


cdef int hex_unit(const uint8_t *text) noexcept:
    """Read four hexadecimal digits; -1 if they are none."""
    cdef int unit = 0, at
    cdef uint8_t byte
    for at in range(4):
        byte = text[at]
        if c"0" <= byte <= c"9":
            unit = unit << 4 | (byte - c"0")
        elif c"a" <= (byte | 0x20) <= c"f":
            unit = unit << 4 | ((byte | 0x20) - c"a" + 10)
        else:
            return -1
    return unit


cdef Py_ssize_t skip_string(const uint8_t *text, Py_ssize_t at, Py_ssize_t size) noexcept:
    """Return where a string ends, whose quote is before ``at``; -1 where it is none."""
    cdef int length, unit
    cdef uint8_t byte
    cdef Py_ssize_t tried = at + 16  # most strings are short
    while at < size:
        if at >= tried and size - at >= 64:
            if is_plain_block(text + at):
                at += 64
                continue
            tried = at + 64
        byte = text[at]
        if byte == c'"':
            return at + 1
        if byte < 0x20:
            return -1
        if byte >= 0x80:
            length = utf8_length(text + at, size - at)
            if not length:
                return -1
            at += length
        elif byte == c"\\":
            if size - at < 2:
                return -1
            byte = text[at + 1]
            if byte == c"u":
                if size - at < 6:
                    return -1
                unit = hex_unit(text + at + 2)
                if unit < 0 or 0xDC00 <= unit <= 0xDFFF:
                    return -1
                at += 6
                if 0xD800 <= unit:
                    if unit > 0xDBFF:
                        continue
                    if size - at < 6 or text[at] != c"\\" or text[at + 1] != c"u":
                        return -1
                    unit = hex_unit(text + at + 2)
                    if not 0xDC00 <= unit <= 0xDFFF:
                        return -1
                    at += 6
            elif byte in b'"\\/bfnrt':
                at += 2
            else:
                return -1
        else:
            at += 1
    return -1


cdef Py_ssize_t skip_digits(const uint8_t *text, Py_ssize_t at, Py_ssize_t size) noexcept:
    """Return where one digit or more end; -1 where there is none."""
    cdef Py_ssize_t start = at
    while at < size and c"0" <= text[at] <= c"9":
        at += 1
    return at if at > start else -1


cdef Py_ssize_t skip_number(const uint8_t *text, Py_ssize_t at, Py_ssize_t size) noexcept:
    if text[at] == c"-":
        at += 1
    if at < size and text[at] == c"0":
        at += 1
    else:
        at = skip_digits(text, at, size)
        if at < 0:
            return -1
    if at < size and text[at] == c".":
        at = skip_digits(text, at + 1, size)
        if at < 0:
            return -1
    if at < size and (text[at] | 0x20) == c"e":
        at += 1
        if at < size and (text[at] == c"+" or text[at] == c"-"):
            at += 1
        at = skip_digits(text, at, size)
    return at


cdef Py_ssize_t skip_word(
    const uint8_t *text, Py_ssize_t at, Py_ssize_t size, const char *word, Py_ssize_t length
) noexcept:
    return at + length if size - at >= length and not memcmp(text + at, word, length) else -1


cdef int scan_array(const uint8_t *text, Py_ssize_t size, Py_ssize_t *bounds) noexcept:
    """Check a JSON array in one pass: its grammar, its UTF-8, its depth.

    Returns:
        How many values it has, with where each begins and ends in ``bounds``; -1 if it is none that
        every peer can read, or has more than `MOST_VALUES`.
    """
    # What is open, innermost last: a set bit is an object. `is_key`: a member's name has to come.
    cdef uint64_t objects = 0
    cdef int depth = 1, count = 0
    cdef Py_ssize_t at = skip_space(text, 0, size)
    cdef bint is_key = False, is_new = True  # `is_new`: what was opened may be closed at once
    cdef uint8_t byte
    if at >= size or text[at] != c"[":
        return -1
    at += 1
    while True:
        at = skip_space(text, at, size)
        if at >= size:
            return -1
        byte = text[at]
        if is_new and byte == (c"}" if objects & 1 else c"]"):
            pass  # closed below
        else:
            if is_key:
                if byte != c'"':
                    return -1
                at = skip_string(text, at + 1, size)
                if at < 0:
                    return -1
                at = skip_space(text, at, size)
                if at >= size or text[at] != c":":
                    return -1
                at = skip_space(text, at + 1, size)
                if at >= size:
                    return -1
                byte = text[at]
            if depth == 1:
                if count == MOST_VALUES:
                    return -1
                bounds[2 * count] = at
            if (byte | 0x20) == c"{":
                if depth == MAX_DEPTH:
                    return -1
                depth += 1
                is_key, is_new = byte == c"{", True
                objects = objects << 1 | is_key
                at += 1
                continue
            if byte == c'"':
                at = skip_string(text, at + 1, size)
            elif byte == c"-" or c"0" <= byte <= c"9":
                at = skip_number(text, at, size)
            elif byte == c"t":
                at = skip_word(text, at, size, "true", 4)
            elif byte == c"f":
                at = skip_word(text, at, size, "false", 5)
            elif byte == c"n":
                at = skip_word(text, at, size, "null", 4)
            else:
                return -1
            if at < 0:
                return -1
            if depth == 1:
                bounds[2 * count + 1] = at
                count += 1
        # Behind a value, or at the end of what is empty: close as much as is closed here.
        while True:
            at = skip_space(text, at, size)
            if at >= size:
                return -1
            byte = text[at]
            at += 1
            if byte == c",":
                is_new, is_key = False, objects & 1
                break
            if byte != (c"}" if objects & 1 else c"]"):
                return -1
            depth -= 1
            objects >>= 1
            if not depth:
                return count if skip_space(text, at, size) == size else -1
            if depth == 1:
                bounds[2 * count + 1] = at
                count += 1


cdef object raw_of(object view, Py_ssize_t *bounds, int index):
    return _Raw(view[bounds[2 * index] : bounds[2 * index + 1]])


def split_values(bytes payload not None):
    cdef const uint8_t *text = <const uint8_t *>PyBytes_AS_STRING(payload)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    cdef Py_ssize_t[2 * MOST_VALUES] bounds
    cdef int count, index
    cdef list values
    if size < SCANNED:
        if is_sound(text, size):
            try:
                return _read_values(payload)
            except (msgspec.DecodeError, RecursionError):
                pass
    else:
        count = scan_array(text, size, bounds)
        if count >= 0:
            view = PyMemoryView_FromObject(payload)
            return [raw_of(view, bounds, index) for index in range(count)]
    return _split_any(payload)


def split_event(bytes payload not None):
    cdef const uint8_t *text = <const uint8_t *>PyBytes_AS_STRING(payload)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    cdef Py_ssize_t[2 * MOST_VALUES] bounds
    cdef Py_ssize_t at, stop
    cdef int count
    if size < SCANNED:
        if is_sound(text, size):
            try:
                event = _read_event(payload)
            except (msgspec.DecodeError, RecursionError):
                return _split_any_event(payload)
            data, meta = event.data, event.meta
            if meta is not _ABSENT:
                return event.name, (data, meta)
            return event.name, () if data is _ABSENT else (data,)
    else:
        count = scan_array(text, size, bounds)
        if count > 0 and text[bounds[0]] == c'"':
            at, stop = bounds[0] + 1, bounds[1] - 1
            for index in range(at, stop):
                if text[index] == c"\\":
                    return _split_any_event(payload)
            name = text[at:stop].decode()
            if count == 1:
                return name, ()
            view = PyMemoryView_FromObject(payload)
            data = raw_of(view, bounds, 1)
            return name, (data,) if count == 2 else (data, raw_of(view, bounds, 2))
    return _split_any_event(payload)


cdef bint is_made_of_json(object value, int levels):
    cdef PyObject *key
    cdef PyObject *child
    cdef Py_ssize_t at = 0
    if type(value) is dict:
        if not levels:
            return False
        while PyDict_Next(value, &at, &key, &child):
            if type(<object>key) is not str:
                return False
            if not is_made_of_json(<object>child, levels - 1):
                return False
        return True
    if type(value) is list:
        if not levels:
            return False
        for at in range(PyList_GET_SIZE(value)):
            if not is_made_of_json(<object>PyList_GET_ITEM(value, at), levels - 1):
                return False
        return True
    if type(value) is tuple:
        if not levels:
            return False
        for at in range(PyTuple_GET_SIZE(value)):
            if not is_made_of_json(<object>PyTuple_GET_ITEM(value, at), levels - 1):
                return False
        return True
    if PyFloat_CheckExact(value):
        return isfinite(PyFloat_AS_DOUBLE(value))
    return (
        type(value) is str
        or type(value) is int
        or type(value) is bool
        or value is None
        or type(value) is _Raw
    )


def is_plain(value, int levels=MAX_DEPTH):
    return is_made_of_json(value, levels)


def write_json(value):
    if is_made_of_json(value, MAX_DEPTH):
        try:
            return _encode(value)
        except Exception:
            pass
    return _write_any(value)


def write_plain_json(value):
    cdef bytes written
    cdef const uint8_t *text
    cdef Py_ssize_t size
    cdef int is_ascii
    try:
        written = _encode(value)
    except Exception:
        return _write_any_plain(value)
    text = <const uint8_t *>PyBytes_AS_STRING(written)
    size = PyBytes_GET_SIZE(written)
    if count_brackets(text, size, &is_ascii) > MAX_DEPTH and depth_of(text, size) > MAX_DEPTH:
        return _write_any_plain(value)
    return written
