"""What an MCP server asks during a call, asked of whoever has asked the mesh.

A server names no call when it asks. The SDK runs what answers it in the context of the call, as far
as the protocol lets it know: rounds of 2026-07-28, streamable HTTP. On stdio, before that, a
question is taken for that of the only call in hand; where there are several, nobody is asked, as it
may be about somebody else's work.

May go in: elicitations as questions, answers as their results. May not: calls themselves
(`master`), what a mesh asks of an MCP client (`eliciting`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from mcp.client.session import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitRequestURLParams, ElicitResult
from pydantic import ValidationError

from alephscript.client.messages import Question, Request
from alephscript.doors.texts import as_json, shown
from alephscript.errors import CapabilityError, DeadlineExceeded, RequestError

__all__ = ["INPUT", "Elicited"]

INPUT = "MCP_INPUT"
"""Name of what a server asks: ``{"text"}``, and a form for the answer."""

REASON = "alephscript/reason"
"""Key of a result's meta: the sentence why nobody was asked."""

_MOST_QUESTIONS = 32
"""Questions of one call."""
_MOST_CHARACTERS = 64_000
"""Characters of a form."""


class _Call:
    """A call in hand.

    Args:
        request: The request that it is made for.
    """

    def __init__(self, request: Request[Any]) -> None:
        self.request = request
        self.questions = 0
        self.is_over = asyncio.get_running_loop().create_future()


_current: ContextVar[_Call | None] = ContextVar("alephscript_mcp_call", default=None)


class Elicited:
    """The calls in hand at a server, and what it asks about them."""

    def __init__(self) -> None:
        self._calls: set[_Call] = set()

    @contextlib.contextmanager
    def about(self, request: Request[Any]) -> Iterator[None]:
        """Have what the server asks meanwhile asked of whoever has sent a request."""
        call = _Call(request)
        self._calls.add(call)
        token = _current.set(call)
        try:
            yield
        finally:
            _current.reset(token)
            self._calls.discard(call)
            call.is_over.set_result(None)

    async def answer(
        self,
        context: ClientRequestContext,  # noqa: ARG002 - names no call
        params: ElicitRequestParams,
    ) -> ElicitResult:
        """Have a question of the server answered; whatever comes of that is a result."""
        call = _current.get()
        if call is None and len(self._calls) == 1:
            call = next(iter(self._calls))
        if call is None or call.is_over.done():
            return _decline("the question is about no call, or about one of several")
        if isinstance(params, ElicitRequestURLParams):
            return _decline("nobody here opens an address for a server; ask by a form")
        if call.questions >= _MOST_QUESTIONS:
            return _decline(f"a call asks {_MOST_QUESTIONS} questions at the most")
        if len(as_json(params.requested_schema)) > _MOST_CHARACTERS:
            return _decline(f"a form has {_MOST_CHARACTERS} characters at the most")
        call.questions += 1
        question = Question(INPUT, {"text": shown(params.message)}, reply=params.requested_schema)
        asking = asyncio.ensure_future(call.request.ask(question))
        try:
            await asyncio.wait({asking, call.is_over}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return ElicitResult(action="cancel")
            return ElicitResult(action="accept", content=asking.result())
        except ValidationError:
            return _decline("the answer is no form: its fields are texts, numbers, yes or no")
        except RequestError as error:
            return _refuse(error)
        finally:
            asking.cancel()


def _refuse(error: RequestError) -> ElicitResult:
    """Say that there is no answer: nobody took the time, or somebody did not want to."""
    first = error.details[0] if error.details else None
    action = first.get("action") if isinstance(first, dict) else None
    if isinstance(error, DeadlineExceeded) or (
        isinstance(error, CapabilityError) and action == "cancel"
    ):
        return ElicitResult(action="cancel")
    return _decline(f"{shown(error.code)}: {shown(error.message)}")


def _decline(reason: str) -> ElicitResult:
    return ElicitResult(action="decline", _meta={REASON: reason})
