"""Sessions: isolated instances of apps, forgotten when nobody used them for an hour."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import anyio

from alephscript import aaia
from alephscript.aaia import AppInfo, RunState
from examples.aaia_runtime.errors import FIANotFound, InvalidState, SessionNotFound
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.mundo import Mundo

__all__ = ["IDLE", "Now", "SessionService", "SessionState", "utc_now"]

IDLE = timedelta(hours=1)
"""How long a session may go unused."""

_LIVELIEST = (RunState.PLAY, RunState.PLAY_STEP, RunState.PAUSE)

Now = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class SessionState:
    """One session: its mundo, its FIAs, and a lock, because its steps are made one by one."""

    def __init__(self, app: AppInfo, fias: list[FIA], now: datetime) -> None:
        self.id = str(uuid.uuid4())
        self.app_id = app.id
        self.fias = fias
        self.mundo = Mundo(app.mundo_config)
        self.created_at = self.last_used_at = now
        self.lock = anyio.Lock()
        self.playing = anyio.Event()
        self.pulse: anyio.CancelScope | None = None

    def fia(self, index: int) -> FIA:
        """One of its FIAs.

        Raises:
            FIANotFound: There is none of that index.
        """
        if not 0 <= index < len(self.fias):
            raise FIANotFound(index, len(self.fias))
        return self.fias[index]

    def require_life(self) -> None:
        """Refuse what a dead mundo cannot do.

        Raises:
            InvalidState: The mundo's last day is over.
        """
        if not self.mundo.vivo:
            raise InvalidState("the mundo is over; create another session")

    def mundo_state(self) -> aaia.MundoState:
        """The mundo as the wire shows it."""
        states = {fia.run_state for fia in self.fias}
        return aaia.MundoState(
            nombre=self.mundo.nombre,
            vivo=self.mundo.vivo,
            run_state=next((each for each in _LIVELIEST if each in states), RunState.STOP),
            modelo=dict(self.mundo.modelo),
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
        """The session as a list shows it."""
        return aaia.SessionMeta(
            session_id=self.id,
            app_id=self.app_id,
            created_at=self.created_at,
            last_used_at=self.last_used_at,
            age_minutes=round((now - self.created_at).total_seconds() / 60, 2),
            fias_count=len(self.fias),
            mundo_state=self.mundo_state(),
        )


class SessionService:
    """Knows the sessions.

    Args:
        now: The clock that idleness is measured with.
    """

    def __init__(self, now: Now = utc_now) -> None:
        self._now = now
        self._sessions: dict[str, SessionState] = {}

    def create(self, app: AppInfo, fias: list[FIA]) -> SessionState:
        """A fresh session."""
        session = SessionState(app, fias, self._now())
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

    def remove(self, session_id: str) -> None:
        """Forget one."""
        self._sessions.pop(session_id, None)

    def idle(self) -> list[SessionState]:
        """Those that nobody used for too long."""
        limit = self._now() - IDLE
        return [each for each in self._sessions.values() if each.last_used_at <= limit]
