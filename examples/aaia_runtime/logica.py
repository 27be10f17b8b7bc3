"""Logic: resolution of a query against a program, by miniKanren."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kanren import eq, lall, lany, run, var

from alephscript.aaia import AppFIA, Eferencia, Percepto, TipoEferencia, TipoPercepto
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.mundo import Mundo
from examples.aaia_runtime.programa import (
    Atom,
    Clause,
    ProgramError,
    Variable,
    parse_clause,
    parse_query,
)

__all__ = ["FIALogica", "Incomplete", "resolve"]

MAX_DEPTH = 100
MAX_SOLUTIONS = 1000
MAX_INFERENCES = 20_000

Goal = Callable[[Any], Iterator[Any]]


class Incomplete(Exception):
    """The search was ended before it was through; the message says by which bound."""


class FIALogica(FIA):
    """Answers queries over facts and rules.

    The program is ``config["programa"]``, a list of clauses. A percepto's ``payload.query`` (or
    ``objetivo``) is resolved; a comando's ``hecho`` or ``regla`` is added to the program of this
    session first.
    """

    paradigma = "logica"
    capacidades = ("query", "objetivo", "hecho", "regla")

    def __init__(self, index: int, described: AppFIA) -> None:
        super().__init__(index, described)
        self._clauses = [parse_clause(line) for line in self.config.get("programa", ())]

    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """Resolve the query of what reached it."""
        payload = aferencia.payload if aferencia else {}
        query = payload.get("query", payload.get("objetivo"))
        solutions: list[dict[str, Any]] = []
        errors: list[str] = []
        try:
            if aferencia and aferencia.tipo is TipoPercepto.COMANDO:
                self._learn(payload.get("hecho"), payload.get("regla"))
            if isinstance(query, str):
                solutions.extend(resolve(self._clauses, query))
            elif query is not None:
                errors.append("query is no text")
        except (ProgramError, Incomplete) as error:
            errors.append(str(error))
        success = isinstance(query, str) and not errors and bool(solutions)
        return Eferencia(
            tipo=TipoEferencia.ESTADO if success else TipoEferencia.EVENTO,
            payload=self.report(
                mundo,
                acciones=[
                    {"tipo": "solucion", "payload": {"indice": index, "bindings": bindings}}
                    for index, bindings in enumerate(solutions)
                ],
                meta={
                    "query": query,
                    "numSoluciones": len(solutions),
                    "paradigma": self.paradigma,
                },
                errores=errors,
                exito=success,
            ),
        )

    def _learn(self, *clauses: Any) -> None:
        self._clauses += [parse_clause(text) for text in clauses if isinstance(text, str)]


def resolve(clauses: Iterable[Clause], query: str) -> Iterator[dict[str, Any]]:
    """Every proof of a query, as the bindings of its variables.

    Args:
        clauses: The program.
        query: Goals joined by ``and``.

    Raises:
        ProgramError: The query is none.
        Incomplete: A bound of depth, inferences or solutions ended the search.
    """
    goals = parse_query(query)
    program = _Program(clauses)
    names: dict[str, Any] = {}
    goal = lall(*[program.prove(_term(each, names), 0) for each in goals])
    asked = {name: each for name, each in names.items() if not name.startswith("_")}
    try:
        proofs = run(MAX_SOLUTIONS + 1, tuple(asked.values()), goal)
    except RecursionError:
        raise Incomplete("the proof is nested too deeply") from None
    if program.too_deep:
        raise Incomplete(f"the proof is deeper than {MAX_DEPTH} steps")
    if len(proofs) > MAX_SOLUTIONS:
        raise Incomplete(f"there are more than {MAX_SOLUTIONS} solutions")
    for proof in proofs:
        yield {name: _readable(value) for name, value in zip(asked, proof, strict=True)}


class _Program:
    def __init__(self, clauses: Iterable[Clause]) -> None:
        self.too_deep = False
        self._inferences = 0
        self._clauses: dict[tuple[str, int], list[Clause]] = {}
        for clause in clauses:
            key = (clause.head.name, len(clause.head.arguments))
            self._clauses.setdefault(key, []).append(clause)

    def prove(self, goal: tuple[Any, ...], depth: int) -> Goal:
        """A goal as miniKanren's, its clauses renamed when it is tried."""

        def attempt(substitution: Any) -> Iterator[Any]:
            if depth > MAX_DEPTH:
                self.too_deep = True
                return
            self._inferences += 1
            if self._inferences > MAX_INFERENCES:
                raise Incomplete(f"the search takes more than {MAX_INFERENCES} inferences")
            known = self._clauses.get((goal[0], len(goal) - 1), ())
            ways = [self._way(clause, goal, depth) for clause in known]
            if ways:
                yield from lany(*ways)(substitution)

        return attempt

    def _way(self, clause: Clause, goal: tuple[Any, ...], depth: int) -> Goal:
        names: dict[str, Any] = {}
        head = eq(goal, _term(clause.head, names))
        body = [self.prove(_term(each, names), depth + 1) for each in clause.body]
        way: Goal = lall(head, *body)
        return way


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
