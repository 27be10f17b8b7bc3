"""Names as a person reads them: in short, and the one that was meant."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given, settings, strategies as st

from alephscript.protocol.names import did_you_mean, find_near, short_name
from tests.support.properties import examples
from tests.support.strangers import TEXTS

HEX = "c4cdfdbb2e8bcbd6dbc1819b4f259d14"


@pytest.mark.parametrize(
    ("usuario", "sesion", "shown"),
    [
        ("MyBot", "3f2a9c1d", "MyBot 3f2a9c1d"),
        ("PersefonBot", HEX, "PersefonBot c4cdfdbb"),
        ("PersefonBot", "C4CDFDBB-2e8b-4bd6-8bc1-819b4f259d14", "PersefonBot C4CDFDBB"),
        ("Bot", "", "Bot"),
        ("", HEX, "c4cdfdbb"),
        ("Bot", "my-bot-6d4cf56db6-x2vqz", "Bot my-bot-6d4cf56db6-x2vqz"),  # a pod: its end counts
        ("Bot", "1732690000123", "Bot 1732690000123"),
    ],
)
def test_somebody_is_a_name_and_a_short_session(usuario: str, sesion: str, shown: str) -> None:
    """A session is cut where a machine made it, and its beginning tells it apart."""
    assert short_name(usuario, sesion) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (f"PersefonBot{HEX}", "PersefonBot c4cdfdbb"),
        ("MyBot3f2a9c1d", "MyBot 3f2a9c1d"),
        ("Cafe3f2a9c1d", "Cafe 3f2a9c1d"),
        ("MyBot 3f2a9c1d", "MyBot 3f2a9c1d"),
        ("MyBot", "MyBot"),
        ("alice@example.org", "alice@example.org"),
        (HEX[:8], HEX[:8]),
        ("--", "--"),
        ("", ""),
    ],
)
def test_what_a_mesh_glues_together_is_told_apart(name: str, shown: str) -> None:
    """As far as its end looks like a session."""
    assert short_name(name) == shown


@given(st.from_regex(r"[A-Za-z_ñ]{0,20}[g-zñ]", fullmatch=True), st.uuids())
def test_the_sessions_of_this_package_and_others_are_found(usuario: str, sesion: uuid.UUID) -> None:
    """With and without what they are glued to."""
    for made in (sesion.hex, str(sesion), sesion.hex[:8]):
        assert short_name(usuario + made) == short_name(usuario, made)
        assert short_name(usuario, made) == f"{usuario} {sesion.hex[:8]}"


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("GRET", ["PING", "GREET"], ["GREET"]),
        ("greet", ["GREET"], ["GREET"]),
        ("Grete", ["GREET"], ["GREET"]),
        ("MY_BAT", ["MY_BOT", "LOBBY"], ["MY_BOT"]),
        ("wo", ["who", "how"], ["who"]),
        ("LIST_THREADS", ["LIST_OF_THREADS", "LIST"], ["LIST_OF_THREADS"]),
        ("ROOM", ["ROOM_12", "ROOMS", "BROOM", "room", "ZOOM"], ["room", "BROOM", "ROOMS"]),
        ("GREET", ["GREET"], []),
        ("A", ["B"], []),
        ("PING", ["GREET", "STEP"], []),
        ("", ["A"], []),
    ],
)
def test_a_near_name_is_found(name: str, known: list[str], near: list[str]) -> None:
    """By case and by letters; the nearest first, three at the most."""
    assert find_near(name, known) == near


def test_a_message_ends_in_a_question_if_there_is_something_to_ask() -> None:
    """And else as it was."""
    assert did_you_mean(["GREET"]) == "; did you mean GREET?"
    assert did_you_mean(["GREEN", "GREET"]) == "; did you mean GREEN or GREET?"
    assert did_you_mean([]) == ""


@given(TEXTS, st.lists(TEXTS, max_size=20))
@settings(max_examples=examples(200))
def test_only_known_names_are_near(name: str, known: list[str]) -> None:
    """Whatever they consist of."""
    near = find_near(name, known)
    assert len(near) <= 3
    assert set(near) <= set(known) - {name}


def test_hostile_names_are_compared_with_bounded_work() -> None:
    """However many there are, however long, and however alike."""
    looked_at = 0

    class Name(str):
        """A name that counts how often it is folded, which comes before it is compared."""

        __slots__ = ()

        def casefold(self) -> str:
            nonlocal looked_at
            looked_at += 1
            return super().casefold()

    known = [Name("a" * 60 + f"{each:05}") for each in range(5000)]
    assert find_near("a" * 60 + "x", known) == []
    assert looked_at == 0  # four characters longer than the name
    find_near("a" * 60 + "xxxx", known)
    assert looked_at == 64
    assert find_near("a" * 65, known) == []
    assert looked_at == 64
