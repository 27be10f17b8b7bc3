"""Capabilities that ask their asker something before they go on."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio.from_thread
import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    Cancelled,
    CapabilityError,
    Closed,
    ContractError,
    DeadlineExceeded,
    DeclarationError,
    Internal,
    InvalidPayload,
    MasterLost,
    NoAnswerer,
    Question,
    Request,
    RequestFor,
    capability,
    sync,
)
from tests.support.meshes import MeshUnderTest, mesh

__all__ = ["mesh"]

pytestmark = pytest.mark.anyio


@attrs.frozen
class Approval:
    """Whether somebody agrees."""

    is_given: bool


@attrs.frozen
class Approve(RequestFor[Approval], capability="APPROVE"):
    """Shall it be done?"""

    the_deed: str


class Sender(AlephScriptClient):
    """Asks back before it sends anything."""

    rooms = ("POST",)
    has_left: asyncio.Event
    ended: str

    @capability("SEND", max_in_flight=1)
    async def send(self, request: Request[Any]) -> dict[str, Any]:
        """Ask once, with the time that the payload gives."""
        timeout = request.payload.get("timeout") if isinstance(request.payload, dict) else None
        approval = await request.ask(Approve(the_deed="send it"), timeout=timeout)
        return {"sent": approval.is_given}

    @capability("SEND_SLOWLY")
    def send_slowly(self, request: Request[Any]) -> dict[str, Any]:
        """Ask from a thread."""
        ask = functools.partial(request.ask, timeout=5)
        return {"sent": anyio.from_thread.run(ask, Approve(the_deed="send it")).is_given}

    @capability("SEND_MANY")
    async def send_many(self, request: Request[Any]) -> list[bool]:
        """Ask several things at once."""
        answers = await asyncio.gather(
            *(request.ask("WHICH", {"number": each}, reply=Approval) for each in range(5))
        )
        return [each.is_given for each in answers]

    @capability("SEND_PARTS")
    async def send_parts(self, request: Request[Any]) -> AsyncIterator[Any]:
        """Ask between two parts."""
        yield "written"
        approval = await request.ask(Approve(the_deed="send it"))
        yield "sent" if approval.is_given else "kept"

    @capability("WAIT_FOR_ANSWER", on_asker_lost="finish")
    async def wait_for_answer(self, request: Request[Any]) -> None:
        """Ask, and tell what became of it."""
        try:
            await request.ask("WHATEVER")
        except BaseException as exc:
            self.ended = type(exc).__name__
            raise
        finally:
            self.has_left.set()

    @capability("TRY")
    async def try_to_ask(self, request: Request[Any]) -> dict[str, Any]:
        """Ask, and go on without an answer."""
        try:
            await request.ask("WHATEVER", timeout=5)
        except CapabilityError as error:
            return {"code": error.code, "details": error.details}
        except NoAnswerer as error:
            return {"code": error.code}
        return {"code": "ok"}

    @capability("ECHO", max_in_flight=1)
    async def echo(self, payload: Any) -> Any:
        """Answer with the payload."""
        return payload


def agree(question: Approve) -> Approval:
    """Agree to sending."""
    return Approval(is_given=question.the_deed == "send it")


async def opened(mesh: MeshUnderTest) -> tuple[Sender, AlephScriptClient]:
    """A master that asks back, and an asker."""
    master = await mesh.open(Sender, usuario="sender")
    master.has_left = asyncio.Event()
    return master, await mesh.open(usuario="asker")


class TestAnswers:
    """What is asked, and what comes back."""

    async def test_a_method_gets_the_typed_answer_of_its_asker(self, mesh: MeshUnderTest) -> None:
        """From a plain function, which may block, and from an async one."""
        _, asker = await opened(mesh)
        threads: list[int] = []

        def answer(question: Approve) -> Approval:
            threads.append(threading.get_ident())
            return agree(question)

        async def refuse(question: Approve) -> Approval:
            threads.append(threading.get_ident())
            return Approval(is_given=False)

        assert await asker.request("SEND", on_ask=answer) == {"sent": True}
        assert await asker.request("SEND", on_ask=refuse) == {"sent": False}
        here = threading.get_ident()
        assert [each == here for each in threads] == [False, True]

    async def test_a_callable_takes_what_it_annotates(self, mesh: MeshUnderTest) -> None:
        """The whole question with its schemas, with or without the type of its payload; or that."""
        _, asker = await opened(mesh)
        seen: list[Any] = []

        async def whole(question: Question[Any]) -> dict[str, Any]:
            seen.append(question)
            return {"isGiven": True}

        async def typed(question: Question[Approve]) -> Approval:
            seen.append(question)
            return agree(question.payload)

        def unannotated(question):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            seen.append(question)
            return {"isGiven": True}

        for on_ask in (whole, typed, unannotated):
            assert await asker.request("SEND", on_ask=on_ask) == {"sent": True}
        plain, read, also_plain = seen
        assert (plain.capability, plain.summary) == ("APPROVE", "Shall it be done?")
        assert plain["theDeed"] == "send it"
        assert plain.request["properties"]["theDeed"]["type"] == "string"
        assert plain.reply["required"] == ["isGiven"]
        assert read.payload == Approve(the_deed="send it")
        assert also_plain == plain

    async def test_a_plain_method_asks_from_its_thread(self, mesh: MeshUnderTest) -> None:
        """By the loop that it came from."""
        _, asker = await opened(mesh)
        assert await asker.request("SEND_SLOWLY", on_ask=agree) == {"sent": True}

    async def test_several_questions_are_open_at_once(self, mesh: MeshUnderTest) -> None:
        """Each gets its own answer, in whatever order they come."""
        _, asker = await opened(mesh)
        all_here = asyncio.Barrier(5)

        async def answer(question: Question[Any]) -> Approval:
            await all_here.wait()
            return Approval(is_given=question["number"] % 2 == 0)

        answered = await asker.request("SEND_MANY", on_ask=answer)
        assert answered == {"result": [True, False, True, False, True]}

    async def test_a_stream_asks_between_its_parts(self, mesh: MeshUnderTest) -> None:
        """And goes on with the answer."""
        _, asker = await opened(mesh)
        parts = [part async for part in asker.stream("SEND_PARTS", on_ask=agree)]
        assert parts == ["written", "sent"]

    async def test_a_proxy_passes_questions_on(self, mesh: MeshUnderTest) -> None:
        """As all options of a request."""
        _, asker = await opened(mesh)
        sender: Any = asker.proxy(Sender, on_ask=agree, idle_timeout=5)
        assert await sender.send({}) == {"sent": True}

    @pytest.mark.parametrize("mesh", ["websocket", "polling"], indirect=True)
    async def test_the_blocking_client_answers_from_a_thread(self, mesh: MeshUnderTest) -> None:
        """In which it may ask, too; a mesh in memory belongs to one loop."""
        await opened(mesh)

        def ask() -> dict[str, Any]:
            with sync.AlephScriptClient(mesh.hub, usuario="script", **mesh.options) as client:

                def answer(question: Approve) -> Approval:
                    assert client.request("ECHO", {"a": 1}) == {"a": 1}
                    return agree(question)

                return client.request("SEND", on_ask=answer)

        assert await asyncio.to_thread(ask) == {"sent": True}


class TestNoAnswer:
    """What a method gets in place of an answer, and its asker if the method catches nothing."""

    async def test_without_a_callable_asking_fails_at_once(self, mesh: MeshUnderTest) -> None:
        """With a code of its own, which the method may catch."""
        _, asker = await opened(mesh)
        with pytest.raises(NoAnswerer, match="takes no questions"):
            await asker.request("SEND")
        assert await asker.request("TRY") == {"code": "no_answerer"}

    async def test_the_deadline_of_a_question_passes(self, mesh: MeshUnderTest) -> None:
        """Its callable is cancelled, the request goes on or fails."""
        _, asker = await opened(mesh)
        cancelled = asyncio.Event()

        async def forget(_: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        with pytest.raises(DeadlineExceeded, match=r"APPROVE was not answered within 0\.05 s"):
            await asker.request("SEND", {"timeout": 0.05}, on_ask=forget)
        await asyncio.wait_for(cancelled.wait(), 5)

    async def test_the_deadline_of_the_request_bounds_that_of_its_questions(
        self, mesh: MeshUnderTest
    ) -> None:
        """Whatever the method gives them."""
        _, asker = await opened(mesh)

        async def forget(_: object) -> None:
            await asyncio.Event().wait()

        with pytest.raises(DeadlineExceeded):
            await asker.request("SEND", {"timeout": 600}, on_ask=forget, timeout=0.1)

    async def test_a_refusal_is_told_in_its_own_words(self, mesh: MeshUnderTest) -> None:
        """To the method, and by that to the asker again."""
        _, asker = await opened(mesh)

        def refuse(_: object) -> None:
            raise CapabilityError("not_now", "ask tomorrow", [{"at": 9}])

        assert await asker.request("TRY", on_ask=refuse) == {
            "code": "not_now",
            "details": [{"at": 9}],
        }
        with pytest.raises(CapabilityError, match="ask tomorrow"):
            await asker.request("SEND", on_ask=refuse)

    async def test_another_exception_is_an_incident_of_the_asker(
        self, mesh: MeshUnderTest, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its text stays in the asker's log."""
        _, asker = await opened(mesh)

        def fail(_: object) -> None:
            raise OSError("secret 1234")

        with pytest.raises(Internal, match="failed at its answer") as caught:
            await asker.request("SEND", on_ask=fail)
        [incident] = caught.value.details
        assert "1234" not in str(caught.value)
        assert incident["incident"] in caplog.text
        assert "secret 1234" in caplog.text

    async def test_an_answer_that_does_not_fit_is_refused_with_its_problems(
        self, mesh: MeshUnderTest
    ) -> None:
        """The asker gets them, whose answer it was."""
        _, asker = await opened(mesh)
        with pytest.raises(InvalidPayload) as caught:
            await asker.request("SEND", on_ask=lambda _: {"isGiven": "perhaps"})
        assert [each["path"] for each in caught.value.details] == ["isGiven"]

    async def test_what_cannot_take_a_question_is_refused_before_anything_is_asked(
        self, mesh: MeshUnderTest
    ) -> None:
        """So are other arguments that mean nothing."""
        _, asker = await opened(mesh)
        wrong: tuple[tuple[dict[str, Any], type[Exception]], ...] = (
            ({"on_ask": "agree"}, DeclarationError),
            ({"idle_timeout": "5"}, ContractError),
            ({"priority": "high"}, ContractError),
        )
        for options, error in wrong:
            with pytest.raises(error):
                await asker.request("SEND", **options)


class TestEnds:
    """What ends a question besides its answer."""

    async def test_an_asker_that_cancels_cancels_the_question_too(
        self, mesh: MeshUnderTest
    ) -> None:
        """At both ends."""
        master, asker = await opened(mesh)
        asked, cancelled = asyncio.Event(), asyncio.Event()

        async def forget(_: object) -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        asking = asyncio.ensure_future(asker.request("WAIT_FOR_ANSWER", on_ask=forget))
        await asyncio.wait_for(asked.wait(), 5)
        asking.cancel()
        await asyncio.wait_for(cancelled.wait(), 5)
        await asyncio.wait_for(master.has_left.wait(), 5)
        assert master.ended == "CancelledError"

    async def test_a_lost_asker_answers_nothing(self, mesh: MeshUnderTest) -> None:
        """A method that finishes nevertheless is told so at once."""
        master, asker = await opened(mesh)
        asked = asyncio.Event()

        async def forget(_: object) -> None:
            asked.set()
            await asyncio.Event().wait()

        asking = asyncio.ensure_future(asker.request("WAIT_FOR_ANSWER", on_ask=forget))
        await asyncio.wait_for(asked.wait(), 5)
        await asker.close()
        with pytest.raises(Closed):
            await asking
        await asyncio.wait_for(master.has_left.wait(), 5)
        assert master.ended == "NoAnswerer"

    async def test_a_lost_master_takes_its_questions_with_it(self, mesh: MeshUnderTest) -> None:
        """The callable is cancelled, the asker learns of the loss."""
        master, asker = await opened(mesh)
        asked, cancelled = asyncio.Event(), asyncio.Event()

        async def forget(_: object) -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        asking = asyncio.ensure_future(asker.request("WAIT_FOR_ANSWER", on_ask=forget))
        await asyncio.wait_for(asked.wait(), 5)
        await master.close()
        with pytest.raises(MasterLost):
            await asking
        await asyncio.wait_for(cancelled.wait(), 5)

    async def test_a_question_may_lead_back_to_the_master_that_asks(
        self, mesh: MeshUnderTest
    ) -> None:
        """Of which no more than one may run: what it waits for does not wait for it."""

        class Other(AlephScriptClient):
            rooms = ("OTHER",)

            @capability("DO", max_in_flight=1)
            async def do(self, request: Request[Any]) -> Any:
                async def answer(question: Approve) -> Approval:
                    assert await self.request("DO_AGAIN") == {"done": True}
                    return agree(question)

                return await self.request("SEND", on_ask=answer)

            @capability("DO_AGAIN", max_in_flight=1)
            async def do_again(self, request: Request[Any]) -> Any:
                if request.payload:
                    return {"done": True}
                # To the capability that waits for the answer to its question.
                return await self.request("SEND", on_ask=lambda _: {"isGiven": True}) and {
                    "done": True
                }

        _, asker = await opened(mesh)
        await mesh.open(Other, usuario="other")
        assert await asker.request("DO", timeout=5) == {"sent": True}

    async def test_what_is_asked_for_an_answer_has_no_more_time_than_the_question(
        self, mesh: MeshUnderTest
    ) -> None:
        """As in a capability."""
        _, asker = await opened(mesh)
        raised: list[BaseException] = []
        has_left = asyncio.Event()

        async def answer(_: object) -> None:
            try:
                await asker.request("WAIT_FOR_ANSWER", on_ask=lambda _: asyncio.Event().wait())
            except BaseException as exc:
                raised.append(exc)
                has_left.set()
                raise

        with pytest.raises(DeadlineExceeded):
            await asker.request("SEND", {"timeout": 0.2}, on_ask=answer, timeout=60)
        await asyncio.wait_for(has_left.wait(), 5)
        assert isinstance(raised[0], DeadlineExceeded | asyncio.CancelledError | Cancelled)
