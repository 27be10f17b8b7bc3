"""How requests end: cancelled, refused, re-asked, in parts, after a wait; on every kind of mesh."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    Closed,
    Conflict,
    DeadlineExceeded,
    Event,
    MasterLost,
    NoMaster,
    NotConnected,
    Overloaded,
    Progress,
    Request,
    State,
    capability,
    master,
    observe,
    on,
)
from alephscript.client.declaring import RoomRole

pytestmark = pytest.mark.anyio


@attrs.frozen
class Part:
    """A part of an answer."""

    number: int


class Bot(AlephScriptClient):
    """Serves in ways that can be watched."""

    rooms: ClassVar[tuple[str | RoomRole, ...]] = ("WORK",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.running = 0
        self.stopped = 0
        self.made = 0
        self.changed = asyncio.Condition()

    async def note(self, running: int = 0, stopped: int = 0) -> None:
        """Count, and tell who waits for it."""
        async with self.changed:
            self.running += running
            self.stopped += stopped
            self.changed.notify_all()

    async def until(self, running: int | None = None, stopped: int | None = None) -> None:
        """Wait until so many run, or were stopped."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(
                lambda: (
                    (running is None or self.running == running)
                    and (stopped is None or self.stopped >= stopped)
                )
            )

    async def _forever(self) -> None:
        await self.note(running=1)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.shield(self.note(running=-1, stopped=1))

    @capability("FOREVER", max_in_flight=20_000, queue=20_000)
    async def forever(self) -> None:
        """Never answer."""
        await self._forever()

    @capability("FINISH", on_asker_lost="finish")
    async def finish(self) -> None:
        """Never answer, whoever has gone."""
        await self._forever()

    @capability("NARROW", max_in_flight=1, queue=1)
    async def narrow(self) -> None:
        """One at a time."""
        await self._forever()

    @capability("NEST", max_in_flight=1, queue=0)
    async def nest(self, request: Request[int]) -> float:
        """Ask itself; what remained at the innermost."""
        if request.payload == 0:
            return request.time_remaining()
        answer = await self.request("NEST", request.payload - 1)
        return float(answer["result"])

    @capability("LOOP")
    async def loop(self) -> None:
        """Ask itself for ever."""
        try:
            await self.request("LOOP")
        except (Conflict, CapabilityError) as error:
            raise CapabilityError("looped", error.message) from error

    @capability("COUNT")
    async def count(self, to: int) -> AsyncIterator[Part]:
        """Count, as far as it is wanted."""
        await self.note(running=1)
        try:
            for number in range(to):
                self.made = number + 1
                yield Part(number)
        finally:
            await asyncio.shield(self.note(running=-1, stopped=1))

    @capability("FAIL_LATE")
    async def fail_late(self) -> AsyncIterator[Part]:
        """Two parts, then a failure."""
        yield Part(0)
        yield Part(1)
        raise CapabilityError("broken", "no more")

    @capability("REPORT")
    async def report(self, request: Request[Any]) -> dict[str, Any]:
        """Say how far it is."""
        request.progress(0.5, "half")
        request.progress(1)
        return {"done": True}


class Worker(Bot):
    """One of several."""

    rooms = master("SHARED", group="shared")


class Standby(Bot):
    """One that may have to wait for its turn."""

    rooms = master("STANDBY", group="standby")

    @capability("WHO")
    async def who(self) -> str:
        """Who serves."""
        return self.sesion

    @capability("AGAIN", idempotent=True)
    async def again(self) -> str:
        """Who serves, if it is not the first one, which never answers."""
        if self.sesion == "first":
            await self._forever()
        return self.sesion


class Watcher(AlephScriptClient):
    """Hears who serves."""

    rooms = observe("WORK", "SHARED", "STANDBY")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @on("MASTER_CHANGED")
    async def changed(self, event: Event[dict[str, Any]]) -> None:
        """Note it."""
        self.changes.put_nowait(event.data)

    async def next(self) -> dict[str, Any]:
        """The next change."""
        async with asyncio.timeout(5):
            return await self.changes.get()


async def nothing_waits(*clients: AlephScriptClient) -> bool:
    """Whether neither side has anything left of any request, when all is cleaned up."""
    async with asyncio.timeout(5):
        while any(  # noqa: ASYNC110 - tasks say nothing when they have ended
            len(each._alephscript_session._channel.pending) + len(each._alephscript_service)  # type: ignore[union-attr,arg-type]
            for each in clients
        ):
            await asyncio.sleep(0)
    return True


async def asking(
    client: AlephScriptClient, name: str, count: int = 1, payload: Any = None
) -> list[asyncio.Task[Any]]:
    """Requests that wait for their answer."""
    return [asyncio.create_task(client.request(name, payload, timeout=60)) for _ in range(count)]


async def ended(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    """How they ended."""
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks, return_exceptions=True)


# Cancelled, lost


async def test_cancelling_the_asker_cancels_the_method(mesh: Any) -> None:
    """Of a capability that finishes for lost askers, too: this one is there, and does not want."""
    bot, client = await mesh.open(Bot), await mesh.open()
    for name in ("FOREVER", "FINISH"):
        bot.stopped = 0
        tasks = await asking(client, name)
        await bot.until(running=1)
        tasks[0].cancel()
        assert isinstance((await ended(tasks))[0], asyncio.CancelledError)
        await bot.until(running=0, stopped=1)
    assert await nothing_waits(bot, client)


@pytest.mark.slow
async def test_ten_thousand_cancelled_requests_leave_nothing_behind(mesh: Any) -> None:
    """No pending entry, no work and no task, on no side."""
    bot, client = await mesh.open(Bot), await mesh.open()
    assert await client.request("REPORT") == {"done": True}
    before = len(asyncio.all_tasks())
    count = {"polling": 200, "hubs": 1_000}.get(mesh.kind, 10_000)
    tasks = await asking(client, "FOREVER", count)
    await bot.until(stopped=0, running=min(count, 1024))
    for task in tasks:
        task.cancel()
    assert {type(each) for each in await ended(tasks)} == {asyncio.CancelledError}
    await bot.until(running=0)
    assert await client.request("REPORT") == {"done": True}
    assert await nothing_waits(bot, client)
    async with asyncio.timeout(10):  # a hub may be about its own business just now
        while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_lost_asker_cancels_unless_it_is_to_be_finished(mesh: Any) -> None:
    """As the capability says."""
    bot, client = await mesh.open(Bot), mesh.make()
    async with client:
        tasks = [*await asking(client, "FOREVER"), *await asking(client, "FINISH")]
        await bot.until(running=2)
    assert {type(each) for each in await ended(tasks)} == {Closed}
    await bot.until(running=1, stopped=1)
    assert bot.running == 1


async def test_a_request_may_wait_for_its_master(mesh: Any) -> None:
    """Up to its deadline; and it was not delivered if nobody came."""
    client = await mesh.open()
    with pytest.raises(NoMaster):
        await client.request("REPORT")
    with pytest.raises(DeadlineExceeded):
        await client.request("REPORT", wait_for_master=True, timeout=0.05)
    waiting = asyncio.create_task(client.request("REPORT", wait_for_master=True, timeout=20))
    await client.server_state()  # the hub has it by now
    await mesh.open(Bot)
    assert await waiting == {"done": True}


# Bounds


async def test_over_the_queue_a_request_is_refused_at_once(mesh: Any) -> None:
    """One runs, one waits, the rest may ask again later."""
    bot, client = await mesh.open(Bot), await mesh.open()
    tasks = await asking(client, "NARROW", 4)
    async with asyncio.timeout(5):
        done, _ = await asyncio.wait(tasks[2:])
    for task in done:
        error = task.exception()
        assert isinstance(error, Overloaded)
        assert (error.retryable, error.details) == (True, [{"delivered": False}])
    await bot.until(running=1)
    for task in tasks[:2]:
        task.cancel()
    await ended(tasks)
    await bot.until(running=0)
    assert await nothing_waits(bot, client)


async def test_a_request_inside_itself_does_not_wait_for_itself(mesh: Any) -> None:
    """And each has less time than the one around it."""
    await mesh.open(Bot)
    client = await mesh.open()
    answer = await client.request("NEST", 3, timeout=8)
    assert 0 < answer["result"] < 8


async def test_a_loop_of_requests_is_refused(mesh: Any) -> None:
    """Long before its deadline."""
    await mesh.open(Bot)
    client = await mesh.open()
    async with asyncio.timeout(10):
        with pytest.raises(CapabilityError, match="loop"):
            await client.request("LOOP", timeout=60)


# Who serves


async def test_a_single_master_displaces_the_other_and_takes_what_it_holds(mesh: Any) -> None:
    """What may have run ends; the room and the displaced one are told."""
    first, watcher = await mesh.open(Bot, sesion="1"), await mesh.open(Watcher)
    told = first.events(None, "MASTER_CHANGED")
    tasks = await asking(await mesh.open(), "FOREVER", 3)
    await first.until(running=3)
    second = await mesh.open(Bot, sesion="2")
    assert {type(each) for each in await ended(tasks)} == {MasterLost}
    await first.until(running=0, stopped=3)
    change = await watcher.next()
    assert change == {"room": "WORK", "usuario": "Bot2", "epoch": 2}
    async with asyncio.timeout(5):
        assert (await anext(told)).data == {**change, "displaced": True}
    assert await nothing_waits(first, second)


async def test_standby_takes_over_and_an_idempotent_request_goes_on(mesh: Any) -> None:
    """The next by seniority; what is not idempotent may have run, and ends."""
    first = mesh.make(Standby, sesion="first")
    await first.__aenter__()
    await mesh.open(Standby, sesion="second")
    await mesh.open(Standby, sesion="third")
    client, watcher = await mesh.open(), await mesh.open(Watcher)
    assert (await client.request("WHO", room="STANDBY"))["result"] == "first"
    again = await asking(client, "AGAIN")
    forever = [asyncio.create_task(client.request("FOREVER", room="STANDBY", timeout=60))]
    await first.until(running=2)
    await first.close()
    assert (await ended(again))[0]["result"] == "second"
    assert isinstance((await ended(forever))[0], MasterLost)
    assert (await watcher.next())["usuario"] == "Standbysecond"


async def test_a_shared_room_gives_each_request_to_the_least_busy(mesh: Any) -> None:
    """Three of them, nine requests."""
    workers = [await mesh.open(Worker, sesion=str(number)) for number in range(3)]
    tasks = await asking(await mesh.open(), "FOREVER", 9)
    for worker in workers:
        await worker.until(running=3)
    for task in tasks:
        task.cancel()
    await ended(tasks)


async def test_who_drains_finishes_what_runs_and_takes_nothing_more(mesh: Any) -> None:
    """New requests find nobody, or somebody else."""
    bot = mesh.make(Bot)
    await bot.__aenter__()
    client = await mesh.open()
    parts = client.stream("COUNT", 100)
    assert (await anext(parts))["number"] == 0
    draining = asyncio.create_task(bot.drain())
    async with asyncio.timeout(5):
        while await client.discover(capability="REPORT"):  # noqa: ASYNC110 - the hub says when
            await asyncio.sleep(0)
    with pytest.raises((NoMaster, Overloaded)):
        await client.request("REPORT")
    assert not draining.done()
    assert [part["number"] async for part in parts] == list(range(1, 100))
    async with asyncio.timeout(5):
        await draining
    assert bot.state is State.CLOSED


# In parts


async def test_parts_come_in_order_typed_and_no_faster_than_they_are_read(mesh: Any) -> None:
    """The generator is never more than 64 ahead."""
    bot, client = await mesh.open(Bot), await mesh.open()
    read = 0
    async for part in client.stream("COUNT", 500, reply=Part):
        assert part == Part(read)
        read += 1
        assert bot.made <= read + 65
    assert read == 500
    await bot.until(running=0)
    assert await nothing_waits(bot, client)


async def test_leaving_the_loop_cancels_the_generator(mesh: Any) -> None:
    """At once, not at its end."""
    bot, client = await mesh.open(Bot), await mesh.open()
    async for part in client.stream("COUNT", 10**9):
        if part["number"] == 100:
            break
    await bot.until(running=0, stopped=1)
    assert bot.made < 200
    await client.request("REPORT")
    assert await nothing_waits(bot, client)


async def test_a_failure_comes_after_the_parts_that_came(mesh: Any) -> None:
    """None of them is lost."""
    await mesh.open(Bot)
    client = await mesh.open()
    parts = client.stream("FAIL_LATE", reply=Part)
    assert [await anext(parts), await anext(parts)] == [Part(0), Part(1)]
    with pytest.raises(CapabilityError, match="no more"):
        await anext(parts)


async def test_plain_requests_and_streams_understand_each_other(mesh: Any) -> None:
    """A generator answers a request with a list, a method answers a stream with one part."""
    await mesh.open(Bot)
    client = await mesh.open()
    assert (await client.request("COUNT", 2))["result"] == [{"number": 0}, {"number": 1}]
    assert [part async for part in client.stream("REPORT")] == [{"done": True}]


async def test_a_stream_ends_with_its_deadline_and_with_its_master(mesh: Any) -> None:
    """With the reason."""
    bot = mesh.make(Bot)
    await bot.__aenter__()
    client = await mesh.open()
    with pytest.raises(DeadlineExceeded):
        async for _ in client.stream("FOREVER", timeout=0.1):
            pass
    parts = client.stream("COUNT", 10**9)
    await anext(parts)
    await bot.close()
    with pytest.raises(MasterLost):
        async for _ in parts:
            pass


async def test_a_client_s_timeout_is_for_requests_and_not_for_streams(mesh: Any) -> None:
    """A stream may go on for a day."""
    await mesh.open(Bot)
    client = await mesh.open(timeout=0.1)
    parts = client.stream("COUNT", 100)
    assert (await anext(parts))["number"] == 0
    with pytest.raises(DeadlineExceeded):
        await client.request("FOREVER")
    assert [part["number"] async for part in parts] == list(range(1, 100))


async def test_progress_is_heard_by_who_listens(mesh: Any) -> None:
    """And a callback that fails costs nothing but itself."""
    await mesh.open(Bot)
    client = await mesh.open()
    heard: list[Progress] = []
    assert await client.request("REPORT", on_progress=heard.append) == {"done": True}
    assert heard == [Progress(0.5, "half"), Progress(1.0, "")]

    def fail(progress: Progress) -> None:
        raise ValueError(progress)

    assert [part async for part in client.stream("REPORT", on_progress=fail)] == [{"done": True}]


# While there is no link


async def test_what_is_asked_and_said_offline_may_wait_for_the_link(mesh: Any) -> None:
    """Requests up to their deadline, broadcasts in their order, up to a bound."""
    bot = await mesh.open(Bot)
    client = await mesh.open(when_offline="wait", offline_buffer=2)
    impatient = await mesh.open()
    heard = bot.events("WORK", "SAID")
    await mesh.stop()
    for each in (bot, client, impatient):
        await each._alephscript_life.until(State.RECONNECTING)
    with pytest.raises(NotConnected):
        await impatient.request("REPORT")
    with pytest.raises(DeadlineExceeded) as late:
        await client.request("REPORT", timeout=0.05)
    assert late.value.details == [{"delivered": False}]
    for number in (1, 2):
        await client.broadcast("SAID", number, room="WORK")
    with pytest.raises(Overloaded):
        await client.broadcast("SAID", 3, room="WORK")
    waiting = asyncio.create_task(client.request("REPORT", timeout=20, wait_for_master=True))
    await mesh.start()
    async with asyncio.timeout(20):
        assert await waiting == {"done": True}
        await client.ready()
        await bot.ready()
    with contextlib.suppress(TimeoutError):
        # The bot may have come back after what was said: then nobody heard it, as at any time.
        async with asyncio.timeout(0.2):
            assert [(await anext(heard)).data for _ in range(2)] == [1, 2]


async def test_closing_ends_what_waits_for_the_link(mesh: Any) -> None:
    """As closed."""
    client = await mesh.open(when_offline="wait")
    await mesh.stop()
    await client._alephscript_life.until(State.RECONNECTING)
    waiting = await asking(client, "REPORT")
    await asyncio.sleep(0)
    await client.close()
    assert isinstance((await ended(waiting))[0], Closed)
    await mesh.start()


async def test_states_are_told_from_the_present_one_on(mesh: Any) -> None:
    """Until it is closed."""
    client = mesh.make()
    seen: list[State] = []

    async def watch() -> None:
        seen.extend([state async for state in client.states()])

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    async with client:
        await mesh.stop()
        await client._alephscript_life.until(State.RECONNECTING)
        await mesh.start()
        await client.ready()
    async with asyncio.timeout(5):
        await watching
    assert seen == [
        State.NEW,
        State.CONNECTING,
        State.READY,
        State.RECONNECTING,
        State.READY,
        State.CLOSED,
    ]
