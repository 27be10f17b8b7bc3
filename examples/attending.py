"""Whoever asked for a step of a FIA, as the FIA's attendant: by the request that is served here.

May go in: what a FIA says and asks, brought to an asker. May not: what a FIA is
(`examples/aaia_runtime`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from alephscript import Question, Request
from examples.aaia_runtime.thoughts import Approve, Thought

__all__ = ["Asker"]

_ASK_SECONDS = 300.0
"""How long an asker may think about a question."""


class Asker:
    """The asker of a request, who is asked back; see `examples.aaia_runtime.thoughts.Attendant`.

    Args:
        request: The request, plain or the run of a task.
        hear: Takes thoughts; None for an asker that waits for the step as a whole.
    """

    def __init__(
        self, request: Request[Any], hear: Callable[[Thought], Awaitable[None]] | None = None
    ) -> None:
        self._request = request
        self._hear = hear

    async def hear(self, thought: Thought) -> None:
        """Take a thought, if the asker wants to have them."""
        if self._hear is not None:
            await self._hear(thought)

    async def approve(self, question: Approve) -> bool:
        """Ask whether a tool may be used."""
        return (await self._request.ask(question, timeout=_ASK_SECONDS)).yes

    async def answer(self, question: Question[Any]) -> Any:
        """Pass on what a tool asks back."""
        return await self._request.ask(question.capability, question.payload, timeout=_ASK_SECONDS)
