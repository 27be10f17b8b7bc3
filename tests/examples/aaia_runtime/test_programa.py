"""The language of logic programs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from examples.aaia_runtime.programa import (
    Atom,
    Clause,
    ProgramError,
    Variable,
    parse_clause,
    parse_query,
)

LIKELY = st.text(alphabet="pqXY_a1.,()=: '\"-and", max_size=40)


def test_reads_a_fact() -> None:
    """A name, its arguments, a dot."""
    assert parse_clause("r(a,b).") == Clause(Atom("r", ("a", "b")))


def test_reads_a_rule() -> None:
    """What is left of := holds if everything right of it does."""
    assert parse_clause("p(X,Y) := q(X) and r(Y,Z).") == Clause(
        Atom("p", (Variable("X"), Variable("Y"))),
        (Atom("q", (Variable("X"),)), Atom("r", (Variable("Y"), Variable("Z")))),
    )


def test_reads_every_kind_of_term() -> None:
    """Numbers, quoted constants and terms within terms."""
    clause = parse_clause("t(1, -2.5, 'Ana María', \"x.y\", s(s(z)), ñandú)")
    nested = Atom("s", (Atom("s", ("z",)),))
    assert clause.head.arguments == (1, -2.5, "Ana María", "x.y", nested, "ñandú")


def test_two_underscores_are_two_variables() -> None:
    """What nobody names is nobody's."""
    (goal,) = parse_query("p(_,_)")
    first, second = goal.arguments
    assert first != second


def test_a_query_is_goals_joined_by_and() -> None:
    """The dot at the end may be missing."""
    assert parse_query("q(X) and r(X,b)") == parse_query(" q( X ) and r(X , b) . ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the end"),
        ("P(a)", "'P'"),
        ("and(a)", "'and'"),
        ("p(a", "expected '\\)'"),
        ("p(,)", "','"),
        ("p(a) := ", "the end"),
        ("p(a) q(b)", "'q'"),
        ("p(a)..", "'.'"),
        ("p('a)", "unexpected"),
        ("p(a) ; q(b)", "';'"),
        ("p(" * 100, "nested"),
        ("p(" + "9" * 5000 + ")", "number"),
        ("q" * 10_001, "longer"),
    ],
)
def test_what_is_no_clause_is_refused_in_words(text: str, complaint: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(ProgramError, match=complaint):
        parse_clause(text)


@given(text=st.text() | LIKELY)
@example(text="p(" + "9" * 400 + ".0)")
@example(text="p(٣)")
@example(text="\ud800")
def test_any_text_is_read_or_refused_by_its_own_error(text: str) -> None:
    """No text raises anything but ProgramError."""
    for parse in (parse_clause, parse_query):
        try:
            parse(text)
        except ProgramError as error:
            assert str(error)  # noqa: PT017 - either end is fine, this one must have words


NAMES = st.from_regex(r"[a-zñ][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(lambda n: n != "and")
NUMBERS = st.integers(-(10**90), 10**90) | st.floats(-1e9, 1e9).map(lambda each: round(each, 3))
VARIABLES = st.from_regex(r"[A-ZÑ][a-zA-Z0-9_]{0,8}|_[a-z0-9]{1,8}", fullmatch=True).map(Variable)
CONSTANTS = NUMBERS | NAMES | st.text().filter(lambda text: not {"'", '"'} <= set(text))
TERMS = st.recursive(
    VARIABLES | CONSTANTS,
    lambda inner: st.builds(Atom, NAMES, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    max_leaves=8,
)
GOALS = st.builds(Atom, NAMES, st.lists(TERMS, max_size=3).map(tuple))
CLAUSES = st.builds(Clause, GOALS, st.lists(GOALS, max_size=3).map(tuple))


def printed(value: Any) -> str:
    """A clause, goal or term as somebody would write it."""
    match value:
        case Clause(head, body):
            goals = " and ".join(printed(goal) for goal in body)
            return f"{printed(head)} := {goals}." if body else f"{printed(head)}."
        case Atom(name, arguments):
            return f"{name}({','.join(map(printed, arguments))})" if arguments else name
        case Variable(name):
            return name
        case str():
            return f'"{value}"' if "'" in value else f"'{value}'"
        case float():
            return f"{value:.3f}"
        case _:
            return str(value)


@given(clause=CLAUSES)
def test_a_printed_clause_is_read_as_it_was(clause: Clause) -> None:
    """Nothing is lost between the text and its meaning, quotes and signs included."""
    assert parse_clause(printed(clause)) == clause


@given(goals=st.lists(GOALS, min_size=1, max_size=4).map(tuple))
def test_a_printed_query_is_read_as_it_was(goals: tuple[Atom, ...]) -> None:
    """Goals keep their order."""
    assert parse_query(" and ".join(map(printed, goals))) == goals
