"""The language of logic programs.

Facts are ``q(a).``, rules ``p(X,Y) := q(X) and r(Y,Z).``; capitals begin variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs

__all__ = ["Atom", "Clause", "ProgramError", "Variable", "parse_clause", "parse_query"]

_MAX_LENGTH = 10_000
_MAX_NESTING = 50
_MAX_NUMBER = 100
"""Characters; a number of so many is finite as a float, and int() reads it."""

_TOKEN = re.compile(
    r"\s*(?:(?P<rule>:=)|(?P<mark>[(),.])|(?P<number>-?\d+(?:\.\d+)?)|(?P<quoted>'[^']*'|\"[^\"]*\")"
    r"|(?P<word>[^\W\d]\w*)|(?P<bad>\S))"
)


class ProgramError(ValueError):
    """A text is no clause or no query; the message says where."""


@attrs.frozen
class Variable:
    """A logic variable; two underscores are two variables."""

    name: str


@attrs.frozen
class Atom:
    """``name(arguments)``: a goal, the head of a clause, or a compound term."""

    name: str
    arguments: tuple[Any, ...] = ()


@attrs.frozen
class Clause:
    """A fact, or a rule with its goals."""

    head: Atom
    body: tuple[Atom, ...] = ()


def parse_clause(text: str) -> Clause:
    """A fact or a rule; the dot at its end may be missing.

    Raises:
        ProgramError: It is neither.
    """
    reader = _Reader(text)
    head = reader.atom()
    body = reader.conjunction() if reader.take(":=") else ()
    reader.end()
    return Clause(head, body)


def parse_query(text: str) -> tuple[Atom, ...]:
    """Goals joined by ``and``.

    Raises:
        ProgramError: It is no query.
    """
    reader = _Reader(text)
    goals = reader.conjunction()
    reader.end()
    return goals


class _Reader:
    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise ProgramError(f"longer than {_MAX_LENGTH} characters")
        self._tokens = list(_tokens(text))
        self._at = 0
        self._anonymous = 0

    def conjunction(self) -> tuple[Atom, ...]:
        goals = [self.atom()]
        while self.take("and"):
            goals.append(self.atom())
        return tuple(goals)

    def atom(self, depth: int = 0) -> Atom:
        kind, word = self._next()
        if kind != "word" or word == "and" or word[0].isupper() or word[0] == "_":
            raise ProgramError(f"expected the name of a predicate, found {word or 'the end'!r}")
        return Atom(word, self._arguments(depth))

    def take(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == (_kind(word), word):
            self._at += 1
            return True
        return False

    def end(self) -> None:
        self.take(".")
        if self._at < len(self._tokens):
            raise ProgramError(f"unexpected {self._tokens[self._at][1]!r}")

    def _arguments(self, depth: int) -> tuple[Any, ...]:
        if not self.take("("):
            return ()
        if depth > _MAX_NESTING:
            raise ProgramError("terms are nested too deeply")
        arguments = [self._term(depth)]
        while self.take(","):
            arguments.append(self._term(depth))
        if not self.take(")"):
            raise ProgramError("expected ')'")
        return tuple(arguments)

    def _term(self, depth: int) -> Any:
        kind, word = self._next()
        if kind == "number":
            if len(word) > _MAX_NUMBER:
                raise ProgramError(f"a number of more than {_MAX_NUMBER} characters")
            return float(word) if "." in word else int(word)
        if kind == "quoted":
            return word[1:-1]
        if kind != "word":
            raise ProgramError(f"expected a term, found {word or 'the end'!r}")
        if word == "_":
            self._anonymous += 1
            return Variable(f"_{self._anonymous}")
        if word[0].isupper() or word[0] == "_":
            return Variable(word)
        arguments = self._arguments(depth + 1)
        return Atom(word, arguments) if arguments else word

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            return "", ""
        self._at += 1
        return self._tokens[self._at - 1]


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text.strip()):
        kind = match.lastgroup or ""
        if kind == "bad":
            raise ProgramError(f"unexpected {match[kind]!r}")
        yield kind, match[kind]


def _kind(word: str) -> str:
    if word == ":=":
        return "rule"
    return "word" if word.isalpha() else "mark"
