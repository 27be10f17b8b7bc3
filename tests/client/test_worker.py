"""The task and the context that a method runs in, and answers in parts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from alephscript import Request
from alephscript.client.declaring import capability
from alephscript.client.threads import ThreadRun
from tests.support.desk import Bill, Desk, Order, answer_of, no_secret_in

pytestmark = pytest.mark.anyio

WHOSE: ContextVar[str] = ContextVar("whose")


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


async def test_a_plain_function_gets_a_thread() -> None:
    """Blocking is for threads."""
    assert await ThreadRun(threading.get_ident).result() != threading.get_ident()
