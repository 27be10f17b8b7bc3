"""Marks: names of bridges, and events that are announced before they are said."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, strategies as st

from alephscript.bridge.marks import (
    _LONGEST_WAIT,
    _MOST_WAITING,
    Announced,
    Announcement,
    digest,
    is_bridge,
    make_sesion,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def as_node_writes(value: Any) -> Any:
    """A value that a JavaScript hub has read and written: doubles, and keys in another order."""
    if isinstance(value, dict):
        return {key: as_node_writes(value[key]) for key in sorted(value, key=len)}
    if isinstance(value, list):
        return [as_node_writes(each) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(json.dumps(value)) + 0.0
        if abs(number) == float("inf"):
            return None
        return int(number) if number.is_integer() else number
    return value


@given(st.text())
def test_the_name_of_a_bridge_is_known_whatever_its_usuario_is(usuario: str) -> None:
    """As a hub with a rule of access may replace that one."""
    assert is_bridge(usuario + make_sesion())
    assert not is_bridge(f"{make_sesion()}{usuario}x")


@given(JSON)
def test_a_digest_outlives_javascript(data: Any) -> None:
    """Numbers that a double has not, included."""
    assert digest("SAID", as_node_writes(data)) == digest("SAID", data)


@given(st.dictionaries(st.text(), JSON), st.text())
def test_a_digest_outlives_the_sender_that_a_stock_hub_adds(
    data: dict[str, Any], sender: str
) -> None:
    """To what is said by SET_."""
    assert digest("SET_X", {**data, "sender": sender}) == digest("SET_X", data)


@given(JSON)
def test_anything_may_be_heard_in_the_room_of_bridges(data: Any) -> None:
    """It is an announcement, or none."""
    read = Announcement.read(data)
    assert read is None or Announcement.read(read.write()) == read


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"))))
def test_each_announced_event_is_found_once_and_in_order(said: list[tuple[str, str]]) -> None:
    """Whatever others say in between."""
    announced = Announced()
    for n, (bridge, event) in enumerate(said):
        announced.add(Announcement(bridge, n, event, "0"), 0.0)
    assert [announced.take(event, "0", 0.0) for _, event in said] == [each for each, _ in said]
    assert all(announced.take(event, "0", 0.0) is None for _, event in said)
    assert announced.take("other", "0", 0.0) is None


def test_an_event_that_was_lost_is_waited_for_no_longer() -> None:
    """Its like may be said by a member then."""
    announced = Announced()
    announced.add(Announcement("a", 1, "X", "0"), 0.0)
    announced.add(Announcement("b", 1, "X", "0"), 6.0)
    assert announced.take("X", "0", _LONGEST_WAIT + 1) == "b"
    assert announced.take("X", "0", _LONGEST_WAIT + 1) is None


def test_a_flood_of_announcements_is_bounded() -> None:
    """The latest are kept."""
    announced = Announced()
    for n in range(3 * _MOST_WAITING):
        announced.add(Announcement("a", n, str(n), "0"), 0.0)
    assert len(announced._order) == len(announced._bridges) == _MOST_WAITING
    assert announced.take("0", "0", 0.0) is None
    assert announced.take(str(3 * _MOST_WAITING - 1), "0", 0.0) == "a"
