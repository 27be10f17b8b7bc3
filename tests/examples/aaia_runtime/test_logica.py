"""FIALogica proves by resolution, and whatever it is asked, it comes to an end."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from alephscript.aaia import AppFIA, Eferencia, MundoConfig, Percepto, TipoEferencia, TipoPercepto
from alephscript.contracts import unstructure
from examples.aaia_runtime import logica
from examples.aaia_runtime.logica import FIALogica
from examples.aaia_runtime.mundo import Mundo

KNOWN = [
    "q(a).",
    "r(a,b).",
    "r(b,b).",
    "p(X,Y) := q(X) and r(Y,Z).",
    "p(X,Y) := q(X) and q(Y).",
]


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, what ends a search is another bound than its time."""
    monkeypatch.setattr(logica, "MAX_SECONDS", 600.0)


def make(programa: list[str]) -> FIALogica:
    """A FIA with that program."""
    config = {"programa": programa}
    return FIALogica(0, AppFIA("LogicaFIA", "logica", "FIALogica", config=config))


def tell(fia: FIALogica, tipo: TipoPercepto = TipoPercepto.SENSOR, **payload: Any) -> Eferencia:
    """What it puts out when such a percepto reaches it."""
    mundo = Mundo(MundoConfig("m", {}, "texto"))
    return fia.reason(mundo, Percepto(tipo=tipo, payload=payload))


def solve(programa: list[str], query: str) -> list[dict[str, Any]]:
    """The bindings of each proof; there must be no complaint."""
    payload = tell(make(programa), query=query).payload
    assert payload["errores"] == []
    return [action["payload"]["bindings"] for action in payload["acciones"]]


def complaint(programa: list[str], query: str) -> str:
    """The one complaint about a query that has one."""
    payload = tell(make(programa), query=query).payload
    assert payload["exito"] is False
    (error,) = payload["errores"]
    return str(error)


@pytest.mark.parametrize(("query", "proofs"), [("p(a,a)", 2), ("p(X,Y)", 3), ("p(X,b)", 1)])
def test_the_known_result(query: str, proofs: int) -> None:
    """The proofs that upstream's logic runtime finds."""
    assert len(solve(KNOWN, query)) == proofs


def test_solutions_come_in_the_order_of_sld_resolution() -> None:
    """Clauses from the top, goals from the left."""
    assert solve(KNOWN, "p(X,Y)") == [
        {"X": "a", "Y": "a"},
        {"X": "a", "Y": "b"},
        {"X": "a", "Y": "a"},
    ]


def test_an_eferencia_has_the_shape_that_upstream_gives_it() -> None:
    """An estado with the solutions as acciones."""
    eferencia = tell(make(KNOWN), query="p(X,b)")
    assert eferencia.tipo is TipoEferencia.ESTADO
    assert eferencia.payload == {
        "fiaIndex": 0,
        "nombre": "LogicaFIA",
        "paradigma": "logica",
        "ciclo": 1,
        "acciones": [{"tipo": "solucion", "payload": {"indice": 0, "bindings": {"X": "a"}}}],
        "meta": {"query": "p(X,b)", "paradigma": "logica", "numSoluciones": 1},
        "errores": [],
        "exito": True,
    }


def test_an_objetivo_is_a_query() -> None:
    """The other name for it."""
    assert tell(make(KNOWN), objetivo="q(X)").payload["meta"]["numSoluciones"] == 1


@pytest.mark.parametrize("payload", [{}, {"query": "q(b)"}, {"query": "unknown(a)"}])
def test_without_a_query_or_a_proof_it_is_an_evento_without_success(
    payload: dict[str, Any],
) -> None:
    """Not to be provable is no error."""
    eferencia = tell(make(KNOWN), **payload)
    assert eferencia.tipo is TipoEferencia.EVENTO
    assert eferencia.payload["exito"] is False
    assert eferencia.payload["errores"] == []


def test_a_step_that_nothing_reached_has_no_success() -> None:
    """There is nothing to prove."""
    eferencia = make(KNOWN).reason(Mundo(MundoConfig("m", {}, "texto")), None)
    assert (eferencia.tipo, eferencia.payload["exito"]) == (TipoEferencia.EVENTO, False)


@pytest.mark.parametrize("query", ["p(", "", "p(a) or q(b)", 7, ["q(a)"], {"q": 1}])
def test_what_is_no_query_is_said_in_errores(query: Any) -> None:
    """The step itself succeeds."""
    assert complaint(KNOWN, query)


def test_follows_a_recursion_as_deep_as_the_bound() -> None:
    """99 edges are 99 steps."""
    edges = [f"e(n{i},n{i + 1})." for i in range(99)]
    rules = ["path(X,Y) := e(X,Y).", "path(X,Y) := e(X,Z) and path(Z,Y)."]
    assert solve([*edges, *rules], "path(n0,n99)") == [{}]


def test_a_recursion_deeper_than_the_bound_is_an_error() -> None:
    """Whether it has an end further down or none at all."""
    counting = ["n(z).", "n(s(X)) := n(X)."]
    deep = "s(" * 40 + "Z" + ")" * 40
    edges = [f"e(n{i},n{i + 1})." for i in range(120)]
    rules = ["path(X,Y) := e(X,Y).", "path(X,Y) := e(X,Z) and path(Z,Y)."]
    over = f"the proof is deeper than {logica.MAX_DEPTH} steps"
    assert complaint([*edges, *rules], "path(n0,n120)") == over
    assert complaint(["p(X) := p(X)."], "p(a)") == over
    assert complaint(counting, f"n({deep})") == over


def test_goals_of_a_conjunction_share_their_variables() -> None:
    """Each binding that the first goal finds is put to the next."""
    edges = ["e(a,b).", "e(b,c).", "e(b,d)."]
    assert solve(edges, "e(a,X) and e(X,Y)") == [{"X": "b", "Y": "c"}, {"X": "b", "Y": "d"}]
    assert solve(edges, "e(X,Y) and e(Y,X)") == []


def test_compound_terms_unify_part_by_part() -> None:
    """With the same name and as many arguments, and not otherwise."""
    facts = ["age(person(ana,ruiz),41).", "age(person(ana),7)."]
    assert solve(facts, "age(person(ana,X),Y)") == [{"X": "ruiz", "Y": 41}]
    assert solve(facts, "age(animal(X),Y)") == []


def test_an_anonymous_variable_stands_for_something_else_each_time() -> None:
    """And nobody is told what for."""
    edges = ["e(a,b).", "e(b,b)."]
    assert solve(edges, "e(_,_)") == [{}, {}]
    assert solve(edges, "e(X,_)") == [{"X": "a"}, {"X": "b"}]
    assert solve(edges, "e(X,X)") == [{"X": "b"}]


def test_shows_what_it_found_before_a_recursion_went_over_the_bound() -> None:
    """Left recursion finds both ends of the path and then no end."""
    programa = ["t(X,Y) := e(X,Y).", "t(X,Y) := t(X,Z) and e(Z,Y).", "e(a,b).", "e(b,c)."]
    payload = tell(make(programa), query="t(a,Y)").payload
    found = [action["payload"]["bindings"]["Y"] for action in payload["acciones"]]
    assert sorted(found) == ["b", "c"]
    assert payload["errores"] == [f"the proof is deeper than {logica.MAX_DEPTH} steps"]
    assert payload["exito"] is False


def test_shows_as_many_solutions_as_the_bound_allows() -> None:
    """The rest is said to be there."""
    payload = tell(make([f"n({i})." for i in range(1500)]), query="n(X)").payload
    assert payload["meta"]["numSoluciones"] == len(payload["acciones"]) == logica.MAX_SOLUTIONS
    assert payload["errores"] == [f"there are more than {logica.MAX_SOLUTIONS} solutions"]


def chain(name: str, start: str, length: int) -> str:
    """Goals that double a term again and again."""
    ends = [start, *(f"{name}{i}" for i in range(length))]
    return " and ".join(f"double({a},{b})" for a, b in itertools.pairwise(ends))


DOUBLE = ["double(X,f(X,X)).", "same(X,X)."]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("programa", "query"),
    [
        (["p(X) := p(X) and p(X).", "p(X) := p(X) and p(X)."], "p(a)"),
        (["p(X,f(X))."], "p(Y,Y)"),
        (DOUBLE, "same(X,f(X)) and same(Y,f(Y)) and same(X,Y)"),
        (DOUBLE, chain("V", "a", 60)),
        (DOUBLE, f"{chain('V', 'a', 40)} and {chain('W', 'a', 40)} and same(V39,W39)"),
        (DOUBLE, chain("V", f"'{'x' * 8000}'", 10)),
        (DOUBLE, chain("V", f"g({','.join('a' * 2000)})", 8)),
    ],
    ids=[
        "exponential",
        "cyclic",
        "cycles unified",
        "2**60 leaves",
        "2**40 unified",
        "long text",
        "many leaves",
    ],
)
def test_a_search_without_end_ends_in_an_error(programa: list[str], query: str) -> None:
    """What would take for ever, or all memory, is given up, however slow the machine is."""
    assert "the search takes more than" in complaint(programa, query)


def test_spells_the_terms_of_a_solution() -> None:
    """What is not bound is an underscore, what nobody named is not shown."""
    (bindings,) = solve(DOUBLE, "double(g(1,_),Y) and same(Z,_W)")
    assert bindings == {"Y": "f(g(1,_),g(1,_))", "Z": "_"}


def test_a_term_that_is_too_deep_to_spell_is_an_error() -> None:
    """Python's own bound ends the search and nothing else."""
    edges = " and ".join(f"wrap(_{i},_{i + 1})" for i in range(500))
    query = f"wrap(a,_0) and {edges} and wrap(_500,X)"
    assert complaint(["wrap(X,f(X))."], query) == "the search is nested too deeply"


@pytest.mark.parametrize(
    ("programa", "query"),
    [
        ([f"n('{i}{'ñ' * 990}')." for i in range(600)], "n(X)"),
        ([f"n({i}{'9' * 90})." for i in range(1000)], " and ".join(f"n({v})" for v in "ABCDEFGH")),
        (["a(1).", *[f"n({i})." for i in range(1000)]], f"a({'V' * 2000}) and n({'W' * 2000})"),
    ],
    ids=["long texts", "long numbers", "long names"],
)
def test_solutions_that_fill_a_message_are_shown_as_far_as_they_fit(
    programa: list[str], query: str
) -> None:
    """The rest is said to be there; the room can be told."""
    payload = tell(make(programa), query=query).payload
    assert payload["errores"] == [f"the solutions take more than {logica.MAX_ANSWER} bytes"]
    shown = len(json.dumps(payload["acciones"], ensure_ascii=False).encode())
    assert logica.MAX_ANSWER / 2 < shown < logica.MAX_ANSWER * 1.2


def test_a_search_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few its steps are."""
    monkeypatch.setattr(logica, "MAX_SECONDS", -1.0)
    assert "longer than" in complaint(KNOWN, "q(a)")


def test_a_comando_teaches_a_fact_and_a_rule() -> None:
    """What it learned holds from then on, in this FIA only."""
    fia, other = make(KNOWN), make(KNOWN)
    taught = tell(fia, TipoPercepto.COMANDO, hecho="q(c).", regla="s(X) := q(X).")
    assert taught.payload["meta"]["aprendido"] == ["q(c).", "s(X) := q(X)."]
    assert tell(fia, query="s(X)").payload["meta"]["numSoluciones"] == 2
    assert tell(other, query="q(X)").payload["meta"]["numSoluciones"] == 1


def test_learns_before_it_answers() -> None:
    """One comando may do both."""
    eferencia = tell(make([]), TipoPercepto.COMANDO, hecho="q(c).", query="q(X)")
    assert eferencia.payload["acciones"][0]["payload"]["bindings"] == {"X": "c"}


def test_only_a_comando_teaches() -> None:
    """A sensor reports what it senses."""
    fia = make(KNOWN)
    assert "aprendido" not in tell(fia, TipoPercepto.SENSOR, hecho="q(c).").payload["meta"]
    assert tell(fia, query="q(c)").payload["exito"] is False


@pytest.mark.parametrize(
    "payload", [{"hecho": "q("}, {"hecho": 7}, {"hecho": "ok(a).", "regla": "("}]
)
def test_learns_all_of_a_comando_or_nothing(payload: dict[str, Any]) -> None:
    """What cannot be read is an error, and the program stays as it was."""
    fia = make([])
    assert tell(fia, TipoPercepto.COMANDO, **payload).payload["errores"]
    assert tell(fia, query="ok(a)").payload["exito"] is False


def test_does_not_learn_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's program stays of a size."""
    monkeypatch.setattr(logica, "MAX_CLAUSES", 1)
    fia = make(["q(a)."])
    errors = tell(fia, TipoPercepto.COMANDO, hecho="q(b).").payload["errores"]
    assert errors == ["the program would have more than 1 clauses"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
LIKELY = st.text(alphabet="pqXYab1.,()_ =:'and", max_size=30)


@given(
    tipo=st.sampled_from(TipoPercepto),
    payload=st.dictionaries(
        st.sampled_from(["query", "objetivo", "hecho", "regla", "x"]), LIKELY | JSON
    ),
)
def test_reasons_about_any_percepto_without_raising(
    tipo: TipoPercepto, payload: dict[str, Any]
) -> None:
    """And what it puts out goes over the wire."""
    eferencia = tell(make(KNOWN), tipo, **payload)
    solved = eferencia.tipo is TipoEferencia.ESTADO
    assert eferencia.payload["exito"] is solved
    assert all(isinstance(error, str) for error in eferencia.payload["errores"])
    if all(value not in (float("inf"), float("-inf")) for value in payload.values()):
        unstructure(eferencia.payload["acciones"])
