"""Tasks, on each transport: submitted, watched, asked back, cancelled, found again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    Cancelled,
    CapabilityError,
    Conflict,
    DeadlineExceeded,
    InvalidPayload,
    MasterLost,
    NotConnected,
    PayloadTooLarge,
    Request,
    RequestError,
    RequestFor,
    State,
    Task,
    TaskStatus,
    UnknownEvent,
    UnknownTask,
    capability,
)
from alephscript.protocol.events import HubEvent
from alephscript.protocol.tasks import MAX_CHECKPOINT, STATES
from tests.support.meshes import MeshUnderTest

pytestmark = pytest.mark.anyio


@attrs.frozen
class Sum:
    """What was counted."""

    total: int


@attrs.frozen
class Count(RequestFor[Sum], capability="COUNT"):
    """Count up to a number."""

    to: int


@attrs.frozen
class Approval:
    """Whether somebody agrees."""

    yes: bool


@attrs.frozen
class Approve(RequestFor[Approval], capability="APPROVE"):
    """Ask whether somebody agrees."""

    what: str


class Bot(AlephScriptClient):
    """Does what takes a while."""

    rooms = ("WORK",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begun: asyncio.Queue[Any] = asyncio.Queue()
        self.stopped: asyncio.Queue[str] = asyncio.Queue()
        self.go = asyncio.Event()

    @capability("COUNT", idempotent=True)
    async def count(self, request: Request[Count]) -> Sum:
        """Count, telling how far it is."""
        request.progress(0.5, "half")
        await request.checkpoint({"reached": request.payload.to})
        await self.begun.put(request.checkpoint_data)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await self.stopped.put("count")
            raise
        return Sum(request.payload.to)

    @capability("FIRE")
    async def fire(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Do something that must not be done twice."""
        await request.checkpoint({"aimed": True})
        await self.begun.put(None)
        await self.go.wait()
        return {"fired": True}

    @capability("SEND")
    async def send(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Send something if somebody agrees."""
        approval = await request.ask(Approve(what="send it"), timeout=60)
        return {"sent": approval.yes}

    @capability("SEND_ALL")
    async def send_all(self, request: Request[list[str]]) -> list[bool | str]:
        """Ask about several things at once, each for as long as the payload says."""
        asked = [
            request.ask(Approve(what=what), timeout=60 if what else 0.0) for what in request.payload
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [each.yes if isinstance(each, Approval) else repr(each) for each in answers]

    @capability("FAIL")
    async def fail(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Fail in its own words."""
        await request.checkpoint({"reached": 3})
        raise CapabilityError("no_paper", "there is no paper", [{"tray": 2}])

    @capability("HUGE")
    async def huge(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Keep more than is allowed."""
        try:
            await request.checkpoint("x" * MAX_CHECKPOINT)
        except PayloadTooLarge as error:
            return {"refused": error.code}
        return {}

    @capability("NEST")
    async def nest(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Keep, ask or answer what is nested as deeply as the payload says."""
        nested: Any = []
        for _ in range(request.payload["levels"]):
            nested = [nested]
        match request.payload["in"]:
            case "checkpoint":
                try:
                    await request.checkpoint(nested)
                except PayloadTooLarge as error:
                    raise CapabilityError(error.code, error.message) from None
            case "question":
                await request.ask("APPROVE", nested, timeout=60)
            case "error":
                raise CapabilityError("nested", "it is nested", [nested])
        return {"nested": nested}


class Storyteller(AlephScriptClient):
    """Answers in parts."""

    rooms = ("WORK",)

    @capability("TELL")
    async def tell(self, request: Request[dict[str, int]]) -> AsyncIterator[int]:
        """Count, a part at a time."""
        for number in range(request.payload["to"]):
            yield number


class Runner(AlephScriptClient):
    """Has a method of the name by which programs serve with a client."""

    rooms = ("WORK",)

    @capability("RUN_FIA", idempotent=True, timeout=3600)
    async def run(self, request: Request[Count]) -> Sum:
        """Go on where the last run was, ask, and say how far it is."""
        start = request.checkpoint_data
        await request.checkpoint({"cycle": 7})
        approval = await request.ask(Approve(what="send it"), timeout=600)
        request.progress(0.4, "cycle 7")
        return Sum(request.payload.to if approval.yes and start is None else 0)


async def until(task: Task[Any], state: str) -> TaskStatus:
    """Wait until a task is in a state."""
    async for status in task.updates():
        if status.state == state:
            return status
    raise AssertionError(f"the task ended as {status.state}")


async def test_a_task_is_done_and_its_reply_is_typed(mesh: MeshUnderTest) -> None:
    """Each change is heard of, with progress; and the task is there afterwards."""
    client, bot = await mesh.open(usuario="me"), await mesh.open(Bot)
    bot.go.set()
    task = await client.submit(Count(to=3))
    states = [
        (each.state, each.progress and each.progress.message) async for each in task.updates()
    ]
    assert states[-1] == ("done", "half")
    assert await task.result() == Sum(3)
    status = await client.task(task.id).status()
    assert status.result == {"total": 3}
    assert (status.capability, status.room, status.attempts) == ("COUNT", "WORK", 1)
    assert status.created <= status.updated
    assert status.error is None
    assert [each.id for each in await client.tasks()] == [task.id]
    assert await client.tasks(state="queued") == await client.tasks(room="OTHER") == []


async def test_a_method_knows_whether_it_runs_for_a_task(mesh: MeshUnderTest) -> None:
    """A plain request of the same capability is none."""

    class Knowing(AlephScriptClient):
        rooms = ("WORK",)

        @capability("KNOW")
        async def know(self, request: Request[dict[str, Any]]) -> dict[str, bool]:
            return {"task": request.is_task}

    client, _ = await mesh.open(usuario="me"), await mesh.open(Knowing)
    assert await client.request("KNOW") == {"task": False}
    assert await (await client.submit("KNOW")).result() == {"task": True}


async def test_a_task_waits_for_a_master_and_the_same_key_is_the_same_task(
    mesh: MeshUnderTest,
) -> None:
    """Whichever session of that usuario submits; another usuario has keys of its own."""
    client, other = await mesh.open(usuario="me"), await mesh.open(usuario="you")
    task = await client.submit("FIRE", {}, key="night")
    assert (await task.status()).state == "queued"
    again = await (await mesh.open(usuario="me")).submit("FIRE", {}, key="night")
    assert again.id == task.id
    assert (await other.submit("FIRE", {}, key="night")).id != task.id
    assert (await client.submit("FIRE", {})).id != task.id
    with pytest.raises(TimeoutError, match="goes on"):
        await task.result(timeout=0.01)
    bot = await mesh.open(Bot)
    bot.go.set()
    assert await task.result() == {"fired": True}
    assert (await client.submit("FIRE", {}, key="night")).id == task.id


async def test_who_submitted_may_go_and_another_reads_the_result(mesh: MeshUnderTest) -> None:
    """By the id alone."""
    client, bot = mesh.make(usuario="me"), await mesh.open(Bot)
    async with client:
        task = await client.submit("FIRE", {"a": 1})
        await bot.begun.get()
    bot.go.set()
    other = await mesh.open(usuario="other")
    assert await other.task(task.id).result() == {"fired": True}


async def test_a_master_that_is_lost_leaves_its_last_checkpoint(mesh: MeshUnderTest) -> None:
    """To whoever asks why, where nothing may run twice."""
    client, bot = await mesh.open(), mesh.make(Bot)
    async with bot:
        task = await client.submit("FIRE", {})
        await bot.begun.get()
    with pytest.raises(MasterLost) as caught:
        await task.result()
    assert caught.value.details[0]["checkpoint"] == {"aimed": True}
    status = await task.status()
    assert (status.state, status.attempts) == ("failed", 1)
    assert status.error is not None
    assert status.error.details[0]["checkpoint"] == {"aimed": True}


async def test_an_idempotent_task_goes_on_at_the_next_master(mesh: MeshUnderTest) -> None:
    """From its checkpoint, under the same id; but not for ever."""
    client, bot = await mesh.open(), mesh.make(Bot)
    async with bot:
        task = await client.submit(Count(to=5))
        assert await bot.begun.get() is None
    async with mesh.make(Bot) as second:
        assert await second.begun.get() == {"reached": 5}
        second.go.set()
        assert await task.result() == Sum(5)
    assert (await task.status()).attempts == 2
    doomed = await client.submit(Count(to=6))
    for _ in range(5):
        async with mesh.make(Bot) as master:
            await master.begun.get()
    with pytest.raises(MasterLost):
        await doomed.result()
    assert (await doomed.status()).attempts == 5


async def test_cancelling_reaches_the_method_and_stays(mesh: MeshUnderTest) -> None:
    """A task that has ended stays as it is."""
    client, bot = await mesh.open(), await mesh.open(Bot)
    task = await client.submit(Count(to=1))
    await bot.begun.get()
    assert (await task.cancel()).state == "cancelled"
    assert await bot.stopped.get() == "count"
    with pytest.raises(Cancelled):
        await task.result()
    assert (await task.cancel()).state == "cancelled"
    queued = await client.submit("NOBODY_DOES", {})
    assert (await queued.cancel()).state == "cancelled"
    bot.go.set()
    done = await client.submit(Count(to=1))
    await done.result()
    assert (await done.cancel()).state == "done"


async def test_a_method_asks_whoever_uses_the_task(mesh: MeshUnderTest) -> None:
    """The question says what is asked and what the answer looks like."""
    client = await mesh.open()
    await mesh.open(Bot)
    task = await client.submit("SEND", {})
    status = await until(task, "asking")
    assert status.question is not None
    assert status.question["capability"] == "APPROVE"
    assert status.question["payload"] == {"what": "send it"}
    assert status.question["reply"]["properties"]["yes"] == {"title": "Yes", "type": "boolean"}
    other = await mesh.open(usuario="other")
    assert (await other.task(task.id).answer(Approval(yes=True))).state == "running"
    assert await task.result() == {"sent": True}
    with pytest.raises(Conflict):
        await task.answer(Approval(yes=True))


async def test_a_question_may_be_refused_and_the_method_hears_why(mesh: MeshUnderTest) -> None:
    """In the words of whoever refuses; a stock peer refuses by the answer of a request."""
    client = await mesh.open()
    await mesh.open(Bot)
    for refusal in (
        CapabilityError("not_today", "ask again tomorrow", [1]),
        {"success": False, "error": "ask again tomorrow", "code": "not_today", "details": [1]},
    ):
        task = await client.submit("SEND", {})
        await until(task, "asking")
        assert (await task.answer(refusal)).state == "running"
        with pytest.raises(CapabilityError) as error:
            await task.result()
        told = error.value.code, error.value.message, error.value.details
        assert told == ("not_today", "ask again tomorrow", [1])


async def test_a_task_that_asks_is_cancelled_and_has_its_deadline(mesh: MeshUnderTest) -> None:
    """As any other; its master is asked the next one."""
    client = await mesh.open()
    await mesh.open(Bot)
    task = await client.submit("SEND", {})
    await until(task, "asking")
    assert (await task.cancel()).state == "cancelled"
    late = await client.submit("SEND", {}, timeout=0.3)
    with pytest.raises(DeadlineExceeded):
        await late.result()
    with pytest.raises(Conflict):
        await late.answer(Approval(yes=True))
    last = await client.submit("SEND", {})
    await until(last, "asking")
    await last.answer(Approval(yes=True))
    assert await last.result() == {"sent": True}


async def test_each_change_is_told_once_and_none_goes_back(mesh: MeshUnderTest) -> None:
    """What was said before the hub was asked is not told after its answer."""
    client = await mesh.open()
    bot = await mesh.open(Bot)
    bot.go.set()
    for _ in range(5):
        task = await client.submit(Count(to=3))
        told = [each async for each in task.updates()]
        times = [each.updated for each in told]
        assert times == sorted(set(times))
        states = [each.state for each in told]
        assert states == sorted(states, key=STATES.index)
        assert states[-1] == "done"


async def test_an_answer_that_does_not_fit_is_the_end_of_a_method_that_does_not_ask_again(
    mesh: MeshUnderTest,
) -> None:
    """Its caller learns what was wrong with it."""
    client = await mesh.open()
    await mesh.open(Bot)
    task = await client.submit("SEND", {})
    await until(task, "asking")
    await task.answer({"yes": "perhaps"})
    with pytest.raises(InvalidPayload):
        await task.result()


async def test_a_task_fails_in_the_words_of_its_method(mesh: MeshUnderTest) -> None:
    """With the checkpoint beside the method's own details."""
    client = await mesh.open()
    await mesh.open(Bot)
    with pytest.raises(CapabilityError) as caught:
        await (await client.submit("FAIL", {})).result()
    assert caught.value.code == "no_paper"
    assert caught.value.details == [{"tray": 2, "checkpoint": {"reached": 3}}]
    huge = await client.submit("HUGE", {})
    assert await huge.result() == {"refused": "payload_too_large"}
    with pytest.raises(InvalidPayload):
        await (await client.submit("COUNT", {"to": "three"})).result()


async def test_the_deadline_is_the_tasks(mesh: MeshUnderTest) -> None:
    """While it waits, and while it runs."""
    client = await mesh.open()
    waits = await client.submit("NOBODY_DOES", {}, timeout=0.1)
    with pytest.raises(DeadlineExceeded) as caught:
        await waits.result()
    assert caught.value.details[0]["delivered"] is False
    bot = await mesh.open(Bot)
    runs = await client.submit(Count(to=1), timeout=1.0)  # in which it begins
    await bot.begun.get()
    with pytest.raises(DeadlineExceeded) as caught:
        await runs.result()
    assert caught.value.details[0]["delivered"] is True
    assert await bot.stopped.get() == "count"


async def test_members_of_the_room_hear_of_tasks_without_what_is_in_them(
    mesh: MeshUnderTest,
) -> None:
    """And a plain request keeps nothing."""
    member, client, bot = await mesh.open(), await mesh.open(), await mesh.open(Bot)
    await member.subscribe("WORK")
    heard = member.events("WORK", "TASK_CHANGED")
    bot.go.set()
    task = await client.submit("FIRE", {"secret": 1})
    assert await task.result() == {"fired": True}
    states = []
    async for event in heard:
        fields = event.data["task"]
        assert fields["id"] == task.id
        assert not fields.keys() & {"payload", "result"}
        states.append(fields["state"])
        if fields["state"] == "done":
            break
    assert states == ["queued", "running", "done"]
    assert await client.request("FIRE", {}) == {"fired": True}


@pytest.mark.parametrize(
    "event", [HubEvent.TASK_GET, HubEvent.TASK_CANCEL, HubEvent.TASK_ANSWER, HubEvent.TASK_LIST]
)
async def test_a_task_that_there_is_not_is_unknown(mesh: MeshUnderTest, event: HubEvent) -> None:
    """And what makes no sense is refused with what is wrong with it."""
    client = await mesh.open()
    assert client._alephscript_session is not None
    tell = client._alephscript_session.dialect.tell
    if event != HubEvent.TASK_LIST:
        for unknown in ("a" * 32, "no such id", "", "x" * 200):
            with pytest.raises(UnknownTask):
                await tell(event, {"id": unknown})
        with pytest.raises(InvalidPayload):
            await tell(event, {"id": 7})
    else:
        with pytest.raises(InvalidPayload):
            await tell(event, {"state": "happy"})


@pytest.mark.parametrize(
    "submission",
    [
        {},
        {"capability": 7},
        {"capability": ""},
        {"capability": "X", "room": ""},
        {"capability": "X", "room": 7},
        {"capability": "X", "timeoutMs": "soon"},
        {"capability": "X", "timeoutMs": -1},
        {"capability": "X", "key": 7},
        {"capability": "X", "key": "k" * 257},
        {"capability": "SERVER_STATE"},
        {"capability": "MEMBER_PING"},
        {"capability": "a\nb"},
    ],
)
async def test_a_submission_that_makes_no_sense_is_refused(
    mesh: MeshUnderTest, submission: dict[str, Any]
) -> None:
    """And nothing is kept of it."""
    client = await mesh.open()
    assert client._alephscript_session is not None
    with pytest.raises((InvalidPayload, UnknownEvent)):
        await client._alephscript_session.dialect.tell(HubEvent.TASK_SUBMIT, submission)
    assert await client.tasks() == []


async def test_without_a_link_a_task_is_not_submitted(mesh: MeshUnderTest) -> None:
    """As nothing is asked, unless the client waits for links."""
    client = await mesh.open()
    await mesh.stop()
    await client._alephscript_life.until(State.RECONNECTING)
    with pytest.raises(NotConnected):
        await client.submit("FIRE", {})
    await mesh.start()


async def test_a_capability_may_be_a_method_called_run(mesh: MeshUnderTest) -> None:
    """As long as a program serves by another way, as members of a mesh are here."""
    client = await mesh.open()
    await mesh.open(Runner)
    task = await client.submit("RUN_FIA", Count(to=3), timeout=3600, key="night-run-7")
    await until(task, "asking")
    await task.answer(Approval(yes=True))
    assert await task.result(timeout=None) == {"total": 3}
    assert (await task.status()).progress is not None


async def test_a_task_of_a_method_that_answers_in_parts_has_all_of_them(
    mesh: MeshUnderTest,
) -> None:
    """However many: nobody reads them meanwhile."""
    client = await mesh.open()
    await mesh.open(Storyteller)
    task = await client.submit("TELL", {"to": 500})
    assert await task.result() == {"result": list(range(500))}


async def test_of_two_answers_one_counts_and_cancelling_twice_is_cancelling(
    mesh: MeshUnderTest,
) -> None:
    """At the same moment, or later."""
    client = await mesh.open()
    await mesh.open(Bot)
    task = await client.submit("SEND", {})
    await until(task, "asking")
    answers = [task.answer(Approval(yes=True)), task.answer(Approval(yes=False))]
    first, second = await asyncio.gather(*answers, return_exceptions=True)
    assert isinstance(first, TaskStatus)
    assert isinstance(second, Conflict)
    assert await task.result() == {"sent": True}
    with pytest.raises(Conflict):
        await task.answer(Approval(yes=False))
    other = await client.submit("FIRE", {})
    ends = await asyncio.gather(other.cancel(), other.cancel())
    assert [each.state for each in ends] == ["cancelled", "cancelled"]
    assert (await other.cancel()).state == "cancelled"


async def test_many_wait_for_one_task_and_all_are_answered(mesh: MeshUnderTest) -> None:
    """Each at once when it has ended."""
    client, bot = await mesh.open(), await mesh.open(Bot)
    task = await client.submit("FIRE", {})
    waiting = [asyncio.ensure_future(task.result()) for _ in range(200)]
    await bot.begun.get()
    bot.go.set()
    assert await asyncio.gather(*waiting) == [{"fired": True}] * 200


async def test_several_questions_are_put_one_after_the_other(mesh: MeshUnderTest) -> None:
    """A task shows one at a time; the next one comes when that is answered, or given up."""
    client = await mesh.open()
    await mesh.open(Bot)
    task = await client.submit("SEND_ALL", ["a", "", "b"])
    for what, yes in (("a", True), ("b", False)):
        async for status in task.updates():
            if status.question is not None and status.question["payload"] == {"what": what}:
                break
        await task.answer(Approval(yes=yes))
    first, second, third = (await task.result())["result"]
    assert (first, third) == (True, False)
    assert "APPROVE was not asked within 0 s" in second


async def test_an_answer_is_to_the_question_that_was_seen(mesh: MeshUnderTest) -> None:
    """Not to what the task asks by now; without a look, it is to whatever is asked."""
    client = await mesh.open()
    await mesh.open(Bot)
    task = await client.submit("SEND_ALL", ["a", "b", "c"])
    seen = await until(task, "asking")
    other = client.task(task.id)
    await other.answer(Approval(yes=True))
    async for status in other.updates():
        if status.question not in (None, seen.question):
            break
    with pytest.raises(Conflict):
        await task.answer(Approval(yes=True))
    await client.task(task.id).answer(Approval(yes=False))
    async for status in task.updates():
        if status.question is not None and status.question["payload"] == {"what": "c"}:
            break
    await task.answer(Approval(yes=True))
    assert await task.result() == {"result": [True, False, True]}


async def test_without_waiting_there_is_what_there_is(mesh: MeshUnderTest) -> None:
    """The result of a task that has ended, and else the word that the task goes on."""
    client, bot = await mesh.open(), await mesh.open(Bot)
    task = await client.submit("FIRE", {})
    with pytest.raises(TimeoutError, match="goes on"):
        await task.result(timeout=0)
    bot.go.set()
    assert await task.result() == {"fired": True}
    assert await task.result(timeout=0) == {"fired": True}


async def test_a_run_whose_end_is_kept_goes_on_no_more(mesh: MeshUnderTest) -> None:
    """A hub that was lost had ended the task before its master came back, and tells it so."""
    client, bot = await mesh.open(), await mesh.open(Bot)
    await client.submit(Count(to=3))
    await bot.begun.get()
    service, session = bot._alephscript_service, bot._alephscript_session
    assert service is not None
    assert session is not None
    (name,) = service.runs._runs
    service.runs.take(session, {"run": name})
    assert await bot.stopped.get() == "count"


@pytest.mark.parametrize("where", ["checkpoint", "question", "error", "result"])
async def test_what_is_nested_too_deeply_to_be_told_of_ends_the_task(
    mesh: MeshUnderTest, where: str
) -> None:
    """A plain request may be nested as deeply; a task is told inside of lists of others."""
    client = await mesh.open()
    await mesh.open(Bot)
    task = await client.submit("NEST", {"in": where, "levels": 60})
    with pytest.raises(RequestError, match=r"58 levels .*\[payload_too_large\]"):
        await task.result()
    assert [each.state for each in await client.tasks()] == ["failed"]


@pytest.mark.parametrize("mesh", ["memory"], indirect=True)
async def test_a_master_that_displaces_its_own_dead_link_keeps_its_runs(
    mesh: MeshUnderTest,
) -> None:
    """The client is back before the hub has noticed that the link before is gone."""
    client, bot = await mesh.open(), await mesh.open(Bot)
    task = await client.submit("FIRE", {})
    await bot.begun.get()
    session = bot._alephscript_session
    assert session is not None
    (sid,) = [sid for sid, each in mesh.hub._links.items() if each is session._channel.link]
    del mesh.hub._links[sid]  # and nobody tells the hub
    session.lost("it fell silent")
    bot.go.set()
    assert await task.result() == {"fired": True}
    assert (await task.status()).attempts == 1
