"""`ForeignMaster`: a server of another protocol as the master of a room.

May go in: when such a server is reached again, and what its room is told. May not: a protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import Capability, Declarations, RoomRole
from alephscript.client.described import describe_capability
from alephscript.client.lifecycle import State, full_jitter
from alephscript.doors.names import free_names
from alephscript.doors.texts import shown
from alephscript.doors.upstream import Upstream, innermost
from alephscript.errors import (
    AlephScriptError,
    CapabilityError,
    ConnectionRefused,
    MasterLost,
    RequestError,
)
from alephscript.links.transport import Transport
from alephscript.protocol import events

__all__ = ["ForeignMaster"]

logger = logging.getLogger("alephscript.doors")

_MOST_TOLD = 500
"""Names whose loss is logged, once each."""

U = TypeVar("U", bound=Upstream)

_LAST_DELAY = 20.0
"""Seconds between two attempts where the given delays have ended."""


class ForeignMaster(AlephScriptClient, Generic[U]):
    """The master of a room whose capabilities a server of another protocol has.

    If the server dies, open requests end with `MasterLost` at once, the client resigns, and it
    serves again when the server has been reached again.

    Args:
        room: The room.
        hub: The hub, as for `alephscript.AlephScriptClient`.
        server: Words for the server in messages: ``the MCP server http://…``.
        options: Further options of the client; with ``retry_open`` a server that is not there yet
            is waited for, too, and ``backoff`` is for both.
    """

    def __init__(self, *, room: str, hub: str | Transport, server: str, **options: Any) -> None:
        self._room = events.check_room_name(room)
        self.declarations = self._declare(())
        super().__init__(hub, **options)
        self._server = server
        self._backoff = options.get("backoff", full_jitter)
        self._waits = bool(options.get("retry_open"))
        self._upstream: U | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_stale = False
        self._away = ""
        self._known_collisions: set[str] = set()

    @abstractmethod
    def _connect(self) -> AbstractAsyncContextManager[U]:
        """Connect to the server."""

    @abstractmethod
    async def _capabilities(self, server: U) -> list[Capability]:
        """Return what the server offers now."""

    @abstractmethod
    def _unreachable(self, reason: str) -> ConnectionRefused:
        """Make the error that opening ends with where there is no such server."""

    async def __aenter__(self) -> Self:
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(first))
        try:
            await first
            await super().__aenter__()
        except BaseException:
            await self._stop_keeper()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        await self._stop_keeper()

    # Serving

    def _present(self) -> U:
        """Return the server.

        Raises:
            CapabilityError: There is none at the moment.
        """
        if self._upstream is None:
            raise self._gone(delivered=False)
        return self._upstream

    def _gone(self, *, delivered: bool) -> CapabilityError:
        details = [{"delivered": delivered}]
        return CapabilityError(MasterLost.code, f"{self._server} is gone", details, retryable=True)

    # Offering

    async def _keep(self, first: asyncio.Future[None]) -> None:
        """Be connected to the server, again and again."""
        delays = self._backoff()
        states = asyncio.create_task(self._redeclare())
        try:
            while True:
                served = asyncio.Event()
                why = await self._serve(first, served)
                if served.is_set():
                    delays = self._backoff()
                if not first.done():
                    if not self._waits:
                        first.set_exception(self._unreachable(why))
                        return
                    first.set_result(None)
                self._tell_away(why)
                await self._offer(())
                await asyncio.sleep(next(delays, _LAST_DELAY))
        finally:
            states.cancel()

    async def _serve(self, first: asyncio.Future[None], served: asyncio.Event) -> str:
        """Serve by one connection, and say why it ended."""

        async def serve() -> None:
            async with self._connect() as server:
                self._upstream = server
                await self._offer(await self._capabilities(server))
                served.set()
                self._away = ""
                if not first.done():
                    first.set_result(None)
                async with contextlib.aclosing(server.changes()) as changes:
                    async for _ in changes:
                        await self._offer(await self._capabilities(server))

        # A task of its own: cancel scopes of an SDK cancel the one that they were opened in.
        connection = asyncio.create_task(serve())
        try:
            await asyncio.wait({connection})
        finally:
            self._upstream = None
            if not connection.done():
                connection.cancel()
                await asyncio.wait({connection})
        if connection.cancelled():
            return "the connection is lost"
        failure = connection.exception()
        return "the connection is lost" if failure is None else innermost(failure)

    def _tell_away(self, why: str) -> None:
        """Warn once that the server is away, and again when another reason is known."""
        if why != self._away:
            self._away = why
            logger.warning(
                "%s: %s is away (%s); trying again",
                self.usuario,
                self._server,
                why,
                extra={"usuario": self.usuario, "server": self._server, "reason": why},
            )

    async def _stop_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})

    def _name_all(
        self,
        things: Iterable[tuple[str, Mapping[str, Any]]],
        method: str,
        own: Iterable[Capability] = (),
    ) -> tuple[list[Capability], dict[str, str]]:
        """Make capabilities of what a server lists, and tell of names that are taken.

        Args:
            things: The name and the description of each tool or skill.
            method: The method that serves them.
            own: Further capabilities, whose names nothing else takes.

        Returns:
            All capabilities, and the server's name of each, by the capability's.
        """
        found = {each.name: each for each in own}
        names_of_things: dict[str, str] = {}
        for thing, described in things:
            names = free_names(thing, found)
            if not names or names[0] != thing.upper():
                self._tell_collision(thing, names)
            if not names:
                continue
            made = describe_capability(names[0], method, described, aliases=tuple(names[1:]))
            names_of_things[made.name] = thing
            for each in (made.name, *made.aliases):
                found[events.capability_name(each)] = made
        return [each for name, each in found.items() if name == each.name], names_of_things

    def _tell_collision(self, thing: str, names: list[str]) -> None:
        if thing in self._known_collisions or len(self._known_collisions) >= _MOST_TOLD:
            return
        self._known_collisions.add(thing)
        logger.warning(
            "%s: the name %s of %s is taken or not allowed; %s",
            self.usuario,
            shown(thing),
            self._server,
            f"it is offered as {names[0]} alone" if names else "it is not offered",
            extra={"usuario": self.usuario, "name_taken": thing, "server": self._server},
        )

    async def _offer(self, capabilities: Iterable[Capability]) -> None:
        """Offer these, and nothing else, now and on every later connection."""
        declared, before = self._declare(capabilities), self.declarations
        self._is_stale = False
        if declared.capabilities:
            self._alephscript_declare(declared)
            self._alephscript_masters[self._room] = declared.mastery(self._room, "single")
        else:
            self._alephscript_masters.pop(self._room, None)
        if self.state is State.NEW:
            self._alephscript_declare(declared)
            return
        try:
            if not declared.capabilities:
                try:
                    await self.resign(self._room)
                finally:
                    # Not before: what still comes in hears that the server is gone, not that there
                    # never was such a capability.
                    self._alephscript_declare(declared)
            elif not before.capabilities or declared == before:
                await self.make_master(self._room)
            else:
                # Hubs tell who serves, and not what: in one go, so that no request falls between.
                await asyncio.gather(self.resign(self._room), self.make_master(self._room))
        except AlephScriptError as error:
            self._is_stale = True
            logger.debug(
                "%s could not tell what it offers: %s",
                self.usuario,
                error.code if isinstance(error, RequestError) else type(error).__name__,
                extra={"usuario": self.usuario},
            )

    async def _redeclare(self) -> None:
        """Tell a new session what it was not told when that changed."""
        async for state in self.states():
            if state is State.READY and self._is_stale and self.declarations.capabilities:
                self._is_stale = False
                with contextlib.suppress(RequestError):
                    await self.make_master(self._room)

    def _declare(self, capabilities: Iterable[Capability]) -> Declarations:
        named = {
            events.capability_name(name): each
            for each in capabilities
            for name in (each.name, *each.aliases)
        }
        return Declarations((RoomRole(self._room, mastered=bool(named)),), named, {})
