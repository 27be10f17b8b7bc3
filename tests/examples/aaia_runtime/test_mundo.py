"""The mundo: its model, its days and what can be found in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from alephscript import ContractError
from alephscript.aaia import Eferencia, MundoConfig, Percepto, TipoEferencia, TipoPercepto
from examples.aaia_runtime.errors import PathNotFound, PerceptoTooDeep, PerceptoTooLarge
from examples.aaia_runtime.mundo import (
    EL_MUNDO_ACABARA,
    MAX_BYTES,
    MAX_NESTING,
    Mundo,
    look_up,
)


def make(**modelo: Any) -> Mundo:
    """A mundo whose app says so."""
    return Mundo(MundoConfig("Edén", modelo, "texto"))


def percepto(payload: dict[str, Any]) -> Percepto:
    """A percepto of that payload."""
    return Percepto(tipo=TipoPercepto.SENSOR, payload=payload)


def nested(levels: int) -> dict[str, Any]:
    """A payload of so many levels."""
    payload: dict[str, Any] = {}
    for _ in range(levels - 1):
        payload = {"a": payload}
    return payload


def test_begins_as_upstreams_does() -> None:
    """Day 0, no cycle, and a name."""
    modelo = make().modelo
    assert (modelo["nombre"], modelo["dia"], modelo["ciclo"]) == ("Edén", 0, 0)
    assert modelo["dominio"] == {"base": []}
    assert make().vivo


def test_the_app_and_over_it_the_runtime_say_what_it_begins_with() -> None:
    """Demos are slow, tests are not."""
    config = MundoConfig("m", {"muerte": 5, "pulso": 70}, "texto")
    modelo = Mundo(config, {"pulso": 1}).modelo
    assert (modelo["muerte"], modelo["pulso"]) == (5, 1)


def test_two_mundos_share_nothing() -> None:
    """Neither with each other nor with what they were made from."""
    config = MundoConfig("m", {"cosas": []}, "texto")
    first, second = Mundo(config), Mundo(config)
    first.modelo["cosas"].append(1)
    first.modelo["dominio"]["base"].append(1)
    assert (second.modelo["cosas"], second.modelo["dominio"]) == ([], {"base": []})
    assert config.modelo_inicial == {"cosas": []}


def test_a_copy_goes_its_own_way() -> None:
    """It begins where the other stands."""
    mundo = make()
    mundo.dawn()
    other = mundo.copy()
    other.dawn()
    other.modelo["dominio"]["base"].append(1)
    assert (mundo.modelo["dia"], other.modelo["dia"]) == (1, 2)
    assert mundo.modelo["dominio"] == {"base": []}


def test_lives_while_a_day_is_left() -> None:
    """The day of its death is not one of its days."""
    mundo = make(muerte=2)
    alive = []
    for _ in range(2):
        mundo.dawn()
        alive.append(mundo.vivo)
    assert alive == [True, False]
    mundo.end()
    assert mundo.modelo["estado"] == EL_MUNDO_ACABARA


def test_keeps_the_last_percepto_and_eferencia_and_counts_both() -> None:
    """As the wire spells them."""
    mundo = make()
    mundo.perceive(percepto({"x": 1}))
    mundo.receive(Eferencia(tipo=TipoEferencia.NOOP, payload={"y": 2}))
    assert mundo.modelo["ciclo"] == 2
    assert mundo.modelo["ultimoPercepto"] == {"tipo": "sensor", "payload": {"x": 1}}
    assert mundo.modelo["ultimaEferencia"] == {"tipo": "noop", "payload": {"y": 2}}


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"x": float("nan")}, ContractError),
        (nested(MAX_NESTING + 1), PerceptoTooDeep),
        ({"x": "a" * MAX_BYTES}, PerceptoTooLarge),
        ({"x": "\1" * (MAX_BYTES // 6)}, PerceptoTooLarge),
        ({"x": "ñ" * (MAX_BYTES // 2)}, PerceptoTooLarge),
    ],
)
def test_what_cannot_be_told_of_changes_nothing(
    payload: dict[str, Any], error: type[Exception]
) -> None:
    """A mundo that keeps it could not be sent to anybody."""
    mundo = make()
    with pytest.raises(error):
        mundo.perceive(percepto(payload))
    assert mundo.modelo["ciclo"] == 0
    assert "ultimoPercepto" not in mundo.modelo


def test_a_percepto_may_be_nested_up_to_the_bound() -> None:
    """Lists count as objects do."""
    mundo = make()
    mundo.perceive(percepto(nested(MAX_NESTING)))
    with pytest.raises(PerceptoTooDeep) as caught:
        mundo.perceive(percepto({"x": [nested(MAX_NESTING - 1)]}))
    assert caught.value.code == "invalid_payload"


WHOLE = {"modelo": {"ciclo": 3, "base": ["a", {"b": None}], "": 0}, "vivo": True}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("*", WHOLE),
        ("modelo.ciclo", 3),
        ("modelo.base.0", "a"),
        ("modelo.base.1.b", None),
        ("modelo.", 0),
        ("vivo", True),
    ],
)
def test_finds_what_stands_at_a_path(path: str, found: Any) -> None:
    """Keys of objects and places in lists, a dot between them."""
    assert look_up(WHOLE, path) == found


@given(path=st.text(alphabet=".*-0129modelbase", max_size=20) | st.text())
@example(path="modelo.base." + "9" * 5000)
@example(path="modelo.base.2")
@example(path="modelo.base.-1")
@example(path="vivo.real")
@example(path="modelo.base.1.b.c")
def test_any_other_path_is_not_found(path: str) -> None:
    """No text raises anything else."""
    try:
        look_up(WHOLE, path)
    except PathNotFound as error:
        assert path in error.message  # noqa: PT017 - a path may as well be found
