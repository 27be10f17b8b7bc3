"""Production rules, by CLIPS."""

from __future__ import annotations

import json
import math
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
