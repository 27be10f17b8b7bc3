"""A client's life: one session after the other, until it is closed or refused for good."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from enum import Enum

from alephscript.client.session import HubSession
from alephscript.errors import AlephScriptError, Closed, ConnectionRefused, NotConnected, StateError

__all__ = ["Lifecycle", "State", "full_jitter"]

logger = logging.getLogger("alephscript.client")


class State(Enum):
    """Where a client is in its life."""

    NEW = "new"
    CONNECTING = "connecting"
    READY = "ready"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


def full_jitter(*, first: float = 0.2, most: float = 20.0) -> Iterator[float]:
    """Delays between attempts to reconnect, in seconds, spread so that clients come back apart."""
    ceiling = first
    while True:
        yield random.uniform(0, ceiling)  # noqa: S311 - not a secret
        ceiling = min(most, ceiling * 2)


class Lifecycle:
    """Keeps a session open: opens one, waits until it is gone, opens the next.

    Args:
        establish: Opens a session: connected, registered, in its rooms.
        began: Called with a session that has become the present one.
        ended: Called with a session that is gone.
        backoff: Makes the delays between attempts; where it ends, the last one is kept.
        retry_open: Whether the first session is tried for until there is one.

    Attributes:
        state: Where it is.
        session: The present session, None while there is none.
        failure: Why it is closed, None if it was asked to.
    """

    def __init__(
        self,
        establish: Callable[[], Awaitable[HubSession]],
        *,
        began: Callable[[HubSession], None],
        ended: Callable[[HubSession], None],
        backoff: Callable[[], Iterator[float]],
        retry_open: bool,
    ) -> None:
        self.state = State.NEW
        self.session: HubSession | None = None
        self.failure: AlephScriptError | None = None
        self._establish = establish
        self._began = began
        self._ended = ended
        self._backoff = backoff
        self._retry_open = retry_open
        self._supervisor: asyncio.Task[None] | None = None
        self._watchers: set[asyncio.Queue[State]] = set()

    def open(self) -> None:
        """Begin.

        Raises:
            StateError: It has begun already.
        """
        if self.state is not State.NEW:
            raise StateError(f"this client is {self.state.value} already; make another one")
        self._become(State.CONNECTING)
        self._supervisor = asyncio.create_task(self._supervise())

    async def close(self) -> None:
        """End it, and the present session."""
        self._become(State.CLOSED)
        supervisor, self._supervisor = self._supervisor, None
        session, self.session = self.session, None
        if supervisor is not None and supervisor is not asyncio.current_task():
            supervisor.cancel()
            await asyncio.wait({supervisor})
        if session is not None:
            await session.close()
            self._ended(session)

    async def states(self) -> AsyncIterator[State]:
        """Where it is, and each change from then on, until it is closed."""
        changes: asyncio.Queue[State] = asyncio.Queue()
        changes.put_nowait(self.state)
        self._watchers.add(changes)
        try:
            state = None
            while state is not State.CLOSED:
                state = await changes.get()
                yield state
        finally:
            self._watchers.discard(changes)

    async def until(self, *wanted: State) -> State:
        """Wait until it is in one of these states, or closed."""
        changes: asyncio.Queue[State] = asyncio.Queue()
        self._watchers.add(changes)
        try:
            state = self.state
            while state not in wanted and state is not State.CLOSED:
                state = await changes.get()
            return state
        finally:
            self._watchers.discard(changes)

    async def ready(self) -> HubSession:
        """Wait for a session.

        Raises:
            ConnectionRefused: The hub refused it, for good.
            StateError: It is not open.
        """
        if self.state is State.NEW:
            raise StateError("this client is not open; use `async with`, or run()")
        while self.session is None:
            if await self.until(State.READY) is State.CLOSED:
                raise self.failure or StateError("this client is closed; make another one")
        return self.session

    def present_session(self) -> HubSession:
        """The session.

        Raises:
            NotConnected: There is none at the moment.
            Closed: There will be none any more.
            StateError: It is not open.
        """
        if self.session is not None:
            return self.session
        if self.state is State.NEW:
            raise StateError("this client is not open; use `async with`, or run()")
        if self.state is State.CLOSED:
            raise Closed("this client is closed; make another one")
        raise NotConnected("there is no link to the hub at the moment; nothing was sent")

    def _become(self, state: State) -> None:
        self.state = state
        for changes in self._watchers:
            changes.put_nowait(state)

    async def _supervise(self) -> None:
        delays, delay = self._backoff(), 0.0
        while True:
            try:
                session = await self._establish()
            except AlephScriptError as error:
                opening = self.state is State.CONNECTING and not self._retry_open
                if opening or (isinstance(error, ConnectionRefused) and error.fatal):
                    self.failure = error
                    self._become(State.CLOSED)
                    return
                logger.debug("no session yet: %s", _kind(error), extra={"error": _kind(error)})
            else:
                delays = self._backoff()
                self.session = session
                self._began(session)
                self._become(State.READY)
                await session.is_gone.wait()
                self.session = None
                self._ended(session)
                self._become(State.RECONNECTING)
            delay = next(delays, delay)
            await asyncio.sleep(delay)


def _kind(error: BaseException) -> str:
    """What an error is, without what it says: that may quote an address, or what a hub says."""
    cause = error.__cause__
    return type(error).__name__ + (f" from {type(cause).__name__}" if cause else "")
