"""The bot in a mesh in memory: no hub, no port, no process."""

from collections.abc import AsyncIterator

import pytest
from alephscript import AlephScriptClient, InvalidPayload
from alephscript.testing import InMemoryMesh

import new_bot

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Alephscript runs on asyncio."""
    return "asyncio"


@pytest.fixture
async def client() -> AsyncIterator[AlephScriptClient]:
    """Somebody in a mesh with the bot."""
    async with InMemoryMesh() as mesh, new_bot.NewBot(mesh):
        async with AlephScriptClient(mesh) as client:
            yield client


async def test_it_greets_by_name_and_tells_the_room(client: AlephScriptClient) -> None:
    """Whoever is in the room hears it."""
    await client.subscribe("NEW_BOT")
    events = client.events("NEW_BOT", "GREETED")
    answer = await client.request(new_bot.Greet(who="Ada"), timeout=5)
    assert answer == new_bot.Greeting(text="hello Ada")
    assert (await anext(events)).data == {"who": "Ada"}


async def test_it_wants_a_name(client: AlephScriptClient) -> None:
    """What does not fit the contract never reaches the bot."""
    with pytest.raises(InvalidPayload) as caught:
        await client.request("GREET", {}, timeout=5)
    assert caught.value.details == [{"path": "who", "message": "missing"}]
