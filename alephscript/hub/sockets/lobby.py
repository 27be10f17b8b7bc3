"""The lobby: sockets that are accepted and belong to no session, counted and timed.

May go in: how many such sockets there may be, and how long each may stay. May not: who accepts them
(`listening`), what they ask for (`hub.http`, `handover`).

A stranger needs to send nothing to hold a socket, so each socket is in the lobby from the moment
that it is accepted. It leaves when it has become a websocket's, and its clock stands while a poll
waits: both are the session's, which has bounds of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from alephscript.hub.connection import Connection
from alephscript.hub.engine import Engine
from alephscript.links.deadlines import Deadlines

__all__ = ["Arrival", "Lobby"]

_SPARE = 8
"""Places of the lobby of a full hub: newcomers have to be told that it is full."""

_GRACE_SECONDS = 1.0
"""Seconds in which no arrival has to make room for others: enough for an honest request."""

_SOCKETS_PER_SESSION = 4
"""Idle sockets that a polling session may keep for its next requests; browsers keep up to six, and
open others."""


class Arrival:
    """One socket of the lobby.

    Attributes:
        transport: The socket's transport; None until it is there, which TLS delays.
        opening: The task that makes the transport.
        session: The session that the present request is of; None if it is of none.
        is_polling: Whether that request is a poll that has no answer yet.
        has_asked: Whether a request of this socket was answered.
        is_silent: Whether the peer has sent nothing yet, as the spare sockets of browsers.
    """

    __slots__ = (
        "_lobby",
        "_unread",
        "has_asked",
        "is_polling",
        "is_silent",
        "opening",
        "session",
        "transport",
    )

    def __init__(self, lobby: Lobby) -> None:
        self.transport: asyncio.Transport | None = None
        self.opening: asyncio.Task[None] | None = None
        self.session: Connection | None = None
        self.is_polling = False
        self.has_asked = False
        self.is_silent = True
        self._lobby = lobby
        self._unread = 0

    @property
    def address(self) -> str:
        """The address at the other end of the socket; empty if there is none."""
        peer = None if self.transport is None else self.transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    def pause(self) -> None:
        """Stop the clock: the hub's own answer is waited for, in a time that is bounded."""
        self._lobby.forget(self)

    def resume(self) -> None:
        """Start the clock anew, as that of a socket which is anybody's."""
        if self._is_open():
            self._lobby.wait(self)

    def rest(self) -> None:
        """Start the clock anew: a request has been answered."""
        session, self.session, self.is_polling = self.session, None, False
        if self._is_open():
            assert self.transport is not None
            self.has_asked = True
            self._unread = self.transport.get_write_buffer_size()
            self._lobby.rest(self, session)

    def leave(self) -> None:
        """Be no more: the socket is gone, or it is a session's websocket from now on."""
        self._lobby.forget(self)
        if self.is_polling and self.session is not None and not self.session.upgraded:
            self.session.close("its poll broke")  # as stock hubs do; the client begins anew
        self.session, self.is_polling = None, False

    def end(self) -> None:
        """Close the socket at once."""
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()
        self._lobby.forget(self)

    def is_being_read(self) -> bool:
        """Say whether the peer has taken some of its answer since this was last asked."""
        unread = 0 if self.transport is None else self.transport.get_write_buffer_size()
        is_less, self._unread = 0 < unread < self._unread, unread
        return is_less

    def _is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()


class Lobby:
    """All sockets that are no session's.

    Args:
        engine: The hub's sessions: together with the lobby they are at most ``Limits.connections``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[Arrival, float] = {}  # since when, the longest first
        self._kept: dict[Arrival, str] = {}  # by the session whose idle sockets they are
        self._kept_by: Counter[str] = Counter()
        self._deadlines: Deadlines[Arrival] = Deadlines(self._expire)

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self) -> Arrival:
        """Take in a socket that was accepted just now."""
        arrival = Arrival(self)
        self.wait(arrival)
        return arrival

    def make_room(self) -> bool:
        """Say whether one more may enter; if need be, the longest waiting has to go for it."""
        sessions, most = self._engine.clients, self._engine.limits.connections
        return len(self._waiting) < max(most - sessions, _SPARE) or self.end_longest()

    def end_longest(self) -> bool:
        """End the arrival that has waited longest, unless that is not long; say whether one was."""
        arrival, since = next(iter(self._waiting.items()), (None, 0.0))
        if arrival is None or time.monotonic() - since < _GRACE_SECONDS:
            return False
        self._engine.refusals["connections"] += 1
        arrival.end()
        return True

    def close(self) -> None:
        """Forget all: the hub is closing."""
        self._deadlines.close()
        self._waiting.clear()
        self._kept.clear()
        self._kept_by.clear()

    # Of an arrival

    def wait(self, arrival: Arrival) -> None:
        """Give an arrival the seconds that a stranger has."""
        self.forget(arrival)
        self._waiting[arrival] = time.monotonic()
        self._deadlines.set(arrival, self._engine.limits.join_seconds)

    def rest(self, arrival: Arrival, session: Connection | None) -> None:
        """Give an arrival the seconds until its next request."""
        self.forget(arrival)
        if (
            session is None
            or session.closed
            or not session.sids
            or self._kept_by[session.id] >= _SOCKETS_PER_SESSION
        ):
            self.wait(arrival)
            return
        # No shorter than a heartbeat: a request that meets a closing socket is lost.
        self._kept[arrival] = session.id
        self._kept_by[session.id] += 1
        self._deadlines.set(arrival, self._engine.ping_interval + self._engine.ping_timeout)

    def forget(self, arrival: Arrival) -> None:
        """Keep nothing of an arrival; one that is not here is no error."""
        self._deadlines.forget(arrival)
        self._waiting.pop(arrival, None)
        owner = self._kept.pop(arrival, None)
        if owner is not None:
            self._kept_by[owner] -= 1
            if not self._kept_by[owner]:
                del self._kept_by[owner]

    def _expire(self, arrival: Arrival) -> None:
        if arrival.is_being_read():  # a large page over a slow line
            self._deadlines.set(arrival, self._engine.limits.join_seconds)
            return
        if not arrival.has_asked:
            self._engine.refusals["silent" if arrival.is_silent else "join_seconds"] += 1
        arrival.end()
