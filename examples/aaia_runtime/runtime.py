"""`Runtime`: one method a capability of the AAIA contract.

What the states of a FIA mean, and what a step and a pulse are, is in `running`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup

from alephscript import StateError, aaia
from alephscript.aaia import AppInfo, RunState
from alephscript.contracts import unstructure
from examples.aaia_runtime.apps import DEMOS, FIA_CLASSES, AppsService, MakeFIA
from examples.aaia_runtime.errors import TooManyRuns
from examples.aaia_runtime.mundo import look_up
from examples.aaia_runtime.records import read_record, write_record
from examples.aaia_runtime.running import FIAService, Keep, Ticker
from examples.aaia_runtime.sessions import Now, SessionService, SessionState, utc_now
from examples.aaia_runtime.store import SessionStore
from examples.aaia_runtime.telling import RoomChange, Tell, Teller
from examples.aaia_runtime.thoughts import Attendant

__all__ = ["MAX_PLAYED", "RoomChange", "Runtime", "Tell", "Ticker"]

MAX_PLAYED = 1000
"""Runs whose end is waited for, at once."""

logger = logging.getLogger("aaia")

_SWEEP = 60.0
"""Seconds between two looks for idle sessions when nobody asks for anything."""


class Runtime:
    """Apps, sessions and their FIAs; use it as an async context manager.

    Leaving it stops everything in it; the room is not told of that. A session that is not there
    is a SessionNotFound in every method that takes one, and a FIA a FIANotFound.

    Args:
        tell: Called with everything that the room should know, in order. Answers wait for it,
            so it must not wait for the runtime.
        apps: The catalogue.
        classes: What FIAs are made of, by the catalogue's ``clase``.
        store: Where sessions are kept, opened and closed with the runtime; None if nowhere.
        modelo: What every mundo's model begins with, over the app's own: ``pulso``, ``muerte`` …
        now: The clock of sessions.
        ticker: Waits so many seconds; the heart of the pulse.
    """

    def __init__(
        self,
        *,
        tell: Tell,
        apps: Iterable[AppInfo] = DEMOS,
        classes: Mapping[str, MakeFIA] = FIA_CLASSES,
        store: SessionStore | None = None,
        modelo: Mapping[str, Any] | None = None,
        now: Now = utc_now,
        ticker: Ticker = anyio.sleep,
    ) -> None:
        self._tell = tell
        self._apps = AppsService(apps, classes)
        self._sessions = SessionService(now, modelo)
        self._now = now
        self._ticker = ticker
        self._store = store
        self._played = 0
        self._open: _Open | None = None

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise StateError("the runtime is open already")
        kept = [] if self._store is None else await self._store.open()
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        self._open = _Open(tasks, self._tell, self._keep, self._now, self._ticker)
        for text in kept:
            self._restore(text, self._open)
        tasks.start_soon(self._sweep)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        opened, self._open = self._opened, None
        opened.tasks.cancel_scope.cancel()
        for session in self._sessions.all():
            self._sessions.end(session)
        # Not told of the exception: a task group would wrap it.
        await opened.tasks.__aexit__(None, None, None)
        if self._store is not None:
            await self._store.close()

    async def list_apps(self) -> aaia.Apps:
        """The apps that sessions can be made of."""
        apps = self._apps.list_apps()
        return aaia.Apps(apps=apps, count=len(apps))

    async def create_session(self, app_id: str) -> aaia.SessionOpened:
        """Make a session, its FIAs in STOP.

        Raises:
            AppNotFound, TooManySessions: There is no such app, or no room for its session.
        """
        opened = self._opened
        self.collect_idle()
        app = self._apps.app(app_id)
        session = self._sessions.create(app, self._apps.make_fias(app))
        opened.tasks.start_soon(opened.fias.live, session)
        answer = aaia.SessionOpened(
            session=session.info(),
            session_id=session.id,
            app_id=app.id,
            fias_count=len(session.fias),
        )
        created = aaia.SessionCreated(
            session_id=session.id,
            app_id=app.id,
            timestamp=self._now(),
            fias_count=len(session.fias),
        )
        await opened.teller.tell(created, kept=self._keep(session)).wait()
        return answer

    async def list_sessions(self) -> aaia.Sessions:
        """The sessions there are."""
        self.collect_idle()
        sessions = [each.meta(self._now()) for each in self._sessions.all()]
        return aaia.Sessions(sessions=sessions, count=len(sessions))

    async def destroy_session(self, session_id: str) -> aaia.SessionGone:
        """End a session and its pulse."""
        session = self._session(session_id)
        self._sessions.end(session)
        await self._tell_destroyed(session).wait()
        return aaia.SessionGone(session_id=session_id, message="Session destroyed")

    async def list_fias(self, session_id: str) -> aaia.FIAs:
        """The FIAs of a session."""
        fias = [fia.info() for fia in self._session(session_id).fias]
        return aaia.FIAs(fias=fias, count=len(fias))

    async def play_fia(self, session_id: str, fia_index: int) -> aaia.StateChange:
        """Run a FIA by its mundo's pulse.

        Raises:
            InvalidState: The mundo is over.
        """
        return await self._change(session_id, fia_index, RunState.PLAY)

    start_fia = play_fia

    async def play_run(
        self,
        session_id: str,
        fia_index: int,
        run: int,
        attendant: Attendant | None = None,
    ) -> AsyncGenerator[tuple[int, float]]:
        """Play a FIA, and iterate over its cycles until that run has ended; to be asked again.

        If the run has begun, the FIA is left as it is; if the run has ended, so does this.

        Args:
            session_id: The session's id.
            fia_index: The FIA's index in its session.
            run: The number of the run, from `plan_run`.
            attendant: Whoever the run is for.

        Yields:
            The count of cycles, and the share of the mundo's days that is over.

        Raises:
            SessionNotFound: Also if it is destroyed meanwhile.
            InvalidState: The mundo was over before the run had begun.
            TooManyRuns: The end of `MAX_PLAYED` runs is waited for already.
        """
        session = self._session(session_id)
        fia = session.fia(fia_index)
        if self._played >= MAX_PLAYED:
            raise TooManyRuns(MAX_PLAYED)
        self._played += 1
        fia.attendant = attendant
        try:
            if fia.runs < run:
                await self._change(session_id, fia_index, RunState.PLAY)
            async for cycle in self._opened.fias.follow(session, fia, run):
                yield cycle, min(1.0, session.mundo.modelo["dia"] / session.mundo.modelo["muerte"])
        finally:
            self._played -= 1
            if fia.attendant is attendant:
                fia.attendant = None

    def plan_run(self, session_id: str, fia_index: int) -> dict[str, Any]:
        """The run that a PLAY of a FIA begins, or goes on with, and how the FIA is before."""
        fia = self._session(session_id).fia(fia_index)
        return {"run": fia.next_run, "cycle": fia.cycles, "previousState": fia.run_state.value}

    async def pause_fia(self, session_id: str, fia_index: int) -> aaia.StateChange:
        """Hold a FIA.

        Raises:
            InvalidState: It is stopped, or the mundo is over.
        """
        return await self._change(session_id, fia_index, RunState.PAUSE)

    async def stop_fia(self, session_id: str, fia_index: int) -> aaia.StateChange:
        """End a FIA's run; stopping twice is no error."""
        return await self._change(session_id, fia_index, RunState.STOP)

    async def step_fia(
        self, session_id: str, fia_index: int, attendant: Attendant | None = None
    ) -> aaia.StepResult:
        """One reasoning step, made in PLAY_STEP for somebody; it leaves the FIA in PAUSE.

        Raises:
            SessionNotFound: Also if it was destroyed meanwhile.
            InvalidState: The mundo is over.
        """
        session = self._session(session_id)
        return await self._opened.fias.step(session, session.fia(fia_index), attendant)

    async def send_percepto(
        self, session_id: str, percepto: aaia.Percepto
    ) -> aaia.PerceptoProcessed:
        """Stimulate a mundo: each of its FIAs reasons about it at its next step.

        Raises:
            InvalidState: The mundo is over.
            PerceptoTooDeep, PerceptoTooLarge: The room could not be told of it.
        """
        session = self._session(session_id)
        return aaia.PerceptoProcessed(
            processed_by=await self._opened.fias.perceive(session, percepto)
        )

    async def get_eferencia(self, session_id: str, fia_index: int) -> aaia.EferenciaOf:
        """The last output of a FIA, None before its first step."""
        return aaia.EferenciaOf(eferencia=self._session(session_id).fia(fia_index).ultima)

    async def query_mundo(self, session_id: str, query: str | None = None) -> aaia.QueryResult:
        """A mundo, and what stands at a dotted path in it, ``*`` for all of it.

        Raises:
            PathNotFound: Nothing stands there.
        """
        state = self._session(session_id).mundo_state()
        return aaia.QueryResult(
            mundo=state, result=look_up(unstructure(state), query) if query else None
        )

    async def list_threads(self) -> aaia.Threads:
        """Every FIA of every session, counted in the order of their creation."""
        self.collect_idle()
        fias = [(session, fia) for session in self._sessions.all() for fia in session.fias]
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

    def collect_idle(self) -> None:
        """Destroy the sessions that nobody used for an hour."""
        for session in self._sessions.collect_idle():
            self._tell_destroyed(session)

    @property
    def _opened(self) -> _Open:
        if self._open is None:
            raise StateError("the runtime is not open; use `async with Runtime(…)`")
        return self._open

    def _session(self, session_id: str) -> SessionState:
        self.collect_idle()
        return self._sessions.get(session_id)

    async def _change(self, session_id: str, fia_index: int, state: RunState) -> aaia.StateChange:
        session = self._session(session_id)
        return await self._opened.fias.change(session, session.fia(fia_index), state)

    def _tell_destroyed(self, session: SessionState) -> anyio.Event:
        kept = None if self._store is None else self._store.keep(session.id, None)
        destroyed = aaia.SessionDestroyed(session_id=session.id, timestamp=self._now())
        return self._opened.teller.tell(destroyed, kept=kept)

    def _keep(self, session: SessionState) -> asyncio.Event | None:
        if self._store is None or session.over:
            return None
        try:
            return self._store.keep(session.id, write_record(session.record()))
        except Exception:
            # A mundo that a FIA has put no JSON in: the room cannot be told of it either.
            logger.exception("the session %s is not kept", session.id)
            return None

    def _restore(self, text: str, opened: _Open) -> None:
        try:
            record = read_record(text)
            session = self._sessions.restore(record, self._apps.make_fias(record.app))
        except Exception:
            # Of an app whose classes are not there now; the session stays where it is kept.
            logger.exception("a session that was kept is not served: %.80s", text)
            return
        opened.tasks.start_soon(opened.fias.live, session)

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(_SWEEP)
            self.collect_idle()


class _Open:
    """What an open runtime has, and a closed one has not."""

    def __init__(self, tasks: TaskGroup, tell: Tell, keep: Keep, now: Now, ticker: Ticker) -> None:
        self.tasks = tasks
        self.teller = Teller(tasks, tell)
        self.fias = FIAService(tasks, self.teller, keep, now, ticker)
