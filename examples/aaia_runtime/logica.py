"""Logic: resolution of a query against a program, by miniKanren."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kanren import eq, lall, run, var

from alephscript.aaia import AppFIA, Eferencia, Percepto, TipoEferencia, TipoPercepto
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.mundo import Mundo, json_bytes
from examples.aaia_runtime.programa import (
    Atom,
    Clause,
    ProgramError,
    Variable,
    parse_clause,
    parse_query,
)

__all__ = ["FIALogica", "Incomplete", "resolve"]

MAX_CLAUSES = 10_000
"""Of a program, with what it learned."""
MAX_DEPTH = 100
MAX_SOLUTIONS = 1000
MAX_ANSWER = 500_000
"""Bytes of all bindings: they go to the room in one message."""
MAX_EFFORT = 200_000
"""Goals tried and terms looked up in one search."""
MAX_SECONDS = 5.0
"""Of one search: half of what a stock client waits for its answer."""

Goal = Callable[[Any], Iterator[Any]]


class Incomplete(Exception):
    """The search was ended before it was through; the message says by which bound."""


class FIALogica(FIA):
    """Answers queries over facts and rules.

    The program is ``config["programa"]``, a list of clauses. A percepto's ``payload.query`` (or
    ``objetivo``) is resolved; a comando's ``hecho`` or ``regla`` is added to the program of this
    session first, and ``meta.aprendido`` says so. A search that a bound ended shows the
    solutions it had found, and is no success.
    """

    paradigma = "logica"
    capacidades = ("query", "objetivo", "hecho", "regla")

    def __init__(self, index: int, described: AppFIA) -> None:
        super().__init__(index, described)
        self._clauses = [parse_clause(line) for line in self.config.get("programa", ())]
        self._taught: list[str] = []

    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """Resolve the query of what reached it."""
        payload = aferencia.payload if aferencia else {}
        query = payload.get("query", payload.get("objetivo"))
        meta: dict[str, Any] = {"query": query, "paradigma": self.paradigma}
        solutions: list[dict[str, Any]] = []
        errors: list[str] = []
        try:
            if aferencia and aferencia.tipo is TipoPercepto.COMANDO:
                taught = [payload[key] for key in ("hecho", "regla") if key in payload]
                if taught:
                    self._learn(taught)
                    meta["aprendido"] = taught
            if isinstance(query, str):
                for bindings in resolve(self._clauses, query):
                    solutions.append(bindings)  # noqa: PERF402 - what was found before a bound stays
            elif query is not None:
                errors.append("the query is no text")
        except (ProgramError, Incomplete) as error:
            errors.append(str(error))
        success = bool(solutions) and not errors
        return Eferencia(
            tipo=TipoEferencia.ESTADO if success else TipoEferencia.EVENTO,
            payload=self.report(
                mundo,
                acciones=[
                    {"tipo": "solucion", "payload": {"indice": index, "bindings": bindings}}
                    for index, bindings in enumerate(solutions)
                ],
                meta={**meta, "numSoluciones": len(solutions)},
                errores=errors,
                exito=success,
            ),
        )

    def remember(self) -> list[str] | None:
        """What it was taught."""
        return self._taught.copy() or None

    def remind(self, memory: list[str]) -> None:
        """Learn it again."""
        self._learn(memory)

    def _learn(self, taught: list[Any]) -> None:
        if not all(isinstance(text, str) for text in taught):
            raise ProgramError("a hecho or regla is no text")
        clauses = [parse_clause(text) for text in taught]
        if len(self._clauses) + len(clauses) > MAX_CLAUSES:
            raise ProgramError(f"the program would have more than {MAX_CLAUSES} clauses")
        self._clauses += clauses
        self._taught += taught


def resolve(clauses: Iterable[Clause], query: str) -> Iterator[dict[str, Any]]:
    """Every proof of a query, as the bindings of its variables.

    Args:
        clauses: The program.
        query: Goals joined by ``and``.

    Raises:
        ProgramError: The query is none.
        Incomplete: A bound ended the search; what was found until then has been yielded.
    """
    goals = parse_query(query)
    search = _Search(clauses)
    names: dict[str, Any] = {}
    goal = lall(search.begin, *[search.prove(_term(each, names), 0) for each in goals])
    said = 0
    asked = {name: each for name, each in names.items() if not name.startswith("_")}
    try:
        for count, proof in enumerate(run(None, tuple(asked.values()), goal)):
            if count == MAX_SOLUTIONS:
                raise Incomplete(f"there are more than {MAX_SOLUTIONS} solutions")
            bindings = {name: _readable(value) for name, value in zip(asked, proof, strict=True)}
            said += json_bytes(bindings)
            if said > MAX_ANSWER:
                raise Incomplete(f"the solutions take more than {MAX_ANSWER} bytes")
            yield bindings
    except RecursionError:
        raise Incomplete("the search is nested too deeply") from None
    if search.too_deep:
        raise Incomplete(f"the proof is deeper than {MAX_DEPTH} steps")


class _Search:
    """The goals of one search, and what it has cost so far."""

    def __init__(self, clauses: Iterable[Clause]) -> None:
        self.too_deep = False
        self._left = MAX_EFFORT
        self._ends = time.monotonic() + MAX_SECONDS
        self._clauses: dict[tuple[str, int], list[Clause]] = {}
        for clause in clauses:
            key = (clause.head.name, len(clause.head.arguments))
            self._clauses.setdefault(key, []).append(clause)

    def begin(self, _: Any) -> Iterator[Any]:
        """The goal that comes first: from it on, what is looked up is paid for."""
        yield _Substitution(self)

    def spend(self, cost: int) -> None:
        """Pay, or end the search."""
        self._left -= cost
        if self._left < 0:
            raise Incomplete(f"the search takes more than {MAX_EFFORT} steps")
        if time.monotonic() > self._ends:
            raise Incomplete(f"the search takes longer than {MAX_SECONDS:g} s")

    def prove(self, goal: tuple[Any, ...], depth: int) -> Goal:
        """A goal as miniKanren's, its clauses renamed when it is tried."""

        def attempt(substitution: Any) -> Iterator[Any]:
            if depth > MAX_DEPTH:
                self.too_deep = True
                return
            self.spend(1)
            # One clause after the other, as SLD has it, and as miniKanren's own relations try
            # their facts; its lany goes round all of them, which costs the square of many.
            for clause in self._clauses.get((goal[0], len(goal) - 1), ()):
                yield from self._way(clause, goal, depth)(substitution)

        return attempt

    def _way(self, clause: Clause, goal: tuple[Any, ...], depth: int) -> Goal:
        names: dict[str, Any] = {}
        head = eq(goal, _term(clause.head, names))
        body = [self.prove(_term(each, names), depth + 1) for each in clause.body]
        way: Goal = lall(head, *body)
        return way


class _Substitution(dict[Any, Any]):
    """What the variables stand for, each look at it paid for by the size of what is found.

    miniKanren unifies without an occurs check, and a short query can bind a variable to a term
    of 2**100 leaves: there, unifying or spelling out is what never ends, not the search.
    """

    def __init__(self, search: _Search, known: Iterable[tuple[Any, Any]] = ()) -> None:
        super().__init__(known)
        self._search = search

    def __contains__(self, key: object) -> bool:
        self._search.spend(1)
        return super().__contains__(key)

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        self._search.spend(_size(value))
        return value

    def copy(self) -> _Substitution:
        """What miniKanren extends."""
        return _Substitution(self._search, self.items())


def _size(term: Any) -> int:
    size, waiting = 0, [term]
    while waiting:
        part = waiting.pop()
        if isinstance(part, tuple):
            waiting.extend(part)
        size += 1 + (len(part) // 8 if isinstance(part, str) else 0)
    return size


def _term(term: Any, names: dict[str, Any]) -> Any:
    if isinstance(term, Variable):
        return names.setdefault(term.name, var())
    if isinstance(term, Atom):
        return (term.name, *[_term(each, names) for each in term.arguments])
    return term


def _readable(value: Any) -> Any:
    if isinstance(value, tuple):
        return f"{value[0]}({','.join(str(_readable(each)) for each in value[1:])})"
    return value if isinstance(value, str | int | float) else "_"
