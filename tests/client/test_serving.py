"""Which request has its turn when, and what ends it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from alephscript import CapabilityError
from alephscript.client.declaring import capability
from alephscript.client.jobs import current_job
from tests.support.desk import Desk, Gate, answer_of, no_secret_in

pytestmark = pytest.mark.anyio


class TestTime:
    """How long a method may take."""

    @pytest.mark.parametrize(("asker", "own"), [(0.05, None), (None, 0.05), (0.05, 60), (60, 0.05)])
    async def test_the_shorter_of_the_asker_s_and_its_own_ends_it(
        self, asker: float | None, own: float | None
    ) -> None:
        """It was delivered, and was cancelled in the middle."""
        cancelled = []

        @capability("X", timeout=own)
        async def method(self: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        answer = await answer_of(method, seconds=asker)
        assert (answer["code"], answer["details"]) == ("deadline_exceeded", [{"delivered": True}])
        assert "0.05" in answer["error"]
        assert cancelled == [True]

    async def test_a_thread_is_left_alone_when_its_time_is_over(self) -> None:
        """The asker is answered in time; a thread cannot be stopped."""
        go_on = threading.Event()
        ended = threading.Event()

        @capability("X", timeout=0.05)
        def method(self: Any) -> None:
            go_on.wait(5)
            ended.set()

        try:
            assert (await answer_of(method))["code"] == "deadline_exceeded"
            assert not ended.is_set()
        finally:
            go_on.set()
        assert await asyncio.to_thread(ended.wait, 5)

    async def test_a_time_out_of_the_method_s_own_is_no_deadline(self) -> None:
        """The time that it gave something else was over, not its own."""

        @capability("X")
        async def method(self: Any) -> None:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()

        no_secret_in(await answer_of(method, seconds=4))

    async def test_what_it_asks_meanwhile_inherits_the_deadline(self) -> None:
        """In a thread, too; and nothing of it stays behind."""
        seen = []

        @capability("X")
        async def method(self: Any) -> None:
            seen.append(current_job.get().ends)  # type: ignore[union-attr]

        @capability("X")
        def in_thread(self: Any) -> None:
            seen.append(current_job.get().ends)  # type: ignore[union-attr]

        before = asyncio.get_running_loop().time()
        await answer_of(method, seconds=3)
        await answer_of(in_thread, seconds=3)
        assert all(before < ends <= before + 4 for ends in seen)
        assert len(seen) == 2
        assert current_job.get() is None

    async def test_no_time_at_all_is_too_little(self) -> None:
        """A request that was late when it came is answered like one that takes too long."""

        @capability("X")
        async def method(self: Any) -> None:
            await asyncio.Event().wait()

        assert (await answer_of(method, seconds=0))["code"] == "deadline_exceeded"
        assert (await answer_of(method, seconds=-1))["code"] == "deadline_exceeded"


class TestLoad:
    """How much is served at once, and what becomes of the rest."""

    async def test_a_capability_runs_no_more_at_once_than_it_says(self) -> None:
        """The next waits, in order; one more than the queue holds is refused at once."""
        gate = Gate()

        @capability("X", max_in_flight=2, queue=2)
        async def method(self: Any, who: Any) -> Any:
            await gate.pass_through(who)
            return who

        desk = Desk(method)
        ids = [desk.take("X", who) for who in "abcde"]
        refused = desk.answers[ids[4]]
        assert (refused["code"], refused["details"]) == ("overloaded", [{"delivered": False}])
        await gate.entered.wait()
        assert len(desk.service) == 4
        gate.open.set()
        assert [(await desk.answer_to(asked))["result"] for asked in ids[:4]] == list("abcd")
        assert (gate.most, gate.ran) == (2, list("abcd"))
        assert len(desk.service) == 0

    async def test_all_capabilities_together_run_no_more_than_the_client_says(self) -> None:
        """Whoever waited for that is begun, of whichever capability it is."""
        gate = Gate()

        @capability("X")
        async def one(self: Any) -> None:
            await gate.pass_through("x")

        @capability("Y")
        async def other(self: Any) -> None:
            await gate.pass_through("y")

        desk = Desk(one, other, max_in_flight=1)
        ids = [desk.take(name) for name in "XYXY"]
        await gate.entered.wait()
        gate.open.set()
        for asked in ids:
            assert (await desk.answer_to(asked))["success"]
        assert gate.most == 1
        assert sorted(gate.ran) == ["x", "x", "y", "y"]

    async def test_who_has_waited_longest_is_next(self) -> None:
        """Of whichever capability: a busy one does not starve the others."""
        ran: list[str] = []

        @capability("X")
        async def one(self: Any, who: Any) -> None:
            ran.append(who)
            await asyncio.sleep(0)

        @capability("Y")
        async def other(self: Any, who: Any) -> None:
            ran.append(who)

        desk = Desk(one, other, max_in_flight=1)
        asked = [desk.take("X" if who.islower() else "Y", who) for who in "abCdEf"]
        for each in asked:
            await desk.answer_to(each)
        assert ran == list("abCdEf")

    async def test_what_has_no_turn_before_its_deadline_is_never_run(self) -> None:
        """It was not delivered to the method, so it can be asked again."""
        gate = Gate()

        @capability("X", max_in_flight=1)
        async def method(self: Any, who: Any) -> None:
            await gate.pass_through(who)

        desk = Desk(method)
        first = desk.take("X", "a")
        late = await desk.answer_to(desk.take("X", "b", timeoutMs=20))
        assert (late["code"], late["details"]) == ("deadline_exceeded", [{"delivered": False}])
        gate.open.set()
        assert (await desk.answer_to(first))["success"]
        assert gate.ran == ["a"]

    async def test_what_something_here_waits_for_does_not_wait_for_its_end(self) -> None:
        """A, asking B, asking A."""
        gate = Gate()

        @capability("X", max_in_flight=1, queue=0)
        async def method(self: Any, who: Any) -> None:
            await gate.pass_through(who)

        desk = Desk(method, max_in_flight=1)
        outer = desk.take("X", "outer")
        stranger = desk.take("X", "stranger", chain=["999"])
        assert desk.answers[stranger]["code"] == "overloaded"
        inner = desk.take("X", "inner", chain=["5", outer])
        gate.open.set()
        assert (await desk.answer_to(inner))["success"]
        assert (await desk.answer_to(outer))["success"]

    async def test_draining_takes_nothing_new_and_waits_for_the_rest(self) -> None:
        """Both what runs and what has been taken into the queue."""
        gate = Gate()

        @capability("X", max_in_flight=1)
        async def method(self: Any, who: Any) -> None:
            await gate.pass_through(who)

        desk = Desk(method)
        taken = [desk.take("X", who) for who in "ab"]
        draining = asyncio.ensure_future(desk.service.drain())
        await gate.entered.wait()
        refused = desk.take("X", "c")
        assert desk.answers[refused]["code"] == "overloaded"
        assert not draining.done()
        gate.open.set()
        async with asyncio.timeout(5):
            await draining
        assert [desk.answers[asked]["success"] for asked in taken] == [True, True]

    async def test_closing_begins_nothing_that_waited(self) -> None:
        """What runs is cancelled, the rest is never run."""
        gate = Gate()

        @capability("X", max_in_flight=1)
        async def method(self: Any, who: Any) -> None:
            await gate.pass_through(who)

        desk = Desk(method)
        for who in "abc":
            desk.take("X", who)
        await gate.entered.wait()
        draining = asyncio.ensure_future(desk.service.drain())
        await desk.service.close()
        await asyncio.wait_for(draining, 5)
        assert (gate.ran, desk.answers, len(desk.service)) == (["a"], {}, 0)

    async def test_an_unknown_capability_is_said_at_once(self) -> None:
        """A room's master is asked for anything."""
        desk = Desk()
        assert desk.answers[desk.take("NOTHING")]["code"] == "unknown_capability"


class TestCancellation:
    """What becomes of a request that nobody waits for any more."""

    @pytest.mark.parametrize(
        ("reason", "policy", "stops"),
        [
            ("cancelled", "cancel", True),
            ("cancelled", "finish", True),
            ("asker_lost", "cancel", True),
            ("asker_lost", "finish", False),
            ("displaced", "finish", True),
            ("deadline", "finish", True),
        ],
    )
    async def test_it_is_stopped_unless_it_is_to_be_finished(
        self, reason: str, policy: Any, stops: bool
    ) -> None:
        """Unanswered: whoever cancelled it has ended it already."""
        gate = Gate()

        @capability("X", on_asker_lost=policy)
        async def method(self: Any) -> None:
            await gate.pass_through("x")

        desk = Desk(method)
        asked = desk.take("X")
        await gate.entered.wait()
        desk.cancel(asked, reason)
        if stops:
            async with asyncio.timeout(5):
                await desk.service.drain()
            assert (gate.inside, desk.answers) == (0, {})
        else:
            gate.open.set()
            assert (await desk.answer_to(asked))["success"]

    async def test_one_that_has_not_begun_is_never_run(self) -> None:
        """Neither one that waits for its turn, nor one whose task has yet to start."""
        gate = Gate()

        @capability("X", max_in_flight=1)
        async def method(self: Any, who: Any) -> None:
            await gate.pass_through(who)

        desk = Desk(method)
        starting, waiting, third = (desk.take("X", who) for who in "abc")
        desk.cancel(starting)
        desk.cancel(waiting)
        gate.open.set()
        assert (await desk.answer_to(third))["success"]
        assert gate.ran == ["c"]
        assert len(desk.service) == 0

    async def test_one_that_does_not_let_itself_be_stopped_is_answered_as_it_ends(self) -> None:
        """Nobody hears it any more; the hub drops it."""
        begun = asyncio.Event()

        @capability("X")
        async def method(self: Any) -> dict[str, Any]:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return {"stubborn": True}
            return {}

        desk = Desk(method)
        asked = desk.take("X")
        await begun.wait()
        desk.cancel(asked)
        assert await desk.answer_to(asked) == {"success": True, "stubborn": True}

    async def test_a_failure_on_the_way_out_is_no_incident(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It was asked to stop, and did."""
        begun = asyncio.Event()

        @capability("X")
        async def method(self: Any) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("while cleaning up")

        desk = Desk(method)
        desk.cancel(desk.take("X"), "cancelled")
        asked = desk.take("X")
        await begun.wait()
        desk.cancel(asked)
        async with asyncio.timeout(5):
            await desk.service.drain()
        assert [each for each in caplog.records if each.levelname == "ERROR"] == []

    async def test_a_lost_link_stops_what_came_by_it(self) -> None:
        """All but what is to be finished; another link's requests go on."""
        gate = Gate()

        @capability("X")
        async def method(self: Any) -> None:
            await gate.pass_through("x")

        @capability("Y", on_asker_lost="finish")
        async def other(self: Any) -> None:
            await gate.pass_through("y")

        desk = Desk(method, other)
        stopped, finished = desk.take("X"), desk.take("Y")
        await gate.entered.wait()
        desk.service.lose(desk)  # type: ignore[arg-type]
        gate.open.set()
        assert (await desk.answer_to(finished))["success"]
        assert stopped not in desk.answers


async def test_what_was_done_is_counted() -> None:
    """By capability: how often, how it failed, how long it took."""

    @capability("X")
    async def method(self: Any, fails: Any) -> None:
        if fails:
            raise CapabilityError("no_tea", "there is none")

    desk = Desk(method)
    for fails in (0, 1, 1):
        await desk.answer_to(desk.take("X", fails))
    await asyncio.sleep(0)
    stats = desk.service.stats()["X"]
    assert (stats.requests, stats.errors, stats.in_flight) == (3, {"no_tea": 2}, 0)
    assert stats.last_error == "there is none [no_tea]"
    assert stats.p50_ms is not None
    assert stats.p50_ms <= (stats.p95_ms or 0)
