"""Outcomes of jobs, and the answers that askers get of them.

Only a `CapabilityError` crosses to the asker as it was raised, and what a method was told in place
of the asker's answer when it asked back. A payload that does not fit is
refused with every problem; what else a method raises is logged here, under an incident id, and the
asker learns that id and nothing more.

May go in: payloads read, results and failures written, answers sent. May not: when and where a
method runs (`serving`, `worker`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from typing import Any

import msgspec

from alephscript import contracts
from alephscript.client.calls import Delivery
from alephscript.client.declaring import Capability
from alephscript.client.jobs import Job
from alephscript.client.session import HubSession
from alephscript.diagnostics.redaction import as_logged, ends_program
from alephscript.errors import (
    Cancelled,
    CapabilityError,
    ContractError,
    Internal,
    InvalidPayload,
    PayloadTooLarge,
    RequestError,
)
from alephscript.protocol import events
from alephscript.protocol.events import Answer
from alephscript.protocol.json import parse_json, read_value, write_json
from alephscript.protocol.text import write_type

__all__ = [
    "DONE",
    "Outcome",
    "read_payload",
    "refuse",
    "send",
    "write_any",
    "write_failure",
    "write_part",
    "write_parts",
    "write_result",
    "write_stop",
]

logger = logging.getLogger("alephscript.client")


class Outcome(msgspec.Struct, frozen=True):
    """The end of a job.

    Attributes:
        text: JSON text of the answer; None where nobody waits for one.
        code: Of the failure, None for a success.
        message: Of the failure.
    """

    text: bytes | None
    code: str | None = None
    message: str = ""


_NULL, _EMPTY = msgspec.Raw(b"null"), msgspec.Raw(b"{}")
_SUCCESS = b'{"success":true}'

DONE = Outcome(_SUCCESS)
"""A success that says nothing else."""


def read_payload(capability: Capability, data: Any) -> Any:
    """Read what was asked, by the contract of the capability.

    Raises:
        _UnfitPayload: The payload does not fit the contract, or is no JSON.
    """
    payload = capability.payload
    # Stock peers send null, or nothing, where there is nothing to say.
    is_nothing = data is None or data == _NULL
    try:
        if payload is None:
            return {} if is_nothing else read_value(data)
        if is_nothing:
            return contracts.read_nothing(payload)
        if isinstance(data, msgspec.Raw):
            try:
                return contracts.read(data, payload)
            except ContractError:
                # Our own askers send an empty object for nothing, which stock masters rely on.
                if data != _EMPTY:
                    raise
                return contracts.read_nothing(payload)
        return contracts.structure(data, payload)
    except ContractError as error:
        raise _UnfitPayload(InvalidPayload(str(error), error.problems)) from None
    except RequestError as error:
        raise _UnfitPayload(error) from None


class _UnfitPayload(Exception):
    """A payload does not fit; ``args`` hold the error that the asker gets.

    A class of its own: what a method raises may be an `InvalidPayload` too, of what it asked
    itself, and must not reach the asker.
    """


def write_result(capability: Capability, result: Any) -> Outcome:
    """Make the outcome of what a method returned.

    Raises:
        TypeError: The result is of another type than the method declares.
        ContractError: The result has no JSON form.
    """
    if capability.reply is None:
        return write_any(result)
    # The answer is put together as text: reading the result to add a field would double the cost.
    try:
        text, standing = contracts.write_reply(result, capability.reply)
    except ContractError as error:
        raise _wrong_type("returned", result, capability) from error
    if standing == "beside":  # as `_write_fields`, without the calls where a text is short
        if len(text) < _LARGE and b'"success"' not in text and text != b"{}":
            return Outcome(b'{"success":true,%b' % text[1:])
    elif standing == "under":
        return DONE if text == b"null" else Outcome(b'{"success":true,"result":%b}' % text)
    return _write_fields(text, is_loose=standing == "loose")


def write_any(result: Any) -> Outcome:
    """Make the outcome of a method or a callable that declares no type."""
    if result is None:
        return DONE
    text = contracts.write(result)
    if not text.startswith(b"{"):
        return Outcome(b'{"success":true,"result":%b}' % text)
    return _write_fields(text, is_loose=True)


def _write_fields(text: bytes, *, is_loose: bool) -> Outcome:
    """Make the outcome of an object; one that is loose may say that it is a failure."""
    if _has(text, b'"success"') or (is_loose and _has(text, b'"error"')):
        value = parse_json(text)
        return _outcome_of(events.normalise([value]) if is_loose else events.make_success(value))
    return DONE if text == b"{}" else Outcome(b'{"success":true,%b' % text[1:])


def _has(text: bytes, name: bytes) -> bool:
    """Whether a name, in its quotes, is somewhere in a text.

    To find a quote takes a tenth of the time of finding a word: a large text of few strings.
    """
    at = -1
    for _ in range(_FEW_QUOTES if len(text) > _LARGE else 0):
        at = text.find(b'"', at + 1)
        if at < 0:
            return False
        if text.startswith(name, at):
            return True
    return text.find(name, at + 1) >= 0


_LARGE = 65_536
_FEW_QUOTES = 64


def write_part(capability: Capability, part: Any) -> bytes:
    """Write a part of a streamed answer; raises as `write_result`."""
    if capability.reply is None:
        return contracts.write(part)
    try:
        return contracts.write(part, capability.reply)
    except ContractError as error:
        raise _wrong_type("yielded", part, capability) from error


def write_parts(parts: list[bytes]) -> Outcome:
    """Make the outcome of a stream for an asker that knows no parts."""
    return Outcome(b'{"success":true,"result":[%b]}' % b",".join(parts))


def write_stop(stop: RequestError) -> Outcome:
    """Make the outcome of a job that was stopped."""
    # An asker that cancelled has been told already; a deadline is the hub's, too, but on another
    # clock.
    text = None if isinstance(stop, Cancelled) else write_json(stop.answer())
    return Outcome(text, stop.code, stop.message)


def write_failure(job: Job, exc: BaseException) -> Outcome:
    """Make the outcome of a run that raised.

    Raises:
        BaseException: The same, if the client is closing, or the program ends.
    """
    # Native extensions raise BaseExceptions of their own: no class but the two that end a program
    # may pass, else the asker would wait out its deadline.
    session, request = job.session, job.request
    assert job.task is not None
    if ends_program(exc):
        raise exc
    if isinstance(exc, _UnfitPayload):
        return _outcome_of(exc.args[0].answer())
    if isinstance(exc, CapabilityError):
        return _write_own_words(session, request, exc)
    if isinstance(exc, RequestError) and any(exc is each for each in job.unanswered):
        return _outcome_of(exc.answer())  # the asker's own doing, and no secret before it
    if isinstance(exc, asyncio.CancelledError):
        if job.stop is not None:
            job.task.uncancel()
            return write_stop(job.stop)
        if job.task.cancelling():
            raise exc
        cancelled = RuntimeError("what it waited for was cancelled")
        cancelled.__cause__ = exc
        return _write_incident(session, request, cancelled)
    if isinstance(exc, GeneratorExit) and not job.task.get_loop().is_running():
        raise exc  # the run is thrown away with its loop
    if job.stop is None:
        return _write_incident(session, request, exc)
    name = events.capability_name(request.event)
    logger.debug(
        "%s failed after it was stopped",
        name,
        exc_info=as_logged(exc, redact=session.redacts),
        extra={"capability": name, "room": request.room, "request_id": request.id},
    )
    return write_stop(job.stop)


def refuse(session: HubSession, request: Delivery, error: RequestError) -> None:
    """Answer a request that is not served."""
    send(session, request, write_json(error.answer()))


def send(session: HubSession, request: Delivery, answer: bytes, *, announces: bool = False) -> None:
    """Send the answer to a request; one that is too large is an incident, a lost link no matter.

    Args:
        session: The session that the request came by.
        request: The request.
        answer: JSON text of the answer.
        announces: Whether the room is told, too.
    """
    try:
        try:
            if announces:
                session.dialect.announce(request, answer)
            session.dialect.answer(request, answer)
        except PayloadTooLarge as error:
            incident = _write_incident(session, request, error).text
            assert incident is not None
            session.dialect.answer(request, incident)
    except RequestError as error:
        name = events.capability_name(request.event)
        logger.debug(
            "the answer to %s found no link",
            name,
            extra={
                "capability": name,
                "room": request.room,
                "request_id": request.id,
                "code": error.code,
            },
        )


def _write_own_words(session: HubSession, request: Delivery, error: CapabilityError) -> Outcome:
    """Write an error that crosses as it was raised; an application's class may break at that."""
    try:
        answer = error.answer()
        if not events.is_failure(answer):
            wrong = _WrongType(f"{type(error).__qualname__}.answer() is no failed answer")
            return _write_incident(session, request, wrong)
        return _outcome_of(answer)
    except BaseException as broken:
        if ends_program(broken):
            raise
        return _write_incident(session, request, broken)


def _outcome_of(answer: Answer) -> Outcome:
    text = write_json({"success": answer["success"], **answer})
    if not events.is_failure(answer):
        return Outcome(text)
    return Outcome(text, str(answer.get("code", "error")), str(answer.get("error", "")))


def _wrong_type(verb: str, value: Any, capability: Capability) -> _WrongType:
    kind = getattr(capability.reply, "__qualname__", capability.reply)
    return _WrongType(f"{verb} {write_type(value)} that is no {kind}, which it declares")


class _WrongType(TypeError):
    """A method does not give what it declares; says which types, and no value."""


def _write_incident(session: HubSession, request: Delivery, exc: BaseException) -> Outcome:
    """Log a failure that is nobody's business outside; return the outcome that stands for it."""
    incident = uuid.uuid4().hex[:12]
    name = events.capability_name(request.event)
    why = str(exc) if isinstance(exc, _WrongType) else type(exc).__qualname__
    with contextlib.suppress(Exception):  # of an application's handlers and filters
        logger.error(
            "%s failed (%s), incident %s",
            name,
            why,
            incident,
            exc_info=as_logged(exc, redact=session.redacts),
            extra={
                "capability": name,
                "room": request.room,
                "request_id": request.id,
                "incident": incident,
                "code": Internal.code,
            },
        )
    error = Internal(f"{name} failed at its master", [{"incident": incident}])
    return _outcome_of(error.answer())
