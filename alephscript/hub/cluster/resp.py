"""A connection to Redis that is open: what is written, what comes, and how it ends.

Redis is spoken to without a task, a future and a lock a command, as frames between hubs are many:
what comes is handed over in the call that reads it, and what is written in one turn of the loop
leaves in one write.

May go in: RESP over one connection; alone imports hiredis. May not: how a connection is opened and
authenticated (`redis`), which commands are sent when (`commands`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import hiredis

from alephscript.hub.cluster.commands import Command
from alephscript.hub.turns import AT_ONCE, TURN_SECONDS

__all__ = ["Commands", "RedisConnection", "Refused"]

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds without a reply after which Redis is taken for away."""


class Refused(Exception):
    """Redis has refused a command."""


class RedisConnection(asyncio.Protocol):
    """A connection that hands over each value that Redis sends.

    Values are not handed over before `resume`, so that whoever opens the connection may look around
    first.

    Args:
        take: Called with each value.
        writer: The writer of a connection on which Redis awaits commands; its transport is taken
            over.

    Attributes:
        ended: Done when the connection is: an exception says why.
    """

    def __init__(self, take: Callable[[Any], None], writer: asyncio.StreamWriter) -> None:
        self._take = take
        self._writer = writer  # kept: one that is thrown away closes its transport
        self._transport = cast("asyncio.Transport", writer.transport)
        self._gets = (reader := hiredis.Reader()).gets
        self._feed = reader.feed
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._is_paused = True
        self._turn: asyncio.Handle | None = None
        self._transport.set_protocol(self)

    def write(self, *commands: tuple[Any, ...]) -> None:
        """Write commands, whose words are bytes, texts and numbers."""
        if not self.ended.done():
            self._transport.write(b"".join(map(hiredis.pack_command, commands)))

    def resume(self) -> None:
        """Hand over what comes from now on, and what has come."""
        self._is_paused = False
        self._hand_over()
        if self._turn is None and not self._is_paused:
            self._transport.resume_reading()

    def pause(self) -> None:
        """Hand over nothing until `resume`; the rest is left to Redis to keep."""
        self._is_paused = True
        self._transport.pause_reading()

    def fail(self, exc: Exception) -> None:
        """End the connection for a reason; the first one counts."""
        if not self.ended.done():
            self.ended.set_exception(exc)
            self.ended.exception()  # else it is logged where nobody waits
        if self._turn is not None:
            self._turn.cancel()
        self._transport.abort()

    async def until_ended(self) -> None:
        """Wait until the connection ends, and raise why."""
        await asyncio.shield(self.ended)

    async def wait_for(self, result: asyncio.Future[T]) -> T:
        """Wait for something that comes by the connection; raise why that has ended before."""
        either: set[asyncio.Future[Any]] = {result, self.ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            result.cancel()
            await self.ended
        return result.result()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Hand over the values that are whole with this piece."""
        self._feed(data)
        if self._turn is None and not self._is_paused:
            self._hand_over()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that Redis has ended the connection."""
        self.fail(exc or ConnectionError("Redis has ended the connection"))

    def _hand_over(self) -> None:
        """Hand over values for so long, and the rest in the next turn: others are served, too."""
        gets, take = self._gets, self._take
        is_waiting, self._turn = self._turn is not None, None
        count, until = 0, time.monotonic() + TURN_SECONDS
        value = None
        try:
            while not self._is_paused:
                value = gets()
                if value is False:
                    break
                take(value)
                count += 1
                if count % AT_ONCE == 0 and time.monotonic() > until:
                    self._turn = self._loop.call_soon(self._hand_over)
                    self._transport.pause_reading()
                    return
        except Exception as exc:  # noqa: BLE001 - whatever it was, the connection is not usable
            is_refusal = isinstance(value, hiredis.ReplyError)
            self.fail(Refused(str(value)) if is_refusal else exc)
        if is_waiting and not self._is_paused:
            self._transport.resume_reading()


class Commands(RedisConnection):
    """A connection for commands, each of which has one reply.

    Args:
        answered: Called with each command and its reply, in their order.
        writer: See `RedisConnection`.

    Attributes:
        awaited: The commands that have no reply yet, oldest first.
        bytes: How many bytes these are.
    """

    def __init__(
        self, answered: Callable[[Command, Any], None], writer: asyncio.StreamWriter
    ) -> None:
        super().__init__(self._answer, writer)
        self._answered = answered
        self.awaited: deque[Command] = deque()
        self.bytes = 0
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands, in one write."""
        if not self.awaited:
            self._heard = self._loop.time()
            if self._watch is None:
                self._watch = self._loop.call_later(_PATIENCE, self._check)
        self.awaited.extend(commands)
        written = []
        for each in commands:
            self.bytes += each.size
            written.append(hiredis.pack_command(each.words))
        if not self.ended.done():
            self._transport.write(b"".join(written))

    async def execute(
        self, commands: Sequence[tuple[Any, ...]], *, before: Sequence[Command] = ()
    ) -> list[Any]:
        """Carry out commands at once, and wait for their results.

        Args:
            commands: Their words.
            before: Commands that are sent before them.
        """
        results: list[asyncio.Future[Any]] = [self._loop.create_future() for _ in commands]
        made = map(Command, commands, (each.set_result for each in results))
        self.send([*before, *made])
        await self.wait_for(results[-1])  # replies come in order
        return [each.result() for each in results]

    def fail(self, exc: Exception) -> None:
        """See `RedisConnection.fail`."""
        if self._watch is not None:
            self._watch.cancel()
        super().fail(exc)

    def _answer(self, reply: Any) -> None:
        self._heard = self._loop.time()
        if self.awaited:
            if isinstance(reply, hiredis.ReplyError):
                raise Refused(str(reply))  # the command stays with those that have no result
            command = self.awaited.popleft()
            self.bytes -= command.size
            self._answered(command, reply)

    def _check(self) -> None:
        """End a connection whose Redis is silent; one timer, moved along."""
        self._watch = None
        if not self.awaited:
            return
        left = self._heard + _PATIENCE - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._check)
        else:
            self.fail(TimeoutError("Redis does not answer"))
