"""The rooms of one namespace at their log: effects become calls of it, its calls inputs.

May go in: how effects about logs are carried out, and when a reader has taken enough to get more.
May not: a decision, which is the mesh's; how a log is kept (`store.logs`).
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Iterable

from alephscript.errors import RequestError
from alephscript.hub.store.logs import Log, MemoryLog
from alephscript.mesh.effects import Append, Effect, ReadLog
from alephscript.mesh.log import Logs
from alephscript.mesh.pages import LogPage

__all__ = ["Scribe"]

_ENOUGH = 128_000
"""Bytes that may wait for a reader when it gets the next page."""

_LOOK_SECONDS = 0.01
"""Seconds after which a reader for which more waits is looked at again."""


class Scribe:
    """Carries out what the rooms of a mesh want of their log.

    Args:
        namespace: The namespace.
        logs: The rooms.
        carry: Carries out the effects that come of inputs.
        backlog: Counts the bytes that wait for a client, by its socket id.

    Attributes:
        log: The log; in memory unless something else is said before it is opened.
        logs: As given.
    """

    def __init__(
        self,
        namespace: str,
        logs: Logs,
        carry: Callable[[Iterable[Effect]], None],
        backlog: Callable[[str], int],
    ) -> None:
        self.log: Log = MemoryLog()
        self.logs = logs
        self._namespace = namespace
        self._carry = carry
        self._backlog = backlog
        # Pages that each reader waits for; the first is being read, or waits for the reader.
        self._waiting: dict[str, deque[ReadLog]] = {}

    def use(self, log: Log) -> None:
        """Keep the rooms in a log; before it is opened."""
        self.log = log
        self.logs.is_shared = log.is_shared

    def append(self, effect: Append) -> None:
        """Have the log keep an event."""
        done = functools.partial(self._appended, effect.number)
        self.log.append(self._namespace, effect.room, effect.entry, done)

    def read(self, effect: ReadLog) -> None:
        """Have the log read a page, one at a time for each reader."""
        if not effect.sid:
            self.log.read(self._namespace, effect, functools.partial(self._found, effect))
            return
        waiting = self._waiting.get(effect.sid)
        if waiting is not None:
            waiting.append(effect)
            return
        self._waiting[effect.sid] = deque([effect])
        self._read_first(effect.sid)

    def _read_first(self, sid: str) -> None:
        """Read the first page that a reader waits for, when it has taken what came before."""
        if self._backlog(sid) > _ENOUGH:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._read_first, sid)
            return
        effect = self._waiting[sid][0]
        self.log.read(self._namespace, effect, functools.partial(self._found, effect))

    def _found(self, effect: ReadLog, page: LogPage | None) -> None:
        if not effect.sid:
            self._carry(self.logs.read(effect.number, page))
            return
        waiting = self._waiting[effect.sid]
        waiting.popleft()
        self._carry(self.logs.read(effect.number, page))
        if waiting:  # in another turn of the loop: others have theirs first
            asyncio.get_running_loop().call_soon(self._read_first, effect.sid)
        else:
            del self._waiting[effect.sid]

    def _appended(self, number: int, history: str, place: int, error: RequestError | None) -> None:
        self._carry(self.logs.appended(number, history, place, error))
