"""Running a capability: one request in, one answer out, whatever the method does.

Only a `CapabilityError` crosses to the asker as it was raised. A payload that does not fit
never reaches the method; what else the method raises is logged here, under an incident id, and
the asker learns that id and nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio.to_thread

from alephscript import contracts, wire
from alephscript.capabilities import Capability, Request
from alephscript.errors import (
    CapabilityError,
    ContractError,
    DeadlineExceeded,
    Internal,
    InvalidPayload,
)
from alephscript.wire import Answer

__all__ = ["deadline", "in_thread_or_loop", "internal", "serve"]

logger = logging.getLogger("alephscript.client")

deadline: ContextVar[float] = ContextVar("alephscript_deadline", default=float("inf"))
"""When the request that is being served ends, on the loop's clock: what is asked meanwhile
inherits it."""


async def serve(
    capability: Capability,
    method: Callable[..., Any],
    payload: Any,
    *,
    room: str,
    caller: str,
    id: str,
    seconds: float | None,
) -> Answer:
    """Run a capability's method.

    Args:
        capability: Its record.
        method: The method, bound.
        payload: What was asked, as it came.
        room: The room that was asked.
        caller: Who asks.
        id: The request's number at the hub.
        seconds: How long the asker waits, None if it does not say.

    Returns:
        The answer, ready for the wire.
    """
    try:
        decoded = _decoded(capability, payload)
    except InvalidPayload as error:
        return error.answer()
    clock = asyncio.get_running_loop().time
    limits = [each for each in (seconds, capability.timeout) if each is not None]
    limit = min(limits, default=None)
    ends = clock() + limit if limit is not None else float("inf")
    arguments: tuple[Any, ...] = ()
    if capability.wants_request:
        arguments = (Request(decoded, capability.name, room, caller, id, ends, clock),)
    elif capability.takes_payload:
        arguments = (decoded,)
    token = deadline.set(ends)
    try:
        async with asyncio.timeout(limit) as scope:
            result = await in_thread_or_loop(method, *arguments, blocking=capability.blocking)
        return _answer(capability, result)
    except CapabilityError as error:
        return error.answer()
    except Exception as exc:  # noqa: BLE001 - the one boundary between methods and the wire
        if isinstance(exc, TimeoutError) and scope.expired():
            return DeadlineExceeded(
                f"{capability.name} took longer than {limit:g} s", [{"delivered": True}]
            ).answer()
        return internal(capability.name, exc)
    finally:
        deadline.reset(token)


async def in_thread_or_loop(function: Callable[..., Any], *args: Any, blocking: bool) -> Any:
    """Call a plain function in a worker thread, a coroutine function here.

    Raises:
        RuntimeError: Something that it awaited was cancelled, while it was not.
    """
    try:
        if blocking:
            return await anyio.to_thread.run_sync(function, *args, abandon_on_cancel=True)
        return await function(*args)
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("what it waited for was cancelled") from exc


def internal(name: str, exc: BaseException) -> Answer:
    """Log a failure that is nobody's business outside, and the answer that stands for it."""
    incident = uuid.uuid4().hex[:12]
    logger.error("%s failed, incident %s", name, incident, exc_info=exc)
    return Internal(f"{name} failed at its master", [{"incident": incident}]).answer()


def _decoded(capability: Capability, payload: Any) -> Any:
    # Stock peers send null, or nothing, where there is nothing to say.
    payload = {} if payload is None else payload
    if capability.payload is None:
        return payload
    try:
        return contracts.decode(payload, capability.payload)
    except ContractError as error:
        raise InvalidPayload(str(error), error.problems) from None


def _answer(capability: Capability, result: Any) -> Answer:
    encoded = contracts.encode(result)
    wire.check_depth(encoded)
    if capability.reply is None:
        return wire.normalised([encoded]) if isinstance(encoded, dict) else wire.success(encoded)
    if type(result) is not capability.reply:
        raise TypeError(f"returned a {type(result).__qualname__}, declares {capability.reply!r}")
    return wire.success(encoded)
