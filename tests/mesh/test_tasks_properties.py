"""A task's life, whatever happens in whatever order.

A `RuleBasedStateMachine` plays submitters, masters and the journal around one mesh, which is lost
and comes back with nothing but that journal; records are kept late, and what was not kept is lost
with the mesh.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alephscript.mesh.effects import Acknowledge, Deliver, Effect, Emit, Ended, Keep, Look, Wake
from alephscript.mesh.mesh import Mesh
from alephscript.mesh.records import Record
from alephscript.mesh.tasks import MOST_ATTEMPTS
from alephscript.protocol import events
from alephscript.protocol.json import read_value
from alephscript.protocol.tasks import ENDED
from tests.support.properties import examples

pytestmark = pytest.mark.timeout(300)

NATIVE = {"protocol": events.PROTOCOL}
CAPABILITIES = ("ONCE", "AGAIN")


WORK = ["ok", "error", "full", "checkpoint", "progress"]


class Tasks(RuleBasedStateMachine):
    """Peers, a journal and a clock around one mesh."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.journal: dict[str, Record] = {}
        self.sids = itertools.count(1)
        self.acks = itertools.count(1)
        self.ids = itertools.count(1)
        self.begin()
        self.acknowledged: dict[str, str] = {}  # by key: the id
        self.asked: dict[tuple[str, int], str] = {}  # who waits for which key
        self.delivered: Counter[str] = Counter()
        self.ends: dict[str, str] = {}
        # Runs at masters: of which task, and at which request of the present mesh, if at any.
        self.runs: dict[str, tuple[str, str, int | None]] = {}

    def begin(self) -> None:
        """Begin with a mesh that knows nothing yet."""
        self.mesh = Mesh()
        self.mesh.tasks.clock = lambda: self.now
        self.mesh.tasks.make_id = lambda: f"id{next(self.ids):06}"
        self.pending: list[Keep] = []
        self.wakes: dict[Any, float] = {}
        self.masters: dict[str, str] = {}
        self.told: dict[str, str] = {}  # by task: when it last changed, as members hear
        self.submitter = self.join("u")

    def join(self, usuario: str) -> str:
        """Connect a native peer."""
        sid = f"s{next(self.sids)}"
        self.mesh.connected(sid)
        self.carry(self.mesh.received(sid, "CLIENT_REGISTER", [{"usuario": usuario, **NATIVE}]))
        return sid

    def carry(self, effects: list[Effect]) -> None:  # noqa: C901, PLR0912 - a case an effect
        """Play the shell."""
        for effect in effects:
            match effect:
                case Keep():
                    self.pending.append(effect)
                case Wake(key=key, seconds=None):
                    self.wakes.pop(key, None)
                case Wake(key=key, seconds=seconds):
                    assert seconds is not None
                    assert seconds >= 0
                    self.wakes[key] = self.now + seconds
                case Deliver():
                    self.deliver(effect)
                case Acknowledge():
                    self.acknowledge(effect)
                case Ended(request=request):
                    for run, (id_, master, number) in list(self.runs.items()):
                        if number == request:
                            self.runs[run] = (id_, master, None)
                case Look():
                    found = self.journal.get(effect.id or "")
                    self.carry(
                        self.mesh.tasks.found(effect.number, [] if found is None else [found])
                    )
                case Emit(event="TASK_CHANGED", args=(payload, *_)):
                    id_, changed = (read_value(payload)["task"][key] for key in ("id", "updated"))
                    assert self.told.setdefault(id_, changed) <= changed
                    self.told[id_] = changed
                case Emit(event="TASK_KEPT", args=(payload, *_)):
                    if "number" not in payload:
                        self.runs.pop(payload["run"], None)
                case _:
                    pass

    def deliver(self, effect: Deliver) -> None:
        """Begin a run: by then the journal says that there is one."""
        about = effect.args[1]["task"]
        record = self.journal[about["id"]]
        assert record.state == "running"
        assert record.run == about["run"]
        assert record.attempts == about["attempt"] <= MOST_ATTEMPTS
        self.delivered[record.id] += 1
        if record.capability == "ONCE":
            assert self.delivered[record.id] == 1
        self.runs[about["run"]] = (record.id, effect.to, effect.request)

    def acknowledge(self, effect: Acknowledge) -> None:
        """Hear an answer: what it says is in the journal."""
        answer = read_value(effect.answer)
        task = answer.get("task")
        if task is None:
            return
        record = self.journal[task["id"]]
        if task["state"] in ENDED:
            assert record.state == task["state"]
        key = self.asked.pop((effect.sid, effect.ack), None)
        if key is not None:
            assert self.acknowledged.setdefault(key, task["id"]) == task["id"]

    # What happens

    @initialize(is_at_work=st.booleans())
    def start(self, *, is_at_work: bool) -> None:
        """Two tasks are at work already, or nobody is there: chance alone rarely gets so far."""
        if is_at_work:
            self.come("single")
            for key, capability in zip("ab", CAPABILITIES, strict=False):
                self.submit(key, capability)
            while self.pending:
                self.write(5)

    @rule(key=st.sampled_from("abcdef"), capability=st.sampled_from(CAPABILITIES))
    def submit(self, key: str, capability: str) -> None:
        """Submit a task, perhaps not for the first time."""
        ack = next(self.acks)
        self.asked[self.submitter, ack] = key
        payload = {"capability": capability, "payload": 1, "key": key, "timeoutMs": 60_000}
        self.carry(self.mesh.received(self.submitter, "TASK_SUBMIT", [payload], ack))

    @rule(group=st.sampled_from(["single", "standby", "shared"]))
    def come(self, group: str) -> None:
        """A master comes."""
        sid = self.join("m")
        self.masters[sid] = group
        declared = {
            "room": "R",
            "group": group,
            "features": list(CAPABILITIES),
            "descriptions": {"AGAIN": {"idempotent": True}},
        }
        self.carry(self.mesh.received(sid, "MAKE_MASTER", [declared], next(self.acks)))

    @precondition(lambda self: self.masters)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A master dies, its runs with it."""
        sid = data.draw(st.sampled_from(sorted(self.masters)))
        del self.masters[sid]
        self.runs = {run: each for run, each in self.runs.items() if each[1] != sid}
        self.carry(self.mesh.disconnected(sid))

    @precondition(lambda self: self.masters)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.5, 5.0]))
    def cut(self, data: st.DataObject, seconds: float) -> None:
        """A master loses its link, and comes back with its runs, perhaps too late."""
        sid = data.draw(st.sampled_from(sorted(self.masters)))
        group = self.masters.pop(sid)
        self.runs = {
            run: (id_, master, None if master == sid else number)
            for run, (id_, master, number) in self.runs.items()
        }
        self.carry(self.mesh.disconnected(sid))
        if seconds:
            self.wait(seconds)
        self.come_back(sid, group)

    @precondition(lambda self: self.pending)
    @rule(count=st.integers(1, 5))
    def write(self, count: int) -> None:
        """The journal keeps some records, in order."""
        for _ in range(min(count, len(self.pending))):
            effect = self.pending.pop(0)
            record, standing = effect.record, None
            if effect.is_new:
                standing = next(
                    (each for each in self.journal.values() if each.key == record.key), None
                )
            else:
                present = self.journal.get(record.id)
                assert present is not None
                if present.has_ended:
                    standing = present
            if standing is None:
                self.journal[record.id] = msgspec.json.decode(
                    msgspec.json.encode(record), type=Record
                )
            if effect.number:
                self.carry(self.mesh.tasks.kept(effect.number, standing))

    @precondition(lambda self: any(each[2] is not None for each in self.runs.values()))
    @rule(data=st.data(), how=st.sampled_from(WORK))
    def work(self, data: st.DataObject, how: str) -> None:
        """A run goes on, or ends."""
        at_work = sorted(run for run, each in self.runs.items() if each[2] is not None)
        run = data.draw(st.sampled_from(at_work))
        id_, master, number = self.runs[run]
        assert number is not None
        meta = {"id": str(number)}
        if how == "checkpoint":
            payload: Any = {"number": 1, "checkpoint": {"x": 1}}
            self.carry(self.mesh.received(master, "REQUEST_CHECKPOINT", [payload, meta]))
        elif how == "progress":
            payload = {"fraction": 0.5, "message": ""}
            self.carry(self.mesh.received(master, "REQUEST_PROGRESS", [payload, meta]))
        else:
            answer: dict[str, Any] = {"success": True, "of": id_}
            if how == "error":
                answer = {"success": False, "error": "no", "code": "mine"}
            if how == "full":
                del self.runs[run]
                self.delivered[id_] -= 1  # it never began
                answer = {"success": False, "error": "full", "code": "overloaded"}
                answer["details"] = [{"delivered": False}]
            self.carry(self.mesh.acknowledged(master, number, [answer]))

    @precondition(lambda self: any(each[2] is not None for each in self.runs.values()))
    @rule()
    def ask(self) -> None:
        """Each run asks something back."""
        payload = {"number": 1, "capability": "MAY_I", "payload": None}
        for _, master, number in list(self.runs.values()):
            if number is not None:
                args = [payload, {"id": str(number)}]
                ack = next(self.acks)
                self.carry(self.mesh.received(master, "GET_ASKER_ANSWER", args, ack))

    @rule(key=st.sampled_from("abcdef"), refuses=st.booleans())
    def answer(self, key: str, *, refuses: bool) -> None:
        """Somebody answers what a task asks, whether it asks or not."""
        if key in self.acknowledged:
            reply = {"success": False, "error": "no", "code": "no"} if refuses else {"yes": True}
            payload = {"id": self.acknowledged[key], "payload": reply}
            ack = next(self.acks)
            self.carry(self.mesh.received(self.submitter, "TASK_ANSWER", [payload], ack))

    @rule(key=st.sampled_from("abcdef"))
    def cancel(self, key: str) -> None:
        """Nobody wants a task any more."""
        if key in self.acknowledged:
            payload = {"id": self.acknowledged[key]}
            ack = next(self.acks)
            self.carry(self.mesh.received(self.submitter, "TASK_CANCEL", [payload], ack))

    @rule(seconds=st.sampled_from([0.5, 5.0, 30.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        ends = self.now + seconds
        while due := [key for key, at in self.wakes.items() if at <= ends]:
            key = min(due, key=self.wakes.__getitem__)
            self.now = max(self.now, self.wakes.pop(key))
            self.carry(self.mesh.tasks.woken(key))
        self.now = ends

    @rule(is_peaceful=st.booleans(), masters_live=st.booleans())
    def restart(self, *, is_peaceful: bool, masters_live: bool) -> None:
        """The hub dies, or closes; what was not kept is lost. Masters come back with their runs."""
        if is_peaceful:
            self.carry(self.mesh.tasks.suspend())
        runs = dict(self.runs) if masters_live else {}
        masters = self.masters if masters_live else {}
        self.asked.clear()
        self.begin()
        self.runs = {run: (id_, master, None) for run, (id_, master, _) in runs.items()}
        alive = [each for each in self.journal.values() if not each.has_ended]
        self.carry(self.mesh.tasks.load(alive))
        for old, group in masters.items():
            self.come_back(old, group)

    def come_back(self, old: str, group: str) -> None:
        """A master comes back from a link that was lost, with its runs."""
        self.come(group)
        new = list(self.masters)[-1]
        mine = [run for run, each in self.runs.items() if each[1] == old]
        ack = next(self.acks)
        effects = self.mesh.received(new, "TASK_RESUME", [{"runs": mine}], ack)
        assert isinstance(effects[0], Acknowledge)
        numbers = read_value(effects[0].answer)["runs"]
        for run in mine:
            id_ = self.runs.pop(run)[0]
            if numbers.get(run):
                self.runs[run] = (id_, new, int(numbers[run]))
        self.carry(effects[1:])

    # What always holds

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        """Under its own id."""
        for id_ in self.acknowledged.values():
            assert id_ in self.journal

    @invariant()
    def what_has_ended_stays_ended(self) -> None:
        """As it ended first."""
        for id_, record in self.journal.items():
            if record.has_ended:
                assert self.ends.setdefault(id_, record.state) == record.state

    @invariant()
    def the_books_of_the_mesh_agree(self) -> None:
        """No run is left of a task that is over, no request of one that is queued."""
        tasks = self.mesh.tasks
        for name, task in tasks._ledger._runs.items():
            assert task.run == name
            assert tasks.get(task.record.id) is task
        for task in tasks._ledger:
            assert (task.request is not None) == bool(task.peer.requests)
            is_queued = tasks._queue.has(task)
            assert not (is_queued and (task.request or task.is_busy or task.is_over))

    def teardown(self) -> None:
        """In the end, each task ends."""
        for _ in range(4):
            self.wait(60.0)
            while self.pending:
                self.write(5)
        assert all(each.has_ended for each in self.journal.values())
        assert not len(self.mesh.tasks)
        assert not self.mesh.tasks._ledger._bytes
        assert not self.mesh.tasks._ledger._runs
        assert not self.mesh.tasks._queue


TestTasks = Tasks.TestCase
TestTasks.settings = settings(max_examples=examples(200), stateful_step_count=40, deadline=None)
