"""The audience of tasks: who waits for the end of one, and who hears of each change.

May go in: which peers are told what of a task, and when no longer. May not: what becomes of a task
(`tasks`), what peers ask (`desk`). Pure: no socket, no clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

from alephscript.errors import Overloaded
from alephscript.mesh.effects import Acknowledge, Effect, Emit, Wake
from alephscript.mesh.peers import Peer
from alephscript.mesh.records import Record, public_view, view
from alephscript.mesh.rooms import Rooms
from alephscript.mesh.speech import Speech
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["Audience"]


class _Waiter(msgspec.Struct, frozen=True):
    """A peer that wants to be answered when a task has ended."""

    number: int
    sid: str
    ack: int
    id: str
    is_for_any_change: bool = False


class Audience:
    """The peers that wait for tasks, and those that watch them.

    Args:
        rooms: Where peers and members are found.
        speech: Where rooms are told.
        most: Tasks that one peer may wait for, and as many that it may watch.
    """

    def __init__(self, rooms: Rooms, speech: Speech, most: int) -> None:
        self._rooms = rooms
        self._speech = speech
        self._most = most
        self._numbers = itertools.count(1)
        self._waiters: dict[int, _Waiter] = {}
        self._waiting_for: dict[str, dict[int, None]] = {}  # by task
        self._waiting: dict[str, dict[int, None]] = {}  # by peer
        self._watchers: dict[str, dict[str, None]] = {}  # by task
        self._watched: dict[str, dict[str, None]] = {}  # by peer

    def wait(
        self,
        peer: Peer,
        ack: int | None,
        id: str,
        seconds: float | None,
        *,
        is_for_any_change: bool = False,
    ) -> list[Effect]:
        """Answer a peer when a task has ended, or after that time at the latest.

        Args:
            peer: The peer.
            ack: Its acknowledgement id.
            id: The task.
            seconds: How long to wait; None for as long as it takes.
            is_for_any_change: Whether any change of a task at another hub is what it waits for.

        Raises:
            Overloaded: The peer waits for too many tasks already.
        """
        if ack is None:
            return []
        if len(self._waiting.get(peer.sid, ())) >= self._most:
            raise Overloaded(f"this client waits for {self._most} tasks already")
        number = next(self._numbers)
        self._waiters[number] = _Waiter(number, peer.sid, ack, id, is_for_any_change)
        self._waiting.setdefault(peer.sid, {})[number] = None
        self._waiting_for.setdefault(id, {})[number] = None
        return [] if seconds is None else [Wake(("wait", number), seconds)]

    def ids(self) -> list[str]:
        """List the tasks that anybody waits for, or watches."""
        return list(self._waiting_for.keys() | self._watchers.keys())

    def awaits(self, id: str) -> bool:
        """Whether anybody waits for a task, or watches it."""
        return id in self._waiting_for or id in self._watchers

    def task_of(self, number: int) -> str:
        """Name the task that a peer waits for; empty if it waits no more."""
        waiter = self._waiters.get(number)
        return "" if waiter is None else waiter.id

    def overdue(self, number: int, record: Record) -> list[Effect]:
        """Answer a peer that has waited long enough with how its task is."""
        waiter = self._waiters.get(number)
        if waiter is None:
            return []
        self._drop(waiter)
        return [_answer(waiter, view(record))]

    def answer_all(self, record: Record) -> list[Effect]:
        """Answer all who wait for a task with how it is."""
        numbers = list(self._waiting_for.get(record.id, ()))
        if not numbers:
            return []
        fields, effects = view(record), []
        for number in numbers:
            waiter = self._waiters[number]
            self._drop(waiter)
            effects += [_answer(waiter, fields), Wake(("wait", number), None)]
        return effects

    def follow(self, record: Record) -> list[Effect]:
        """Tell of a task of another hub, which tells the task's room itself."""
        effects = self._tell_watchers(record)
        changed = [each for each in self._waiting_for.get(record.id, ()) if self._is_for_any(each)]
        for number in changed:
            effects += [*self.overdue(number, record), Wake(("wait", number), None)]
        if record.has_ended:
            effects += self.answer_all(record)
            self.forget(record.id)
        return effects

    def _is_for_any(self, number: int) -> bool:
        return self._waiters[number].is_for_any_change

    def watch(self, peer: Peer, id: str) -> None:
        """Tell a peer of each change of a task from now on, if it watches not too many."""
        watched = self._watched.setdefault(peer.sid, {})
        if len(watched) < self._most:
            watched[id] = None
            self._watchers.setdefault(id, {})[peer.sid] = None

    def forget(self, id: str) -> None:
        """Tell nobody of a task any more, which has ended."""
        for sid in self._watchers.pop(id, ()):
            watched = self._watched[sid]
            watched.pop(id, None)
            if not watched:
                del self._watched[sid]

    def leave(self, sid: str) -> list[Effect]:
        """Forget a peer that is gone."""
        effects: list[Effect] = []
        for number in list(self._waiting.get(sid, ())):
            self._drop(self._waiters[number])
            effects.append(Wake(("wait", number), None))
        for task in self._watched.pop(sid, ()):
            watchers = self._watchers[task]
            del watchers[sid]
            if not watchers:
                del self._watchers[task]
        return effects

    def tell(self, record: Record) -> list[Effect]:
        """Tell who watches a task how it is, and the members of its room, without what is theirs.

        A member that watches hears of it once.
        """
        watchers = self._watchers.get(record.id, {})
        effects = self._tell_watchers(record)
        if record.room:
            message = events.RoomMessage(HubEvent.TASK_CHANGED, record.room, None, {})
            others = [sid for sid in self._rooms.members(record.room) if sid not in watchers]
            if others or self._rooms.is_federated:
                effects += self._speech.say(others, message, {"task": public_view(record)}, "")
        return effects

    def _tell_watchers(self, record: Record) -> list[Effect]:
        peers = self._rooms.peers
        watchers = self._watchers.get(record.id, {})
        effects: list[Effect] = []
        if watchers:
            payload = {"task": view(record)}
            plain = tuple(sid for sid in watchers if not peers[sid].reads_meta)
            native = tuple(sid for sid in watchers if peers[sid].reads_meta)
            if plain:
                effects.append(Emit(plain, HubEvent.TASK_CHANGED, (payload,)))
            if native:
                meta = {"room": record.room, "sender": ""}
                effects.append(Emit(native, HubEvent.TASK_CHANGED, (payload, meta)))
        return effects

    def _drop(self, waiter: _Waiter) -> None:
        del self._waiters[waiter.number]
        for index, key in ((self._waiting_for, waiter.id), (self._waiting, waiter.sid)):
            numbers = index[key]
            del numbers[waiter.number]
            if not numbers:
                del index[key]


def _answer(waiter: _Waiter, fields: Mapping[str, Any]) -> Effect:
    return Acknowledge(waiter.sid, waiter.ack, events.make_success({"task": fields}))
