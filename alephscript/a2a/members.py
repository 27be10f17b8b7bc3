"""Members of a mesh that ask for A2A clients: one for each token (decision 0045).

The bearer of an A2A request is the token with which its asker is in the mesh: the hub's rule of
access decides about it, as about any client. The door's own token is one of them.

May go in: who asks, and the agents that they see. May not: HTTP (`server`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from a2a.types import AgentCard

from alephscript.a2a.cards import Skill, Skills, WrittenCard, describe, make_card, write_card
from alephscript.client.client import AlephScriptClient
from alephscript.client.discovery import Offer
from alephscript.client.lifecycle import State
from alephscript.doors.catalogue import Catalogue, KnownOffers, is_same
from alephscript.errors import ConnectionRefused, Overloaded
from alephscript.protocol.text import has_controls, printable

__all__ = ["Agent", "Member", "Members", "Unauthorized"]

_MOST_MEMBERS = 64
_MOST_OPENING = 4
"""Members that come into the mesh at once; a hub counts those that it refuses."""
_MOST_SKILLS = 500
_MOST_CARDS = 200
"""Cards of a member that are kept as they are sent: a room has one for each name of the door."""


class Unauthorized(Exception):
    """A request has no token where one is needed, or a token that the hub refuses."""


class Member:
    """A member of the mesh, and what it is offered.

    Args:
        client: The member.
        key: A name of the member that tells nothing of its token.

    Attributes:
        all: The skills of the whole mesh.
        rooms: Those of each room.
        cards: Cards as they are now, by room and address.
    """

    def __init__(self, client: AlephScriptClient, key: str) -> None:
        self.client = client
        self.key = key
        self.catalogue = Catalogue(client, self._offer)
        self._names = KnownOffers(2 * _MOST_SKILLS, (), lambda each: each.capability)
        self._described: dict[tuple[str, str], tuple[Offer, Mapping[str, Any]]] = {}
        self.all = Skills(())
        self.rooms: Mapping[str, Skills] = {}
        self.cards: dict[tuple[str, str], WrittenCard] = {}

    async def _offer(self, offers: Sequence[Offer]) -> None:
        # Hubs of others may let names through that no client of A2A can write.
        sound = (each for each in offers if not has_controls(each.room + each.capability))
        here = list(itertools.islice(sound, _MOST_SKILLS))
        described = {}
        for offer in here:
            key = offer.room, offer.capability
            known, about = self._described.get(key, (offer, None))
            if about is None or not is_same(known, offer):
                about = describe(offer)
                await asyncio.sleep(0)
            described[key] = offer, about
        names = self._names.name(here)
        by_room: dict[str, list[Skill]] = {}
        for (room, name), (offer, about) in described.items():
            by_room.setdefault(room, []).append(Skill(name, offer, about))
        self._described = described
        self.all = Skills(Skill(names[key], *each) for key, each in described.items())
        self.rooms = {room: Skills(skills) for room, skills in by_room.items()}
        self.cards = {}


class Agent:
    """An agent as one asker sees it: a room, or the whole mesh.

    Args:
        asker: The member that asks for the asker; None for who only looks, and has no token.
        room: The room; empty for the whole mesh.
        url: The agent's address.
        is_guarded: Whether its askers need a token.
    """

    def __init__(self, asker: Member | None, room: str, url: str, *, is_guarded: bool) -> None:
        self._asker = asker
        self.room = room
        self.url = url
        self.is_guarded = is_guarded

    @property
    def client(self) -> AlephScriptClient:
        """The client that asks the mesh."""
        assert self._asker is not None
        return self._asker.client

    @property
    def member(self) -> str:
        """A name of the asker that tells nothing of its token."""
        assert self._asker is not None
        return self._asker.key

    @property
    def skills(self) -> Skills:
        """The skills that there are now."""
        if self._asker is None:
            return Skills(())
        if not self.room:
            return self._asker.all
        return self._asker.rooms.get(self.room, Skills(()))

    @property
    def rooms(self) -> Mapping[str, Skills]:
        """The skills of each room that there is."""
        return {} if self._asker is None else self._asker.rooms

    async def first_look(self) -> None:
        """Wait until what is offered is known, for a while."""
        if self._asker is not None:
            await self._asker.catalogue.first_look()

    async def write_card(self) -> WrittenCard:
        """Write the card of the agent, beside the loop: many skills take seconds."""
        cards = {} if self._asker is None else self._asker.cards
        key = self.room, self.url
        if key not in cards:
            written = await asyncio.to_thread(write_card, self.card())
            if len(cards) >= _MOST_CARDS:
                cards.clear()
            cards[key] = written
        return cards[key]

    def card(self) -> AgentCard:
        """Make the card of the agent."""
        skills = list(self.skills.by_id.values())
        if not self.room:
            about = "All capabilities of an AlephScript mesh."
            name = "AlephScript mesh"
        else:
            masters = [name for each in skills[:1] for name in each.offer.masters]
            name = printable(self.room)
            by = f", served by {', '.join(map(printable, masters[:5]))}" if masters else ""
            about = f"The room {name} of an AlephScript mesh{by}."
        if self._asker is None:
            about += " Its skills are shown to whoever has a token."
        return make_card(
            skills, name=name, description=about, url=self.url, is_guarded=self.is_guarded
        )


class Members:
    """The members that ask, by their tokens; those that nobody needs make room for others.

    Args:
        make_client: Makes a client with a token, or without; whether it waits for a hub.
        token: The door's own token.
        is_busy: Whether a member's tasks run.
    """

    def __init__(
        self,
        make_client: Callable[..., AlephScriptClient],
        token: str | None,
        is_busy: Callable[[str], bool],
    ) -> None:
        self._make_client = make_client
        self._token = token
        self._is_busy = is_busy
        self._others: dict[str, tuple[Member, contextlib.AsyncExitStack]] = {}
        self._opening = asyncio.Semaphore(_MOST_OPENING)
        self._is_open = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.own = self._make(token, retry_open=True)

    @property
    def is_guarded(self) -> bool:
        """Whether askers need a token: the door has one itself."""
        return self._token is not None

    def _make(self, token: str | None, **options: Any) -> Member:
        key = "" if token is None else hashlib.sha256(token.encode()).hexdigest()
        client = self._make_client(token, **options)
        return Member(client, key)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have the door itself in the mesh, and end all others with it."""
        self._running = asyncio.create_task(self.own.client.run_forever())
        self._is_open.set()
        await asyncio.sleep(0)
        try:
            async with self.own.catalogue.follow():
                try:
                    yield
                finally:
                    await self.own.client.close()
        finally:
            self._running.cancel()
            await asyncio.wait({self._running})
            for _, stack in list(self._others.values()):
                await stack.aclose()
            self._others.clear()

    async def watch(self) -> None:
        """Wait until the door is not in the mesh any more.

        Raises:
            ConnectionRefused: The hub refused it, for good.
        """
        await self._is_open.wait()
        assert self._running is not None
        await asyncio.wait({self._running})
        if not self._running.cancelled():
            self._running.result()

    async def find(self, bearer: str | None) -> Member:
        """Find the member that asks with a token.

        Raises:
            Unauthorized: There is no token where one is needed, or the hub refuses it.
            ConnectionRefused: There is no hub at the moment.
            Overloaded: There are as many members as may be, and all are at work.
        """
        if bearer is None:
            if self.is_guarded:
                raise Unauthorized("this needs a token of the mesh")
            return self.own
        if self._token is not None and hmac.compare_digest(bearer.encode(), self._token.encode()):
            return self.own
        key = hashlib.sha256(bearer.encode()).hexdigest()
        member = self._known(key)
        if member is not None:
            return member
        async with self._opening:
            return self._known(key) or await self._admit(bearer, key)

    def _known(self, key: str) -> Member | None:
        known = self._others.get(key)
        if known is None or known[0].client.state is State.CLOSED:  # the token has ended
            return None
        self._others[key] = self._others.pop(key)  # the latest go last
        return known[0]

    async def _admit(self, bearer: str, key: str) -> Member:
        await self._make_room()
        member = self._make(bearer, retry_open=False)
        stack = contextlib.AsyncExitStack()
        try:
            await stack.enter_async_context(member.client)
        except ConnectionRefused as error:
            if error.fatal:
                raise Unauthorized("the mesh refuses this token") from None
            raise
        await stack.enter_async_context(member.catalogue.follow())
        other = self._others.get(key)
        if other is not None:  # who asked with the same token at the same time
            await stack.aclose()
            return other[0]
        self._others[key] = member, stack
        return member

    async def _make_room(self) -> None:
        gone = [
            key for key, (member, _) in self._others.items() if member.client.state is State.CLOSED
        ]
        idle = [key for key in self._others if not self._is_busy(key)]
        if not gone and len(self._others) >= _MOST_MEMBERS:
            gone = idle[:1]
            if not gone:
                raise Overloaded("as many tokens as may be are in use; ask again later")
        for key in gone:
            _, stack = self._others.pop(key)
            await stack.aclose()
