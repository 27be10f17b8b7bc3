"""How FIAs run: their states, their steps, and the pulse of their mundo.

A FIA begins in STOP. PLAY runs it at each pulse of its mundo; PAUSE holds it; STOP ends its run,
and it may be played again. From the PLAY that begins a run to the STOP that ends it a run has a
number, by which whoever waits for its end finds it again after a restart. A single step is made in
PLAY_STEP, whatever the FIA did before, and leaves it in PAUSE: so it is with a FIA in PLAY, which
the step holds. Whoever changes the state while a step is made has the last word. The answer to a
step and FIA_STEP say the state that it was made in, MUNDO_STATE how things stand afterwards.

A day passes with each pulse, and only while a FIA is in PLAY. When the last day is over, the
FIAs stand in STOP for good. The steps of one session are made one by one, in worker threads;
sessions do not wait for each other. A step that has begun is made to its end, and told of, even
if whoever asked for it has been cancelled: a thread cannot be. The step of a FIA that thinks with a
model can: it is stopped by a STOP, and when its asker is gone. A session that was destroyed
meanwhile is told of no more.

What has happened is kept before it is told of, or answered.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import attrs
from anyio.abc import TaskGroup

from alephscript import StateError, aaia
from alephscript.aaia import Eferencia, Percepto, RunState
from examples.aaia_runtime.errors import InvalidState, SessionNotFound, StepStopped
from examples.aaia_runtime.fia import FIA, ThinkingFIA
from examples.aaia_runtime.mundo import Mundo
from examples.aaia_runtime.sessions import Now, SessionState
from examples.aaia_runtime.telling import RoomChange, Teller
from examples.aaia_runtime.thoughts import Attendant

__all__ = ["THOUGHTS", "THREADS", "FIAService", "Keep", "Ticker"]

THREADS = 8
"""How many sessions reason at once; the loop's other threads are not for us."""

THOUGHTS = 32
"""How many sessions think with a model at once."""

Keep = Callable[[SessionState], asyncio.Event | None]
"""Keeps how a session is; gives what is set when that cannot be lost any more."""

Ticker = Callable[[float], Awaitable[None]]

logger = logging.getLogger("aaia")


@attrs.define
class _Outcome:
    """What became of a step, for whoever asked for it and still waits."""

    known: anyio.Event = attrs.field(factory=anyio.Event)
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    result: aaia.StepResult | None = None
    error: Exception | None = None


class FIAService:
    """Changes states, makes steps and beats.

    Args:
        tasks: Where steps are made.
        teller: Is told what happened.
        keep: Keeps what happened.
        now: The clock of sessions.
        ticker: Waits so many seconds; the heart of the pulse.
    """

    def __init__(
        self, tasks: TaskGroup, teller: Teller, keep: Keep, now: Now, ticker: Ticker
    ) -> None:
        self._tasks = tasks
        self._teller = teller
        self._keep = keep
        self._now = now
        self._ticker = ticker
        self._threads = anyio.CapacityLimiter(THREADS)
        self._thoughts = anyio.CapacityLimiter(THOUGHTS)

    async def change(self, session: SessionState, fia: FIA, state: RunState) -> aaia.StateChange:
        """Play, hold or stop a FIA.

        Raises:
            InvalidState: The FIA, or its mundo, is past that.
        """
        if state is not RunState.STOP:
            session.require_life()
        if state is RunState.PAUSE and fia.run_state is RunState.STOP:
            raise InvalidState(f"{fia.nombre} is stopped; there is nothing to hold")
        before = fia.run_state
        fia.change(state)
        if state is RunState.PLAY:
            session.playing.set()
        if state is RunState.STOP and session.thinker is fia:
            session.thought.cancel()
        if before is not state:
            await self._tell(session, self._mundo_changed(session)).wait()
        return aaia.StateChange(fia_index=fia.index, previous_state=before, new_state=state)

    async def follow(self, session: SessionState, fia: FIA, run: int) -> AsyncIterator[int]:
        """Iterate over the cycles of a run until the run has ended, and that is kept.

        Each is the count of all cycles of the FIA; whoever is slow gets the last one.

        Raises:
            SessionNotFound: The session has been destroyed.
        """
        seen = fia.cycles
        while True:
            moved = session.moved
            if session.over:
                raise SessionNotFound(session.id)
            if fia.cycles != seen:
                seen = fia.cycles
                yield seen
            elif fia.ended_runs >= run:
                break
            else:
                await moved.wait()
        kept = self._keep(session)
        if kept is not None:
            await kept.wait()

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
            told = self._tell(
                session,
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

    async def step(
        self, session: SessionState, fia: FIA, attendant: Attendant | None = None
    ) -> aaia.StepResult:
        """Make a single step, for somebody.

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
        self._tasks.start_soon(self._single_step, session, fia, outcome, attendant)
        try:
            await outcome.known.wait()
        finally:
            outcome.scope.cancel()  # which a step that is made ends no more
        if outcome.error is not None:
            raise outcome.error
        if outcome.result is None:
            raise StateError("the runtime was closed during the step")
        return outcome.result

    async def _single_step(
        self, session: SessionState, fia: FIA, outcome: _Outcome, attendant: Attendant | None
    ) -> None:
        try:
            session.require_life()
            fia.change(RunState.PLAY_STEP)
            outcome.result = await self._reason(session, fia, outcome.scope, attendant)
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
                session.move()

    async def _pulse(self, session: SessionState) -> None:
        session.last_used_at = self._now()
        session.mundo.dawn()
        session.is_dawning = True
        for fia in session.fias:
            if fia.run_state is RunState.PLAY:
                try:
                    await self._reason(session, fia, anyio.CancelScope(), fia.attendant)
                except SessionNotFound:
                    return
                except StepStopped:
                    pass
                except Exception:
                    logger.exception("%s failed at a pulse and is held", fia.nombre)
        session.is_dawning = False
        if not session.mundo.vivo:
            session.mundo.end()
            session.stop()
            await self._tell(session, self._mundo_changed(session)).wait()

    async def _reason(
        self,
        session: SessionState,
        fia: FIA,
        scope: anyio.CancelScope,
        attendant: Attendant | None,
    ) -> aaia.StepResult:
        """Reason once and tell of it; the caller holds the session's turn."""
        # What reached it stays until the step is made: what is kept meanwhile has it still.
        aferencia = fia.aferencia
        made_in, began = fia.run_state, time.perf_counter()
        mundo = session.mundo.copy()
        try:
            if isinstance(fia, ThinkingFIA):
                thought = await self._think(session, fia, mundo, scope, attendant)
            else:
                thought = await anyio.to_thread.run_sync(
                    _reason, fia, mundo, aferencia, limiter=self._threads
                )
        except Exception:
            if not session.over:
                fia.aferencia = None
                _settle(fia, made_in, failed=True)
                await self._tell(session, self._mundo_changed(session)).wait()
            raise
        if session.over:
            raise SessionNotFound(session.id)
        took = (time.perf_counter() - began) * 1000
        session.mundo = mundo
        session.is_dawning = False
        fia.cycles += 1
        fia.aferencia = None
        eferencia, fia.memory = thought
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

    async def _think(
        self,
        session: SessionState,
        fia: ThinkingFIA,
        mundo: Mundo,
        scope: anyio.CancelScope,
        attendant: Attendant | None,
    ) -> tuple[Eferencia, Any]:
        async with self._thoughts:
            session.thinker, session.thought = fia, scope
            try:
                with scope:
                    eferencia = await fia.think(mundo, fia.aferencia, attendant)
                    mundo.receive(eferencia)
                    return eferencia, fia.remember()
            finally:
                session.thinker = None
        raise StepStopped(fia.nombre)

    def _tell(self, session: SessionState, *changes: RoomChange) -> anyio.Event:
        """Keep how a session is, tell of what has happened, and wake whoever waits for it."""
        session.move()
        return self._teller.tell(*changes, kept=self._keep(session))

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
        await self._tell(session, step, emitted, self._mundo_changed(session)).wait()

    def _mundo_changed(self, session: SessionState) -> aaia.MundoChanged:
        return aaia.MundoChanged(
            session_id=session.id, mundo=session.mundo_state(), timestamp=self._now()
        )


def _reason(fia: FIA, mundo: Mundo, aferencia: Percepto | None) -> tuple[Eferencia, Any]:
    eferencia = fia.reason(mundo, aferencia)
    mundo.receive(eferencia)
    return eferencia, fia.remember()


def _settle(fia: FIA, made_in: RunState, *, failed: bool = False) -> None:
    """What a step leaves its FIA in, unless somebody else has decided that meanwhile."""
    if fia.run_state is made_in and (failed or made_in is RunState.PLAY_STEP):
        fia.change(RunState.PAUSE)
