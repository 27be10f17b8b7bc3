"""Rules of a task's life that no chance finds: bounds, and who is told what when."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from alephscript.mesh.effects import Acknowledge, Deliver, Effect, Emit, Keep, Look, Wake
from alephscript.mesh.limits import Limits
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value

NATIVE = {"usuario": "u", "protocol": events.PROTOCOL}


def play(mesh: Mesh, effects: list[Effect]) -> list[Effect]:
    """Keep at once whatever is to be kept, and list all effects."""
    listed = []
    for effect in effects:
        listed.append(effect)
        if isinstance(effect, Keep) and effect.number:
            listed += play(mesh, mesh.tasks.kept(effect.number))
    return listed


def submit(mesh: Mesh, sid: str = "a", ack: int = 1, **fields: Any) -> list[Effect]:
    """Submit a task, and keep it."""
    payload = {"capability": "X", "payload": 1, **fields}
    return play(mesh, mesh.received(sid, "TASK_SUBMIT", [payload], ack))


def answer_of(effects: list[Effect], ack: int = 1) -> dict[str, Any]:
    """Find what is acknowledged under a number."""
    (found,) = [each for each in effects if isinstance(each, Acknowledge) and each.ack == ack]
    answer: dict[str, Any] = read_value(found.answer)
    return answer


@pytest.fixture
def mesh() -> Mesh:
    """A mesh with a submitter and somebody who is to be a master."""
    mesh = Mesh(limits=Limits(requests_per_client=3, kept_bytes=50_000))
    for sid in ("a", "m"):
        mesh.connected(sid)
        mesh.received(sid, "CLIENT_REGISTER", [NATIVE])
    return mesh


def declare(mesh: Mesh, sid: str = "m") -> list[Effect]:
    """Become a master."""
    return play(mesh, mesh.received(sid, "MAKE_MASTER", [{"room": "R", "features": ["X"]}], 9))


def test_a_submitter_has_so_many_tasks_and_no_more(mesh: Mesh) -> None:
    """And so many bytes of them, until some have ended."""
    for _ in range(3):
        assert answer_of(submit(mesh))["success"] is True
    refused = answer_of(submit(mesh))
    assert refused["code"] == "overloaded"
    assert refused["details"] == [{"delivered": False}]
    for id_ in [each.record.id for each in mesh.tasks._ledger]:
        play(mesh, mesh.received("a", "TASK_CANCEL", [{"id": id_}]))
    assert answer_of(submit(mesh, payload="x" * 30_000))["success"] is True
    assert answer_of(submit(mesh, payload="x" * 30_000))["code"] == "overloaded"
    assert answer_of(submit(mesh, payload="x" * 10))["success"] is True


def test_nothing_is_acknowledged_before_it_is_kept(mesh: Mesh) -> None:
    """Nor put to a master, nor told as ended."""
    effects = mesh.received("a", "TASK_SUBMIT", [{"capability": "X"}], 1)
    assert [type(each) for each in effects] == [Keep]
    play(mesh, effects)
    effects = mesh.received("m", "MAKE_MASTER", [{"room": "R", "features": ["X"]}], 9)
    (start,) = [each for each in effects if isinstance(each, Keep)]
    assert not any(isinstance(each, Deliver) for each in effects)
    (deliver,) = [each for each in play(mesh, [start]) if isinstance(each, Deliver)]
    effects = mesh.acknowledged("m", deliver.request, [{"success": True}])
    assert not any(isinstance(each, Emit | Acknowledge) for each in effects)
    told = [each.event for each in play(mesh, effects) if isinstance(each, Emit)]
    assert told == ["TASK_CHANGED", "TASK_KEPT"]


def test_a_waiter_that_goes_is_answered_no_more(mesh: Mesh) -> None:
    """Neither when its time is over nor when the task has ended."""
    id_ = answer_of(submit(mesh))["task"]["id"]
    (wake,) = mesh.received("a", "TASK_GET", [{"id": id_, "waitMs": 1000}], 2)
    assert isinstance(wake, Wake)
    assert Wake(wake.key, None) in mesh.disconnected("a")
    assert mesh.tasks.woken(wake.key) == []
    effects = play(mesh, mesh.tasks.cancel(mesh.tasks._ledger._tasks[id_]))
    assert not any(isinstance(each, Acknowledge | Emit) for each in effects)
    assert not mesh.tasks.audience._waiters
    assert not mesh.tasks.audience._watchers


def test_a_master_whose_queue_is_full_is_asked_again_and_no_attempt_is_counted(mesh: Mesh) -> None:
    """A second later, or as soon as one of its tasks has ended."""
    declare(mesh)
    effects = submit(mesh)
    (deliver,) = [each for each in effects if isinstance(each, Deliver)]
    full: dict[str, object] = {"success": False, "error": "full", "code": "overloaded"}
    full["details"] = [{"delivered": False}]
    effects = play(mesh, mesh.acknowledged("m", deliver.request, [full]))
    (task,) = mesh.tasks._ledger
    assert task.record.attempts in (0, 1)
    wakes = [each for each in effects if isinstance(each, Wake) and each.key[0] == "again"]
    assert [each.seconds for each in wakes] == [1.0]
    effects += play(mesh, mesh.tasks.woken(wakes[0].key))
    assert any(isinstance(each, Deliver) for each in effects)
    assert task.record.attempts == 1


def test_the_record_has_a_form_on_the_disk(mesh: Mesh) -> None:
    """With all of its texts as they came."""
    effects = submit(mesh, payload={"a": [1, "ü"]}, key="k")
    record = next(each.record for each in effects if isinstance(each, Keep))
    again = msgspec.json.decode(msgspec.json.encode(record), type=type(record))
    assert msgspec.json.encode(again) == msgspec.json.encode(record)
    assert read_value(again.payload) == {"a": [1, "ü"]}


@pytest.mark.parametrize(
    "answer",
    [
        '{"success":true,"x":1}',
        '{"success":true ,\n"x":1}',
        '{"success":true\t, "x":1 }',
        '{"x":1,"success":true}',
    ],
)
def test_the_result_is_json_however_the_answer_was_written(mesh: Mesh, answer: str) -> None:
    """What was stored as it came could not be read any more."""
    declare(mesh)
    effects = submit(mesh)
    (deliver,) = [each for each in effects if isinstance(each, Deliver)]
    told = play(mesh, mesh.acknowledged("m", deliver.request, [msgspec.Raw(answer.encode())]))
    record = next(each.record for each in told if isinstance(each, Keep))
    assert read_value(record.result) == {"x": 1}


@pytest.mark.parametrize(
    ("code", "is_retryable", "told"),
    [("mine", False, None), ("mine", True, True), ("busy", None, None), ("internal", True, True)],
)
def test_the_error_says_what_its_code_does_not(
    mesh: Mesh, code: str, is_retryable: bool | None, told: bool | None
) -> None:
    """Whether the same may succeed later is mostly a matter of the code."""
    declare(mesh)
    (deliver,) = [each for each in submit(mesh) if isinstance(each, Deliver)]
    answer: dict[str, Any] = {"success": False, "error": "no", "code": code}
    if is_retryable is not None:
        answer["retryable"] = is_retryable
    told_all = play(mesh, mesh.acknowledged("m", deliver.request, [answer]))
    record = next(each.record for each in told_all if isinstance(each, Keep))
    assert record.error is not None
    assert record.error == {"error": "no", "code": code, "details": []} | (
        {} if told is None else {"retryable": told}
    )


def test_a_peer_has_so_much_looked_up_at_once_and_no_more(mesh: Mesh) -> None:
    """Lists are dearer than single tasks; each page of them is bounded."""
    looks = []
    for ack in range(8):
        (look,) = mesh.received("a", "TASK_LIST", [{}], ack)
        assert isinstance(look, Look)
        assert look.most == 1000
        looks.append(look)
    assert answer_of(mesh.received("a", "TASK_LIST", [{}], 8), 8)["code"] == "overloaded"
    refused = mesh.received("a", "TASK_GET", [{"id": "f" * 32}], 9)
    assert answer_of(refused, 9)["code"] == "overloaded"
    (other,) = mesh.received("m", "TASK_LIST", [{}], 1)
    assert isinstance(other, Look)
    assert answer_of(mesh.tasks.found(looks[0].number, []), 0)["tasks"] == []
    (again,) = mesh.received("a", "TASK_LIST", [{}], 10)
    assert isinstance(again, Look)


def ask(mesh: Mesh, deliver: Deliver, number: int, ack: int) -> list[Effect]:
    """Have the run of a task ask something back."""
    question = {"number": number, "capability": "MAY_I", "payload": None}
    meta = {"id": str(deliver.request)}
    return mesh.received("m", "GET_ASKER_ANSWER", [question, meta], ack)


def test_an_answer_is_never_that_of_the_next_question(mesh: Mesh) -> None:
    """The run gives a question up, and asks the next one, while the answer is being written."""
    declare(mesh)
    effects = submit(mesh)
    id_ = answer_of(effects)["task"]["id"]
    (deliver,) = [each for each in effects if isinstance(each, Deliver)]
    play(mesh, ask(mesh, deliver, 1, 11))
    (late,) = mesh.received("a", "TASK_ANSWER", [{"id": id_, "payload": {"yes": True}}], 2)
    play(mesh, mesh.received("m", "CANCEL_REQUEST", [{"ack": 11}]))
    effects = play(mesh, ask(mesh, deliver, 2, 12)) + play(mesh, [late])
    assert not [each for each in effects if isinstance(each, Acknowledge) and each.ack == 12]
    effects = mesh.received("a", "TASK_ANSWER", [{"id": id_, "payload": {"yes": False}}], 3)
    assert answer_of(play(mesh, effects), 12)["yes"] is False


def test_an_answer_that_is_sent_again_is_not_that_of_the_next_question(mesh: Mesh) -> None:
    """A link was lost before its acknowledgement came; nothing happens twice."""
    declare(mesh)
    effects = submit(mesh)
    id_ = answer_of(effects)["task"]["id"]
    (deliver,) = [each for each in effects if isinstance(each, Deliver)]
    play(mesh, ask(mesh, deliver, 1, 11))
    reply = {"id": id_, "payload": {"yes": True}, "key": "k"}
    first = mesh.received("a", "TASK_ANSWER", [reply], 2)
    early = mesh.received("a", "TASK_ANSWER", [reply], 3)
    assert not [each for each in early if isinstance(each, Acknowledge)]  # it is not kept yet
    assert answer_of(play(mesh, first), 11)["yes"] is True
    assert answer_of(play(mesh, early), 3)["task"]["state"] == "running"
    play(mesh, ask(mesh, deliver, 2, 12))
    again = play(mesh, mesh.received("a", "TASK_ANSWER", [reply], 4))
    assert answer_of(again, 4)["task"]["state"] == "asking"
    assert not [each for each in again if isinstance(each, Acknowledge) and each.ack == 12]
    refused = mesh.received("a", "TASK_ANSWER", [{**reply, "key": ""}], 5)
    assert answer_of(refused, 5)["code"] == "invalid_payload"
    end = mesh.acknowledged("m", deliver.request, [{"success": True}])
    late = mesh.received("a", "TASK_ANSWER", [reply], 6)
    assert not late
    assert answer_of(play(mesh, end), 6)["task"]["state"] == "done"


def test_a_master_that_comes_back_while_the_end_is_written_is_told(mesh: Mesh) -> None:
    """To a hub that was lost, and has never seen that master."""
    declare(mesh)
    effects = submit(mesh)
    (record,) = [each.record for each in effects if isinstance(each, Keep)][-1:]
    again = Mesh()
    for sid in ("a", "m"):
        again.connected(sid)
        again.received(sid, "CLIENT_REGISTER", [NATIVE])
    play(again, again.tasks.load([record]))
    (end, *_) = [
        each
        for each in again.received("a", "TASK_CANCEL", [{"id": record.id}], 1)
        if isinstance(each, Keep)
    ]
    told = again.received("m", "TASK_RESUME", [{"runs": [record.run]}], 2)
    assert answer_of(told, 2)["runs"] == {record.run: ""}
    effects = play(again, [end])
    (kept,) = [each for each in effects if isinstance(each, Emit) and each.event == "TASK_KEPT"]
    assert kept.args[0] == {"run": record.run}


def test_a_deadline_that_is_over_before_the_run_begins_says_so(mesh: Mesh) -> None:
    """Nothing was put to the master."""
    now = [1000.0]
    mesh.tasks.clock = lambda: now[0]
    declare(mesh)
    (new,) = mesh.received("a", "TASK_SUBMIT", [{"capability": "X", "timeoutMs": 10}], 1)
    assert isinstance(new, Keep)
    (start,) = [each for each in mesh.tasks.kept(new.number) if isinstance(each, Keep)]
    now[0] += 1.0
    (end, *_) = [
        each for each in play(mesh, [start]) if isinstance(each, Keep) and each.record.error
    ]
    assert end.record.error is not None
    assert end.record.error["details"] == [{"delivered": False}]
