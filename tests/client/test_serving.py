"""Whatever a capability's method does, there is one answer, and it has a wire form."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import math
import threading
import types
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from alephscript import CapabilityError, InvalidPayload, Request
from alephscript.client.calls import Delivery, HubMeta
from alephscript.client.declaring import Capability, capability
from alephscript.client.jobs import current_job
from alephscript.client.serving import Service
from alephscript.client.worker import in_thread
from alephscript.protocol import events
from alephscript.protocol.json import MAX_DEPTH, parse_json, write_json
from tests.support.properties import examples

pytestmark = pytest.mark.anyio

SECRET = "the password is 1234"


@attrs.frozen
class Order:
    """What is ordered."""

    how_many: int
    what: str


@attrs.frozen
class Bill:
    """What it costs."""

    total: int


@attrs.frozen
class LongBill(Bill):
    """A bill that says more."""

    tax: int


def record_of(function: Callable[..., Any]) -> Capability:
    """What a decorated function declares."""
    [record] = function.__alephscript_records__  # type: ignore[attr-defined]
    assert isinstance(record, Capability)
    return record


WHOSE: ContextVar[str] = ContextVar("whose")


class Desk:
    """A session that notes what is answered, and serves what it is given.

    Attributes:
        service: What serves.
        answers: By the number of the request.
    """

    def __init__(self, *functions: Callable[..., Any], max_in_flight: int = 100) -> None:
        records = [record_of(function) for function in functions]
        self.dialect = self
        owner = types.SimpleNamespace(
            **{
                record.attribute: functools.partial(function, None)
                for record, function in zip(records, functions, strict=True)
            }
        )
        offered = {record.name: record for record in records}
        self.service = Service(owner, offered, name="bot", max_in_flight=max_in_flight)
        self.answers: dict[str, events.Answer] = {}
        self.answered = asyncio.Event()
        self.parts: list[Any] = []
        self.reports: list[Any] = []
        self._ids = itertools.count(7)

    def take(self, name: str, payload: Any = None, **meta: Any) -> str:
        """A request comes; its number."""
        asked = str(next(self._ids))
        told = msgspec.convert(meta, HubMeta)
        request = Delivery(f"GET_{name}", payload, 1, told, "R", "asker1", asked)
        self.service.take(self, request)  # type: ignore[arg-type]
        return asked

    def cancel(self, asked: str, reason: str = "cancelled") -> None:
        """Nobody waits any more."""
        self.service.cancel(self, asked, reason)  # type: ignore[arg-type]

    async def answer_to(self, asked: str) -> events.Answer:
        """What was answered to a request."""
        async with asyncio.timeout(5):
            while asked not in self.answers:
                self.answered.clear()
                await self.answered.wait()
        return self.answers[asked]

    # What a session's dialect is to a service

    def answer(self, request: Delivery, answer: bytes) -> None:
        """Note it."""
        assert request.id not in self.answers, "answered twice"
        assert answer.startswith(b'{"success":')
        self.answers[request.id] = parse_json(answer)
        self.answered.set()

    def send_part(self, request: Delivery, part: bytes) -> None:
        """Note it."""
        self.parts.append(parse_json(part))
        self.answered.set()

    def report_progress(self, request: Delivery, progress: Any) -> None:
        """Note it."""
        self.reports.append(progress)


async def answer_of(
    function: Callable[..., Any], payload: Any = None, *, seconds: float | None = 5, **meta: Any
) -> events.Answer:
    """The answer of a decorated function, as if it were a client's method."""
    if seconds is not None:
        meta["timeoutMs"] = seconds * 1000
    desk = Desk(function)
    try:
        return await desk.answer_to(desk.take(record_of(function).name, payload, **meta))
    finally:
        await desk.service.close()


def no_secret_in(answer: events.Answer) -> dict[str, Any]:
    """The incident of an answer that tells nothing else."""
    assert (answer["success"], answer["code"]) == (False, "internal")
    assert b"1234" not in write_json(answer)
    [incident] = answer["details"]
    assert list(incident) == ["incident"]
    return dict(incident)


class TestPayload:
    """What reaches the method."""

    async def test_a_contract_is_decoded(self) -> None:
        """By its wire keys."""
        seen = []

        @capability("X")
        async def method(self: Any, order: Order) -> None:
            seen.append(order)

        assert await answer_of(method, {"howMany": 2, "what": "tea"}) == {"success": True}
        assert seen == [Order(2, "tea")]

    async def test_every_problem_is_told_and_the_method_does_not_run(self) -> None:
        """With its path, as the wire spells it."""
        ran = []

        @capability("X")
        async def method(self: Any, order: Order) -> None:
            ran.append(order)

        answer = await answer_of(method, {"howMany": "two"})
        assert (answer["success"], answer["code"]) == (False, "invalid_payload")
        assert {problem["path"] for problem in answer["details"]} == {"howMany", "what"}
        assert not ran

    @pytest.mark.parametrize("payload", [None, {}])
    async def test_nothing_is_an_empty_object(self, payload: Any) -> None:
        """Stock peers send null where there is nothing to say."""

        @capability("X")
        async def method(self: Any, anything: Any) -> Any:
            return {"got": anything}

        assert await answer_of(method, payload) == {"success": True, "got": {}}

    @given(
        payload=st.recursive(
            st.booleans() | st.integers(-(2**53), 2**53) | st.text(alphabet='añ{}"\\', max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner),
            max_leaves=8,
        )
    )
    @settings(max_examples=examples(60))
    def test_any_json_gets_an_answer_that_json_takes(self, payload: Any) -> None:
        """From a method with a contract, and from one that gives back what it gets."""

        @capability("X")
        async def strict(self: Any, order: Order) -> Any:
            return {"what": order.what}

        @capability("Y")
        async def echo(self: Any, anything: Any) -> Any:
            return [anything]

        for method in (strict, echo):
            answer = asyncio.run(answer_of(method, payload))
            assert parse_json(write_json(answer)) == answer
        assert answer == {"success": True, "result": [payload]}

    async def test_a_request_tells_what_is_known_of_it(self) -> None:
        """The same clock measures its deadline and what remains."""

        @capability("X")
        async def method(self: Any, request: Request[Order]) -> None:
            seen.append(request)

        seen: list[Request[Order]] = []
        await answer_of(method, {"howMany": 2, "what": "tea"}, seconds=3)
        [request] = seen
        assert (request.payload, request.capability) == (Order(2, "tea"), "X")
        assert (request.room, request.caller, request.id) == ("R", "asker1", "7")
        assert 0 < request.time_remaining() <= 3
        assert request.time_remaining() <= request.deadline - request.clock() + 1e-3

    async def test_the_time_remaining_is_never_negative(self) -> None:
        """Late is late, not owed."""
        request: Request[Any] = Request({}, "X", "", "", "", 5.0, clock=lambda: 7.0, report=print)
        assert request.time_remaining() == 0.0

    async def test_who_does_not_say_how_long_it_waits_waits_for_ever(self) -> None:
        """Neither does the capability: there is no limit then."""

        @capability("X")
        async def method(self: Any, request: Request[Any]) -> Any:
            return {"remaining": request.time_remaining()}

        answer = await answer_of(method, seconds=None)
        assert answer["code"] == "internal"  # infinity has no JSON form …

        @capability("X")
        async def other(self: Any, request: Request[Any]) -> Any:
            return {"endless": math.isinf(request.time_remaining())}

        assert await answer_of(other, seconds=None) == {"success": True, "endless": True}


class TestResult:
    """What becomes of what the method returns."""

    @pytest.mark.parametrize(
        ("result", "answer"),
        [
            (None, {"success": True}),
            ({}, {"success": True}),
            ({"a": 1}, {"success": True, "a": 1}),
            ([1, 2], {"success": True, "result": [1, 2]}),
            ("text", {"success": True, "result": "text"}),
            (0, {"success": True, "result": 0}),
            (False, {"success": True, "result": False}),
            (Bill(3), {"success": True, "total": 3}),
            ({"bill": Bill(3)}, {"success": True, "bill": {"total": 3}}),
            ({"success": False, "error": "no"}, {"success": False, "error": "no", "code": "error"}),
            ({"error": "no"}, {"success": False, "error": "no", "code": "error"}),
        ],
    )
    async def test_it_is_one_object_with_success(self, result: Any, answer: Any) -> None:
        """An object that says itself that it failed is believed, as a stock master's is."""

        @capability("X")
        async def method(self: Any) -> Any:
            return result

        assert await answer_of(method) == answer

    @pytest.mark.parametrize("result", [None, {"total": 3}, 3, LongBill(3, 1), Order(1, "tea")])
    async def test_another_type_than_was_declared_is_internal(
        self, result: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Even one that would look the same on the wire: the declaration is what peers read."""

        @capability("X")
        async def method(self: Any) -> Bill:
            return result  # type: ignore[no-any-return]

        no_secret_in(await answer_of(method))
        assert "declares" in caplog.text

    @pytest.mark.parametrize(
        "result", [{"x": math.nan}, {"x": b"raw"}, {1, 2}, object(), {"x": -math.inf}]
    )
    async def test_what_has_no_json_form_is_internal(self, result: Any) -> None:
        """Found at the master, not by whoever reads it."""

        @capability("X")
        async def method(self: Any) -> Any:
            return result

        no_secret_in(await answer_of(method))

    async def test_nesting_is_refused_beyond_the_bound_and_taken_up_to_it(self) -> None:
        """The answer itself is a level."""

        def nested(levels: int) -> Any:
            value: Any = 1
            for _ in range(levels):
                value = [value]
            return value

        @capability("X")
        async def method(self: Any, levels: Any) -> Any:
            return {"x": nested(levels)}

        good = await answer_of(method, MAX_DEPTH - 1)
        assert parse_json(write_json(good)) == good
        assert good["success"] is True
        no_secret_in(await answer_of(method, MAX_DEPTH))


class TestFailure:
    """What becomes of what the method raises."""

    async def test_a_capability_error_is_the_answer(self) -> None:
        """As it was written."""

        @capability("X")
        async def method(self: Any) -> None:
            raise CapabilityError("no_tea", "there is none", [{"cups": 0}], retryable=True)

        assert await answer_of(method) == {
            "success": False,
            "error": "there is none",
            "code": "no_tea",
            "retryable": True,
            "details": [{"cups": 0}],
        }

    @pytest.mark.parametrize(
        "error",
        [
            ValueError(SECRET),
            KeyError(SECRET),
            InvalidPayload(SECRET),  # of a request that the method made, not of the asker's
            TimeoutError(SECRET),
            ExceptionGroup(SECRET, [ValueError(SECRET)]),
        ],
    )
    @pytest.mark.parametrize("kind", ["coroutine", "thread"])
    async def test_any_other_exception_is_an_incident(
        self, error: Exception, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where it was raised is in the log alone, under the number that the asker learns."""

        @capability("X")
        async def method(self: Any) -> None:
            raise error

        @capability("X")
        def blocking(self: Any) -> None:
            raise error

        called = method if kind == "coroutine" else blocking
        with caplog.at_level(logging.ERROR, "alephscript.client"):
            answer = await answer_of(called)
        assert no_secret_in(answer)["incident"] in caplog.text
        assert f"in {called.__name__}\n" in caplog.text
        assert SECRET not in caplog.text

    async def test_two_incidents_have_two_numbers(self) -> None:
        """Otherwise the log would not find them."""

        @capability("X")
        async def method(self: Any) -> None:
            raise ValueError

        answers = [await answer_of(method) for _ in range(2)]
        assert answers[0]["details"] != answers[1]["details"]

    async def test_being_cancelled_is_no_answer(self) -> None:
        """Whoever cancels it knows; the method gets to clean up."""
        cleaned = asyncio.Event()
        begun = asyncio.Event()

        @capability("X")
        async def method(self: Any) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.set()

        desk = Desk(method)
        desk.take("X")
        await begun.wait()
        await desk.service.close()
        assert cleaned.is_set()
        assert desk.answers == {}
        assert len(desk.service) == 0


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


class Gate:
    """A capability's method that waits until it is let through, and counts who is inside."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.ran: list[str] = []
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def pass_through(self, who: str) -> None:
        """Wait inside."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.ran.append(who)
        self.entered.set()
        try:
            await self.open.wait()
        finally:
            self.inside -= 1


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

    async def test_no_request_sees_the_context_of_another(self) -> None:
        """Neither of the one whose end began it, nor of whoever brought it."""
        seen = []

        @capability("X", max_in_flight=1)
        async def method(self: Any) -> None:
            seen.append(WHOSE.get())
            WHOSE.set("another request's")

        WHOSE.set("the opener's")
        desk = Desk(method)
        WHOSE.set("the link's")
        for asked in [desk.take("X") for _ in range(3)]:
            await desk.answer_to(asked)
        assert seen == ["the opener's"] * 3

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


class TestTasks:
    """Whose task a method runs in."""

    async def test_methods_that_do_not_wait_share_one(self) -> None:
        """And run in order of arrival."""
        seen: list[tuple[asyncio.Task[Any] | None, int]] = []

        @capability("X")
        async def method(self: Any, payload: dict[str, Any]) -> None:
            seen.append((asyncio.current_task(), payload["n"]))

        desk = Desk(method)
        for answer in [desk.take("X", {"n": number}) for number in range(3)]:
            await desk.answer_to(answer)
        tasks, numbers = zip(*seen, strict=True)
        assert len(set(tasks)) == 1
        assert numbers == (0, 1, 2)
        await desk.service.close()
        assert tasks[0] is not None
        assert tasks[0].done()

    async def test_methods_that_wait_have_their_own_and_run_side_by_side(self) -> None:
        """From the first one on, which nobody could know to be one that waits."""
        tasks: set[asyncio.Task[Any] | None] = set()
        everybody = asyncio.Event()

        @capability("X")
        async def method(self: Any) -> None:
            tasks.add(asyncio.current_task())
            if len(tasks) == 5:
                everybody.set()
            await everybody.wait()

        desk = Desk(method)
        for answer in [desk.take("X") for _ in range(5)]:
            await desk.answer_to(answer)
        assert len(tasks) == 5
        await desk.service.close()

    async def test_one_that_waits_holds_up_none_that_do_not(self) -> None:
        """Of another capability, and of the same one."""
        go_on = asyncio.Event()

        @capability("SLOW")
        async def slow(self: Any, payload: dict[str, Any]) -> None:
            if payload:
                await go_on.wait()

        @capability("QUICK")
        async def quick(self: Any) -> None:
            pass

        desk = Desk(slow, quick)
        waiting = desk.take("SLOW", {"wait": True})
        for others in (desk.take("QUICK"), desk.take("SLOW"), desk.take("QUICK")):
            assert (await desk.answer_to(others))["success"] is True
        assert waiting not in desk.answers
        go_on.set()
        assert (await desk.answer_to(waiting))["success"] is True
        await desk.service.close()

    async def test_one_that_cancels_its_own_takes_no_others_with_it(self) -> None:
        """It has not waited, so the cancellation would reach whoever comes next."""

        @capability("X")
        async def method(self: Any, payload: dict[str, Any]) -> None:
            task = asyncio.current_task()
            if not payload:
                await asyncio.sleep(0)
            elif task is not None:
                task.cancel()

        desk = Desk(method)
        for answer in [desk.take("X", {"cancel": True}), desk.take("X"), desk.take("X")]:
            assert (await desk.answer_to(answer))["success"] is True
        await desk.service.close()

    async def test_a_timeout_within_ends_what_it_is_about_and_nothing_else(self) -> None:
        """asyncio's, which cancels the task that it is in."""

        @capability("X")
        async def method(self: Any) -> dict[str, bool]:
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                return {"late": True}
            return {"late": False}

        desk = Desk(method)
        for _ in range(2):
            assert await desk.answer_to(desk.take("X")) == {"success": True, "late": True}
        await desk.service.close()

    async def test_a_thousand_that_do_not_wait_let_others_have_their_turns(self) -> None:
        """On the same loop, in between."""
        done = 0
        seen_by_others = []

        @capability("X")
        async def method(self: Any) -> None:
            nonlocal done
            done += 1

        async def others() -> None:
            while done < 1000:
                seen_by_others.append(done)
                await asyncio.sleep(0)

        desk = Desk(method, max_in_flight=1000)
        last = [desk.take("X") for _ in range(1000)][-1]
        await others()
        await desk.answer_to(last)
        assert len(seen_by_others) > 10
        await desk.service.close()


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


class TestStreaming:
    """Answers in parts."""

    async def test_parts_go_out_as_they_are_wanted_and_no_faster(self) -> None:
        """The generator waits where the grant ends."""
        made: list[int] = []

        @capability("X")
        async def method(self: Any) -> Any:
            for number in range(4):
                made.append(number)
                yield number

        desk = Desk(method)
        asked = desk.take("X", parts=2)
        while len(desk.parts) < 2:
            desk.answered.clear()
            await desk.answered.wait()
        await asyncio.sleep(0)
        assert (desk.parts, len(made)) == ([0, 1], 3)
        desk.service.grant(desk, asked, 10)  # type: ignore[arg-type]
        assert await desk.answer_to(asked) == {"success": True}
        assert desk.parts == [0, 1, 2, 3]

    async def test_who_knows_no_parts_gets_them_all_at_once(self) -> None:
        """Up to what one message can hold."""

        @capability("X")
        async def few(self: Any) -> Any:
            yield Bill(1)
            yield {"n": 2}

        @capability("Y")
        async def endless(self: Any) -> Any:
            while True:
                yield "x" * 100_000

        assert await answer_of(few) == {"success": True, "result": [{"total": 1}, {"n": 2}]}
        assert (await answer_of(endless))["code"] == "payload_too_large"

    async def test_a_part_of_another_type_than_declared_ends_it(self) -> None:
        """As with results; and a failure comes after the parts."""

        @capability("X")
        async def method(self: Any) -> AsyncIterator[Bill]:
            yield Bill(1)
            yield Order(1, "tea")  # type: ignore[misc]

        desk = Desk(method)
        no_secret_in(await desk.answer_to(desk.take("X", parts=9)))
        assert desk.parts == [{"total": 1}]

    async def test_cancelling_closes_the_generator(self) -> None:
        """While it waits to be wanted, too."""
        closed = asyncio.Event()

        @capability("X")
        async def method(self: Any) -> Any:
            try:
                while True:
                    yield 1
            finally:
                closed.set()

        desk = Desk(method)
        asked = desk.take("X", parts=1)
        while not desk.parts:
            desk.answered.clear()
            await desk.answered.wait()
        desk.cancel(asked)
        async with asyncio.timeout(5):
            await closed.wait()


async def test_progress_is_passed_on_while_the_request_is_open() -> None:
    """And not afterwards."""
    kept: list[Request[Any]] = []

    @capability("X")
    async def method(self: Any, request: Request[Any]) -> None:
        kept.append(request)
        request.progress(1, "all")

    desk = Desk(method)
    await desk.answer_to(desk.take("X"))
    kept[0].progress(0.5)
    assert desk.reports == [{"fraction": 1.0, "message": "all"}]


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


async def test_a_plain_function_gets_a_thread() -> None:
    """Blocking is for threads."""
    assert await in_thread(threading.get_ident) != threading.get_ident()
