"""Members that ask for A2A clients: one for each token, as long as there is room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from alephscript import AlephScriptClient
from alephscript.a2a import members
from alephscript.a2a.members import Members, Unauthorized
from alephscript.client.lifecycle import State
from alephscript.errors import ConnectionRefused, Overloaded
from alephscript.hub import Access, Handshake, Hub, Identity, Refusal

pytestmark = pytest.mark.anyio

OWN = "own-secret"


class Letters(Access):
    """Lets in whoever has a secret of one letter, and the door."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:
        """Look at the token."""
        token = (auth or {}).get("token")
        return Identity() if token == OWN or len(str(token)) == 1 else Refusal()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub that wants to know who comes."""
    async with Hub(port=0, access=Letters()) as hub:
        yield hub


def members_of(url: str, busy: Iterable[str] = (), token: str | None = OWN) -> Members:
    """The members of a door to a hub."""

    def make(token: str | None, **options: Any) -> AlephScriptClient:
        return AlephScriptClient(url, token=token, **options)

    return Members(make, token, lambda key: key in busy)


async def test_each_token_has_one_member(hub: Hub) -> None:
    """The door's own is one of them; whoever is refused gets none."""
    asking = members_of(hub.url)
    async with asking.open():
        assert await asking.find(OWN) is asking.own
        first = await asking.find("a")
        assert await asking.find("a") is first
        assert await asking.find("b") is not first
        for bearer in (None, "wrong"):
            with pytest.raises(Unauthorized):
                await asking.find(bearer)
        assert first.key != "a"
    assert first.client.state is State.CLOSED


async def test_those_who_do_nothing_make_room(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest idle first; where all are at work, nobody does."""
    monkeypatch.setattr(members, "_MOST_MEMBERS", 2)
    busy: set[str] = set()
    asking = members_of(hub.url, busy)
    async with asking.open():
        first, second = await asking.find("a"), await asking.find("b")
        await asking.find("a")
        third = await asking.find("c")
        assert (first.client.state, second.client.state) == (State.READY, State.CLOSED)
        busy |= {first.key, third.key}
        with pytest.raises(Overloaded):
            await asking.find("d")
        assert await asking.find("a") is first
        busy.clear()
        assert (await asking.find("d")).client.state is State.READY


async def test_a_member_whose_token_has_ended_is_asked_for_again(hub: Hub) -> None:
    """With the next request."""
    asking = members_of(hub.url)
    async with asking.open():
        first = await asking.find("a")
        await first.client.close()
        second = await asking.find("a")
        assert second is not first
        assert second.client.state is State.READY


async def test_a_hub_that_is_away_is_no_refusal() -> None:
    """Of a token."""
    async with Hub(port=0, access=Letters()) as hub:
        asking = members_of(hub.url)
    async with asking.open():
        with pytest.raises(ConnectionRefused):
            await asking.find("a")
