"""Situated action: an automaton whose state is the mundo's, by transitions."""

from __future__ import annotations

from typing import Any

from transitions import Machine

from alephscript.aaia import AppFIA, Eferencia, Percepto, TipoEferencia
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.mundo import Mundo

__all__ = ["FIASituada"]

TICK = "pulso"
"""The trigger of a step that nothing reached."""


class FIASituada(FIA):
    """Takes the modelo's ``estado`` as its own, makes a transition and feeds it back.

    ``config`` has ``estados`` and ``transiciones`` ``[{trigger, source, dest}]``. The trigger is
    the percepto's ``payload.evento``, ``pulso`` when nothing reached it. A mundo in a state that
    the automaton does not know is taken to be in its first.
    """

    paradigma = "situada"
    capacidades = ("evento",)

    def __init__(self, index: int, described: AppFIA) -> None:
        super().__init__(index, described)
        self._states = list(self.config["estados"])
        self._situation = _Situation()
        self._machine = Machine(
            model=self._situation,
            model_attribute="estado",
            states=self._states,
            initial=self._states[0],
            transitions=[dict(each) for each in self.config["transiciones"]],
            auto_transitions=False,
        )

    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """Make the transition that the mundo's state and the event allow, if any."""
        before = mundo.modelo["estado"]
        if before not in self._states:
            before = self._states[0]
        trigger = aferencia.payload.get("evento", TICK) if aferencia else TICK
        self._machine.set_state(before, self._situation)
        moved = self._fire(trigger, before)
        mundo.modelo["estado"] = self._situation.estado
        transition = {"transicion": trigger, "antes": before, "despues": self._situation.estado}
        return Eferencia(
            tipo=TipoEferencia.ACCION if moved else TipoEferencia.NOOP,
            payload=self.report(
                mundo,
                acciones=[{"tipo": "transicion", "payload": transition}] if moved else [],
                meta={**transition, "paradigma": self.paradigma},
                errores=[],
                exito=moved,
            ),
        )

    def _fire(self, trigger: Any, source: str) -> bool:
        event = self._machine.events.get(trigger) if isinstance(trigger, str) else None
        # Asked first: a machine that is told to ignore such a trigger logs a warning each time.
        if event is None or not self._machine.get_transitions(trigger, source):
            return False
        return bool(event.trigger(self._situation))


class _Situation:
    """What the machine moves."""

    estado: str
