"""`Catalogue`: what a mesh offers to one of its members, and again whenever masters come and go.

May go in: when to look, and names that stay with offers. May not: what a door makes of an offer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

import attrs

from alephscript.client.client import AlephScriptClient
from alephscript.client.discovery import Offer
from alephscript.client.lifecycle import State
from alephscript.doors.names import name_offers
from alephscript.errors import AlephScriptError, NotConnected, RequestError

__all__ = ["Catalogue", "KnownOffers", "is_same"]

_PAUSE = 0.1
"""Seconds between two looks at what the mesh offers."""
_PAUSE_AFTER_FAILURE = 1.0
_FIRST_LOOK = 2.0
"""Seconds that a question may wait for the first look: clients ask as soon as they can."""


class Catalogue:
    """The offers of a mesh, kept up to date while a member of it is there.

    Args:
        client: The member.
        offer: Takes all offers, whenever they may be others; none while there is no hub.
        begin: Called with each new session of the member, before the first look.
    """

    def __init__(
        self,
        client: AlephScriptClient,
        offer: Callable[[Sequence[Offer]], Awaitable[None]],
        *,
        begin: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._client = client
        self._offer = offer
        self._begin = begin
        self._is_changed = asyncio.Event()
        self._has_looked = asyncio.Event()

    async def first_look(self) -> None:
        """Wait until what is offered is known, for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK):
                await self._has_looked.wait()

    @contextlib.asynccontextmanager
    async def follow(self) -> AsyncIterator[None]:
        """Look, as long as the block runs; the client is open, or about to be."""
        following = (self._follow_states(), self._follow_masters(), self._look())
        tasks = [asyncio.create_task(each) for each in following]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _follow_states(self) -> None:
        async for state in self._client.states():
            if state is State.READY:
                if self._begin is not None:
                    with contextlib.suppress(AlephScriptError):  # the next session begins again
                        await self._begin()
                self._is_changed.set()
            elif state is State.RECONNECTING:
                await self._offer([])

    async def _follow_masters(self) -> None:
        await self._client.ready()
        while True:
            with contextlib.suppress(RequestError):  # the link went before it had subscribed
                async for _ in self._client.watch_masters():
                    self._is_changed.set()
            await asyncio.sleep(_PAUSE_AFTER_FAILURE)

    async def _look(self) -> None:
        while True:
            await self._is_changed.wait()
            self._is_changed.clear()
            try:
                offers = await self._client.discover()
            except NotConnected:
                continue  # the next session is told of
            except AlephScriptError:
                self._is_changed.set()
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)
                continue
            await self._offer(offers)
            self._has_looked.set()
            await asyncio.sleep(_PAUSE)  # masters come and go in flocks


class KnownOffers:
    """Offers of now and of late, so that a name stays with its capability while that is away.

    Args:
        most: Offers that keep their names.
        taken: Names that no offer can have.
        preferred: The name that an offer would have if there were no others.
    """

    def __init__(
        self, most: int, taken: Collection[str], preferred: Callable[[Offer], str]
    ) -> None:
        self._most = most
        self._taken = taken
        self._preferred = preferred
        self._known: dict[tuple[str, str], Offer] = {}

    def name(self, offers: Sequence[Offer]) -> dict[tuple[str, str], str]:
        """Name offers, by room and capability; see `name_offers`."""
        for offer in offers:
            key = offer.room, offer.capability
            self._known.pop(key, None)  # the latest go last
            self._known[key] = offer
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return name_offers(self._known.values(), self._taken, self._preferred)


def is_same(one: Offer, other: Offer) -> bool:
    """Whether two offers say the same; epochs and names of masters change, and the offer stays."""
    return attrs.evolve(one, masters=(), epoch=0) == attrs.evolve(other, masters=(), epoch=0)
