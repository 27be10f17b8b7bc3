"""What every FIA is: a name, a run state, and a way to reason."""

from __future__ import annotations

import abc
import copy
from collections.abc import Mapping
from typing import Any, ClassVar

from alephscript.aaia import AppFIA, Eferencia, FIAInfo, Percepto, RunState
from examples.aaia_runtime.mundo import Mundo

__all__ = ["FIA"]


class FIA(abc.ABC):
    """A small AI of one paradigm.

    Args:
        index: Its place in its session.
        described: Its entry in the app's catalogue.

    Attributes:
        run_state: What it is doing.
        cycles: How often it reasoned.
        aferencia: What reached it and waits to be reasoned about.
        ultima: Its last eferencia.
    """

    paradigma: ClassVar[str]
    capacidades: ClassVar[tuple[str, ...]]

    def __init__(self, index: int, described: AppFIA) -> None:
        self.index = index
        self.nombre = described.nombre
        self.run_async = bool(described.run_async)
        self.config: Mapping[str, Any] = copy.deepcopy(described.config or {})
        self.run_state = RunState.STOP
        self.cycles = 0
        self.aferencia: Percepto | None = None
        self.ultima: Eferencia | None = None

    @abc.abstractmethod
    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """One step: what this FIA puts out, given the mundo and what reached it.

        Runs in a worker thread, one step of a session at a time. The mundo is this step's own
        copy; what is changed in its modelo becomes the session's when the step is through.
        """

    def info(self) -> FIAInfo:
        """As the wire shows it."""
        return FIAInfo(
            index=self.index,
            nombre=self.nombre,
            paradigma=self.paradigma,
            run_state=self.run_state,
            run_async=self.run_async,
            capacidades=list(self.capacidades),
        )

    def report(self, mundo: Mundo, **rest: Any) -> dict[str, Any]:
        """The payload of an eferencia: who put it out and when, and the rest."""
        return {
            "fiaIndex": self.index,
            "nombre": self.nombre,
            "paradigma": self.paradigma,
            "ciclo": mundo.modelo["ciclo"] + 1,
            **rest,
        }
