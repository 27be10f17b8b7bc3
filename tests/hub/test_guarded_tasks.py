"""Tasks on a hub with rules: whoever may ask a capability may use its tasks, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alephscript import AlephScriptClient, Conflict, PermissionDenied, UnknownTask, capability
from alephscript.hub import Hub
from alephscript.mesh.access import Action, Identity, RoomSecrets
from alephscript.protocol.events import HubEvent

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Masters one room."""

    rooms = ("ONE",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.go = asyncio.Event()

    @capability("WAIT")
    async def wait(self) -> dict[str, bool]:
        """Wait until it may end."""
        await self.go.wait()
        return {"waited": True}


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub with a secret for each of two rooms."""
    async with Hub(port=0, access=RoomSecrets({"ONE": "1", "TWO": "2"})) as hub:
        yield hub


def member(hub: Hub, room: str, cls: type[Any] = AlephScriptClient, **options: Any) -> Any:
    """Make a client that knows the secret of a room."""
    secret = {"ONE": "1", "TWO": "2"}[room]
    return cls(hub.url, auth={"room": room, "token": secret}, **{"usuario": "ana", **options})


async def test_who_may_not_ask_the_capability_may_not_use_its_tasks(hub: Hub) -> None:
    """Whether a task is there, queued, at work or over; lists have none of it."""
    async with member(hub, "ONE") as ours, member(hub, "TWO") as stranger:
        queued = await ours.submit("WAIT", {}, room="ONE")
        open_ = await ours.submit("WAIT", {})  # of which nobody knows the room
        async with member(hub, "ONE", Bot) as bot:
            bot.go.set()
            done = await ours.submit("WAIT", {})
            await done.result()
            await queued.result()
        later = await ours.submit("NOBODY_DOES", {}, room="ONE")
        for task in (queued, open_, done, later):
            theirs = stranger.task(task.id)
            for use in (theirs.status, theirs.result, theirs.cancel, lambda t=theirs: t.answer(1)):
                with pytest.raises(UnknownTask):
                    await use()
        assert await stranger.tasks() == []
        assert len(await ours.tasks()) == 4
        with pytest.raises(PermissionDenied):
            await stranger.submit("WAIT", {}, room="ONE")
        async with member(hub, "ONE", usuario="bert") as other:
            assert (await other.task(done.id).result()) == {"waited": True}


async def test_a_key_is_its_owners(hub: Hub) -> None:
    """The same name, said under another secret, is somebody else."""
    async with member(hub, "ONE") as ours, member(hub, "TWO") as stranger:
        first = await ours.submit("WAIT", {}, key="k")
        second = await stranger.submit("WAIT", {}, key="k")
        assert first.id != second.id
        assert (await ours.submit("WAIT", {}, key="k")).id == first.id


async def test_a_key_is_told_to_its_owner_and_to_nobody_else(hub: Hub) -> None:
    """Whatever others may do with the task; whether it has ended or not."""
    async with (
        member(hub, "ONE") as ours,
        member(hub, "ONE", usuario="bert") as other,
        member(hub, "ONE", Bot) as bot,
    ):
        task = await ours.submit("WAIT", {}, key="k")
        await other.submit("WAIT", {}, key="other")
        for _ in range(2):
            assert (await ours._alephscript_own_task(task.id))[1] == "k"
            assert [key for _, key in await ours._alephscript_own_tasks("ONE")] == ["k"]
            assert [key for _, key in await other._alephscript_own_tasks(None)] == ["other"]
            assert (await other.task(task.id).status()).id == task.id
            with pytest.raises(UnknownTask):
                await other._alephscript_own_task(task.id)
            bot.go.set()
            await task.result()


async def test_a_key_of_a_task_that_one_may_not_use_is_a_conflict() -> None:
    """Where a rule has changed since the task was submitted."""
    denied: set[str] = set()

    class Changing(RoomSecrets):
        """Forbids what it did not forbid before."""

        def authorize(self, identity: Identity, action: Action, room: str, name: str) -> bool:
            return name not in denied and super().authorize(identity, action, room, name)

    async with Hub(port=0, access=Changing({"ONE": "1"})) as hub, member(hub, "ONE") as ours:
        await ours.submit("WAIT", {}, room="ONE", key="k")
        denied.add("WAIT")
        with pytest.raises(Conflict):
            await ours.submit("OTHER", {}, room="ONE", key="k")


async def test_a_run_belongs_to_who_was_given_it(hub: Hub) -> None:
    """Nobody takes it up by a guess, or by the id of its task."""
    async with member(hub, "ONE") as ours, member(hub, "ONE", Bot) as bot:
        task = await ours.submit("WAIT", {})
        async for status in task.updates():
            if status.state == "running":
                break
        (open_task,) = hub._engine.meshes["/runtime"].tasks._ledger
        guesses = [task.id, "0" * 32, "", open_task.run[:-1] + "~"]
        dialect = ours._alephscript_session.dialect
        answer = await dialect.tell(HubEvent.TASK_RESUME, {"runs": guesses})
        assert answer["runs"] == {}
        bot.go.set()
        assert await task.result() == {"waited": True}
