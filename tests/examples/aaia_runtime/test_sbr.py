"""FIASBR fires production rules over what it perceived."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from alephscript.aaia import AppFIA, Eferencia, MundoConfig, Percepto, TipoEferencia, TipoPercepto
from alephscript.contracts import unstructure
from examples.aaia_runtime.apps import AppsService
from examples.aaia_runtime.mundo import Mundo
from examples.aaia_runtime.sbr import FIASBR, MAX_FIRINGS

ECHO = """(defrule eco (percepto (clave ?clave) (valor ?valor))
            => (assert (accion (nombre ?clave) (detalle ?valor))))"""


def demo() -> FIASBR:
    """The FIA of demo-sbr."""
    apps = AppsService()
    (fia,) = apps.make_fias(apps.app("demo-sbr"))
    assert isinstance(fia, FIASBR)
    return fia


def make(*reglas: str) -> FIASBR:
    """A FIA with those rules."""
    return FIASBR(0, AppFIA("SBRFIA", "sbr", "FIASBR", config={"reglas": list(reglas)}))


def reason(fia: FIASBR, payload: dict[str, Any] | None = None) -> Eferencia:
    """What it puts out when that reaches it, or nothing does."""
    percepto = Percepto(tipo=TipoPercepto.SENSOR, payload=payload) if payload is not None else None
    return fia.reason(Mundo(MundoConfig("m", {}, "texto")), percepto)


def actions(eferencia: Eferencia) -> dict[str, Any]:
    """The actions by name."""
    found = eferencia.payload["acciones"]
    return {action["tipo"]: action["payload"]["detalle"] for action in found}


def test_a_rule_that_fires_is_an_accion() -> None:
    """What the rule asserts is what the FIA does."""
    eferencia = reason(demo(), {"temperatura": 40})
    assert eferencia.tipo is TipoEferencia.ACCION
    assert eferencia.payload["exito"] is True
    assert eferencia.payload["meta"]["disparos"] == 1
    assert actions(eferencia) == {"ventilar": 40}


@pytest.mark.parametrize("payload", [None, {}, {"temperatura": 20}, {"otra": 99}])
def test_where_no_rule_fires_it_is_a_noop(payload: dict[str, Any] | None) -> None:
    """Nothing to do is nothing done."""
    eferencia = reason(demo(), payload)
    assert eferencia.tipo is TipoEferencia.NOOP
    assert (eferencia.payload["acciones"], eferencia.payload["exito"]) == ([], False)


def test_rules_fire_on_what_rules_asserted() -> None:
    """Heat and smoke together are a reason to leave."""
    eferencia = reason(demo(), {"temperatura": 40, "humo": True})
    assert actions(eferencia) == {"ventilar": 40, "alarma": None, "evacuar": None}


def test_what_was_perceived_stays_until_it_is_perceived_anew() -> None:
    """Two perceptos make one picture."""
    fia = make(
        """(defrule ambos (percepto (clave "a") (valor ?a)) (percepto (clave "b") (valor ?b))
             => (assert (accion (nombre suma) (detalle (+ ?a ?b)))))"""
    )
    assert reason(fia, {"a": 1}).tipo is TipoEferencia.NOOP
    assert actions(reason(fia, {"b": 2})) == {"suma": 3}
    assert reason(fia).tipo is TipoEferencia.NOOP
    assert actions(reason(fia, {"a": 40})) == {"suma": 42}
    assert len(reason(fia, {"b": 3}).payload["acciones"]) == 1


def test_a_rule_that_fires_without_an_action_is_still_an_accion() -> None:
    """It may have changed what the FIA knows."""
    fia = make('(defrule nota (percepto (clave "x")) => (assert (visto x)))')
    eferencia = reason(fia, {"x": 1})
    assert (eferencia.tipo, eferencia.payload["acciones"]) == (TipoEferencia.ACCION, [])


def test_halt_ends_the_step() -> None:
    """The rules have the last word about their run."""
    fia = make(
        "(defrule alto (declare (salience 10)) (percepto) => (halt))",
        "(defrule nunca (percepto) => (assert (accion (nombre nunca))))",
    )
    assert actions(reason(fia, {"x": 1})) == {}


def test_rules_that_feed_themselves_end_in_an_error() -> None:
    """A step has an end."""
    fia = make(
        "(defrule empieza (percepto) => (assert (n 0)))",
        "(defrule sigue ?f <- (n ?n) => (retract ?f) (assert (n (+ ?n 1))))",
    )
    payload = reason(fia, {"x": 1}).payload
    assert payload["errores"] == [f"the rules would fire more than {MAX_FIRINGS} times"]
    assert payload["exito"] is False


def test_rules_may_fire_up_to_the_bound() -> None:
    """The last firing allowed is no error."""
    fia = make(
        "(defrule empieza (percepto) => (assert (n 1)))",
        f"""(defrule sigue ?f <- (n ?n&:(< ?n {MAX_FIRINGS}))
              => (retract ?f) (assert (n (+ ?n 1))))""",
    )
    payload = reason(fia, {"x": 1}).payload
    assert (payload["meta"]["disparos"], payload["errores"]) == (MAX_FIRINGS, [])


def test_two_fias_have_two_engines() -> None:
    """What one perceived the other did not."""
    first, second = make(ECHO), make(ECHO)
    reason(first, {"x": 1})
    assert reason(second).tipo is TipoEferencia.NOOP


@given(
    payload=st.dictionaries(
        st.text(),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.lists(st.integers()),
        max_size=5,
    )
)
@example(payload={'") (halt) (defrule x => (assert (accion (nombre "no"': '")) (exit)'})
@example(payload={"\ud800": "\ud800", "a\0b": "c\0d"})
@example(payload={"x": 2**70, "y": -(2**63), "z": float("inf")})
def test_what_is_perceived_is_data_whatever_it_looks_like(payload: dict[str, Any]) -> None:
    """Each value comes back as it went in; none is read as a construct."""
    eferencia = reason(make(ECHO), payload)
    unstructure(eferencia)
    echoed = actions(eferencia)
    assert len(echoed) <= len(payload)
    for key, value in payload.items():
        if "\0" in key or any("\ud800" <= each <= "\udfff" for each in key):
            continue
        got = echoed[key]
        if isinstance(value, list) or (isinstance(value, int) and abs(value) >= 2**63):
            assert got == json.dumps(value)
        elif isinstance(value, str):
            assert (
                got.replace("\ufffd", "?")
                == value.replace("\0", "?").replace("\ufffd", "?").encode(errors="replace").decode()
            )
        elif value in (float("inf"), float("-inf")):
            assert got == str(value)
        else:
            assert got == value
