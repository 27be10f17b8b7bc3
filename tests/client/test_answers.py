"""Whatever a capability's method does, there is one answer, and it has a wire form."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from alephscript import CapabilityError, InvalidPayload, Request
from alephscript.client.declaring import capability
from alephscript.protocol.json import MAX_DEPTH, parse_json, write_json
from tests.support.desk import Bill, Desk, LongBill, Order, answer_of, no_secret_in
from tests.support.properties import examples

pytestmark = pytest.mark.anyio

SECRET = "the password is 1234"


@pytest.mark.parametrize("strings", [0, 1, 100, 1_000])
async def test_a_large_result_that_says_how_it_went_is_read(strings: int) -> None:
    """Wherever the word is, after however many strings."""
    filling = {"filling": ["a"] * strings, "text": "x" * 70_000}

    @capability("X")
    async def method(self: Any, what: Any) -> Any:
        return {**filling, **what}

    assert await answer_of(method, {"success": False, "error": "no"}) == {
        **filling,
        "success": False,
        "error": "no",
        "code": "error",
    }
    assert await answer_of(method, {"successes": 1}) == {
        **filling,
        "success": True,
        "successes": 1,
    }


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

    @pytest.mark.parametrize("result", [None, {"total": 3}, 3, Bill("x"), Order(1, "tea")])  # type: ignore[arg-type]
    async def test_another_type_than_was_declared_is_internal(
        self, result: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Even one that would look the same on the wire: the declaration is what peers read."""

        @capability("X")
        async def method(self: Any) -> Bill:
            return result  # type: ignore[no-any-return]

        no_secret_in(await answer_of(method))
        assert "declares" in caplog.text

    async def test_a_subclass_is_sent_as_it_is(self) -> None:
        """Whoever declares the base reads what that has, and loses nothing by it."""

        @capability("X")
        async def method(self: Any) -> Bill:
            return LongBill(3, 1)

        answer = await answer_of(method)
        assert (answer["success"], answer["total"]) == (True, 3)
        assert len(answer) == 3

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
        assert SECRET in caplog.text

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
