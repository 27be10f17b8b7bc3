"""What an asker answers when its master asks back: `on_ask`, from a question to its answer.

May go in: running an asker's callable, and what becomes of its outcome. May not: how a question
comes and an answer goes (`dialects`), how a master asks (`asking_back`).
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import typing
import uuid
from collections.abc import Callable
from typing import Any

import attrs

from alephscript import contracts
from alephscript.client import answers
from alephscript.client.calls import Delivery
from alephscript.client.jobs import Inquiry, current_job
from alephscript.client.messages import Question
from alephscript.client.threads import ThreadRun
from alephscript.diagnostics.redaction import as_logged, ends_program
from alephscript.errors import (
    CapabilityError,
    ContractError,
    DeclarationError,
    Internal,
    InvalidPayload,
    Overloaded,
    RequestError,
)
from alephscript.protocol.json import read_value, write_json

__all__ = ["Answerer"]

logger = logging.getLogger("alephscript.client")


_MOST = 16
"""Questions about one call that are answered at once; no hub of this package passes on more."""


class Answerer:
    """Answers what the master of one call asks back, each question in a task of its own.

    The callable runs where the call was made: with its context variables, its deadline, its chain.

    Args:
        on_ask: The asker's callable; a plain one runs in a worker thread, since it may block.
        capability: Name of the capability that was asked, for the log.
        redact: Whether the log may not have the texts of exceptions.

    Raises:
        DeclarationError: It cannot be called with a question.
    """

    def __init__(self, on_ask: Callable[[Any], Any], capability: str, *, redact: bool) -> None:
        self._type = _type_of_question(on_ask)
        self._on_ask = on_ask
        self._capability = capability
        self._redact = redact
        self._context = contextvars.copy_context()
        self._tasks: dict[str, asyncio.Task[bytes]] = {}

    def take(self, question: Delivery, send: Callable[[bytes | None], None]) -> None:
        """Answer a question.

        Args:
            question: The question.
            send: Called once with the JSON text of the answer; None if it was cancelled.
        """
        if question.id in self._tasks or len(self._tasks) >= _MOST:
            send(write_json(Overloaded("too many questions about one request").answer()))
            return

        def finish(task: asyncio.Task[bytes]) -> None:
            # Not at the end of the coroutine: a task may be cancelled before its first step.
            del self._tasks[question.id]
            send(None if task.cancelled() or task.exception() else task.result())

        loop = asyncio.get_running_loop()
        task = loop.create_task(self._answer(question), context=self._context.copy())
        self._tasks[question.id] = task
        task.add_done_callback(finish)

    def cancel(self, id: str) -> bool:
        """Stop answering a question; return whether it was one of these."""
        task = self._tasks.get(id)
        return task is not None and task.cancel()

    def close(self) -> None:
        """Stop answering all questions: the call has ended."""
        for task in self._tasks.values():
            task.cancel()

    async def _answer(self, question: Delivery) -> bytes:
        """Run the callable, and write what comes of it as JSON text."""
        loop, above = asyncio.get_running_loop(), current_job.get()
        seconds = question.meta.timeout_ms
        ends = float("inf") if seconds is None else loop.time() + seconds / 1000
        chain = () if above is None else above.chain
        current_job.set(
            Inquiry(ends if above is None else min(ends, above.ends), chain, question.id)
        )
        try:
            value = await self._call(self._read(question))
            text = answers.write_any(value).text
            assert text is not None
        except asyncio.CancelledError:
            raise
        except (CapabilityError, _UnfitQuestion) as error:
            return write_json(error.answer())
        except BaseException as exc:
            if ends_program(exc):
                raise
            return self._write_incident(exc)
        return text

    async def _call(self, question: Any) -> Any:
        if _is_async(self._on_ask):
            answer = self._on_ask(question)
        else:
            answer = await ThreadRun(self._on_ask, question).result()
        while inspect.isawaitable(answer):  # of a lambda, whose looks do not tell
            answer = await answer
        return answer

    def _read(self, question: Delivery) -> Any:
        """Read a question as the callable wants it.

        Raises:
            _UnfitQuestion: The question is none, or its payload does not fit.
        """
        try:
            asked = contracts.structure(read_value(question.data), _Asked)
            if self._type is None:
                return Question(**attrs.asdict(asked, recurse=False))
            payload = contracts.structure(asked.payload, self._type.payload)
        except ContractError as error:
            raise _UnfitQuestion(str(error), error.problems) from None
        except RequestError as error:
            raise _UnfitQuestion(error.message, error.details) from None
        if self._type.is_bare:
            return payload
        return Question(**{**attrs.asdict(asked, recurse=False), "payload": payload})

    def _write_incident(self, exc: BaseException) -> bytes:
        incident = uuid.uuid4().hex[:12]
        logger.error(
            "the answer to what %s asks back failed (%s), incident %s",
            self._capability,
            type(exc).__qualname__,
            incident,
            exc_info=as_logged(exc, redact=self._redact),
            extra={"capability": self._capability, "incident": incident},
        )
        message = f"the asker of {self._capability} failed at its answer"
        return write_json(Internal(message, [{"incident": incident}]).answer())


class _UnfitQuestion(InvalidPayload):
    """A question cannot be read; of a class of its own, as what a callable raises is not told."""


@attrs.frozen
class _Asked:
    """A question as it is on the wire; the schemas are a stranger's."""

    capability: str
    payload: Any = None
    summary: str = ""
    request: dict[str, Any] | None = None
    reply: dict[str, Any] | None = None


@attrs.frozen
class _Wanted:
    """The question that a callable takes, as far as it is not a `Question` as it comes.

    Attributes:
        payload: The type of the payload.
        is_bare: Whether the callable takes the payload alone.
    """

    payload: Any
    is_bare: bool


def _type_of_question(on_ask: Callable[[Any], Any]) -> _Wanted | None:
    """Find what a callable takes, by its annotation; None for a `Question` as it comes."""
    if not callable(on_ask):
        raise DeclarationError("on_ask is called with each question: give a function, or async one")
    target = on_ask if inspect.isroutine(on_ask) else getattr(on_ask, "__call__", on_ask)  # noqa: B004
    try:
        hints = typing.get_type_hints(target, include_extras=True)
        parameters = inspect.signature(on_ask).parameters
    except (TypeError, ValueError, NameError):
        return None  # of a C function, or of names that are not known here
    annotated = hints.get(next(iter(parameters), ""))
    if annotated in (None, Any, object, Question):
        return None
    if typing.get_origin(annotated) is Question:
        (payload,) = typing.get_args(annotated)
        return None if payload is Any else _Wanted(payload, is_bare=False)
    contracts.prepare(annotated)
    return _Wanted(annotated, is_bare=True)


def _is_async(function: object) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004 - the method itself is looked at
    return any(map(inspect.iscoroutinefunction, (function, call)))
