"""Sessions: isolated instances of apps, forgotten when nobody used them for an hour."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import anyio
import attrs

from alephscript import aaia
from alephscript.aaia import AppInfo, RunState
from examples.aaia_runtime.errors import (
    FIANotFound,
    InvalidState,
    SessionNotFound,
    TooManySessions,
)
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.mundo import Mundo
from examples.aaia_runtime.records import FIARecord, SessionRecord

__all__ = ["IDLE", "MAX_SESSIONS", "Now", "SessionService", "SessionState", "utc_now"]

IDLE = timedelta(hours=1)
"""How long a session may go unused; a day of its mundo is a use."""

MAX_SESSIONS = 1000
"""At once: the list of them is one message."""

_LAST = ("ultimoPercepto", "ultimaEferencia")

_LIVELIEST = (RunState.PLAY, RunState.PLAY_STEP, RunState.PAUSE)

Now = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class SessionState:
    """One session: its mundo and its FIAs.

    Attributes:
        turn: Held by whoever changes the mundo: its steps are made one by one. Not a lock,
            because one task takes it and another gives it back.
        playing: Set while a FIA may be in PLAY.
        is_dawning: Whether a day has begun, and no FIA has made its step of the day yet.
        moved: Set, and replaced, whenever something has happened in it.
        life: The scope of its pulse.
        thinker: The FIA that thinks just now, as `fia.ThinkingFIA` does.
        thought: The scope of its step.
        over: Whether it has been destroyed.
    """

    def __init__(self, app: AppInfo, fias: list[FIA], mundo: Mundo, now: datetime) -> None:
        self.id = str(uuid.uuid4())
        self.app = app
        self.app_id = app.id
        self.fias = fias
        self.mundo = mundo
        self.created_at = self.last_used_at = now
        self.turn = anyio.Semaphore(1)
        self.playing = anyio.Event()
        self.is_dawning = False
        self.moved = anyio.Event()
        self.life = anyio.CancelScope()
        self.thinker: FIA | None = None
        self.thought = anyio.CancelScope()
        self.over = False

    @classmethod
    def restore(cls, record: SessionRecord, fias: list[FIA], now: datetime) -> Self:
        """Make a session anew of what was kept of it; nobody could use it while it was away.

        A step that was being made has not been. If the last day was over, its end is made up for.
        """
        session = cls(record.app, fias, Mundo(record.app.mundo_config, record.modelo), now)
        session.id, session.created_at = record.session_id, record.created_at
        for fia, kept in zip(fias, record.fias, strict=True):
            if kept.memory is not None:
                fia.remind(kept.memory)
            single = kept.run_state is RunState.PLAY_STEP
            fia.run_state = RunState.PAUSE if single else kept.run_state
            fia.cycles, fia.runs, fia.ended_runs = kept.cycles, kept.runs, kept.ended_runs
            fia.aferencia, fia.ultima, fia.memory = kept.aferencia, kept.ultima, kept.memory
        if not session.mundo.vivo:
            session.mundo.end()
            session.stop()
        elif session.any_playing():
            session.playing.set()
        return session

    def record(self) -> SessionRecord:
        """What is to be kept of it; of a day whose steps have not been made, that it is to come."""
        modelo = self.mundo.modelo
        return SessionRecord(
            session_id=self.id,
            app=self.app,
            created_at=self.created_at,
            modelo={**modelo, "dia": modelo["dia"] - 1} if self.is_dawning else modelo,
            fias=[
                FIARecord(
                    run_state=fia.run_state,
                    cycles=fia.cycles,
                    runs=fia.runs,
                    ended_runs=fia.ended_runs,
                    aferencia=fia.aferencia,
                    ultima=fia.ultima,
                    memory=fia.memory,
                )
                for fia in self.fias
            ],
        )

    def move(self) -> None:
        """Wake whoever waits for something to happen in it."""
        self.moved.set()
        self.moved = anyio.Event()

    def fia(self, index: int) -> FIA:
        """One of its FIAs.

        Raises:
            FIANotFound: There is none of that index.
        """
        if not 0 <= index < len(self.fias):
            raise FIANotFound(index, len(self.fias))
        return self.fias[index]

    def require_life(self) -> None:
        """Refuse what a session or mundo that is over cannot do.

        Raises:
            SessionNotFound: The session has been destroyed meanwhile.
            InvalidState: The mundo's last day is over.
        """
        if self.over:
            raise SessionNotFound(self.id)
        if not self.mundo.vivo:
            raise InvalidState("the mundo is over; create another session")

    def any_playing(self) -> bool:
        """Whether a FIA is run by the pulse."""
        return any(fia.run_state is RunState.PLAY for fia in self.fias)

    def stop(self) -> None:
        """Stop its FIAs; nothing reaches them any more."""
        for fia in self.fias:
            fia.change(RunState.STOP)
            fia.aferencia = None

    def mundo_state(self) -> aaia.MundoState:
        """The mundo as the wire shows it."""
        states = {fia.run_state for fia in self.fias}
        return aaia.MundoState(
            nombre=self.mundo.nombre,
            vivo=self.mundo.vivo,
            run_state=next((each for each in _LIVELIEST if each in states), RunState.STOP),
            modelo=copy.deepcopy(self.mundo.modelo),
            fias_count=len(self.fias),
            renderer=self.mundo.renderer,
        )

    def info(self) -> aaia.Session:
        """The session as the wire shows it."""
        return aaia.Session(
            session_id=self.id,
            app_id=self.app_id,
            created_at=self.created_at,
            last_used_at=self.last_used_at,
            mundo=self.mundo_state(),
            fias=[fia.info() for fia in self.fias],
        )

    def meta(self, now: datetime) -> aaia.SessionMeta:
        """The session as a list shows it: the model without its last percepto and eferencia.

        Those are nine tenths of a model, and a list of many sessions is one message.
        """
        state = self.mundo_state()
        modelo = {key: value for key, value in state.modelo.items() if key not in _LAST}
        return aaia.SessionMeta(
            session_id=self.id,
            app_id=self.app_id,
            created_at=self.created_at,
            last_used_at=self.last_used_at,
            age_minutes=round((now - self.created_at).total_seconds() / 60, 2),
            fias_count=len(self.fias),
            mundo_state=attrs.evolve(state, modelo=modelo),
        )


class SessionService:
    """Knows the sessions.

    Args:
        now: The clock that idleness is measured with.
        modelo: What every mundo's model begins with, over the app's own.
    """

    def __init__(self, now: Now = utc_now, modelo: Mapping[str, Any] | None = None) -> None:
        self._now = now
        self._modelo = copy.deepcopy(dict(modelo or {}))
        self._sessions: dict[str, SessionState] = {}

    def create(self, app: AppInfo, fias: list[FIA]) -> SessionState:
        """A fresh session.

        Raises:
            TooManySessions: There are `MAX_SESSIONS` already.
        """
        if len(self._sessions) >= MAX_SESSIONS:
            raise TooManySessions(MAX_SESSIONS)
        session = SessionState(app, fias, Mundo(app.mundo_config, self._modelo), self._now())
        self._sessions[session.id] = session
        return session

    def restore(self, record: SessionRecord, fias: list[FIA]) -> SessionState:
        """A session that was kept."""
        session = SessionState.restore(record, fias, self._now())
        self._sessions[session.id] = session
        return session

    def get(self, session_id: str) -> SessionState:
        """One of them; it counts as used.

        Raises:
            SessionNotFound: There is none of that id.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionNotFound(session_id)
        session.last_used_at = self._now()
        return session

    def all(self) -> list[SessionState]:
        """All of them, the oldest first."""
        return list(self._sessions.values())

    def end(self, session: SessionState) -> None:
        """Forget one and stop what runs in it."""
        self._sessions.pop(session.id, None)
        session.over = True
        session.life.cancel()
        session.thought.cancel()
        session.stop()
        session.move()

    def collect_idle(self) -> list[SessionState]:
        """End those that nobody used for too long.

        Returns:
            The sessions that were ended.
        """
        limit = self._now() - IDLE
        idle = [each for each in self._sessions.values() if each.last_used_at <= limit]
        for session in idle:
            self.end(session)
        return idle
