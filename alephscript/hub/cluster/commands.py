"""The commands that wait for a registry, in their order.

May go in: what is sent at once, and what goes first. May not: how a command is carried out
(`redis`), or what it is for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Command", "CommandQueue", "Done"]

Done = Callable[[Any], None]
"""Gets a command's result, or the exception that kept the command from being carried out."""

Command = tuple[tuple[Any, ...], Done | None]
"""A command's words, and who gets its result."""

_MOST_COMMANDS = 100_000
_MOST_BYTES = 32_000_000
"""Bytes that may wait: what members say while Redis is slow is large or many."""

_ROUND_TRIP = 500
"""Commands sent at once: what comes meanwhile waits, and has its answers in one go as well."""

_ROUND_TRIP_BYTES = 1_000_000
"""Bytes after which no further command is sent at once: Redis keeps those for slow readers."""


class CommandQueue:
    """Commands that wait.

    Attributes:
        wake: Set when there is a command.
    """

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._queue: deque[Command] = deque()
        self._bytes = 0
        self._urgent: deque[Command] = deque()
        self._sent: list[Command] = []

    def __bool__(self) -> bool:
        return bool(self._urgent or self._queue)

    @property
    def is_full(self) -> bool:
        """Whether no further command may wait."""
        return len(self._queue) >= _MOST_COMMANDS or self._bytes >= _MOST_BYTES

    def put(self, words: tuple[Any, ...], done: Done | None) -> None:
        """Let a command wait behind all others."""
        self._queue.append((words, done))
        self._bytes += _size_of(words)
        self.wake.set()

    def put_first(self, words: tuple[Any, ...], done: Done) -> None:
        """Let a command wait before all others: nothing that members do may keep it."""
        self._urgent.append((words, done))
        self.wake.set()

    def take_batch(self) -> list[Command]:
        """Take the commands that are sent next; they count as waiting until `answered`."""
        batch, size = list(self._urgent), 0
        self._urgent.clear()
        while self._queue and len(batch) < _ROUND_TRIP and size < _ROUND_TRIP_BYTES:
            words, done = self._queue.popleft()
            size += _size_of(words)
            batch.append((words, done))
        # Those of the urgent ones are not counted: they are a few, and short.
        self._bytes -= size
        self._sent = batch
        return batch

    def answered(self) -> None:
        """Forget the commands that were taken last."""
        self._sent = []

    def take_all(self) -> list[Command]:
        """Take all commands, sent or not, that have not been answered."""
        commands = [*self._sent, *self._urgent, *self._queue]
        self._sent = []
        self._urgent.clear()
        self._queue.clear()
        self._bytes = 0
        return commands


def _size_of(words: tuple[Any, ...]) -> int:
    """Return the bytes of a command's large words."""
    return sum(len(each) for each in words if isinstance(each, bytes | str))
