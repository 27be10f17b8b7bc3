"""Names on both sides of a door, whatever strangers call what they have."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from alephscript import Offer
from alephscript.doors.names import free_names, is_name, name_offers
from alephscript.protocol import events
from tests.support.properties import examples
from tests.support.strangers import TEXTS

OWN = ("recent_events", "R_X")


def named(*offers: tuple[str, str]) -> dict[tuple[str, str], str]:
    """Names of the offers of these rooms and capabilities."""
    return name_offers(
        [Offer(*each, (), "single", 1) for each in offers], OWN, lambda each: each.capability
    )


def test_an_offer_is_called_as_its_capability() -> None:
    """And only where two rooms offer one, by its room as well."""
    assert named(("A", "GREET"), ("A", "Q"), ("B", "Q")) == {
        ("A", "GREET"): "GREET",
        ("A", "Q"): "A_Q",
        ("B", "Q"): "B_Q",
    }


def test_no_capability_takes_the_name_of_another() -> None:
    """Neither of the server's own, nor one that another has by its room."""
    names = named(("A", "recent_events"), ("A", "B_C"), ("A_B", "C"), ("A", "C"), ("R", "X"))
    assert names["A", "recent_events"] == "A_recent_events"
    assert len({*names.values()}) == len(names)
    assert not {*names.values()} & {*OWN, "A_B_C"}


@given(
    st.lists(st.tuples(TEXTS, TEXTS | st.sampled_from((*OWN, "A_B", "A", "B"))), max_size=20),
    st.randoms(),
)
@settings(max_examples=examples(100))
def test_every_offer_has_a_name_of_its_own(offers: list[tuple[str, str]], random: Any) -> None:
    """As any client takes it, whatever strangers call their rooms, in whatever order they come."""
    names = named(*offers)
    for name in names.values():
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert len({*names.values()} | {*OWN}) == len({*offers}) + len(OWN)
    random.shuffle(offers)
    assert named(*offers) == names


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8), st.tuples(TEXTS, TEXTS))
@settings(max_examples=examples(100))
def test_a_name_never_becomes_that_of_another(
    offers: list[tuple[str, str]], stranger: tuple[str, str]
) -> None:
    """A stranger that comes may cost an offer its short name, and does not get it."""
    before = named(*offers)
    after = named(*offers, stranger)
    if stranger not in before:
        assert after[stranger] not in before.values()


@pytest.mark.parametrize(
    ("name", "taken", "free"),
    [
        ("add", (), ["ADD", "add"]),
        ("ADD", (), ["ADD"]),
        ("add", ("ADD",), ["add"]),
        ("add", ("ADD", "add"), []),
        ("GET_add", ("ADD",), ["GET_add"]),
        ("get_server_state", (), ["get_server_state"]),
        ("", (), []),
        ("GET_", (), []),
        ("a\n", (), []),
        ("connect", (), ["CONNECT", "connect"]),
        ("x" * 300, (), []),
    ],
)
def test_a_tool_of_a_server_has_its_name_in_upper_case_if_it_can(
    name: str, taken: tuple[str, ...], free: list[str]
) -> None:
    """And its own."""
    assert free_names(name, taken) == free


@given(TEXTS)
@settings(max_examples=examples(200))
def test_whatever_is_a_name_can_be_asked(name: str) -> None:
    """By its event."""
    if is_name(name):
        assert events.check_event(events.request_event(name))
    for each in free_names(name, ()):
        assert is_name(each)
