"""The commands that wait for a registry, in their order, and what goes in one message.

What is for one hub, or for one room, and has nothing between that somebody else might have to see
first, is one message (decision 0047).

May go in: what is sent together, what goes first, how much may wait. May not: how a command is
carried out (`redis`, `resp`), or what it is for. Pure: no socket, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Command", "CommandQueue", "Done", "Pack", "Sign"]

Done = Callable[[Any], None]
"""Gets a command's result, or the exception that kept the command from being carried out."""

Sign = Callable[[str | bytes, bytes], bytes]
"""Makes a message of a channel and a text."""

_MOST_COMMANDS = 100_000
_MOST_BYTES = 32_000_000
"""Bytes that may wait: what members say while Redis is slow is large or many."""

_ROUND_TRIP = 500
"""Commands without an answer, beyond which the others wait."""

_ROUND_TRIP_BYTES = 1_000_000
"""Bytes of them, beyond which no further one is sent: Redis keeps those for slow readers."""

_PACK_BYTES = 100_000
"""Bytes of a message that takes nothing more."""


class Command:
    """One command.

    Args:
        words: Its words.
        done: Gets its result, if anybody does.

    Attributes:
        done: As given.
        size: Bytes of its large words.
    """

    __slots__ = ("_words", "done", "size")

    def __init__(self, words: tuple[Any, ...], done: Done | None) -> None:
        self._words = words
        self.done = done
        self.size = sum(len(each) for each in words if isinstance(each, bytes | str))

    @property
    def words(self) -> tuple[Any, ...]:
        """The command's words."""
        return self._words

    @property
    def channel(self) -> bytes:
        """The channel of a message, the key of another command."""
        return bytes(self._words[1])


class Pack(Command):
    """One message with all that is for one channel.

    Args:
        channel: The channel.
        head: What the message begins with.
        failed: Called if nobody was there to take it.
        sign: Makes a message of what goes by a channel, at the moment that it is sent.
        verb: The command.

    Attributes:
        head: As given.
        items: What the message has.
        returns: What comes back if nobody was there to take the message, or that cannot be known.
    """

    __slots__ = ("_failed", "_sign", "head", "items", "returns")

    def __init__(
        self,
        channel: str | bytes,
        head: bytes,
        failed: Callable[[Any, Sequence[Any]], None],
        sign: Sign | None,
        verb: str,
    ) -> None:
        # Without a look at each word: a message for one hub is made for each of its turns.
        self._words = verb, channel, head
        self.done = self._finish
        self.size = len(channel) + len(head)
        self.head = head
        self.items: list[bytes] = []
        self.returns: list[Any] = []
        self._failed = failed
        self._sign = sign

    @property
    def words(self) -> tuple[Any, ...]:
        """The command's words: a JSON array of the head and all items."""
        verb, channel, head = self._words
        message = b"%b%b]]" % (head, b",".join(self.items))
        return (verb, channel, message if self._sign is None else self._sign(channel, message))

    def _finish(self, listeners: Any) -> None:
        if listeners == 0 or isinstance(listeners, Exception):
            self._failed(listeners, self.returns)


class CommandQueue:
    """Commands that wait.

    Args:
        failed: Called with 0 if nobody was there to take a message for a hub, with an exception if
            that cannot be known; and with what comes back (`put_frame`).
        sign: Signs messages; None leaves them as they are.

    Attributes:
        publish: The command by which a message is sent.
        hubs: What the channels of hubs begin with; a hub's name follows.
    """

    def __init__(
        self, failed: Callable[[Any, Sequence[Any]], None], sign: Sign | None = None
    ) -> None:
        self.publish = "PUBLISH"
        self.hubs = ""
        self._failed = failed
        self._sign = sign
        self._queue: deque[Command] = deque()
        self._bytes = 0
        self._urgent: deque[Command] = deque()
        # Messages that may take more. What is for different hubs has no order; whatever else comes
        # between two things has its place between them.
        self._for_hubs: dict[str, Pack] = {}
        self._for_room: tuple[bytes, Pack] | None = None

    def __bool__(self) -> bool:
        return bool(self._urgent or self._queue)

    @property
    def is_full(self) -> bool:
        """Whether no further command may wait."""
        return len(self._queue) >= _MOST_COMMANDS or self._bytes >= _MOST_BYTES

    def put(self, words: tuple[Any, ...], done: Done | None) -> None:
        """Let a command wait behind all others."""
        self._close_packs()
        command = Command(words, done)
        self._queue.append(command)
        self._bytes += command.size

    def put_again(self, command: Command) -> None:
        """Let a command wait once more, behind all others."""
        self._close_packs()
        self._queue.append(command)
        self._bytes += command.size

    def put_first(self, words: tuple[Any, ...], done: Done) -> None:
        """Let a command wait before all others: nothing that members do may keep it."""
        self._urgent.append(Command(words, done))

    def put_frame(self, hub: str, head: bytes, frame: bytes, returned: Any = None) -> bool:
        """Let a frame wait, with those for the same hub.

        Args:
            hub: The hub's name.
            head: What a message of such frames begins with.
            frame: The frame.
            returned: What comes back if nobody was there to take the frame; None if nothing has to.

        Returns:
            Whether there was room; else nothing has come of it.
        """
        size = self._bytes
        if size >= _MOST_BYTES or len(self._queue) >= _MOST_COMMANDS:
            return False  # as `is_full`, without the call: frames are many
        self._for_room = None
        pack = self._for_hubs.get(hub)
        if pack is None or pack.size > _PACK_BYTES or pack.head is not head:
            channel = self.hubs + hub
            pack = self._for_hubs[hub] = self._open_pack(channel, head, self._failed)
            size = self._bytes
        pack.items.append(frame)
        if returned is not None:
            pack.returns.append(returned)
        more = len(frame)
        pack.size += more
        self._bytes = size + more
        return True

    def put_announcement(self, channel: bytes, head: bytes, announcement: bytes) -> None:
        """Let something that is said in a room wait, with what was said there just before."""
        self._for_hubs.clear()
        for_room = self._for_room
        if for_room is None or for_room[0] != channel or for_room[1].size > _PACK_BYTES:
            for_room = self._for_room = (channel, self._open_pack(channel, head, _do_nothing))
        pack, size = for_room[1], len(announcement)
        pack.items.append(announcement)
        pack.size += size
        self._bytes += size

    def take(self, awaited: int = 0, awaited_bytes: int = 0) -> list[Command]:
        """Take the commands that are sent next.

        Args:
            awaited: Commands that were sent, and have no answer yet.
            awaited_bytes: How many bytes these are.
        """
        batch, size = list(self._urgent), awaited_bytes
        self._urgent.clear()
        queue = self._queue
        if not queue:
            return batch
        # `_close_packs`, without the call.
        self._for_hubs.clear()
        self._for_room = None
        while queue and awaited + len(batch) < _ROUND_TRIP and size < _ROUND_TRIP_BYTES:
            command = queue.popleft()
            size += command.size
            self._bytes -= command.size
            batch.append(command)
        return batch

    def take_all(self) -> list[Command]:
        """Take all commands."""
        commands = [*self._urgent, *self._queue]
        self._urgent.clear()
        self._queue.clear()
        self._bytes = 0
        self._close_packs()
        return commands

    def _open_pack(
        self, channel: str | bytes, head: bytes, failed: Callable[[Any, Sequence[Any]], None]
    ) -> Pack:
        pack = Pack(channel, head, failed, self._sign, self.publish)
        self._queue.append(pack)
        self._bytes += pack.size
        return pack

    def _close_packs(self) -> None:
        self._for_hubs.clear()
        self._for_room = None


def _do_nothing(_: Any, __: Sequence[Any]) -> None:
    """Leave it at that: nobody has to be in a room."""
