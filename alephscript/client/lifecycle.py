"""A client's life: one session after the other, until it is closed or refused for good.

May go in: states, when to try to connect and when again. May not: how a session is opened
(`connecting`), what it carries (`session`). Tasks rather than task groups: a group would wrap the
exception of a user's block into an ExceptionGroup (decision 0027).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from enum import Enum

from alephscript.client.cancelling import cancel
from alephscript.client.session import HubSession
from alephscript.client.telling import Patience, name_cause
from alephscript.diagnostics.redaction import as_logged, ends_program
from alephscript.errors import AlephScriptError, Closed, ConnectionRefused, NotConnected, StateError

__all__ = ["Lifecycle", "State", "full_jitter"]

logger = logging.getLogger("alephscript.client")

_LONGEST_DELAY = 24 * 3600.0
"""Seconds between two attempts to connect."""


class State(Enum):
    """The states of a client's life, in the order in which they come."""

    NEW = "new"
    CONNECTING = "connecting"
    READY = "ready"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


def full_jitter(*, first: float = 0.2, most: float = 8.0) -> Iterator[float]:
    """Give delays between attempts to reconnect, spread so that clients come back apart.

    Args:
        first: The most seconds of the first delay; doubled each time.
        most: The most seconds of any.
    """
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
        backoff: Makes the delays between attempts; where it ends, the last delay is kept.
        retry_open: Whether to keep trying for the first session, too.
        patience: Says in the log that the client waits for its hub.
        redact: Whether the log may not have the texts of exceptions.

    Attributes:
        state: Where the client is in its life.
        session: The present session, None while there is none.
        failure: The error that closed the client; None after `close`.
        loop: The event loop that the client was opened on, None before.
    """

    def __init__(
        self,
        establish: Callable[[], Awaitable[HubSession]],
        *,
        began: Callable[[HubSession], None],
        ended: Callable[[HubSession], None],
        backoff: Callable[[], Iterator[float]],
        retry_open: bool,
        patience: Patience,
        redact: bool,
    ) -> None:
        self.state = State.NEW
        self.session: HubSession | None = None
        self.failure: AlephScriptError | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._establish = establish
        self._began = began
        self._ended = ended
        self._backoff = backoff
        self._retry_open = retry_open
        self._patience = patience
        self._redact = redact
        self._supervisor: asyncio.Task[None] | None = None
        self._watchers: dict[asyncio.Queue[State], None] = {}  # told in their order

    def open(self) -> None:
        """Begin to connect.

        Raises:
            StateError: The client was opened before.
        """
        if self.state is not State.NEW:
            raise StateError(f"this client is {self.state.value} already; make another one")
        self.loop = asyncio.get_running_loop()
        self._become(State.CONNECTING)
        self._supervisor = asyncio.create_task(self._supervise())
        self._supervisor.add_done_callback(self._supervisor_ended)

    def check_loop(self) -> None:
        """Refuse a caller that is not on the loop to which an open client belongs.

        From another thread nothing would wake that loop, and a forked child has a copy of its
        sockets.

        Raises:
            StateError: The caller is on another loop, or on none.
        """
        if self.loop is None or self.state is State.CLOSED:
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self.loop:
            raise StateError(
                "this client belongs to the event loop that it was opened on; other threads, loops "
                "and forked processes open clients of their own, as alephscript.sync has them for "
                "code that blocks"
            )

    async def close(self) -> None:
        """End the present session, and have no other."""
        self._become(State.CLOSED)
        self._patience.end()
        supervisor, self._supervisor = self._supervisor, None
        session, self.session = self.session, None
        if supervisor is not None and supervisor is not asyncio.current_task():
            await cancel({supervisor}, "a client")
        if session is not None:
            await session.close()
            self._ended(session)

    async def states(self) -> AsyncIterator[State]:
        """Iterate over the present state, and each one after it, until the client is closed."""
        self.check_loop()
        changes: asyncio.Queue[State] = asyncio.Queue()
        changes.put_nowait(self.state)
        self._watchers[changes] = None
        try:
            state = None
            while state is not State.CLOSED:
                state = await changes.get()
                yield state
        finally:
            self._watchers.pop(changes, None)

    async def until(self, *states: State) -> State:
        """Wait until the client is in one of these states, or closed; return the state."""
        self.check_loop()
        changes: asyncio.Queue[State] = asyncio.Queue()
        self._watchers[changes] = None
        try:
            state = self.state
            while state not in states and state is not State.CLOSED:
                state = await changes.get()
            return state
        finally:
            self._watchers.pop(changes, None)

    async def ready(self) -> HubSession:
        """Wait for a session.

        Raises:
            ConnectionRefused: The hub refused the client, for good.
            StateError: The client is not open.
        """
        if self.state is State.NEW:
            raise StateError("this client is not open; use `async with`, or run()")
        self.check_loop()
        while self.session is None:
            if await self.until(State.READY) is State.CLOSED:
                raise self.failure or StateError("this client is closed; make another one")
        return self.session

    def present_session(self) -> HubSession:
        """Return the present session.

        Raises:
            NotConnected: There is no session at the moment.
            Closed: The client is closed.
            StateError: The client is not open.
        """
        self.check_loop()
        if self.session is not None:
            return self.session
        if self.state is State.NEW:
            raise StateError("this client is not open; use `async with`, or run()")
        if self.state is State.CLOSED:
            raise Closed("this client is closed; make another one") from self.failure
        raise NotConnected("there is no link to the hub at the moment; nothing was sent")

    def _become(self, state: State) -> None:
        self.state = state
        for changes in self._watchers:
            changes.put_nowait(state)

    def _supervisor_ended(self, supervisor: asyncio.Task[None]) -> None:
        """Close the client if its supervisor failed: nobody may wait for it for ever."""
        self._patience.end()
        if supervisor.cancelled() or self.state is State.CLOSED:
            return
        exc = supervisor.exception()
        if exc is not None and not ends_program(exc):
            error = name_cause(exc)
            logger.error(
                "the client failed: %s",
                error,
                exc_info=as_logged(exc, redact=self._redact),
                extra={"error": error},
            )
            self.failure = StateError(f"the client failed ({type(exc).__name__})")
            self._become(State.CLOSED)

    def _delays(self) -> Iterator[float]:
        """Give the application's delays; where these fail, those of `full_jitter`."""
        try:
            delay = 0.0
            for delay in self._backoff():
                if not 0 <= delay <= _LONGEST_DELAY:
                    raise ValueError(delay)  # noqa: TRY301 - handled like the application's own
                yield delay
            while True:  # where they end, the last one is kept
                yield delay
        except GeneratorExit:
            raise  # of this generator, which is not needed any more
        except BaseException as exc:
            if ends_program(exc):
                raise
            error = name_cause(exc)
            logger.error(
                "a backoff failed (%s); the default takes its place",
                error,
                exc_info=as_logged(exc, redact=self._redact),
                extra={"error": error},
            )
        yield from full_jitter()

    def _lose(self, session: HubSession) -> None:
        if self.session is session:
            self.session = None
            self._ended(session)
            self._become(State.RECONNECTING)

    async def _supervise(self) -> None:
        delays = self._delays()
        self._patience.begin()
        while True:
            try:
                session = await self._establish()
            except AlephScriptError as error:
                opening = self.state is State.CONNECTING and not self._retry_open
                if opening or (isinstance(error, ConnectionRefused) and error.fatal):
                    self.failure = error
                    self._become(State.CLOSED)
                    return
                self._patience.fail(error)
                cause = name_cause(error)
                logger.debug("no session yet: %s", cause, extra={"error": cause})
            else:
                delays = self._delays()
                self._patience.end()
                self.session = session
                self._began(session)
                self._become(State.READY)
                # In the call that loses the link: who asks again at once has to wait, not to spin.
                session.when_gone = functools.partial(self._lose, session)
                if session.is_gone.is_set():
                    self._lose(session)
                await session.is_gone.wait()
                self._patience.begin()
            await asyncio.sleep(next(delays))
