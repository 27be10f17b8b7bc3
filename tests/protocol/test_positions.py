"""Positions and times, as texts and as values."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, strategies as st

from alephscript import Position
from alephscript.errors import InvalidPayload
from alephscript.protocol.positions import (
    Since,
    parse_bytes,
    parse_duration,
    parse_position,
    parse_since,
    write_since,
)

HISTORIES = st.from_regex(r"[0-9a-f]{1,16}\.[0-9]{1,15}", fullmatch=True)
NUMBERS = st.integers(0, 10**15 - 1)


@given(HISTORIES, NUMBERS)
def test_a_position_is_read_as_it_was_written(history: str, number: int) -> None:
    """As a text by itself, or as what a hub tells."""
    position = Position(history, number)
    assert Position.parse(str(position)) == position
    assert parse_since(str(position)) == Since(position=position)
    assert parse_since(write_since(position)) == Since(position=position)
    told = {"history": history, "number": number}
    assert parse_since(told) == Since(position=position, resumes=True)
    assert hash(position) == hash(Position(history, number))


@given(HISTORIES, NUMBERS, NUMBERS)
def test_positions_of_one_log_have_its_order(history: str, one: int, other: int) -> None:
    """As their numbers have."""
    left, right = Position(history, one), Position(history, other)
    assert (left < right, left <= right) == (one < other, one <= other)
    assert (left > right, left >= right) == (one > other, one >= other)


@pytest.mark.parametrize("other", [Position("b.1", 1), 1, None, "a.1.1"])
def test_what_is_of_another_log_has_no_order(other: Any) -> None:
    """Comparing it is a mistake, and not false."""
    position = Position("a.1", 1)
    for compare in ("__lt__", "__le__", "__gt__", "__ge__"):
        with pytest.raises(TypeError):
            getattr(position, compare)(other)
    assert position != other


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("1.5h", 5400), ("7d", 604_800), ("2w", 1_209_600), ("30s", 30), ("5ms", 0.005)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    """And are read since now."""
    assert parse_duration(text) == seconds
    since = parse_since(text)
    assert since == Since(ago=seconds)
    assert since.resolve(10**9) == int((10**9 - seconds) * 1000)
    assert since.resolve(0.0) == 0


def test_times_are_utc_unless_they_name_a_zone() -> None:
    """In ISO 8601; a datetime without a zone is a local one."""
    noon = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    for text in ("2026-01-31T12:00", "2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00"):
        assert parse_since(text) == Since(at=int(noon.timestamp() * 1000))
    assert parse_since("2026-01-31") == Since(at=int(noon.timestamp() - 43_200) * 1000)
    assert parse_since(write_since(noon)) == Since(at=int(noon.timestamp() * 1000))
    local = noon.astimezone().replace(tzinfo=None)
    assert parse_since(write_since(local)) == Since(at=int(noon.timestamp() * 1000))
    assert parse_since("0001-01-01") == Since(at=0)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.lists(st.text()), st.text()))
def test_any_other_value_is_refused_in_a_sentence(value: Any) -> None:
    """Whatever it is."""
    try:
        since = parse_since(value)
    except InvalidPayload as error:
        assert "expected a duration" in error.message  # noqa: PT017
    else:
        assert isinstance(value, str)
        assert sum(each is not None for each in (since.position, since.ago, since.at)) == 1


@pytest.mark.parametrize(
    "value", [{"history": 1, "number": 1}, {"history": "a"}, {"history": "a", "number": 10**20}]
)
def test_what_looks_like_a_position_and_is_none_is_refused(value: Any) -> None:
    """As any other value."""
    with pytest.raises(InvalidPayload):
        parse_since(value)
    with pytest.raises(ValueError, match="no position"):
        Position.parse("10m")
    assert parse_position("a.1") is None


@pytest.mark.parametrize(
    ("text", "size"), [("1G", 10**9), ("1.5k", 1500), ("200MB", 2 * 10**8), ("7", 7), ("x", None)]
)
def test_sizes_have_units(text: str, size: int | None) -> None:
    """Of a thousand each."""
    assert parse_bytes(text) == size
