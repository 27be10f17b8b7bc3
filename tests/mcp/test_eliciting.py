"""What a capability asks back, asked of MCP clients, of both protocols."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Literal

import attrs
import pytest
from mcp.client.client import Client
from mcp_types import ElicitRequestFormParams, ElicitResult, InputRequiredResult

from alephscript import AlephScriptClient, Request, RequestFor, capability
from alephscript.mcp import MeshServer
from alephscript.testing import InMemoryMesh
from tests.support.mcp_peers import text_of
from tests.support.meshes import at_once

pytestmark = pytest.mark.anyio

MODES: tuple[Literal["auto", "legacy"], ...] = ("auto", "legacy")


@attrs.frozen
class Approval:
    """Whether somebody agrees."""

    is_given: bool
    weights: list[int] | None = None


@attrs.frozen
class Approve(RequestFor[Approval], capability="APPROVE"):
    """Shall it be done?"""

    the_deed: str


class Sender(AlephScriptClient):
    """Asks back before it sends anything."""

    rooms = ("POST",)
    was_cancelled: asyncio.Event

    @capability("SEND")
    async def send(self, request: Request[Any]) -> dict[str, Any]:
        """Send something."""
        approval = await request.ask(Approve(the_deed="send it"))
        request.progress(0.5, "asked")
        return {"sent": approval.is_given, "weights": approval.weights}

    @capability("SEND_TWICE")
    async def send_twice(self, request: Request[Any]) -> dict[str, Any]:
        """Ask two things at once, and a third one afterwards."""
        both = await asyncio.gather(
            *(request.ask(Approve(the_deed=each)) for each in ("one", "two"))
        )
        last = await request.ask("NAME", {"of": "them"})
        return {"sent": [each.is_given for each in both], "name": last["result"]}

    @capability("HOLD")
    async def hold(self, request: Request[Any]) -> None:
        """Ask, and say when that was given up."""
        try:
            await request.ask("WHATEVER")
        finally:
            self.was_cancelled.set()


Elicitor = Any


@contextlib.asynccontextmanager
async def calling(
    mode: Literal["auto", "legacy"], elicit: Elicitor = None
) -> AsyncIterator[tuple[Client, Sender]]:
    """An MCP client of a mesh with a sender in it, which answers what is elicited."""
    async with InMemoryMesh() as mesh, Sender(mesh) as sender:
        sender.was_cancelled = asyncio.Event()
        server = MeshServer(mesh, backoff=at_once)
        async with asyncio.timeout(20):
            async with Client(server, mode=mode, elicitation_callback=elicit) as client:
                await client.list_tools()
                yield client, sender


@pytest.mark.parametrize("mode", MODES)
async def test_a_user_is_asked_by_a_form(mode: Literal["auto", "legacy"]) -> None:
    """With the question's words, and a field for each field of the answer."""
    forms: list[ElicitRequestFormParams] = []

    async def elicit(_: Any, params: Any) -> ElicitResult:
        forms.append(params)
        return ElicitResult(action="accept", content={"isGiven": True, "weights": "[1, 2]"})

    async with calling(mode, elicit) as (client, _):
        sent = await client.call_tool("SEND", {})
        assert sent.structured_content == {"sent": True, "weights": [1, 2]}
    [form] = forms
    assert form.message == 'APPROVE: Shall it be done? {"theDeed":"send it"}'
    assert form.requested_schema["required"] == ["isGiven"]
    assert {name: each["type"] for name, each in form.requested_schema["properties"].items()} == {
        "isGiven": "boolean",
        "weights": "string",
    }


@pytest.mark.parametrize("mode", MODES)
async def test_several_questions_and_one_after_the_other(mode: Literal["auto", "legacy"]) -> None:
    """Each has its answer."""

    async def elicit(_: Any, params: Any) -> ElicitResult:
        if "NAME" in params.message:
            return ElicitResult(action="accept", content={"result": "Ana"})
        return ElicitResult(action="accept", content={"isGiven": '"two"' in params.message})

    async with calling(mode, elicit) as (client, _):
        sent = await client.call_tool("SEND_TWICE", {})
        assert sent.structured_content == {"sent": [False, True], "name": "Ana"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_may_decline(
    mode: Literal["auto", "legacy"], action: Literal["decline", "cancel"]
) -> None:
    """The capability is told so; here that is how it fails."""

    async def elicit(_: Any, __: Any) -> ElicitResult:
        return ElicitResult(action=action)

    async with calling(mode, elicit) as (client, _):
        sent = await client.call_tool("SEND", {})
        assert sent.is_error
        assert text_of(sent.content[0]) == (
            f'declined: the user did not agree [{{"action":"{action}"}}]'
        )


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_knows_no_elicitation_takes_no_questions(
    mode: Literal["auto", "legacy"],
) -> None:
    """Asking back fails at once."""
    async with calling(mode) as (client, _):
        sent = await client.call_tool("SEND", {})
        assert sent.is_error
        assert text_of(sent.content[0]).startswith("no_answerer: ")


async def test_a_call_is_gone_on_with_once_and_by_nobody_who_guesses() -> None:
    """By the name that the client was told, which stands for the request."""

    async def elicit(_: Any, __: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"isGiven": True})

    async with calling("auto", elicit) as (client, _):
        call = client.session.call_tool
        asked = await call("SEND", {}, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        assert asked.input_requests is not None
        answers: dict[str, Any] = {
            name: ElicitResult(action="accept", content={"isGiven": True})
            for name in asked.input_requests
        }
        wrong = await call("SEND", {}, input_responses=answers, request_state="guess")
        assert text_of(wrong.content[0]).startswith("no_answerer: ")
        again = await call(
            "SEND",
            {},
            input_responses={"other": answers[next(iter(answers))]},
            request_state=asked.request_state,
            allow_input_required=True,
        )
        assert isinstance(again, InputRequiredResult)
        assert again.input_requests == asked.input_requests
        sent = await call("SEND", {}, input_responses=answers, request_state=again.request_state)
        assert sent.structured_content == {"sent": True, "weights": None}
        late = await call("SEND", {}, input_responses=answers, request_state=again.request_state)
        assert text_of(late.content[0]).startswith("no_answerer: ")


async def test_a_client_that_does_not_come_back_leaves_nothing_behind() -> None:
    """The request ends at its deadline, and its place is given away."""
    async with InMemoryMesh() as mesh, Sender(mesh) as sender:
        sender.was_cancelled = asyncio.Event()
        server = MeshServer(mesh, backoff=at_once, timeout=1)  # a slow machine asks within it

        never: Elicitor = object()
        async with asyncio.timeout(20):
            async with Client(server, mode="auto", elicitation_callback=never) as client:
                await client.list_tools()
                asked = await client.session.call_tool("HOLD", {}, allow_input_required=True)
                assert isinstance(asked, InputRequiredResult)
                await sender.was_cancelled.wait()
                state = asked.request_state
                late = await client.session.call_tool("HOLD", {}, request_state=state)
                assert late.is_error
                assert server._conversations._waiting == {}
