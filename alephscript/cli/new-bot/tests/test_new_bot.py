"""The bot in a mesh in memory, the fixture `mesh`: no hub, no port, no process."""

import pytest
from alephscript import AlephScriptClient, InvalidPayload
from alephscript.testing import FaultInjector

import new_bot


async def test_it_greets_by_name_and_tells_the_room(mesh: FaultInjector) -> None:
    """Whoever is in the room hears it."""
    async with new_bot.NewBot(mesh), mesh.observer("NEW_BOT") as observer:
        answer = await observer.client.request(new_bot.Greet(who="Ada"), timeout=5)
        assert answer == new_bot.Greeting(text="hello Ada")
        await observer.expect("GREETED", who="Ada", within=1)


async def test_it_wants_a_name(mesh: FaultInjector) -> None:
    """What does not fit the contract never reaches the bot."""
    async with new_bot.NewBot(mesh), AlephScriptClient(mesh) as client:
        with pytest.raises(InvalidPayload) as caught:
            await client.request("GREET", {}, timeout=5)
        assert caught.value.details == [{"path": "who", "message": "missing"}]
