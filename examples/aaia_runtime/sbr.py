"""Production rules, by CLIPS."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import clips

from alephscript.aaia import AppFIA, Eferencia, Percepto, TipoEferencia
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.mundo import Mundo

__all__ = ["FIASBR", "MAX_FIRINGS"]

MAX_FIRINGS = 1000
"""Rules fired in one step; a program that feeds itself for ever is ended here."""

_TEMPLATES = (
    "(deftemplate percepto (slot tipo) (slot clave) (slot valor))",
    "(deftemplate accion (slot nombre) (slot detalle (default nil)))",
)


class FIASBR(FIA):
    """Fires rules over what it perceived.

    Each key of a percepto's payload is a fact ``(percepto (tipo …) (clave …) (valor …))`` that
    stays until the key comes again. ``config["reglas"]`` is a list of CLIPS constructs; what
    they assert as ``(accion (nombre …) (detalle …))`` is the eferencia. It is an accion if rules
    fired, whether they asserted one or not.
    """

    paradigma = "sbr"
    capacidades = ("reglas", "percepto")

    def __init__(self, index: int, described: AppFIA) -> None:
        super().__init__(index, described)
        self._engine = clips.Environment()
        for construct in (*_TEMPLATES, *self.config.get("reglas", ())):
            self._engine.build(construct)

    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """Assert what reached it, fire, and collect the actions."""
        if aferencia is not None:
            self._perceive(aferencia)
        fired = self._engine.run(MAX_FIRINGS)
        actions = []
        for fact in self._facts("accion"):
            payload = {"detalle": _plain(fact["detalle"])}
            actions.append({"tipo": _plain(fact["nombre"]), "payload": payload})
            fact.retract()
        errors = []
        if fired == MAX_FIRINGS and any(self._engine.activations()):
            errors.append(f"the rules would fire more than {MAX_FIRINGS} times")
        return Eferencia(
            tipo=TipoEferencia.ACCION if fired else TipoEferencia.NOOP,
            payload=self.report(
                mundo,
                acciones=actions,
                meta={"disparos": fired, "paradigma": self.paradigma},
                errores=errors,
                exito=fired > 0 and not errors,
            ),
        )

    def remember(self) -> dict[str, list[Any]]:
        """Its facts, and which rules have still to fire because of which of them."""
        facts = list(self._engine.facts())
        place = {fact.index: number for number, fact in enumerate(facts)}
        return {
            "hechos": [str(fact) for fact in facts],
            "agenda": [_activation(each, place) for each in self._engine.activations()],
        }

    def remind(self, memory: dict[str, list[Any]]) -> None:
        """Have the same facts, and forget which rules have fired because of them already."""
        for fact in list(self._engine.facts()):
            fact.retract()
        facts = [self._engine.assert_string(text) for text in memory["hechos"]]
        place = {fact.index: number for number, fact in enumerate(facts)}
        for each in list(self._engine.activations()):
            if _activation(each, place) not in memory["agenda"]:
                each.delete()

    def _facts(self, template: str) -> list[Any]:
        return [fact for fact in self._engine.facts() if fact.template.name == template]

    def _perceive(self, percepto: Percepto) -> None:
        perceived = {_text(key): _as_fact(value) for key, value in percepto.payload.items()}
        for fact in self._facts("percepto"):
            if fact["clave"] in perceived:
                fact.retract()
        template = self._engine.find_template("percepto")
        for key, value in perceived.items():
            template.assert_fact(tipo=clips.Symbol(percepto.tipo.value), clave=key, valor=value)


def _activation(activation: Any, place: Mapping[int, int]) -> list[Any]:
    """A rule that has to fire, and the places of its facts; CLIPS writes ``0 rule: f-1,*,f-3``."""
    _, _, basis = str(activation).rpartition(":")
    indexes = [int(index) for index in re.findall(r"f-(\d+)", basis)]
    return [activation.name, [place.get(index, index) for index in indexes]]


def _as_fact(value: Any) -> Any:
    if isinstance(value, bool):
        return clips.Symbol("TRUE" if value else "FALSE")
    if value is None:
        return clips.Symbol("nil")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return json.dumps(value)


def _text(value: str) -> str:
    # CLIPS ends a string at NUL, and takes UTF-8, which a lone surrogate does not have.
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, clips.Symbol):
        return {"TRUE": True, "FALSE": False, "nil": None}.get(str(value), str(value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float) else str(value)
