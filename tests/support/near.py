# ruff: noqa: RUF001 - digits that are none of ASCII are what is tried
"""JSON that is near to a value, or looks like one.

May go in: what readers are likely to get wrong. May not: types (`types`).
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.kinds import JSON, TEXTS

__all__ = ["NEAR", "NEAR_TEXTS", "near"]


NEAR_TEXTS = [
    *(
        "",
        " ",
        "0",
        "-0",
        "1",
        "01",
        "+1",
        "1.0",
        "1e5",
        "1_000",
        "½",
        "１２",
        "true",
        "null",
        "NaN",
    ),
    *("2026-02-28", "2026-02-29", "2024-02-29", "2026-02-30", "0000-01-01", "2026-01-01\n"),
    *("２０２６-01-01", "2026-1-1", "20260101", "2026-W01-1", "10000-01-01", "-001-01-01"),
    *("2026-01-01T00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z"),
    *(
        "2026-01-01T24:00:00Z",
        "2026-01-01T23:59:60Z",
        "2026-01-01T00:00:00",
        "0001-01-01T00:00:00+23:59",
    ),
    *("9999-12-31T23:59:59.999999999-23:59", "2026-01-01T00:00:00.1234567891Z"),
    *("2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01", "2026-01-01T00:00:00+01:00:30"),
    *(
        "00:00:00",
        "24:00:00",
        "23:59",
        "12:30:00.5",
        "12:30:00,5",
        "00:00:00Z",
        "12:00:00\n",
        "T12:00:00",
    ),
    *("P1D", "PT1S", "P", "PT", "P1DT", "-P1D", "P1W", "P1Y", "P1W1D", "PT1.5H", "P999999999D"),
    *("PT.5S", "PT1.1234567S", "-P999999999DT1S", "P1DT25H", "P99999999W", "PT999999999H", "P１D"),
    *("00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"),
    *("0" * 32, "urn:uuid:00000000-0000-0000-0000-000000000000"),
    *("ABCDEFAB-0000-0000-0000-00000000000g", "ABCDEFAB-0000-0000-0000-00000000000F"),
    *("AA==", "AAA=", "AAAA", "AB==", "AA", "A", "AA=", "AA==\n", "AA--", "A A=", "===="),
    *("1E5", "1.", ".5", "-1.50", "Infinity", "sNaN", "1e9999999", "1e999999", "--1", " 1", "1\n"),
    *("red", "RED", "low", "on", "1", "2", "10", "a", "b", "x", "c", "cat", "dog", "Circle"),
    *("abc", "abcd", "abc\n", "A", "\u0000", "\ud7ff", "\U0001f600", "é", "e\u0301"),
]
NEAR: st.SearchStrategy[Any] = st.one_of(
    JSON,
    st.sampled_from(NEAR_TEXTS),
    st.sampled_from(
        [0, 1, 2, 3, 4, 5, 7, 8, 10, -1, True, False, None, 0.0, -0.0, 1.0, 3.0, 0.5, 1e300, 2**53]
    ),
    st.sampled_from([-62_135_596_800_000, 253_402_300_799_999, 253_402_300_800_000, 2.0**63]),
    st.sampled_from([[], {}, [0], [[]], [None], {"kind": "cat"}, {"type": "Circle"}, {"": 0}]),
)


@st.composite
def near(draw: st.DrawFn, value: Any) -> Any:
    """Give JSON that is the value but for one spot."""
    if not value or not draw(st.integers(0, 3)):
        return draw(NEAR)
    if isinstance(value, list):
        return _near_list(draw, value)
    if isinstance(value, dict):
        return _near_dict(draw, value)
    if isinstance(value, str):
        place = draw(st.integers(0, len(value) - 1))
        letter = draw(st.sampled_from("0123456789-+:.TZPDSaAgé\n =/１"))
        changed = value[:place] + letter + value[place + 1 :]
        return draw(st.sampled_from([value + letter, changed, value[:-1]]))
    return draw(st.sampled_from([value + 1, -value, _as_float(value), value / 2, bool(value)]))


def _near_list(draw: st.DrawFn, value: list[Any]) -> list[Any]:
    place = draw(st.integers(0, len(value) - 1))
    how = draw(st.sampled_from(["change", "change", "drop", "double", "float"]))
    if how == "change":
        return [*value[:place], draw(near(value[place])), *value[place + 1 :]]
    if how == "drop":
        return [*value[:place], *value[place + 1 :]]
    return [*value, value[place] if how == "double" else _as_float(value[place])]


def _near_dict(draw: st.DrawFn, value: dict[str, Any]) -> dict[str, Any]:
    key = draw(st.sampled_from(sorted(value)))
    how = draw(st.sampled_from(["change", "change", "change", "drop", "add", "rename"]))
    if how == "change":
        return {**value, key: draw(near(value[key]))}
    if how == "add":
        return {**value, draw(TEXTS | st.sampled_from(NEAR_TEXTS)): draw(NEAR)}
    rest = {k: v for k, v in value.items() if k != key}
    if how == "drop":
        return rest
    other = draw(st.sampled_from([key.upper(), f"{key}_", key[:-1], f"{key}\n"]))
    return {**rest, other: value[key]}


def _as_float(value: Any) -> Any:
    return float(value) if type(value) is int and abs(value) < 2**53 else value
