"""What counts as the same answer: ids, once they are known, and times are as good as others."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given, strategies as st

from alephscript.recording.comparing import Comparison, parse_path, write_path

ONE, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
THIRD = str(uuid.UUID(int=3))


def places(then: Any, now: Any, *ignored: str) -> list[str]:
    """Where two answers differ."""
    comparison = Comparison(map(parse_path, ignored))
    return [write_path(each.path) for each in comparison.compare(then, now)]


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {"a": "1"}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({}, {"a": None}, ["a"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a.1"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a.1"]),
        ({"a": [1]}, {"a": {"0": 1}}, ["a"]),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 2}]}}, ["a.b.0.c"]),
        (1, 2, ["."]),
    ],
)
def test_values_are_compared_as_json(then: Any, now: Any, expected: list[str]) -> None:
    """By kind and value, place by place."""
    assert places(then, now) == expected


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ({"at": 1}, {"at": 2}),
        ({"createdAt": 1.5}, {"createdAt": 2}),
        ({"executionTimeMs": 15.011}, {"executionTimeMs": 8.8}),
        ({"timestamp": 1795783072}, {"timestamp": 1795783073}),
        ({"fecha": "2026-11-27"}, {"fecha": "2026-11-28"}),
        ({"x": "2026-11-27T12:00:00Z"}, {"x": "2026-11-27T12:00:00.5+01:00"}),
        ({"x": ["12:00:00"]}, {"x": ["13:00:00"]}),
        ({"elapsed_ms": 3}, {"elapsed_ms": 4}),
    ],
)
def test_times_are_set_aside(then: Any, now: Any) -> None:
    """By their form, or the name of a number."""
    assert places(then, now) == []


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ({"createdAt": "2026-11-27"}, {"createdAt": None}),
        ({"x": "2026-11-27"}, {"x": "soon"}),
        ({"timeoutMs": 1}, {"timeoutMs": 2}),
        ({"times": 1}, {"times": 2}),
        ({"flat": 1}, {"flat": 2}),
        ({"sessionId": "s1"}, {"sessionId": None}),
        ({"sessionId": 1}, {"sessionId": "1"}),
        ({"valid": 1}, {"valid": 2}),
    ],
)
def test_what_only_looks_like_it_is_compared(then: Any, now: Any) -> None:
    """Another kind is a difference, and other names are no times."""
    assert len(places(then, now)) == 1


def test_an_id_is_called_the_same_from_then_on() -> None:
    """In answers, in texts, as a key; and it is asked so."""
    comparison = Comparison()
    assert comparison.compare({"sessionId": "s1"}, {"sessionId": "s7"}) == []
    assert comparison.compare({"id": "abcdefghi"}, {"id": "ihgfedcba"}) == []
    assert comparison.compare({"of": ONE}, {"of": OTHER}) == []
    asked = {"sessionId": "s1", "text": f"see abcdefghi, {ONE}", ONE: ["s1"], "n": 1}
    assert comparison.translate(asked) == {
        "sessionId": "s7",
        "text": f"see ihgfedcba, {OTHER}",
        OTHER: ["s7"],
        "n": 1,
    }
    assert comparison.compare({"text": ONE + "!"}, {"text": OTHER + "!"}) == []
    assert len(comparison.compare({"sessionId": "s1"}, {"sessionId": "s8"})) == 1
    assert len(comparison.compare({"sessionId": "s2"}, {"sessionId": "s7"})) == 1


def test_a_failure_is_the_same_whatever_its_log_calls_it() -> None:
    """What an application calls an incident is compared."""
    then, now = ({"details": [{"incident": each}]} for each in ("2569020563a0", "53e9538010a7"))
    assert places(then, now) == []
    assert places(then["details"][0], now["details"][0]) == ["incident"]


def test_an_id_of_the_asker_has_to_come_back() -> None:
    """Who made it up knows it."""
    comparison = Comparison()
    assert comparison.translate({"userId": "ana", "ref": ONE}) == {"userId": "ana", "ref": ONE}
    assert comparison.compare({"userId": "ana"}, {"userId": "ana"}) == []
    assert len(comparison.compare({"userId": "ana"}, {"userId": "bo"})) == 1
    assert len(comparison.compare({"ref": ONE}, {"ref": THIRD})) == 1


def test_short_ids_of_different_things_are_kept_apart() -> None:
    """1 is many things' name."""
    comparison = Comparison()
    then = {"sessions": [{"id": 1, "userId": 1}], "fiaId": 1}
    now = {"sessions": [{"id": 5, "userId": 6}], "fiaId": 1}
    assert comparison.compare(then, now) == []
    assert comparison.translate({"sessionId": 1, "userId": 1, "fiaId": 1, "count": 1}) == {
        "sessionId": 5,
        "userId": 6,
        "fiaId": 1,
        "count": 1,
    }


def test_objects_by_id_are_paired() -> None:
    """What is at a key that is new belongs to one that is gone."""
    assert places({ONE: {"n": 1}}, {OTHER: {"n": 1}}) == []
    assert places({ONE: {"n": 1}}, {OTHER: {"n": 2}}) == [f"{ONE}.n"]
    assert len(places({ONE: 1, OTHER: 2}, {THIRD: 1})) == 1


@pytest.mark.parametrize(
    ("path", "is_ignored"),
    [
        ("steps.0.cost", True),
        ("steps[0].cost", True),
        ("steps.*.cost", True),
        ("steps.cost", True),
        ("steps", True),
        ("steps.its_cost", False),
        ("*", True),
        ("steps.1.cost", False),
        ("cost", False),
        ("steps.0.cost.more", False),
        ("step", False),
        ("", False),
        (".", False),
    ],
)
def test_a_place_is_ignored_by_its_path(path: str, is_ignored: bool) -> None:
    """And all that is under it; numbers of items may be left out."""
    then, now = {"steps": [{"cost": 1}]}, {"steps": [{"cost": 2}]}
    assert (places(then, now, path) == []) is is_ignored


def test_a_path_may_be_spelt_as_in_python() -> None:
    """As the attribute of a contract."""
    assert places({"theCost": 1}, {"theCost": 2}, "the_cost") == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "aId", "at", "x", ONE, "ids"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4))
def test_any_answers_are_the_same_as_themselves(answers: list[Any]) -> None:
    """In whichever order, with whatever ids."""
    comparison = Comparison()
    for answer in answers:
        assert comparison.translate(answer) == answer
        assert comparison.compare(answer, answer) == []
