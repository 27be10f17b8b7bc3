"""What every FIA is: a name, a run state, and a way to reason."""

from __future__ import annotations

import abc
import copy
from collections.abc import Mapping
from typing import Any, ClassVar

from alephscript.aaia import AppFIA, Eferencia, FIAInfo, Percepto, RunState
from examples.aaia_runtime.mundo import Mundo
from examples.aaia_runtime.thoughts import Attendant

__all__ = ["FIA", "ThinkingFIA"]


class FIA(abc.ABC):
    """A small AI of one paradigm.

    Args:
        index: Its place in its session.
        described: Its entry in the app's catalogue.

    Attributes:
        run_state: What it is doing.
        runs: How often a run of it has begun: a PLAY out of STOP begins one.
        ended_runs: How many of them have ended, by a STOP; `runs`, or one less.
        cycles: How often it reasoned.
        aferencia: What reached it and waits to be reasoned about.
        ultima: Its last eferencia.
        memory: What its engine had to be reminded of after its last step, JSON.
        attendant: Whoever its runs are for; None if for nobody in particular.
    """

    paradigma: ClassVar[str]
    capacidades: ClassVar[tuple[str, ...]]

    def __init__(self, index: int, described: AppFIA) -> None:
        self.index = index
        self.nombre = described.nombre
        self.run_async = bool(described.run_async)
        self.config: Mapping[str, Any] = copy.deepcopy(described.config or {})
        self.run_state = RunState.STOP
        self.runs = self.ended_runs = 0
        self.cycles = 0
        self.aferencia: Percepto | None = None
        self.ultima: Eferencia | None = None
        self.memory: Any = None
        self.attendant: Attendant | None = None

    @abc.abstractmethod
    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """One step: what this FIA puts out, given the mundo and what reached it.

        Runs in a worker thread, one step of a session at a time. The mundo is this step's own
        copy; what is changed in its modelo becomes the session's when the step is through.
        """

    def remember(self) -> Any:
        """What its engine has to be reminded of after a restart, JSON; None if of nothing.

        Called after `reason`, in the same thread.
        """
        return None

    def remind(self, memory: Any) -> None:  # noqa: B027 - most have nothing to be reminded of
        """Bring a fresh engine to where another one was when `remember` gave this."""

    @property
    def next_run(self) -> int:
        """The number of the run that a PLAY begins, or goes on with."""
        return self.ended_runs + 1

    def change(self, state: RunState) -> None:
        """Play, hold or stop."""
        self.run_state = state
        if state is RunState.PLAY:
            self.runs = self.next_run
        elif state is RunState.STOP:
            self.ended_runs = self.runs

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


class ThinkingFIA(FIA):
    """A FIA whose steps wait for others rather than for a processor.

    Its step can be stopped: by a STOP, and by whoever asked for it and waits no more.
    """

    @abc.abstractmethod
    async def think(
        self, mundo: Mundo, aferencia: Percepto | None, attendant: Attendant | None
    ) -> Eferencia:
        """One step, as `FIA.reason`, on the event loop.

        Args:
            mundo: As in `FIA.reason`.
            aferencia: As in `FIA.reason`.
            attendant: Whoever the step is made for, None if nobody in particular.
        """

    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """Not how this FIA does it."""
        raise NotImplementedError
