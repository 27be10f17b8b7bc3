"""The desk of tasks: what peers ask about them, each event acknowledged.

Whoever may ask a task's capability in its room may use the task, and nobody else learns that there
is one: to all others its id is unknown.

May go in: what each TASK_ event means, and who may send it. May not: what becomes of a task
(`tasks`), who hears of that (`audience`). Pure: no socket, no clock.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from alephscript.errors import (
    Conflict,
    NoMaster,
    Overloaded,
    RequestError,
    UnknownEvent,
    UnknownTask,
)
from alephscript.mesh.desks.desk import Handler
from alephscript.mesh.effects import Acknowledge, Effect, ToHub
from alephscript.mesh.peers import Peer, acknowledge
from alephscript.mesh.records import NOTHING, Record, Submitter, view
from alephscript.mesh.rooms import Rooms
from alephscript.mesh.tasks import Tasks
from alephscript.protocol.events import HubEvent
from alephscript.protocol.tasks import (
    ASKING,
    Lookup,
    Submission,
    TaskReply,
    name_question,
    parse_lookup,
    parse_reply,
    parse_runs,
    parse_submission,
    parse_wait,
    wants_own,
)

__all__ = ["TaskDesk"]

_DAY = 24 * 3600.0

_MOST_MEMBERS = 64
"""Rooms of a submitter that are kept, for the choice among several that offer a capability."""

_MOST_LISTED = 1000
_PAGE = 1000
_MOST_PAGES = 10
"""Tasks that one TASK_LIST looks through, a page at a time: they may all be of other rooms."""

_MOST_LISTED_BYTES = 500_000
"""Bytes of a list beyond which results are left out."""

_MOST_LOOKS = 256
_LIST_LOOKS = 32
"""Tasks that one peer may have looked up at once, and what a list counts for."""


class TaskDesk:
    """What peers ask about tasks.

    Args:
        tasks: The tasks that have not ended.
        rooms: Where rules of access are found.
    """

    def __init__(self, tasks: Tasks, rooms: Rooms) -> None:
        self._tasks = tasks
        self._rooms = rooms
        self._looks: Counter[str] = Counter()
        self.handlers: dict[str, Handler] = {
            HubEvent.TASK_SUBMIT: self._submit,
            HubEvent.TASK_GET: self._get,
            HubEvent.TASK_CANCEL: self._cancel,
            HubEvent.TASK_LIST: self._list,
            HubEvent.TASK_ANSWER: self._answer,
            HubEvent.TASK_RESUME: self._resume,
        }

    def greet(self, peer: Peer) -> None:
        """Tell a peer that has come back of its tasks from now on; native peers ask for that."""
        if peer.reads_meta:
            return
        for task in self._tasks.of_owner(_owner_of(peer)):
            if self._may_use(peer, task.shown):
                self._tasks.audience.watch(peer, task.record.id)

    # Submitting

    def _submit(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        record = self._record(peer, parse_submission(_first(args)))
        sid = peer.sid

        def kept(standing: Record | None, error: RequestError | None) -> list[Effect]:
            present = self._rooms.peers.get(sid)
            if error is not None:
                return self._refuse(present, ack, error)
            if present is None:
                return []
            if standing is None:
                standing = record
            elif not self._may_use(present, standing):
                error = Conflict("this key is that of a task which this client may not use")
                return self._refuse(present, ack, error)
            live = self._tasks.get(standing.id)
            if live is not None:
                standing = live.shown
                self._tasks.audience.watch(present, standing.id)
            return acknowledge(present, ack, {"task": view(standing)})

        return self._tasks.submit(record, kept)

    def _record(self, peer: Peer, submission: Submission) -> Record:
        room, name = submission.room, submission.capability
        with contextlib.suppress(NoMaster):  # the task waits for one
            room = self._rooms.choose_room(peer, name, room).name
        identity, now = peer.identity, self._tasks.clock()
        submitter = Submitter(
            name=peer.name,
            is_known=identity is not None,
            usuario=None if identity is None else identity.usuario,
            rooms=None
            if identity is None or identity.rooms is None
            else tuple(sorted(identity.rooms)),
            members=tuple(peer.rooms)[:_MOST_MEMBERS],
        )
        seconds = _DAY if submission.seconds is None else submission.seconds
        return Record(
            id=self._tasks.make_id(),
            namespace=self._tasks.namespace,
            owner=_owner_of(peer),
            capability=name,
            payload=submission.payload,
            created=now,
            updated=now,
            deadline=now + seconds,
            key=submission.key,
            room=room or "",
            submitter=submitter,
            hub=self._tasks.hub,
            trace=dict(submission.trace),
        )

    # Asking about one

    def _get(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        name, seconds, watches = parse_wait(_first(args))
        task = self._tasks.get(name)
        if wants_own(_first(args)):
            return self._get_own(peer, name, ack)
        if task is None:
            return self._get_elsewhere(peer, name, ack, seconds, watches=watches)
        self._check(peer, task.shown)
        if watches or task.shown.owner == _owner_of(peer):
            self._tasks.audience.watch(peer, name)
        if task.is_over:  # and is told so when nothing can change that any more
            return self._tasks.audience.wait(peer, ack, name, None)
        if seconds > 0:
            return self._tasks.audience.wait(peer, ack, name, seconds)
        return acknowledge(peer, ack, {"task": view(task.shown)})

    def _get_own(self, peer: Peer, id: str, ack: int | None) -> list[Effect]:
        """Tell whoever has submitted a task how it is, and by which key."""

        def tell(present: Peer, record: Record) -> list[Effect]:
            if record.owner != _owner_of(present):
                return self._refuse(present, ack, _unknown())
            return acknowledge(present, ack, {"task": _own_view(record)})

        task = self._tasks.get(id)
        if task is None:
            return self._with_record(peer, id, ack, tell)
        self._check(peer, task.shown)
        return tell(peer, task.shown)

    def _get_elsewhere(
        self, peer: Peer, id: str, ack: int | None, seconds: float, *, watches: bool
    ) -> list[Effect]:
        """Answer with how a task is that has ended, or is at work at another hub."""

        def tell(present: Peer, record: Record) -> list[Effect]:
            if record.has_ended:
                return acknowledge(present, ack, {"task": view(record)})
            audience = self._tasks.audience
            if watches or record.owner == _owner_of(present):
                audience.watch(present, id)
            if seconds <= 0:
                return acknowledge(present, ack, {"task": view(record)})

            def look_again(records: Sequence[Record], _: RequestError | None) -> list[Effect]:
                # Its end may have been kept before this peer waited.
                ended = [each for each in records if each.has_ended]
                return [effect for each in ended for effect in audience.follow(each)]

            waiting = audience.wait(present, ack, id, seconds)
            return waiting + self._tasks.look(look_again, id=id)

        return self._with_record(peer, id, ack, tell)

    def _act_elsewhere(
        self, peer: Peer, id: str, ack: int | None, reply: TaskReply | None = None
    ) -> list[Effect]:
        """Have another hub cancel a task that is at work there, or answer what the task asks."""

        def act(present: Peer, record: Record) -> list[Effect]:
            is_known = reply is not None and reply.repeats(record.reply_key)
            if reply is not None and not is_known and not _asks(record, reply):
                return self._refuse(present, ack, _nothing_asked())
            if record.has_ended or is_known:
                return acknowledge(present, ack, {"task": view(record)})
            if record.hub not in self._tasks.hubs:
                error = Overloaded("the hub of this task is gone; another one takes it over soon")
                return self._refuse(present, ack, error)
            any_ = reply is not None
            waiting = self._tasks.audience.wait(present, ack, id, 10.0, is_for_any_change=any_)
            what = ("cancel", NOTHING) if reply is None else ("answer", msgspec.json.encode(reply))
            return [*waiting, ToHub(record.hub, ("task", what[0], id, msgspec.Raw(what[1])))]

        return self._with_record(peer, id, ack, act)

    def elsewhere(self, verb: str, id: str, payload: Any) -> list[Effect]:
        """Do for another hub what a peer there wants of a task here."""
        task = self._tasks.get(id)
        if task is None or task.is_over:
            return []
        if verb == "cancel":
            return self._tasks.cancel(task)
        reply = parse_reply(payload) if verb == "answer" else None
        if reply is not None and _asks(task.record, reply):
            return self._tasks.reply(task, reply, list)
        return []

    def _with_record(
        self,
        peer: Peer,
        id: str,
        ack: int | None,
        then: Callable[[Peer, Record], list[Effect]],
    ) -> list[Effect]:
        """Look a task up in the journal, and go on if the peer may use it."""
        if not id:
            raise _unknown()
        sid = peer.sid
        self._begin_look(sid, 1)

        def found(records: Sequence[Record], error: RequestError | None) -> list[Effect]:
            self._end_look(sid, 1)
            present = self._rooms.peers.get(sid)
            if error is not None or present is None:
                return self._refuse(present, ack, error or _unknown())
            if not records or not self._may_use(present, records[0]):
                return self._refuse(present, ack, _unknown())
            return then(present, records[0])

        return self._tasks.look(found, id=id)

    def _cancel(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        name, _, _ = parse_wait(_first(args))
        task = self._tasks.get(name)
        if task is None:
            return self._act_elsewhere(peer, name, ack)
        self._check(peer, task.shown)
        waiting = self._tasks.audience.wait(peer, ack, name, None)
        return waiting + self._tasks.cancel(task)

    def _answer(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        reply = parse_reply(_first(args))
        task = self._tasks.get(reply.id)
        if task is None:
            return self._act_elsewhere(peer, reply.id, ack, reply)
        self._check(peer, task.shown)
        is_known = reply.repeats(task.record.reply_key)
        if is_known and task.is_over:
            return self._tasks.audience.wait(peer, ack, reply.id, None)
        if not is_known and (task.is_over or not _asks(task.record, reply)):
            raise _nothing_asked()
        sid = peer.sid

        def kept() -> list[Effect]:
            present = self._rooms.peers.get(sid)
            if present is None:
                return []
            return acknowledge(present, ack, {"task": view(task.shown)})

        return self._tasks.reply(task, reply, kept)

    # Asking about many

    def _list(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        lookup = parse_lookup(_first(args))
        self._begin_look(peer.sid, _LIST_LOOKS)
        return self._look_on(peer.sid, lookup, ack, [], None, _MOST_PAGES)

    def _look_on(
        self,
        sid: str,
        lookup: Lookup,
        ack: int | None,
        listed: list[Record],
        before: tuple[float, str] | None,
        pages: int,
    ) -> list[Effect]:
        """Look through a page of the journal, and then the next, until there is enough."""

        def found(records: Sequence[Record], error: RequestError | None) -> list[Effect]:
            present = self._rooms.peers.get(sid)
            if error is not None or present is None:
                self._end_look(sid, _LIST_LOOKS)
                return self._refuse(present, ack, error or _unknown())
            owner = _owner_of(present) if lookup.is_own else ""
            listed.extend(
                each
                for each in records
                if self._may_use(present, each) and owner in ("", each.owner)
            )
            if len(records) == _PAGE and len(listed) < _MOST_LISTED and pages > 1:
                last = records[-1]
                return self._look_on(sid, lookup, ack, listed, (last.created, last.id), pages - 1)
            self._end_look(sid, _LIST_LOOKS)
            write = _own_view if lookup.is_own else view
            return acknowledge(present, ack, {"tasks": self._views(listed[:_MOST_LISTED], write)})

        return self._tasks.look(
            found, room=lookup.room, state=lookup.state, before=before, most=_PAGE
        )

    def _views(
        self, records: Sequence[Record], write: Callable[[Record], dict[str, Any]]
    ) -> list[dict[str, Any]]:
        left, views = _MOST_LISTED_BYTES, []
        for record in records:
            live = self._tasks.get(record.id)
            fields = write(record if live is None else live.shown)
            size = record.size
            if size > left:
                fields.pop("result", None)
                if "error" in fields:
                    fields["error"] = {**fields["error"], "details": []}
            left -= min(size, left)
            views.append(fields)
        return views

    def _begin_look(self, sid: str, count: int) -> None:
        """Count what a peer has the journal look up, which is dear beside the asking.

        Raises:
            Overloaded: The peer waits for too much of that already.
        """
        if self._looks[sid] + count > _MOST_LOOKS:
            raise Overloaded("this client waits for much from the journal already; ask later")
        self._looks[sid] += count

    def _end_look(self, sid: str, count: int) -> None:
        self._looks[sid] -= count
        if self._looks[sid] <= 0:
            del self._looks[sid]

    # Masters that come back

    def _resume(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        if not peer.reads_meta:
            raise UnknownEvent(f"{HubEvent.TASK_RESUME} is a word of native masters")
        runs, sid = parse_runs(_first(args)), peer.sid

        def take_up(error: RequestError | None) -> list[Effect]:
            present = self._rooms.peers.get(sid)
            if present is None or error is not None:
                return self._refuse(present, ack, error or _unknown())
            effects: list[Effect] = []
            numbers: dict[str, str] = {}
            for run in runs:
                taken = self._tasks.take_up(present, run)
                if taken is not None:
                    effects += taken[0]
                    numbers[run] = taken[1]
            # Before anything that is about these requests.
            return acknowledge(present, ack, {"runs": numbers}) + effects

        elsewhere = [run for run in runs if not self._tasks.has_run(run)]
        return self._tasks.take_over(elsewhere, take_up)

    # Who may

    def _may_use(self, peer: Peer, record: Record) -> bool:
        if record.namespace != self._tasks.namespace:
            return False
        if not record.room:
            return not self._rooms.is_guarded or record.owner == _owner_of(peer)
        return self._rooms.may_use_task(peer, record.room, record.capability)

    def _check(self, peer: Peer, record: Record) -> None:
        if not self._may_use(peer, record):
            raise _unknown()

    def _refuse(self, peer: Peer | None, ack: int | None, error: RequestError) -> list[Effect]:
        if peer is None or ack is None:
            return []
        return [Acknowledge(peer.sid, ack, error.answer())]


def _owner_of(peer: Peer) -> str:
    """Name whose tasks a peer's are: an identity, or what the peer calls itself.

    What is proven cannot be taken by somebody who only says so, nor can what is said in one room
    by somebody who knows the secret of another.
    """
    identity, registration = peer.identity, peer.registration
    if identity is not None and identity.usuario is not None:
        return f"known {identity.usuario}"
    usuario = "" if registration is None else registration.usuario
    if not usuario:
        return f"socket {peer.sid}"
    if identity is not None and identity.rooms is not None:
        return f"said {usuario} in {' '.join(sorted(identity.rooms))}"
    return f"said {usuario}"


def _own_view(record: Record) -> dict[str, Any]:
    return {**view(record), "key": record.key}


def _unknown() -> UnknownTask:
    return UnknownTask("there is no such task, or none that this client may use")


def _asks(record: Record, reply: TaskReply) -> bool:
    """Whether a task asks what a reply is the answer to."""
    if record.state != ASKING or record.question is None:
        return False
    return reply.about in ("", name_question(record.question))


def _nothing_asked() -> Conflict:
    return Conflict("the task has asked nothing that is still to be answered")


def _first(args: Sequence[Any]) -> Any:
    return args[0] if args else None
