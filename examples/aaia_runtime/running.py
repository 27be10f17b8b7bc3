"""How FIAs run: their states, their steps, and the pulse of their mundo.

A FIA begins in STOP. PLAY runs it at each pulse of its mundo; PAUSE holds it; STOP ends its run,
and it may be played again. A single step is made in PLAY_STEP, whatever the FIA did before, and
leaves it in PAUSE: so it is with a FIA in PLAY, which the step takes out of its run. Whoever
changes the state while a step is made has the last word. The answer to a step and FIA_STEP say
the state that it was made in, MUNDO_STATE how things stand afterwards.

A day passes with each pulse, and only while a FIA is in PLAY. When the last day is over, the
FIAs stand in STOP for good. The steps of one session are made one by one, in worker threads;
sessions do not wait for each other. A step that has begun is made to its end, and told of, even
if whoever asked for it has been cancelled: a thread cannot be. A session that was destroyed
meanwhile is told of no more.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
import attrs
from anyio.abc import TaskGroup

from alephscript import StateError, aaia
from alephscript.aaia import Eferencia, Percepto, RunState
from examples.aaia_runtime.errors import InvalidState, SessionNotFound
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.mundo import Mundo
from examples.aaia_runtime.sessions import Now, SessionState
from examples.aaia_runtime.telling import Teller

__all__ = ["THREADS", "FIAService", "Ticker"]

THREADS = 8
"""How many sessions reason at once; the loop's other threads are not for us."""

Ticker = Callable[[float], Awaitable[None]]

logger = logging.getLogger("aaia")


@attrs.define
class _Outcome:
    """What became of a step, for whoever asked for it and still waits."""

    known: anyio.Event = attrs.field(factory=anyio.Event)
    result: aaia.StepResult | None = None
    error: Exception | None = None


class FIAService:
    """Changes states, makes steps and beats.

    Args:
        tasks: Where steps are made.
        teller: Is told what happened.
        now: The clock of sessions.
        ticker: Waits so many seconds; the heart of the pulse.
    """

    def __init__(self, tasks: TaskGroup, teller: Teller, now: Now, ticker: Ticker) -> None:
        self._tasks = tasks
        self._teller = teller
        self._now = now
        self._ticker = ticker
        self._threads = anyio.CapacityLimiter(THREADS)

    async def change(self, session: SessionState, fia: FIA, state: RunState) -> aaia.StateChange:
        """Play, hold or stop a FIA.

        Raises:
            InvalidState: The FIA, or its mundo, is past that.
        """
        if state is not RunState.STOP:
            session.require_life()
        if state is RunState.PAUSE and fia.run_state is RunState.STOP:
            raise InvalidState(f"{fia.nombre} is stopped; there is nothing to hold")
        before, fia.run_state = fia.run_state, state
        if state is RunState.PLAY:
            session.playing.set()
        if before is not state:
            await self._teller.tell(self._mundo_changed(session)).wait()
        return aaia.StateChange(fia_index=fia.index, previous_state=before, new_state=state)

    async def perceive(self, session: SessionState, percepto: Percepto) -> list[int]:
        """Stimulate a mundo.

        Returns:
            The indexes of the FIAs that it reached.

        Raises:
            InvalidState: The mundo is over.
        """
        async with session.turn:
            session.require_life()
            session.mundo.perceive(percepto)
            for fia in session.fias:
                fia.aferencia = copy.deepcopy(percepto)
            reached = [fia.index for fia in session.fias]
            told = self._teller.tell(
                aaia.PerceptoSent(
                    session_id=session.id,
                    percepto=percepto,
                    processed_by=reached,
                    timestamp=self._now(),
                ),
                self._mundo_changed(session),
            )
        await told.wait()
        return reached

    async def step(self, session: SessionState, fia: FIA) -> aaia.StepResult:
        """Make a single step.

        Raises:
            InvalidState: The mundo is over.
        """
        await session.turn.acquire()
        try:
            session.require_life()
        except BaseException:
            # Given back, or whoever waits behind would wait for ever. No task could do that: a
            # session may be over because the runtime is.
            session.turn.release()
            raise
        outcome = _Outcome()
        # In a task of its own: a deadline that cancels the asker's would leave the thread
        # reasoning, and the next step would begin beside it.
        self._tasks.start_soon(self._single_step, session, fia, outcome)
        await outcome.known.wait()
        if outcome.error is not None:
            raise outcome.error
        if outcome.result is None:
            raise StateError("the runtime was closed during the step")
        return outcome.result

    async def _single_step(self, session: SessionState, fia: FIA, outcome: _Outcome) -> None:
        try:
            session.require_life()
            fia.run_state = RunState.PLAY_STEP
            outcome.result = await self._reason(session, fia)
        except Exception as error:  # noqa: BLE001 - it is the asker's
            outcome.error = error
        finally:
            session.turn.release()
            outcome.known.set()

    async def live(self, session: SessionState) -> None:
        """Beat for one session until its mundo or itself is over."""
        with session.life:
            try:
                while session.mundo.vivo:
                    await session.playing.wait()
                    await self._ticker(session.mundo.pulso)
                    async with session.turn:
                        if session.any_playing():
                            await self._pulse(session)
                        else:
                            session.playing = anyio.Event()
            except Exception:
                # A mundo that a FIA or its app has spoilt is no other session's concern.
                logger.exception("the pulse of session %s has ended", session.id)
                session.stop()

    async def _pulse(self, session: SessionState) -> None:
        session.last_used_at = self._now()
        session.mundo.dawn()
        for fia in session.fias:
            if fia.run_state is RunState.PLAY:
                try:
                    await self._reason(session, fia)
                except SessionNotFound:
                    return
                except Exception:
                    logger.exception("%s failed at a pulse and is held", fia.nombre)
        if not session.mundo.vivo:
            session.mundo.end()
            session.stop()
            await self._teller.tell(self._mundo_changed(session)).wait()

    async def _reason(self, session: SessionState, fia: FIA) -> aaia.StepResult:
        """Reason once and tell of it; the caller holds the session's turn."""
        aferencia, fia.aferencia = fia.aferencia, None
        made_in, began = fia.run_state, time.perf_counter()
        mundo = session.mundo.copy()
        try:
            eferencia = await anyio.to_thread.run_sync(
                _think, fia, mundo, aferencia, limiter=self._threads
            )
        except Exception:
            if not session.over:
                _settle(fia, made_in, failed=True)
                await self._teller.tell(self._mundo_changed(session)).wait()
            raise
        if session.over:
            raise SessionNotFound(session.id)
        took = (time.perf_counter() - began) * 1000
        session.mundo = mundo
        fia.cycles += 1
        fia.ultima = eferencia
        _settle(fia, made_in)
        result = aaia.StepResult(
            fia_index=fia.index,
            run_state=made_in,
            cycles=fia.cycles,
            eferencia=eferencia,
            execution_time_ms=round(took, 3),
        )
        await self._tell_step(session, result)
        return result

    async def _tell_step(self, session: SessionState, result: aaia.StepResult) -> None:
        now = self._now()
        step = aaia.FIAStep(
            session_id=session.id,
            fia_index=result.fia_index,
            eferencia=result.eferencia,
            run_state=result.run_state,
            ciclo=session.mundo.modelo["ciclo"],
            timestamp=now,
        )
        emitted = aaia.EferenciaEmitted(
            session_id=session.id,
            fia_index=result.fia_index,
            eferencia=result.eferencia,
            timestamp=now,
        )
        await self._teller.tell(step, emitted, self._mundo_changed(session)).wait()

    def _mundo_changed(self, session: SessionState) -> aaia.MundoChanged:
        return aaia.MundoChanged(
            session_id=session.id, mundo=session.mundo_state(), timestamp=self._now()
        )


def _think(fia: FIA, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
    eferencia = fia.reason(mundo, aferencia)
    mundo.receive(eferencia)
    return eferencia


def _settle(fia: FIA, made_in: RunState, *, failed: bool = False) -> None:
    """What a step leaves its FIA in, unless somebody else has decided that meanwhile."""
    if fia.run_state is made_in and (failed or made_in is RunState.PLAY_STEP):
        fia.run_state = RunState.PAUSE
