"""A mesh as an MCP server, seen by the SDK's own client, of both protocols."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import attrs
import pytest
from mcp.client.client import Client
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import ResourceUpdatedNotification, ToolListChangedNotification

from alephscript import AlephScriptClient, CapabilityError, DeclarationError, capability
from alephscript.mcp import MeshServer
from alephscript.testing import InMemoryMesh
from tests.support.mcp_peers import Slow, client_of, text_of, tools_of, until
from tests.support.meshes import at_once

pytestmark = pytest.mark.anyio

MODES: tuple[Literal["auto", "legacy"], ...] = ("auto", "legacy")


@attrs.frozen
class Sum:
    """Numbers to be added."""

    numbers: list[int]


class Odd(AlephScriptClient):
    """Takes and gives all that is no object."""

    rooms = ("ODD",)

    @capability("ADD", read_only=True, idempotent=True)
    async def add(self, numbers: list[int]) -> int:
        """Add numbers."""
        return sum(numbers)

    @capability("ERASE", destructive=True)
    async def erase(self, request: dict[str, Any] | None) -> dict[str, Any]:
        """Erase what there is."""
        raise CapabilityError("not_mine", "there is nothing to erase", [{"asked": request}])

    @capability("TYPED")
    async def typed(self, request: Sum) -> Sum:
        """Give back what was given."""
        return request


class Other(AlephScriptClient):
    """Offers a capability of the same name in another room."""

    rooms = ("OTHER",)

    @capability("ADD")
    async def add(self, request: dict[str, Any]) -> dict[str, Any]:
        """Add nothing."""
        return {"added": 0}


@pytest.mark.parametrize("mode", MODES)
async def test_every_capability_is_a_tool_with_schemas_and_hints(
    mesh: InMemoryMesh, mode: Literal["auto", "legacy"]
) -> None:
    """One odd capability takes no other away."""
    async with Odd(mesh), Slow(mesh), client_of(mesh, mode=mode) as client:
        tools = await tools_of(client)
        assert {*tools} == {"ADD", "ERASE", "TYPED", "WAIT_LONG"}
        assert tools["WAIT_LONG"].description == "Wait until cancelled."
        hints = tools["ADD"].annotations
        assert hints is not None
        assert (hints.read_only_hint, hints.idempotent_hint) == (True, True)
        hints = tools["ERASE"].annotations
        assert hints is not None
        assert (hints.read_only_hint, hints.destructive_hint) == (None, True)
        assert tools["TYPED"].output_schema is not None
        added = await client.call_tool("ADD", {"payload": [1, 2]})
        assert added.structured_content == {"result": 3}
        typed = await client.call_tool("TYPED", {"numbers": [1]})
        assert typed.structured_content == json.loads(text_of(typed.content[0])) == {"numbers": [1]}


@pytest.mark.parametrize("mode", MODES)
async def test_failures_have_one_style(mesh: InMemoryMesh, mode: Literal["auto", "legacy"]) -> None:
    """Code, message, details: of a capability, of a payload, of a tool that is not there."""
    async with Odd(mesh), client_of(mesh, mode=mode) as client:
        own = await client.call_tool("ERASE", {"payload": {"a": 1}})
        wrong = await client.call_tool("TYPED", {"numbers": "x"})
        none = await client.call_tool("NO_SUCH_TOOL", {})
        assert own.is_error
        assert text_of(own.content[0]) == (
            'not_mine: there is nothing to erase [{"asked":{"a":1}}]'
        )
        assert own.structured_content == {
            "code": "not_mine",
            "message": "there is nothing to erase",
            "details": [{"asked": {"a": 1}}],
        }
        assert text_of(wrong.content[0]).startswith("invalid_payload: ")
        assert text_of(none.content[0]).startswith("unknown_capability: ")
        for each in (wrong, none):
            assert each.is_error
            assert "http" not in text_of(each.content[0])


async def test_what_is_announced_is_what_comes(mesh: InMemoryMesh) -> None:
    """In each protocol, with the version of this package."""
    for mode in MODES:
        async with client_of(mesh, mode=mode, rooms=["R"]) as client:
            told = client.server_capabilities
            assert told.tools is not None
            assert told.resources is not None
            assert told.prompts is not None
            assert (told.tools.list_changed, told.prompts.list_changed) == (True, False)
            assert (told.resources.subscribe, told.resources.list_changed) == (True, False)
            assert client.server_info is not None
            assert client.server_info.version


async def test_tools_come_and_go_with_their_masters(mesh: InMemoryMesh) -> None:
    """And MCP clients that listen are told."""
    async with client_of(mesh) as client:
        assert await tools_of(client) == {}
        async with Slow(mesh):
            await until(client, "WAIT_LONG")
        await until(client, "WAIT_LONG", is_there=False)


@pytest.mark.filterwarnings("ignore:resources/:mcp.shared.exceptions.MCPDeprecationWarning")
async def test_older_clients_hear_of_changes_without_asking(mesh: InMemoryMesh) -> None:
    """Of lists; of resources, once they have subscribed."""
    heard: asyncio.Queue[Any] = asyncio.Queue()
    server = MeshServer(mesh, rooms=["SLOW"], backoff=at_once)

    async def hear(message: object) -> None:
        await heard.put(message)

    client = Client(server, mode="legacy", message_handler=hear)
    async with asyncio.timeout(20), client:
        assert {*await tools_of(client)} == {"recent_events"}
        async with Slow(mesh) as slow:
            while not isinstance(await heard.get(), ToolListChangedNotification):
                pass
            assert "WAIT_LONG" in await tools_of(client)
            await client.subscribe_resource("mesh://SLOW/events")
            await slow.broadcast("NEWS", {"n": 1})
            while not isinstance(await heard.get(), ResourceUpdatedNotification):
                pass
            await client.unsubscribe_resource("mesh://SLOW/events")
            read = await client.call_tool("recent_events", {})
            assert read.structured_content is not None
            assert read.structured_content["events"][-1]["event"] == "NEWS"


async def test_what_is_said_in_an_observed_room_is_a_resource(mesh: InMemoryMesh) -> None:
    """With notices for those that listen."""
    async with Slow(mesh) as slow, client_of(mesh, rooms=["SLOW"]) as client:
        uri = "mesh://SLOW/events"
        assert [each.uri for each in (await client.list_resources()).resources] == [uri]
        await tools_of(client)  # it is in the room by then
        async with client.listen(resource_subscriptions=[uri]) as updates:
            await slow.broadcast("NEWS", {"n": 1})
            assert await anext(aiter(updates)) == ResourceUpdated(uri=uri)
        [read] = json.loads(text_of((await client.read_resource(uri)).contents[0]))
        assert (read["event"], read["data"], read["number"]) == ("NEWS", {"n": 1}, 1)


async def test_only_the_named_rooms_are_shown(mesh: InMemoryMesh) -> None:
    """Where rooms are named."""
    async with Odd(mesh), Slow(mesh), client_of(mesh, rooms=["SLOW"]) as client:
        assert {*await tools_of(client)} == {"recent_events", "WAIT_LONG"}


async def test_a_tool_is_named_by_its_room_where_two_offer_it(mesh: InMemoryMesh) -> None:
    """And the short name is nobody's from then on."""
    async with Odd(mesh), client_of(mesh) as client:
        assert "ADD" in await tools_of(client)
        async with Other(mesh):
            await until(client, "OTHER_ADD")
            assert {"ADD", "ODD_ADD", "OTHER_ADD"} & {*await tools_of(client)} == {
                "ODD_ADD",
                "OTHER_ADD",
            }
            added = await client.call_tool("OTHER_ADD", {})
            assert added.structured_content == {"added": 0}
            assert (await client.call_tool("ADD", {"payload": [1]})).is_error
        await until(client, "OTHER_ADD", is_there=False)
        assert "ODD_ADD" in await tools_of(client)


@pytest.mark.slow
async def test_a_hub_that_is_down_is_said_and_the_server_comes_back_with_it() -> None:
    """It need not be there when the server starts, and may be started again."""
    mesh = InMemoryMesh()
    async with client_of(mesh) as client:
        missing = await client.call_tool("ADD", {"payload": []})
        assert text_of(missing.content[0]).startswith("not_connected: there is no hub")
        async with mesh, Odd(mesh, backoff=at_once):
            await until(client, "ADD")
            await mesh.kill()
            await until(client, "ADD", is_there=False)
            await mesh.restart()
            await until(client, "ADD")
            assert not (await client.call_tool("ADD", {"payload": [1]})).is_error


@pytest.mark.parametrize("mode", MODES)
async def test_cancelling_a_call_cancels_the_request_and_progress_comes_in_order(
    mesh: InMemoryMesh, mode: Literal["auto", "legacy"]
) -> None:
    """Through MCP and the mesh."""
    told: list[tuple[float, str | None]] = []
    heard = asyncio.Event()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))
        if len(told) == 3:
            heard.set()

    async with Slow(mesh) as slow, client_of(mesh, mode=mode) as client:
        await tools_of(client)
        call = asyncio.ensure_future(client.call_tool("WAIT_LONG", {}, progress_callback=note))
        await slow.running.wait()
        await heard.wait()
        assert told == [(0.25, "1 of 4"), (0.5, "2 of 4"), (0.75, "3 of 4")]
        call.cancel()
        await slow.stopped.wait()


async def test_a_deadline_is_a_failure(mesh: InMemoryMesh) -> None:
    """Of the mesh's, told to the model."""
    async with Slow(mesh) as slow, client_of(mesh, timeout=1.0) as client:
        late = await client.call_tool("WAIT_LONG", {})
        assert text_of(late.content[0]).startswith("deadline_exceeded: ")
        await slow.stopped.wait()


def test_a_capability_is_read_only_or_destructive() -> None:
    """Not both."""
    with pytest.raises(DeclarationError, match="not both"):
        capability("X", read_only=True, destructive=True)
