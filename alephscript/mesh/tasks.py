"""Tasks: requests that outlive whoever has submitted them, whoever runs them, and the hub.

Theory of operation. A `Task` is a request's asker: it has a `Peer` of its own, whose dialect brings
what becomes of its requests back here, so that a task is asked, cancelled and expired by
`requests`, as all are (decision 0046). Each request of it is one run at one master. Between runs
it is queued here, found by what it waits for. Each step is kept before anybody acts on it or hears
of it:

=============  ================================================  ===================================
from           step                                              kept first, because
=============  ================================================  ===================================
submitted      `queued`                                          what was acknowledged is never lost
queued         `running`, with the attempt and a name of the run  a run that may begin is counted
running        `asking` and back                                 the question outlives the hub
running        `queued` again, if its master is lost and running  the next run is a further attempt
               twice does no harm
any of these   `done`, `failed`, `cancelled`                     it ends once
=============  ================================================  ===================================

A hub that comes back has the tasks that had not ended (`load`). Those that ran wait a while for
their masters, who name their runs (`take_up`); then they count as lost.

May go in: what becomes of a task. May not: what peers ask about tasks (`desk`), who hears of it
(`audience`), where it is kept. Pure: no socket; `clock` is the shell's. Over 500 lines, because all
steps of a task's life stand here: that each is kept before the next one is seen by reading them
together.
"""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec

from alephscript.errors import (
    Cancelled,
    DeadlineExceeded,
    MasterLost,
    NoMaster,
    Overloaded,
    PayloadTooLarge,
    RequestError,
)
from alephscript.mesh.audience import Audience
from alephscript.mesh.dialects import TaskDialect
from alephscript.mesh.effects import Arm, Effect, Keep, Look, Take, Wake, WakeKey
from alephscript.mesh.limits import Limits
from alephscript.mesh.meta import RequestMeta
from alephscript.mesh.peers import Master, OpenRequest, Peer
from alephscript.mesh.records import NOTHING, Record
from alephscript.mesh.requests import OK, Requests
from alephscript.mesh.rooms import Room, Rooms
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.json import read_value
from alephscript.protocol.tasks import (
    ASKING,
    CANCELLED,
    DONE,
    FAILED,
    MAX_CHECKPOINT,
    QUEUED,
    RUNNING,
    split_fields,
)

__all__ = ["MOST_ATTEMPTS", "Task", "Tasks"]

MOST_ATTEMPTS = 5
"""Masters that an idempotent task may lose before it ends as lost."""

_SUCCESSOR_SECONDS = 3.0
"""The same where another master of that name has come, which seems to be that one, started anew."""

RETURN_SECONDS = 22.0
"""The time in which a master of a lost hub has to be back with its runs; clients try at least each
20 s."""

_AGAIN_SECONDS = 1.0
"""When a task is put again to a master whose queue was full."""

_MOST_STARTING = 256
"""Tasks whose run is being written down at once; the others' turn comes when these are kept."""

_MOST_CODES = 50
"""Codes of errors that are counted apart."""

_MOST_AT_MASTER = 1024
"""Requests at one master beyond which tasks stay queued here, where they can wait for days."""

_TASK_BYTES = 2000
"""What a task that has not ended takes besides its record: itself, its peer, places in tables."""

_TICK = 0.001
"""Seconds by which a change is later than the one before: those that its time is written with."""

_ACK = 1
"""The number under which a task wants to be answered; it has one request at a time."""

_SUCCESS = b'{"success":true'

_Place = tuple[str, str]


class Task:
    """A task that has not ended.

    Attributes:
        record: As it will be once everything is kept.
        shown: As it was kept last, which is what others may know.
        peer: Its part as an asker.
        request: Its present run, None between runs.
        question: What the run asks back, None while it asks nothing.
        at: The master of its present run, or of its last one.
        run: The run that its master may still bring along; empty if there is none.
        is_busy: Whether it is on the way to its next run.
        is_starting: Whether its next run is being written down.
        is_over: Whether it has ended, which may not be kept yet.
    """

    __slots__ = (
        "at",
        "is_busy",
        "is_over",
        "is_starting",
        "peer",
        "question",
        "record",
        "request",
        "run",
        "shown",
    )

    def __init__(self, record: Record, dialect: TaskDialect) -> None:
        self.record = self.shown = record
        submitter = record.submitter
        self.peer = Peer(f"task {record.id}", "", dialect, submitter.identity)
        self.peer.rename(submitter.name)
        rooms = submitter.members if not record.room else (record.room, *submitter.members)
        self.peer.rooms.update(dict.fromkeys(rooms))
        self.request: OpenRequest | None = None
        self.question: OpenRequest | None = None
        self.at: Master | None = None
        self.run = ""
        self.is_busy = False
        self.is_starting = False
        self.is_over = False

    @property
    def places(self) -> tuple[_Place, ...]:
        """Where it is looked for: by its room, or where none is named, by its capability."""
        record = self.record
        if record.room:
            return (("room", record.room),)
        return (("capability", record.capability),)


class Tasks:
    """The tasks of a mesh that have not ended.

    Args:
        namespace: The mesh's.
        rooms: Where masters are found.
        requests: Through which tasks ask.
        limits: How much one submitter may have.

    Attributes:
        clock: Gives the time, seconds since 1970; the shell's, as a mesh has no clock.
        make_id: Makes the ids of tasks and runs.
        hub: This hub's name, where there are several.
        hubs: The names of the others that are there.
        audience: Who hears of what becomes of tasks.
        ended: How many tasks have ended here, by state and code, ``ok`` for those done.
        is_resting: Whether nothing is started or ended any more, since the hub is closing.
    """

    def __init__(self, namespace: str, rooms: Rooms, requests: Requests, limits: Limits) -> None:
        self.namespace = namespace
        self.clock: Callable[[], float] = lambda: 0.0
        self.make_id: Callable[[], str] = lambda: secrets.token_hex(16)
        self.hub = ""
        self.hubs: Collection[str] = ()
        self.is_resting = False
        self.ended: Counter[tuple[str, str]] = Counter()
        self.audience = Audience(rooms, limits.requests_per_client)
        self._rooms = rooms
        self._requests = requests
        self._most = limits.requests_per_client
        self._most_bytes = limits.kept_bytes
        self._most_bytes_of_all = 4 * limits.kept_bytes_of_all
        self._dialect = TaskDialect(self)
        self._tasks: dict[str, Task] = {}
        self._runs: dict[str, Task] = {}
        self._awaited: dict[str, Task] = {}  # by id: at work at masters that are to come back
        self._queued: dict[_Place, dict[str, Task]] = {}
        self._ready: dict[_Place, None] = {}
        self._starting = 0
        self._owned: Counter[str] = Counter()
        self._owned_bytes: Counter[str] = Counter()
        self._bytes = 0
        self._numbers = itertools.count(1)
        self._keeping: dict[int, Callable[[Record | None, RequestError | None], list[Effect]]] = {}
        self._looking: dict[
            int, Callable[[Sequence[Record], RequestError | None], list[Effect]]
        ] = {}
        requests.put_tasks = self._masters_changed

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def at_masters(self) -> int:
        """How many requests of tasks there are."""
        return sum(each.request is not None for each in self._tasks.values())

    def get(self, id: str) -> Task | None:
        """Get a task that has not ended, or whose end is not kept yet."""
        return self._tasks.get(id)

    def count(self) -> dict[str, int]:
        """Count the tasks that have not ended, by state."""
        return dict(Counter(each.shown.state for each in self._tasks.values()))

    # Inputs of the shell

    def kept(
        self, number: int, standing: Record | None = None, error: RequestError | None = None
    ) -> list[Effect]:
        """Go on after a record was kept.

        Args:
            number: Of the `Keep`.
            standing: The record that stands in its place, if there is one: of the task with the
                same key, or of the same task at another hub.
            error: Why a new task was not kept.
        """
        then = self._keeping.pop(number, None)
        return [] if then is None else then(standing, error)

    def found(
        self, number: int, records: Sequence[Record], error: RequestError | None = None
    ) -> list[Effect]:
        """Go on after records were looked up; the newest come first.

        Args:
            number: Of the `Look`.
            records: The records.
            error: Why they could not be looked up.
        """
        then = self._looking.pop(number, None)
        return [] if then is None else then(records, error)

    def woken(self, key: WakeKey) -> list[Effect]:
        """Go on after the time of a `Wake` has passed."""
        kind, name = key
        if kind == "wait":
            return self._wait_no_longer(int(name))
        if kind == "again":
            return self._fill(("room", str(name)))
        task = self._tasks.get(str(name))
        if task is None or task.is_over or self.is_resting:
            return []
        return self._expire(task) if kind == "deadline" else self._give_up(task)

    def load(self, records: Iterable[Record]) -> list[Effect]:
        """Take up tasks that had not ended when their hub was lost; their masters may come back."""
        self.is_resting = False
        effects: list[Effect] = []
        for record in records:
            if record.id in self._tasks:
                continue
            task = self._add(record)
            effects.append(Wake(("deadline", record.id), max(0.0, record.deadline - self.clock())))
            if record.state == QUEUED:
                self._enqueue(task)
            else:
                self._note_run(task, record.run)
                effects += self._await_master(task)
        return effects + self._pump()

    def suspend(self) -> list[Effect]:
        """Leave all tasks as they stand in the journal: the hub closes, and is not their end."""
        self.is_resting = True
        effects: list[Effect] = []
        for task in list(self._tasks.values()):
            effects += self._let_go(task, "suspended")
            self._remove(task)
        self._keeping.clear()
        self._looking.clear()
        self._ready.clear()
        self._starting = 0
        return effects

    def look(
        self, then: Callable[[Sequence[Record], RequestError | None], list[Effect]], **query: Any
    ) -> list[Effect]:
        """Look up tasks in the journal, and go on with them; see `Look`."""
        number = next(self._numbers)
        self._looking[number] = then
        return [Look(number, **query)]

    def take_over(
        self, runs: Sequence[str], then: Callable[[RequestError | None], list[Effect]]
    ) -> list[Effect]:
        """Take over the tasks of runs that a master has brought from another hub, and go on.

        Args:
            runs: The runs.
            then: Called with the reason if it cannot be known just now which of them count.
        """
        if not self.hub or not runs:
            return then(None)

        def taken(records: Sequence[Record], error: RequestError | None) -> list[Effect]:
            return self.load(records) + then(error)

        number = next(self._numbers)
        self._looking[number] = taken
        return [Take(number, tuple(runs))]

    def noticed(self, id: str, hub: str) -> list[Effect]:
        """Hear that a hub has kept a record of a task: this one, or the one that works on it.

        Args:
            id: The task.
            hub: That hub.
        """
        if hub == self.hub:
            return []
        task = self._tasks.get(id)
        if task is not None:
            return self._yield(task)
        if not self.audience.awaits(id):
            return []

        def found(records: Sequence[Record], _: RequestError | None) -> list[Effect]:
            return [effect for each in records for effect in self.audience.follow(each)]

        return self.look(found, id=id)

    def _wait_no_longer(self, waiter: int) -> list[Effect]:
        """Answer a peer that has waited long enough for a task, here or at another hub."""
        name = self.audience.task_of(waiter)
        task = self._tasks.get(name)
        if task is not None:
            return self.audience.overdue(waiter, task.shown)

        def found(records: Sequence[Record], _: RequestError | None) -> list[Effect]:
            return [e for each in records for e in self.audience.overdue(waiter, each)]

        return self.look(found, id=name) if name else []

    # How a task begins

    def submit(
        self, record: Record, then: Callable[[Record | None, RequestError | None], list[Effect]]
    ) -> list[Effect]:
        """Keep a new task, and begin with it.

        Args:
            record: The task.
            then: Called with the record that is kept, or the reason why none is.

        Raises:
            Overloaded: The submitter has too many tasks that have not ended, or the hub has, or the
                hub is closing.
        """
        owner, size = record.owner, record.size + _TASK_BYTES
        if self._requests.closing or self.is_resting:
            raise Overloaded("the hub is closing", [{"delivered": False}])
        if self._owned[owner] >= self._most:
            message = f"{self._most} tasks of this client have not ended yet"
            raise Overloaded(message, [{"delivered": False}])
        if (
            self._owned_bytes[owner] + size > self._most_bytes
            or self._bytes + size > self._most_bytes_of_all
        ):
            message = "the tasks that have not ended take too much memory already"
            raise Overloaded(message, [{"delivered": False}])
        self._count(record, 1)

        def kept(standing: Record | None, error: RequestError | None) -> list[Effect]:
            self._count(record, -1)
            if standing is not None or error is not None:
                return then(standing, error)
            task = self._add(record)
            effects: list[Effect] = [
                Wake(("deadline", record.id), max(0.0, record.deadline - self.clock()))
            ]
            effects += then(record, None) + self.audience.tell(record)
            self._enqueue(task)
            return effects + self._pump()

        number = next(self._numbers)
        self._keeping[number] = kept
        return [Keep(number, record, is_new=True)]

    def _add(self, record: Record) -> Task:
        task = self._tasks[record.id] = Task(record, self._dialect)
        self._count(record, 1)
        return task

    def _count(self, record: Record, change: int) -> None:
        owner, size = record.owner, change * (record.size + _TASK_BYTES)
        self._owned[owner] += change
        self._owned_bytes[owner] += size
        self._bytes += size
        if not self._owned[owner]:
            del self._owned[owner], self._owned_bytes[owner]

    def _keep(
        self, task: Task, then: Callable[[], list[Effect]] | None, **changes: Any
    ) -> list[Effect]:
        """Change a task's record, and go on when that is kept; without `then`, at once.

        Where another hub has taken the task over, it is left to that one.
        """
        before = task.record
        # Later with each change, so that clients can tell which of two is the newer one.
        now = max(self.clock(), before.updated + _TICK)
        record = task.record = msgspec.structs.replace(before, updated=now, **changes)
        more = record.size - before.size
        self._owned_bytes[record.owner] += more
        self._bytes += more
        if then is None:
            task.shown = record
            return [Keep(0, record)]

        def kept(standing: Record | None, _: RequestError | None) -> list[Effect]:
            if self._tasks.get(record.id) is not task:
                return []  # it is another hub's since
            if standing is not None:
                return self._yield(task)
            if task.shown.updated < record.updated:
                task.shown = record
            return then()

        number = next(self._numbers)
        self._keeping[number] = kept
        return [Keep(number, record)]

    def _yield(self, task: Task) -> list[Effect]:
        """Leave a task to the hub that has taken it over meanwhile."""
        # Its master offers the run to whichever hub it is at, which takes the task over then.
        effects = [] if task.request is None else self._confirm(task, {})
        effects += self._let_go(task, "moved")
        task.is_over = True
        if task.is_starting:
            self._starting -= 1
            task.is_starting = False
        self._remove(task)
        # Who waits here, or watches, is told by what the other hub keeps from now on.
        return [*effects, Wake(("deadline", task.record.id), None)]

    # How a task waits

    def _enqueue(self, task: Task) -> None:
        for place in task.places:
            self._queued.setdefault(place, {})[task.record.id] = task
            self._ready[place] = None

    def _dequeue(self, task: Task) -> None:
        for place in task.places:
            queue = self._queued.get(place)
            if queue is None or task.record.id not in queue:
                continue
            del queue[task.record.id]
            if not queue:
                del self._queued[place]
                self._ready.pop(place, None)

    def _masters_changed(self, room: Room) -> list[Effect]:
        """Start what waits for the masters that a room has now."""
        effects = self._note_successor(room) if self._awaited else []
        if not self._queued:
            return effects
        places: list[_Place] = [("room", room.name)]
        places += [("capability", each) for each in room.masters.offers]
        return effects + self._fill(*places)

    def _await_master(self, task: Task) -> list[Effect]:
        """Wait for the master of a lost hub, who may come back with its run."""
        self._awaited[task.record.id] = task
        return [Wake(("return", task.record.id), RETURN_SECONDS)]

    def _note_successor(self, room: Room) -> list[Effect]:
        """Wait no longer than for a moment if a master was started anew, without its runs."""
        serving = room.masters.serving[0] if room.masters.serving else None
        if serving is None or serving.declared.group != "single" or serving.declared.yields:
            return []
        usuario = _usuario_of(serving.peer)
        return [
            Wake(("return", each.record.id), _SUCCESSOR_SECONDS)
            for each in self._awaited.values()
            if each.record.room == room.name and each.record.master == usuario != ""
        ]

    def _fill(self, *places: _Place) -> list[Effect]:
        for place in places:
            if place in self._queued:
                self._ready[place] = None
        return self._pump()

    def _pump(self) -> list[Effect]:
        """Start what can start, as long as the journal has not too much to write."""
        effects: list[Effect] = []
        while self._ready and self._starting < _MOST_STARTING and not self._is_idle():
            place = next(iter(self._ready))
            queue = self._queued.get(place, {})
            for task in list(itertools.islice(queue.values(), _MOST_STARTING - self._starting)):
                started = self._start(task)
                if started is None:  # and so none of this place
                    self._ready.pop(place, None)
                    break
                effects += started
            if not self._queued.get(place):
                self._ready.pop(place, None)
        return effects

    def _is_idle(self) -> bool:
        return self.is_resting or self._requests.closing

    # How a task runs

    def _start(self, task: Task) -> list[Effect] | None:
        """Write down that a task is put to the master that serves it; None if there is none."""
        record = task.record
        try:
            room, master = self._choose(task)
        except NoMaster:
            return None
        except RequestError as error:
            # A master came that the submitter may not ask.
            return self._fail(task, error)
        if len(master.peer.serving) + self._starting >= _MOST_AT_MASTER:
            return None
        self._dequeue(task)
        task.is_busy = task.is_starting = True
        self._starting += 1
        return self._keep(
            task,
            lambda: self._deliver(task),
            state=RUNNING,
            room=room.name,
            attempts=record.attempts + 1,
            idempotent=master.is_idempotent(record.capability),
            master=_usuario_of(master.peer),
            run=self.make_id(),
        )

    def _choose(self, task: Task) -> tuple[Room, Master]:
        record = task.record
        room = self._rooms.choose_room(task.peer, record.capability, record.room or None)
        master = room.masters.pick(record.capability)
        assert master is not None
        return room, master

    def _deliver(self, task: Task) -> list[Effect]:
        """Put a task to its master, now that this is written down."""
        if task.is_starting:  # else it is another hub's since
            self._starting -= 1
        task.is_busy = task.is_starting = False
        record = task.record
        if task.is_over or self.is_resting:
            return self._pump()
        left = record.deadline - self.clock()
        if left <= 0:
            return self._expire(task) + self._pump()
        try:
            room, master = self._choose(task)
        except RequestError:
            return self._queue_again(task, is_counted=False) + self._pump()
        if self._requests.closing or master.is_idempotent(record.capability) != record.idempotent:
            return self._queue_again(task, is_counted=False) + self._pump()
        self._note_run(task, record.run)
        about: dict[str, Any] = {"id": record.id, "run": record.run, "attempt": record.attempts}
        if record.has_checkpoint:
            about["checkpoint"] = record.checkpoint
        meta = RequestMeta(room.name, left, extras={"task": about, "answers": True} | record.trace)
        effects = self._requests.ask_master(task.peer, self._question(record), master, _ACK, meta)
        self._hold(task, master)
        return effects + self.audience.tell(record) + self._pump()

    def _question(self, record: Record) -> events.RoomMessage:
        event = events.capability_event(record.capability)
        return events.RoomMessage(event, record.room, record.payload, {})

    def _hold(self, task: Task, master: Master) -> None:
        task.request = next(iter(task.peer.requests.values()), None)
        task.at = master

    def _note_run(self, task: Task, run: str) -> None:
        """Note by which name the master of a task may bring its run along; empty for none."""
        self._runs.pop(task.run, None)
        task.run = run
        if run:
            self._runs[run] = task

    def has_run(self, run: str) -> bool:
        """Whether a run is one of a task here."""
        return run in self._runs

    def take_up(self, peer: Peer, run: str) -> tuple[list[Effect], str] | None:
        """Take up a run that a master has brought along from a link, or a hub, that was lost.

        Returns:
            Effects, and the id of the request that the run is from now on, empty if its end is
            being kept just now; None if the run counts no more.
        """
        task = self._runs.get(run)
        if task is None or self.is_resting:
            return None
        effects: list[Effect] = []
        record = task.record
        if task.is_over:
            if task.at is not None:
                task.at = Master(peer, task.at.declared, is_core=False)
            return [], ""
        left = record.deadline - self.clock()
        if left <= 0:
            return None
        effects += self._let_go(task, "moved")  # a link is gone, which was not noticed yet
        # The master's new declaration may come later, or never: its run is what counts.
        master = Master(peer, events.Declaration(record.room, (record.capability,)), is_core=False)
        meta = RequestMeta(record.room, left, extras={"answers": True} | record.trace)
        effects += self._requests.take_up(task.peer, self._question(record), master, _ACK, meta)
        self._awaited.pop(record.id, None)
        effects.append(Wake(("return", record.id), None))
        self._hold(task, master)
        assert task.request is not None
        return effects, str(task.request.number)

    def _queue_again(self, task: Task, *, is_counted: bool) -> list[Effect]:
        """Have a task wait for the next master."""
        record = task.record
        self._note_run(task, "")
        task.is_busy = True

        def go_on() -> list[Effect]:
            task.is_busy = False
            if task.is_over:
                return []
            self._enqueue(task)
            return self.audience.tell(task.shown) + self._pump()

        attempts = record.attempts if is_counted else record.attempts - 1
        return self._keep(
            task,
            go_on,
            state=QUEUED,
            attempts=attempts,
            run="",
            question=None,
            asked=0,
            replied=0,
            reply=NOTHING,
        )

    def _let_go(self, task: Task, code: str) -> list[Effect]:
        """Forget the request of a run that may go on elsewhere, and tell its master nothing."""
        request, task.request, task.question = task.request, None, None
        if request is None:
            return []
        effects: list[Effect] = []
        for question in list((request.questions or {}).values()):
            effects += self._requests.forget(question, code)
        return effects + self._requests.forget(request, code)

    # What becomes of its requests: `alephscript.mesh.dialects.TaskDiary`

    def answered(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        """End a task with the answer of its request, unless the master has not begun with it."""
        task = self._task_of(request)
        task.request = task.question = None
        if task.is_over:
            return []
        place = ("room", request.room)
        again = self._fill(place, ("capability", request.capability))
        text = bytes(answer) if isinstance(answer, msgspec.Raw) else None
        if text is not None and text.startswith(_SUCCESS):
            # Without reading it: `{"success":true,…}` loses its first field.
            rest = text[len(_SUCCESS) :].lstrip(b",")
            return self._end(task, DONE, result=msgspec.Raw(b"{" + rest)) + again
        fields = dict(read_value(answer))
        if not events.is_failure(fields):
            del fields["success"]
            return self._end(task, DONE, result=msgspec.Raw(msgspec.json.encode(fields))) + again
        if _has_not_run(fields):
            wake = Wake(("again", request.room), _AGAIN_SECONDS)
            self._ready.pop(place, None)
            return [*again, *self._queue_again(task, is_counted=False), wake]
        return self._end(task, FAILED, error=self._error_of(task, fields)) + again

    def lost(self, request: OpenRequest) -> list[Effect]:
        """Put a task whose master is lost to the next one, if running twice does no harm."""
        task = self._task_of(request)
        task.request = task.question = None
        assert request.master is not None
        hub = request.master.peer.hub
        if hub and hub not in self.hubs and not task.is_over:
            # Its hub is gone, and the master may come to another one, with the run.
            return self._await_master(task)
        return self._lose(task)

    def noted(self, request: OpenRequest, event: str, data: Any) -> list[Effect]:
        """Keep progress and checkpoints."""
        task = self._task_of(request)
        if task.is_over:
            return []
        if event == HubEvent.REQUEST_PROGRESS:
            progress = _read_progress(read_value(data))
            if progress is None:
                return []
            effects = self._keep(task, None, progress=progress)
            return effects + self.audience.tell(task.shown)
        if event == HubEvent.REQUEST_CHECKPOINT:
            return self._note_checkpoint(task, data)
        return []

    def _note_checkpoint(self, task: Task, data: Any) -> list[Effect]:
        fields = split_fields(data)
        number, checkpoint = read_value(fields.get("number")), fields.get("checkpoint")
        told = {"run": task.record.run, "number": number}
        if not isinstance(checkpoint, msgspec.Raw):
            checkpoint = msgspec.Raw(msgspec.json.encode(checkpoint))
        if len(bytes(checkpoint)) > MAX_CHECKPOINT:
            error = PayloadTooLarge(f"a checkpoint has {MAX_CHECKPOINT} bytes at the most")
            return self._confirm(task, {**told, **error.answer()})
        return self._keep(
            task,
            lambda: self._confirm(task, told),
            checkpoint=msgspec.Raw(bytes(checkpoint)),
        )

    def asked(self, question: OpenRequest, seconds: float) -> Effect:
        """Keep what a run asks back, for whoever may answer it; or repeat an answer that is kept.

        A master that was away asks anew what it has asked before, under the same number.
        """
        assert question.about is not None
        task = self._task_of(question.about)
        record = task.record
        task.question = question
        fields = dict(split_fields(question.question.data))
        number = read_value(fields.pop("number", 0))
        changes: dict[str, Any] = {}
        is_answered = record.replied == number != 0
        if not is_answered:
            told = {key: read_value(value) for key, value in fields.items()}
            changes = {"state": ASKING, "question": told, "asked": number}

        def go_on() -> list[Effect]:
            effects = self.audience.tell(task.shown)
            if self._requests.get(question.number) is not question:
                return effects
            if is_answered:
                return effects + self._requests.end(question, _answer_of(record.reply))
            return [Arm(question.number, seconds), *effects]

        (effect,) = self._keep(task, go_on, **changes)
        return effect

    def unasked(self, question: OpenRequest) -> list[Effect]:
        """Have a task ask nothing any more: its run has given the question up."""
        assert question.about is not None
        task = self._task_of(question.about)
        if task.question is not question or task.is_over:
            return []
        task.question = None
        return self._keep(
            task, lambda: self.audience.tell(task.shown), state=RUNNING, question=None
        )

    def reply(
        self, task: Task, answer: msgspec.Raw, then: Callable[[], list[Effect]]
    ) -> list[Effect]:
        """Give a run the answer to its question, now or when its master is back.

        Args:
            task: A task that asks something.
            answer: JSON text of the answer.
            then: Called when the answer cannot be lost any more.
        """

        def go_on() -> list[Effect]:
            question, task.question = task.question, None
            effects = then() + self.audience.tell(task.shown)
            if question is None or self._requests.get(question.number) is not question:
                return effects
            return effects + self._requests.end(question, _answer_of(answer))

        number = task.record.asked
        return self._keep(task, go_on, state=RUNNING, question=None, replied=number, reply=answer)

    def _confirm(self, task: Task, payload: dict[str, Any]) -> list[Effect]:
        """Tell the master of a task's run, if it is still there, that something is kept."""
        if task.at is None:
            return []
        peer = task.at.peer
        if not peer.hub and self._rooms.peers.get(peer.sid) is not peer:
            return []  # it is gone, and will be told when it is back
        return peer.dialect.confirm(peer, payload)

    def _task_of(self, request: OpenRequest) -> Task:
        return self._tasks[request.asker.sid.removeprefix("task ")]

    # How a task ends

    def cancel(self, task: Task) -> list[Effect]:
        """End a task that nobody wants any more, and tell its master at once."""
        if task.is_over:
            return []
        effects: list[Effect] = []
        if task.request is not None:
            request, task.request, task.question = task.request, None, None
            effects += self._requests.cancel(request, "cancelled")
        error = Cancelled("the task was cancelled")
        effects += self._end(task, CANCELLED, error=self._error_of(task, error.answer()))
        return effects + self._pump()

    def _expire(self, task: Task) -> list[Effect]:
        if task.request is not None:
            return self._requests.expire(task.request)
        record = task.record
        event = events.capability_event(record.capability)
        has_begun = bool(record.run) and not task.is_busy
        who = (
            f"{record.room} did not answer {event}"
            if has_begun
            else f"nobody came to answer {event}"
        )
        return self._fail(task, DeadlineExceeded(f"{who} in time", [{"delivered": has_begun}]))

    def _give_up(self, task: Task) -> list[Effect]:
        """Count the master of a lost hub as lost, too: it has not come back."""
        if task.request is not None or task.record.state not in (RUNNING, ASKING) or task.is_busy:
            return []
        return self._lose(task)

    def _lose(self, task: Task) -> list[Effect]:
        self._awaited.pop(task.record.id, None)
        if task.is_over or self.is_resting:
            return [Wake(("return", task.record.id), None)]
        record = task.record
        if record.idempotent and record.attempts < MOST_ATTEMPTS:
            return self._queue_again(task, is_counted=True)
        event = events.capability_event(record.capability)
        message = f"the master of {record.room} is gone; {event} may have run"
        return self._fail(task, MasterLost(message, [{"delivered": True}]))

    def _fail(self, task: Task, error: RequestError) -> list[Effect]:
        return self._end(task, FAILED, error=self._error_of(task, error.answer()))

    def _error_of(self, task: Task, answer: Answer) -> dict[str, Any]:
        """Make the error of a task, with its last checkpoint."""
        details = answer.get("details")
        details = list(details) if isinstance(details, list) else []
        if task.record.has_checkpoint:
            about = {"checkpoint": task.record.checkpoint}
            if details and isinstance(details[0], dict):
                details[0] = {**details[0], **about}
            else:
                details.insert(0, about)
        retryable = answer.get("retryable") is True
        return {
            "error": answer["error"],
            "code": answer["code"],
            "retryable": retryable,
            "details": details,
        }

    def _end(self, task: Task, state: str, **changes: Any) -> list[Effect]:
        """End a task; it is told when that is kept."""
        task.is_over = True
        self._dequeue(task)
        run = task.run

        def ended() -> list[Effect]:
            self._remove(task)
            self._count_end(task.shown)
            effects: list[Effect] = [*self.audience.answer_all(task.shown)]
            effects += self.audience.tell(task.shown)
            self.audience.forget(task.shown.id)
            return effects + (self._confirm(task, {"run": run}) if run else [])

        effects = self._keep(task, ended, state=state, run="", question=None, **changes)
        name = task.record.id
        return [*effects, Wake(("deadline", name), None), Wake(("return", name), None)]

    def _count_end(self, record: Record) -> None:
        key = (record.state, OK if record.error is None else str(record.error["code"]))
        if key not in self.ended and len(self.ended) >= _MOST_CODES:
            key = (record.state, "(other)")  # masters make codes up
        self.ended[key] += 1

    def _remove(self, task: Task) -> None:
        del self._tasks[task.record.id]
        self._awaited.pop(task.record.id, None)
        self._dequeue(task)
        self._note_run(task, "")
        self._count(task.record, -1)


def _usuario_of(peer: Peer) -> str:
    """Name a master as its next process will be named, too; empty if that is not known."""
    return "" if peer.registration is None else peer.registration.usuario


def _answer_of(reply: msgspec.Raw) -> Answer:
    """Make the answer to a question of what somebody has answered, or refuses by."""
    fields = read_value(reply)
    if isinstance(fields, dict) and fields.get("success") is False:
        told = fields.get("error"), fields.get("code")
        if all(isinstance(each, str) for each in told):
            return fields
    return {**events.make_success(fields), "success": True}


def _has_not_run(answer: Answer) -> bool:
    """Whether a master has refused a request that it may take later."""
    if answer.get("code") != Overloaded.code:
        return False
    details = answer.get("details")
    first = details[0] if isinstance(details, list) and details else None
    return isinstance(first, dict) and first.get("delivered") is False


def _read_progress(data: Any) -> dict[str, Any] | None:
    """Read what a master reports; None if it makes no sense."""
    fraction = data.get("fraction") if isinstance(data, dict) else None
    if not isinstance(fraction, int | float) or isinstance(fraction, bool):
        return None
    message = data.get("message")
    return {"fraction": fraction, "message": message[:1000] if isinstance(message, str) else ""}
