"""Running `@on` methods: each listener reads a stream of its own, in order or many at once.

May go in: when a listener's method is called, and what becomes of its exceptions. May not: which
events there are (`streams`), capabilities (`serving`).
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import msgspec

from alephscript import contracts
from alephscript.client.cancelling import cancel
from alephscript.client.declaring import Listener
from alephscript.client.jobs import current_job
from alephscript.client.messages import Event
from alephscript.client.streams import EventStream, Streams
from alephscript.client.threads import ThreadRun
from alephscript.diagnostics.redaction import as_logged, ends_program

__all__ = ["Listening"]

logger = logging.getLogger("alephscript.client")

_BUFFER = 1024
"""Events that a listener may be behind before its oldest are dropped."""

_MOST_AT_ONCE = 64
"""Events that one unordered listener handles at a time."""


class Listening:
    """A client's listeners at work; an exception is logged and costs nothing but that event.

    Args:
        owner: The object whose methods they are.
        listeners: The listeners.
        name: The owner's, for the log.
        redact: Whether the log may not have the texts of exceptions.
    """

    def __init__(
        self, owner: object, listeners: Iterable[Listener], *, name: str, redact: bool
    ) -> None:
        self._owner = owner
        self._listeners = list(listeners)
        self._unheard = set(map(id, self._listeners))
        self._name = name
        self._redact = redact
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, streams: Streams) -> None:
        """Listen from now on."""
        for each in self._listeners:
            stream = streams.open(each.room, frozenset({each.event}), _BUFFER)
            self._spawn(
                self._in_order(each, stream) if each.ordered else self._at_once(each, stream)
            )

    async def close(self, *, spare: asyncio.Task[Any] | None) -> None:
        """Cancel what runs, and log which listeners were of no use: a name may be misspelt.

        Args:
            spare: The task that closes, which may be one of them.
        """
        for each in self._listeners:
            if id(each) in self._unheard:
                logger.debug(
                    "%s.%s never heard %s",
                    self._name,
                    each.attribute,
                    each.event,
                    extra={
                        "usuario": self._name,
                        "listener": each.attribute,
                        "event": each.event,
                    },
                )
        await cancel(self._tasks - {spare}, self._name)

    def _spawn(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _in_order(self, listener: Listener, stream: EventStream) -> None:
        current_job.set(None)  # a client may have been opened by a method that serves a request
        unread = stream._events  # noqa: SLF001 - read without a call for each event
        owner, is_heard = self._owner, False
        is_any = listener.data is not None or listener.wrapped or listener.blocking
        while await stream.wait():
            while unread:
                event = unread.popleft()
                try:
                    if is_any or not is_heard:
                        is_heard = True
                        await self._call(listener, event)
                    else:  # as `_call`, without the call
                        await getattr(owner, listener.attribute)(event)
                except BaseException as exc:  # noqa: BLE001 - raised again if it ends the listener
                    self._fail(listener, event, exc)

    async def _at_once(self, listener: Listener, stream: EventStream) -> None:
        current_job.set(None)
        room = asyncio.Semaphore(_MOST_AT_ONCE)
        async for event in stream:
            await room.acquire()
            self._spawn(self._hear(listener, event)).add_done_callback(lambda _: room.release())

    async def _hear(self, listener: Listener, event: Event[Any]) -> None:
        try:
            await self._call(listener, event)
        except BaseException as exc:  # noqa: BLE001 - raised again if it ends the listener
            self._fail(listener, event, exc)

    def _call(self, listener: Listener, event: Event[Any]) -> Awaitable[Any]:
        """Begin to call a listener's method; return what is to be awaited.

        No coroutine of its own: one less for each event.
        """
        if self._unheard:
            self._unheard.discard(id(listener))
        method = getattr(self._owner, listener.attribute)
        if listener.data is not None and type(event.data) is not listener.data:
            data = contracts.structure(event.data, listener.data)
            event = msgspec.structs.replace(event, data=data)
        if listener.wrapped or listener.blocking:
            return _call_any(listener, method, event)
        call: Awaitable[Any] = method(event)
        return call

    def _fail(self, listener: Listener, event: Event[Any], exc: BaseException) -> None:
        """Log what a listener raised.

        Raises:
            BaseException: The same, if the client is closing, or the program ends.
        """
        task = asyncio.current_task()
        if task is None or ends_program(exc):  # without a task, the loop has ended
            raise exc
        if isinstance(exc, asyncio.CancelledError) and task.cancelling():
            raise exc
        with contextlib.suppress(Exception):  # of an application's handlers and filters
            logger.error(
                "%s.%s failed on an event",
                self._name,
                listener.attribute,
                exc_info=as_logged(exc, redact=self._redact),
                extra={
                    "usuario": self._name,
                    "listener": listener.attribute,
                    "event": event.name,
                    "room": event.room,
                },
            )


async def _call_any(listener: Listener, method: Callable[..., Any], event: Event[Any]) -> None:
    """Call a method that may return what it likes: a plain one, or one in another decorator."""
    result = await ThreadRun(method, event).result() if listener.blocking else method(event)
    while inspect.isawaitable(result):
        result = await result
