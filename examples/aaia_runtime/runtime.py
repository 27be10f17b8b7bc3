"""`Runtime`: one method a capability of the AAIA contract, and the pulse that runs PLAY.

The states of a FIA. It begins in STOP. PLAY runs it at each pulse of its mundo; PAUSE holds it;
STOP ends its run, and it may be played again. A single step is made in PLAY_STEP and leaves the
FIA in PAUSE, unless it was in PLAY, where it stays. When the mundo's last day is over, all its
FIAs stand in STOP for good.

Days pass only while a FIA is in PLAY. The steps of one session are made one by one, in a worker
thread; sessions do not wait for each other.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.to_thread

from alephscript import aaia
from alephscript.aaia import AppInfo, RunState
from alephscript.contracts import encode
from examples.aaia_runtime.apps import DEMOS, AppsService
from examples.aaia_runtime.errors import InvalidState
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.sessions import Now, SessionService, SessionState, utc_now

__all__ = ["RoomChange", "Runtime", "Tell"]

RoomChange = (
    aaia.SessionCreated
    | aaia.SessionDestroyed
    | aaia.FIAStep
    | aaia.EferenciaEmitted
    | aaia.MundoChanged
    | aaia.PerceptoSent
)
"""What the room is told."""

Tell = Callable[[RoomChange], Awaitable[None]]
Ticker = Callable[[float], Awaitable[None]]

logger = logging.getLogger("aaia")

_SWEEP = 60.0
"""Seconds between two looks for idle sessions."""


class Runtime:
    """Apps, sessions and their FIAs; use it as an async context manager.

    Args:
        tell: Called with everything that the room should know, in order.
        apps: The catalogue.
        now: The clock of sessions.
        ticker: Waits so many seconds; the heart of the pulse.
    """

    def __init__(
        self,
        *,
        tell: Tell,
        apps: Iterable[AppInfo] = DEMOS,
        now: Now = utc_now,
        ticker: Ticker = anyio.sleep,
    ) -> None:
        self._tell = tell
        self._apps = AppsService(apps)
        self._sessions = SessionService(now)
        self._now = now
        self._ticker = ticker
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._sweep)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        # Not told of the exception: a task group would wrap it.
        await self._tasks.__aexit__(None, None, None)

    async def list_apps(self) -> aaia.Apps:
        """The apps that sessions can be made of."""
        apps = self._apps.list_apps()
        return aaia.Apps(apps=apps, count=len(apps))

    async def create_session(self, app_id: str) -> aaia.SessionOpened:
        """Make a session, its FIAs in STOP.

        Raises:
            AppNotFound: There is no such app.
        """
        assert self._tasks is not None, "use `async with Runtime(…)`"
        app = self._apps.app(app_id)
        session = self._sessions.create(app, self._apps.make_fias(app))
        self._tasks.start_soon(self._live, session)
        count = len(session.fias)
        await self._tell(
            aaia.SessionCreated(
                session_id=session.id, app_id=app.id, timestamp=self._now(), fias_count=count
            )
        )
        return aaia.SessionOpened(
            session=session.info(), session_id=session.id, app_id=app.id, fias_count=count
        )

    async def list_sessions(self) -> aaia.Sessions:
        """The sessions there are."""
        sessions = [each.meta(self._now()) for each in self._sessions.all()]
        return aaia.Sessions(sessions=sessions, count=len(sessions))

    async def destroy_session(self, session_id: str) -> aaia.SessionGone:
        """End a session and its pulse.

        Raises:
            SessionNotFound: There is no such session.
        """
        await self._destroy(self._sessions.get(session_id))
        return aaia.SessionGone(session_id=session_id, message="Session destroyed")

    async def list_fias(self, session_id: str) -> aaia.FIAs:
        """The FIAs of a session.

        Raises:
            SessionNotFound: There is no such session.
        """
        fias = [fia.info() for fia in self._sessions.get(session_id).fias]
        return aaia.FIAs(fias=fias, count=len(fias))

    async def play_fia(self, session_id: str, fia_index: int) -> aaia.StateChange:
        """Run a FIA by its mundo's pulse.

        Raises:
            InvalidState: The mundo is over.
        """
        return await self._change(session_id, fia_index, RunState.PLAY)

    start_fia = play_fia

    async def pause_fia(self, session_id: str, fia_index: int) -> aaia.StateChange:
        """Hold a FIA.

        Raises:
            InvalidState: It is stopped, or the mundo is over.
        """
        return await self._change(session_id, fia_index, RunState.PAUSE)

    async def stop_fia(self, session_id: str, fia_index: int) -> aaia.StateChange:
        """End a FIA's run; stopping twice is no error."""
        return await self._change(session_id, fia_index, RunState.STOP)

    async def step_fia(self, session_id: str, fia_index: int) -> aaia.StepResult:
        """One reasoning step.

        Raises:
            InvalidState: The mundo is over.
        """
        session = self._sessions.get(session_id)
        fia = session.fia(fia_index)
        async with session.lock:
            session.require_life()
            before = fia.run_state
            if before is not RunState.PLAY:
                fia.run_state = RunState.PLAY_STEP
            made_in = fia.run_state
            try:
                return await self._step(session, fia)
            finally:
                # Whoever changed the state while the step was made has the last word.
                if fia.run_state is made_in is RunState.PLAY_STEP:
                    fia.run_state = RunState.PAUSE

    async def send_percepto(
        self, session_id: str, percepto: aaia.Percepto
    ) -> aaia.PerceptoProcessed:
        """Stimulate a mundo: each of its FIAs reasons about it at its next step.

        Raises:
            InvalidState: The mundo is over.
        """
        session = self._sessions.get(session_id)
        async with session.lock:
            session.require_life()
            session.mundo.perceive(percepto)
            for fia in session.fias:
                fia.aferencia = percepto
            reached = [fia.index for fia in session.fias]
            await self._tell(
                aaia.PerceptoSent(
                    session_id=session_id,
                    percepto=percepto,
                    processed_by=reached,
                    timestamp=self._now(),
                )
            )
            await self._tell_mundo(session)
        return aaia.PerceptoProcessed(processed_by=reached)

    async def get_eferencia(self, session_id: str, fia_index: int) -> aaia.EferenciaOf:
        """The last output of a FIA, None before its first step."""
        return aaia.EferenciaOf(eferencia=self._sessions.get(session_id).fia(fia_index).ultima)

    async def query_mundo(self, session_id: str, query: str | None = None) -> aaia.QueryResult:
        """A mundo, and what stands at a dotted path in it.

        Raises:
            PathNotFound: Nothing stands there.
        """
        session = self._sessions.get(session_id)
        state = session.mundo_state()
        result = session.mundo.query(query, encode(state)) if query else None
        return aaia.QueryResult(mundo=state, result=result)

    async def list_threads(self) -> aaia.Threads:
        """Every FIA of every session, counted in order of creation."""
        fias = [(each, fia) for each in self._sessions.all() for fia in each.fias]
        return aaia.Threads(
            threads=[
                aaia.ThreadInfo(
                    index=index,
                    nombre=fia.nombre,
                    paradigma=fia.paradigma,
                    run_state=fia.run_state,
                    mundo=session.mundo.nombre,
                )
                for index, (session, fia) in enumerate(fias)
            ]
        )

    async def _change(self, session_id: str, fia_index: int, state: RunState) -> aaia.StateChange:
        session = self._sessions.get(session_id)
        fia = session.fia(fia_index)
        if state is not RunState.STOP:
            session.require_life()
        if state is RunState.PAUSE and fia.run_state is RunState.STOP:
            raise InvalidState(f"{fia.nombre} is stopped; there is nothing to hold")
        before, fia.run_state = fia.run_state, state
        if state is RunState.PLAY:
            session.playing.set()
        if before is not state:
            await self._tell_mundo(session)
        return aaia.StateChange(fia_index=fia_index, previous_state=before, new_state=state)

    async def _live(self, session: SessionState) -> None:
        """Beat for one session until its mundo or itself is over."""
        with anyio.CancelScope() as session.pulse:
            while session.mundo.vivo:
                await session.playing.wait()
                await self._ticker(session.mundo.pulso)
                if not any(fia.run_state is RunState.PLAY for fia in session.fias):
                    session.playing = anyio.Event()
                    continue
                session.last_used_at = self._now()
                await self._pulse(session)

    async def _pulse(self, session: SessionState) -> None:
        async with session.lock:
            session.mundo.dawn()
            for fia in session.fias:
                if fia.run_state is RunState.PLAY:
                    try:
                        await self._step(session, fia)
                    except Exception:
                        logger.exception("%s failed at a pulse and is held", fia.nombre)
                        fia.run_state = RunState.PAUSE
            if not session.mundo.vivo:
                for fia in session.fias:
                    fia.run_state, fia.aferencia = RunState.STOP, None
                await self._tell_mundo(session)

    async def _step(self, session: SessionState, fia: FIA) -> aaia.StepResult:
        """Reason once and tell of it; the caller holds the session's lock."""
        aferencia, fia.aferencia = fia.aferencia, None
        made_in, began = fia.run_state, time.perf_counter()
        eferencia = await anyio.to_thread.run_sync(
            functools.partial(fia.reason, session.mundo, aferencia)
        )
        took = (time.perf_counter() - began) * 1000
        fia.cycles += 1
        fia.ultima = eferencia
        session.mundo.receive(eferencia)
        now = self._now()
        await self._tell(
            aaia.FIAStep(
                session_id=session.id,
                fia_index=fia.index,
                eferencia=eferencia,
                run_state=made_in,
                ciclo=session.mundo.modelo["ciclo"],
                timestamp=now,
            )
        )
        await self._tell(
            aaia.EferenciaEmitted(
                session_id=session.id, fia_index=fia.index, eferencia=eferencia, timestamp=now
            )
        )
        await self._tell_mundo(session)
        return aaia.StepResult(
            fia_index=fia.index,
            run_state=made_in,
            cycles=fia.cycles,
            eferencia=eferencia,
            execution_time_ms=round(took, 3),
        )

    async def _tell_mundo(self, session: SessionState) -> None:
        await self._tell(
            aaia.MundoChanged(
                session_id=session.id, mundo=session.mundo_state(), timestamp=self._now()
            )
        )

    async def _destroy(self, session: SessionState) -> None:
        self._sessions.remove(session.id)
        if session.pulse is not None:
            session.pulse.cancel()
        for fia in session.fias:
            fia.run_state = RunState.STOP
        await self._tell(aaia.SessionDestroyed(session_id=session.id, timestamp=self._now()))

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(_SWEEP)
            await self.collect_idle()

    async def collect_idle(self) -> None:
        """Destroy the sessions that nobody used for an hour."""
        for session in self._sessions.idle():
            await self._destroy(session)
