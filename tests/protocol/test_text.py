"""Text of strangers: what no name may have, and one harmless line of any text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from alephscript.errors import InvalidPayload, RequestError, UnknownEvent
from alephscript.protocol import events
from alephscript.protocol.text import has_controls, printable
from tests.support.properties import examples
from tests.support.strangers import OBEYED, TEXTS

ENCODINGS = [None, "ascii", "cp1252", "utf-8", "latin-1"]

CONTROLS = [
    *("\x00", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029"),
    *("\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\ud800"),
]
HONEST = [
    "Sala-é🦤",
    "👩\u200d💻",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "山田\u3000太郎",
    "שלום",
    "a b",
    "[/boom]",
    "😀",
]


@given(TEXTS, st.sampled_from(ENCODINGS))
@settings(max_examples=examples(300))
def test_any_text_becomes_one_line_that_is_obeyed_by_nobody(
    text: str, encoding: str | None
) -> None:
    """In characters that the output has."""
    shown = printable(text, encoding=encoding)
    assert OBEYED.search(shown) is None
    assert len(shown.splitlines()) <= 1
    shown.encode(encoding or "utf-8")
    assert printable(shown, encoding=encoding) == shown


@given(TEXTS, st.sampled_from(ENCODINGS))
@settings(max_examples=examples(100))
def test_what_is_escaped_in_json_is_the_same_json(text: str, encoding: str | None) -> None:
    """A program reads what was said."""
    value = {text: [text]}
    written = json.dumps(value, ensure_ascii=False)
    assert json.loads(printable(written, encoding=encoding)) == value


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_stays_as_it_is(text: str) -> None:
    """Of any script, and of people with professions."""
    assert printable(text) == text
    assert not has_controls(text)


def test_what_is_too_long_is_cut() -> None:
    """Before it is escaped."""
    assert printable("\x1babc", 2) == "\\u001ba"


CHECKS: dict[str, Any] = {
    "event": events.check_event,
    "capability": events.request_event.__wrapped__,
    "room": events.check_room_name,
    "usuario": lambda name: events.parse_registration({"usuario": name}),
    "sesion": lambda name: events.parse_registration({"usuario": "a", "sesion": name}),
    "subscription": lambda name: events.parse_subscription({"room": name}),
    "declared room": lambda name: events.parse_declaration({"room": name}),
    "enveloped room": lambda name: events.parse_declaration({}, room=name),
    "feature": lambda name: events.parse_declaration({"room": "R", "features": [name]}),
    "stock feature": lambda name: events.parse_declaration({"room": "R", "capabilities": [name]}),
    "description": lambda name: events.parse_declaration({"room": "R", "descriptions": {name: {}}}),
    "message": lambda name: events.parse_room_message({"event": name, "room": "R"}),
    "message's room": lambda name: events.parse_room_message({"event": "E", "room": name}),
}


@pytest.mark.parametrize("where", CHECKS)
@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_no_name_has_control_characters(where: str, control: str) -> None:
    """Wherever it comes in, and whichever they are; and the refusal does not repeat them."""
    with pytest.raises((UnknownEvent, InvalidPayload)) as caught:
        CHECKS[where](f"a{control}b")
    assert OBEYED.search(str(caught.value)) is None


@pytest.mark.parametrize("where", CHECKS)
@pytest.mark.parametrize("name", HONEST)
def test_honest_names_are_taken(where: str, name: str) -> None:
    """Letters of all people."""
    CHECKS[where](name)


@pytest.mark.parametrize("where", CHECKS)
@given(TEXTS)
@settings(max_examples=examples(60))
def test_a_name_that_is_taken_is_fit_to_be_shown(where: str, name: str) -> None:
    """Whatever the rest of the checks says."""
    try:
        CHECKS[where](name)
    except RequestError:
        return
    assert not has_controls(name)
