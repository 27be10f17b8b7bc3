"""FIASituada moves the mundo's state by its automaton."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from alephscript.aaia import AppFIA, Eferencia, MundoConfig, Percepto, TipoEferencia, TipoPercepto
from examples.aaia_runtime.apps import AppsService
from examples.aaia_runtime.mundo import Mundo
from examples.aaia_runtime.situada import FIASituada

STATES = ["inicio", "explora", "esquiva", "descansa"]


def demo() -> FIASituada:
    """The FIA of demo-situada."""
    apps = AppsService()
    (fia,) = apps.make_fias(apps.app("demo-situada"))
    assert isinstance(fia, FIASituada)
    return fia


def mundo(estado: Any) -> Mundo:
    """A mundo in that state."""
    return Mundo(MundoConfig("m", {"estado": estado}, "texto"))


def reason(fia: FIASituada, where: Mundo, evento: Any = None) -> Eferencia:
    """What it puts out when that event reaches it."""
    if evento is None:
        return fia.reason(where, None)
    return fia.reason(where, Percepto(tipo=TipoPercepto.EVENTO, payload={"evento": evento}))


def test_makes_the_transition_and_feeds_it_back() -> None:
    """The mundo is in the new state."""
    where = mundo("explora")
    eferencia = reason(demo(), where, "obstaculo")
    assert where.modelo["estado"] == "esquiva"
    assert eferencia.tipo is TipoEferencia.ACCION
    assert eferencia.payload["exito"] is True
    (action,) = eferencia.payload["acciones"]
    moved = {"transicion": "obstaculo", "antes": "explora", "despues": "esquiva"}
    assert action == {"tipo": "transicion", "payload": moved}


def test_the_state_is_the_mundos_not_its_own() -> None:
    """The same FIA in another mundo goes on from that one's state."""
    fia, tired = demo(), mundo("descansa")
    reason(fia, mundo("explora"), "obstaculo")
    reason(fia, tired, "amanecer")
    assert tired.modelo["estado"] == "explora"


def test_a_step_that_nothing_reached_is_a_pulse() -> None:
    """Time passes."""
    where = mundo("inicio")
    reason(demo(), where)
    assert where.modelo["estado"] == "explora"


@pytest.mark.parametrize("evento", ["", "amanecer", "unknown", 7, ["obstaculo"], {"a": 1}])
def test_an_event_that_does_not_apply_is_a_noop(evento: Any) -> None:
    """The mundo stays as it is."""
    where = mundo("explora")
    eferencia = reason(demo(), where, evento)
    assert (eferencia.tipo, where.modelo["estado"]) == (TipoEferencia.NOOP, "explora")


@pytest.mark.parametrize("estado", ["nowhere", None, ["explora"]])
def test_an_unknown_state_is_taken_for_the_first(estado: Any) -> None:
    """An automaton is always somewhere."""
    where = mundo(estado)
    reason(demo(), where, "nothing")
    assert where.modelo["estado"] == "inicio"


def test_reflexive_and_internal_transitions_are_the_engines() -> None:
    """``=`` and no destination mean what transitions has them mean."""
    fia = FIASituada(
        0,
        AppFIA(
            "f",
            "situada",
            "FIASituada",
            config={
                "estados": ["a", "b"],
                "transiciones": [
                    {"trigger": "otra vez", "source": "*", "dest": "="},
                    {"trigger": "dentro", "source": "*", "dest": None},
                ],
            },
        ),
    )
    for evento in ("otra vez", "dentro"):
        where = mundo("b")
        assert reason(fia, where, evento).tipo is TipoEferencia.ACCION
        assert where.modelo["estado"] == "b"


@given(
    eventos=st.lists(
        st.none()
        | st.sampled_from(["pulso", "obstaculo", "noche", "amanecer", "", "x"])
        | st.integers()
    )
)
def test_is_always_in_a_state_that_it_knows(eventos: list[Any]) -> None:
    """Whatever happens, in whatever order."""
    fia, where = demo(), mundo("inicio")
    for evento in eventos:
        before = where.modelo["estado"]
        eferencia = reason(fia, where, evento)
        assert where.modelo["estado"] in STATES
        if eferencia.tipo is TipoEferencia.NOOP:
            assert where.modelo["estado"] == before
