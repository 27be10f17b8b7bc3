"""What a capability asks back, asked of the MCP client whose call it is: elicitation.

In protocols up to 2025-11-25 a server asks its client while the call runs. Since then a call ends
with what is asked, and the client calls again with the answers: the request to the mesh goes on
meanwhile, and is found again by a name that cannot be guessed.

May go in: questions as forms of MCP, calls that go on in another one. May not: which capability is
asked (`server`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from mcp.server.session import ServerSession
from mcp_types import (
    ClientCapabilities,
    ElicitationCapability,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from alephscript.client.messages import Question
from alephscript.contracts.entries import Entry, make_entries, read_entries
from alephscript.doors.texts import as_json, shown
from alephscript.errors import CapabilityError, NoAnswerer
from alephscript.mcp.tools import Context

__all__ = ["Call", "Conversation", "Conversations"]

_MOST = 256
"""Calls that may wait at once for their clients to call again."""

Answer = dict[str, Any]
Ask = Callable[["Conversation | None"], Awaitable[Answer]]
"""Asks the mesh; its questions go to the conversation, None where nobody can be asked."""


class Call(Protocol):
    """A call of a client, as far as progress is told to it."""

    @property
    def session(self) -> ServerSession:
        """The session of the call."""
        ...


class Conversations:
    """The calls that a server has under way whose capabilities may ask back."""

    def __init__(self) -> None:
        self._waiting: dict[str, Conversation] = {}

    async def begin(self, ctx: Context, ask: Ask) -> Answer | InputRequiredResult:
        """Ask the mesh for a call, until it is answered or has a question for the client.

        Args:
            ctx: The call.
            ask: Asks the mesh.

        Raises:
            RequestError: The request failed.
        """
        if not _can_be_asked(ctx):
            return await ask(None)
        conversation = Conversation(ctx)
        if not conversation.takes_rounds:
            return await ask(conversation)
        conversation.run(ask)
        return await self._wait(conversation)

    async def resume(
        self, ctx: Context, name: str, answers: Mapping[str, Any]
    ) -> Answer | InputRequiredResult:
        """Go on with a call whose client has answered.

        Args:
            ctx: The call that brings the answers.
            name: What the call before was told to bring back.
            answers: The answers, by question.

        Raises:
            NoAnswerer: The request has ended meanwhile, or there never was one.
            RequestError: The request failed.
        """
        conversation = self._waiting.pop(name, None)
        if conversation is None:
            raise NoAnswerer("what was asked back has been given up: call again from the beginning")
        conversation.ctx = ctx
        conversation.answer(answers)
        return await self._wait(conversation)

    async def _wait(self, conversation: Conversation) -> Answer | InputRequiredResult:
        questions = await conversation.next_questions()
        if questions is None:
            return conversation.result()
        if len(self._waiting) >= _MOST:
            self._waiting.pop(next(iter(self._waiting))).cancel()
        name = secrets.token_urlsafe()
        self._waiting[name] = conversation
        # Nobody need come back: with the request, which has a deadline, its place is given away.
        conversation.when_over(lambda: self._waiting.pop(name, None))
        return InputRequiredResult(input_requests=questions, request_state=name)


class Conversation:
    """One request to the mesh, and what is asked back of it.

    Args:
        ctx: The call that the request is for.

    Attributes:
        ctx: The call that waits now.
        takes_rounds: Whether its client answers by calling again.
    """

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.takes_rounds = ctx.session.protocol_version in MODERN_PROTOCOL_VERSIONS
        self._open: dict[str, asyncio.Future[ElicitResult]] = {}
        self._asked: dict[str, ElicitRequest] = {}
        self._unasked: dict[str, ElicitRequest] = {}
        self._is_asked = asyncio.Event()
        self._task: asyncio.Future[Answer] | None = None

    async def on_ask(self, question: Question[Any]) -> Any:
        """Have the client answer a question; see `AlephScriptClient.request`."""
        message = f"{question.capability}: {question.summary} {as_json(question.payload)}"
        form = ElicitRequestFormParams(
            message=shown(message), requested_schema=_make_form(make_entries(question.reply))
        )
        if self.takes_rounds:
            result = await self._ask_by_round(ElicitRequest(params=form))
        else:
            result = await self.ctx.session.elicit_form(
                form.message, form.requested_schema, self.ctx.request_id
            )
        if result.action != "accept":
            raise CapabilityError("declined", "the user did not agree", [{"action": result.action}])
        return read_entries(question.reply, result.content or {})

    @property
    def session(self) -> ServerSession:
        """The session of the call that waits now."""
        return self.ctx.session

    def run(self, ask: Ask) -> None:
        """Ask the mesh, also beyond the call that has begun it."""
        self._task = asyncio.ensure_future(ask(self))

    def when_over(self, act: Callable[[], object]) -> None:
        """Have a function called when the request has ended."""
        assert self._task is not None
        self._task.add_done_callback(lambda _: act())

    async def next_questions(self) -> dict[str, Any] | None:
        """Wait for questions; None if the request has ended."""
        assert self._task is not None
        asked = asyncio.ensure_future(self._is_asked.wait())
        either: set[asyncio.Future[Any]] = {self._task, asked}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()  # the client has cancelled its call
            raise
        finally:
            asked.cancel()
        if self._task.done():
            return None
        questions, self._unasked = self._unasked, {}
        self._is_asked.clear()
        return dict(questions)

    def answer(self, answers: Mapping[str, Any]) -> None:
        """Take the answers of a client; a question without one is asked again."""
        for name, future in self._open.items():
            answer = answers.get(name)
            if isinstance(answer, ElicitResult) and not future.done():
                future.set_result(answer)
        for name, future in self._open.items():
            if not future.done() and name in self._asked:
                self._unasked[name] = self._asked[name]
                self._is_asked.set()

    def result(self) -> Answer:
        """Return the answer of the request; raises what it failed by."""
        assert self._task is not None
        return self._task.result()

    def cancel(self) -> None:
        """Cancel the request: nobody waits for it any more."""
        assert self._task is not None
        self._task.cancel()

    async def _ask_by_round(self, request: ElicitRequest) -> ElicitResult:
        name = f"question-{secrets.token_hex(4)}"
        future: asyncio.Future[ElicitResult] = asyncio.get_running_loop().create_future()
        self._open[name] = future
        self._asked[name] = self._unasked[name] = request
        self._is_asked.set()
        try:
            return await future
        finally:
            del self._open[name], self._asked[name]
            self._unasked.pop(name, None)


def _can_be_asked(ctx: Context) -> bool:
    session = ctx.session
    if not session.check_client_capability(ClientCapabilities(elicitation=ElicitationCapability())):
        return False
    return session.protocol_version in MODERN_PROTOCOL_VERSIONS or session.can_send_request


def _make_form(entries: list[Entry]) -> dict[str, Any]:
    """Make the flat schema that MCP allows for forms."""
    return {
        "type": "object",
        "properties": {each.name: _make_field(each) for each in entries},
        "required": [each.name for each in entries if each.is_required],
    }


def _make_field(entry: Entry) -> dict[str, Any]:
    about = shown(entry.about)
    field: dict[str, Any] = {"type": "string" if entry.kind == "json" else entry.kind}
    if entry.kind == "json":
        about = f"{about} (as JSON)".lstrip()
    if about:
        field["description"] = about
    if entry.choices:
        field["enum"] = list(entry.choices)
    if entry.default is not None and entry.kind != "json":
        field["default"] = entry.default
    return field
