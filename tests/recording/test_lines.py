"""The file of a recording: what is written is read, and what is damaged is said."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import attrs
import pytest

from alephscript import AlephScriptError
from alephscript.recording.lines import Header, read_recording, write_header, write_record

HEADER = Header(
    version="0.1.0",
    hub="http://h",
    namespace="/runtime",
    rooms=("R",),
    has_requests=True,
    at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
)
REQUEST = {
    "at": 0.5,
    "kind": "request",
    "room": "R",
    "id": "1",
    "capability": "X",
    "from": "ana1",
    "usuario": "ana",
    "sesion": "1",
    "payload": {"ñ": "\x00\u2028"},
}
CLOSED = {"at": 1, "kind": "closed"}


def lines(*records: Any) -> list[bytes]:
    """A file."""
    return [write_header(HEADER), *map(write_record, records)]


def test_what_is_written_is_read() -> None:
    """Line by line, in UTF-8, each a JSON object."""
    written = lines(REQUEST, CLOSED)
    recording = read_recording(written)
    assert recording.header == HEADER
    assert (recording.records, recording.notes) == ([REQUEST, CLOSED], [])
    assert all(json.loads(line) and line.count(b"\n") == 1 for line in written)


def test_a_recording_that_was_cut_off_is_read_without_its_last_line() -> None:
    """Of a recorder that was killed: half a line, or none."""
    whole = lines(REQUEST, REQUEST)
    recording = read_recording([*whole[:2], whole[2][:-5]])
    assert recording.records == [REQUEST]
    assert recording.notes == ["line 3, the last one, was cut off, and is left out"]
    assert "was cut off" in read_recording(whole).notes[0]


def test_holes_and_hubs_without_requests_are_noted() -> None:
    """So that nobody wonders."""
    hole = {"at": 2.5, "kind": "hole", "reason": "the link to the hub was lost"}
    told = read_recording(lines(hole, CLOSED)).notes
    assert told == ["at 2.500 s there is a hole: the link to the hub was lost"]
    header = write_header(attrs.evolve(HEADER, has_requests=False))
    assert "told no requests" in read_recording([header, write_record(CLOSED)]).notes[0]


def test_kinds_of_later_versions_are_read() -> None:
    """They mean nothing here."""
    record = {"at": 1, "kind": "something else", "x": 1}
    assert read_recording(lines(record, CLOSED)).records == [record, CLOSED]


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ([], "it is empty"),
        ([b"\n"], "it is empty"),
        ([b"no JSON\n"], "first line does not say so"),
        ([b"{}\n"], "first line does not say so"),
        ([b"\xff\xfe\x00\n"], "first line does not say so"),
        ([b'{"alephscript":"recording","format":2,"version":"9.0"}\n'], r"the form 2.*\(9.0\)"),
        ([lines()[0], b"\x00\xff\n", write_record(CLOSED)], "line 2 is damaged"),
        ([lines()[0], b"[1]\n", write_record(CLOSED)], "line 2 is damaged"),
        ([lines()[0], b'{"kind":"event","at":1}\n', write_record(CLOSED)], "line 2 is damaged"),
        ([lines()[0], b'{"kind":"closed","at":"x"}\n', write_record(CLOSED)], "line 2 is damaged"),
        ([lines()[0], write_record({**REQUEST, "redacted": ["a"]}), *lines()], "line 2 is damaged"),
        ([lines()[0], write_record({**REQUEST, "timeoutMs": "1"}), *lines()], "line 2 is damaged"),
        ([lines()[0], write_record({**REQUEST, "room": 1}), *lines()], "line 2 is damaged"),
        ([lines()[0], b"[" * 100_000 + b"\n", write_record(CLOSED)], "line 2 is damaged"),
    ],
)
def test_what_is_no_recording_is_refused(damaged: list[bytes], message: str) -> None:
    """By a sentence that says where and why."""
    with pytest.raises(AlephScriptError, match=message):
        read_recording(damaged)
