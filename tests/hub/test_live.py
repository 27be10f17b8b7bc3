"""What the mesh page is told by HTTP: the last requests, figures with a past, members."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from alephscript import AlephScriptClient, CapabilityError, NoMaster, capability
from alephscript.hub import Access, Handshake, Hub, Identity, Refusal
from alephscript.hub.journal import ENTRIES
from alephscript.mesh.mesh import Mesh
from tests.support.peers import raw_peer

pytestmark = pytest.mark.anyio


class Adder(AlephScriptClient):
    """Adds one."""

    rooms = ("OPEN",)

    @capability("ADD")
    async def add(self, payload: dict[str, Any]) -> dict[str, Any]:
        """What is asked, and one."""
        if "a" not in payload:
            raise CapabilityError(code="nothing_to_add", message="there is nothing to add")
        return {"sum": payload["a"] + 1}


class Secret(Adder):
    """Adds one where guests are not."""

    rooms = ("CLOSED",)


class Guests(Access):
    """Lets everybody in who says a name; guests see one room, admins the whole hub."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:
        """By what each says."""
        known = {
            "bot": Identity(),
            "guest": Identity(rooms=frozenset({"OPEN"})),
            "admin": Identity(is_admin=True),
            "half": Identity(is_admin=True, rooms=frozenset({"OPEN"})),
        }
        return known.get(auth.get("token", "") if isinstance(auth, dict) else "", Refusal())


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of HTTP."""
    async with aiohttp.ClientSession() as session:
        yield session


async def asked(
    http: aiohttp.ClientSession, hub: Hub, path: str = "/mesh/live", token: str = ""
) -> tuple[int, Any]:
    """The status and the answer of a path."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with http.get(hub.url + path, headers=headers) as answer:
        return answer.status, await answer.json()


async def listed(http: aiohttp.ClientSession, hub: Hub, **options: str) -> list[Any]:
    """The last requests."""
    status, told = await asked(http, hub, **options)
    assert status == 200
    return list(told["requests"]["list"])


async def test_requests_are_told_with_how_they_ended(http: aiohttp.ClientSession) -> None:
    """Also those that nobody was asked; not what members are asked about themselves."""
    async with (
        Hub(port=0) as hub,
        Adder(hub.url, sesion="-1"),
        Secret(hub.url, sesion="-1"),
        AlephScriptClient(hub.url, usuario="me", sesion="-1") as client,
    ):
        assert await listed(http, hub) == []
        await client.request("ADD", {"a": 1}, room="OPEN")
        with pytest.raises(CapabilityError):
            await client.request("ADD", {}, room="CLOSED")
        with pytest.raises(NoMaster):
            await client.request("SUBTRACT", {})
        await client.survey("ping")
        entries = await listed(http, hub)
        told = [(each["capability"], each["room"], each["code"]) for each in entries]
        assert told == [
            ("ADD", "OPEN", "ok"),
            ("ADD", "CLOSED", "nothing_to_add"),
            ("SUBTRACT", "", "no_master"),
        ]
        assert {each["asker"] for each in entries} == {"me-1"}
        assert [each["master"] for each in entries] == ["Adder-1", "Secret-1", ""]
        assert entries[0]["seconds"] > 0
        last = entries[-1]["number"]
        assert await listed(http, hub, path=f"/mesh/live?requests={last - 1}") == entries[-1:]
        assert await listed(http, hub, path=f"/mesh/live?requests={last}") == []
        assert await listed(http, hub, path="/mesh/live?requests=-1&steps=x") == entries


async def test_nothing_is_kept_while_nobody_looks(http: aiohttp.ClientSession) -> None:
    """And after a while nobody looks any more."""
    async with Hub(port=0) as hub, Adder(hub.url), AlephScriptClient(hub.url) as client:
        await client.request("ADD", {"a": 1}, room="OPEN")
        assert await listed(http, hub) == []
        await client.request("ADD", {"a": 1}, room="OPEN")
        assert len(await listed(http, hub)) == 1
        carrier = hub._engine.carriers["/runtime"]
        carrier.journal.rest(1e9)
        assert carrier.mesh.requests.witness is None
        await client.request("ADD", {"a": 1}, room="OPEN")
        assert len(await listed(http, hub)) == 1


async def test_of_the_last_requests_so_many_are_kept(http: aiohttp.ClientSession) -> None:
    """Whatever they name as their room."""
    async with Hub(port=0) as hub, raw_peer(hub) as peer:
        await listed(http, hub)
        await peer.ask("CLIENT_REGISTER", {"usuario": "me", "protocol": "alephscript/1"})
        for number in range(ENTRIES + 10):
            room = {"a": ["R" * 100]} if number % 2 else "R" * 5000
            answer = await peer.ask("GET_X", {}, {"room": room})
            assert answer["success"] is False
        entries = await listed(http, hub)
        assert len(entries) == ENTRIES
        assert entries[-1]["number"] == ENTRIES + 10
        assert {each["room"] for each in entries} == {""}


@pytest.mark.parametrize(
    ("token", "rooms", "has_figures"),
    [
        ("guest", ["OPEN"], False),
        ("half", ["OPEN"], True),
        ("bot", ["OPEN", "CLOSED", ""], False),
        ("admin", ["OPEN", "CLOSED", ""], True),
    ],
)
async def test_requests_are_told_to_those_who_hear_the_events_of_their_room(
    http: aiohttp.ClientSession, token: str, rooms: list[str], *, has_figures: bool
) -> None:
    """Figures of the hub, and where its members are, to those who may see all of it."""
    bot = {"token": "bot"}
    async with (
        Hub(port=0, access=Guests()) as hub,
        Adder(hub.url, auth=bot),
        Secret(hub.url, auth=bot),
        AlephScriptClient(hub.url, auth=bot) as client,
    ):
        await listed(http, hub, token="guest")
        for room in ("OPEN", "CLOSED"):
            await client.request("ADD", {"a": 1}, room=room)
        with pytest.raises(NoMaster):
            await client.request("SUBTRACT", {})
        status, told = await asked(http, hub, token=token)
        assert status == 200
        assert [each["room"] for each in told["requests"]["list"]] == rooms
        assert ("steps" in told, "hub" in told) == (has_figures, has_figures)
        status, told = await asked(http, hub, "/mesh/members", token)
        assert status == (200 if has_figures else 401)
        if has_figures:
            assert {each["address"] for each in told["members"]} == {"127.0.0.1"}


@pytest.mark.parametrize("path", ["/mesh/live", "/mesh/members"])
async def test_who_shows_no_token_is_told_nothing(http: aiohttp.ClientSession, path: str) -> None:
    """Nor who shows a wrong one, nor anybody beyond loopback on a hub that asks for none."""
    async with Hub(port=0, access=Guests()) as hub:
        assert (await asked(http, hub, path))[0] == 401
        assert (await asked(http, hub, path, "a guess"))[0] == 401
    async with Hub(port=0, host="0.0.0.0", insecure=True) as hub:
        url = hub.url.replace("0.0.0.0", "127.0.0.1")
        async with http.get(url + path) as answer:
            assert answer.status == 401


async def test_members_are_told_with_since_when_they_are_there(
    http: aiohttp.ClientSession,
) -> None:
    """By the ids that GET_MEMBERS gives."""
    async with Hub(port=0) as hub, AlephScriptClient(hub.url, usuario="me", sesion="-1"):
        _, told = await asked(http, hub, "/mesh/members")
        (member,) = told["members"]
        assert member["name"] == "me-1"
        assert member["transport"] == "websocket"
        assert member["since"] > 1_600_000_000
        assert member["id"] in hub._engine.meshes["/runtime"].rooms.peers


def test_a_mesh_that_nobody_watches_has_no_witness() -> None:
    """A request then costs one comparison more."""
    assert Mesh().requests.witness is None
