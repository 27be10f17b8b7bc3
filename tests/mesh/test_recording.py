"""Whoever records rooms is told everything once, without secrets; others are told nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from alephscript.mesh.access import Identity
from alephscript.mesh.effects import Acknowledge, Effect, Emit, ToHub
from alephscript.mesh.federation import Entry
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import parse_json, write_json

SECRET = {"type": "string", "x-secret": True}
LOGIN = {"type": "object", "properties": {"user": {"type": "string"}, "password": SECRET}}
DECLARED = {
    "room": "R",
    "features": ["LOGIN"],
    "descriptions": {"LOGIN": {"request": LOGIN, "reply": {"properties": {"token": SECRET}}}},
    "says": {"CAME": {"properties": {"key": SECRET}}},
}


class Hub:
    """A mesh, and all that it wants done, as it would stand on the wire."""

    def __init__(self, mesh: Mesh | None = None) -> None:
        self.mesh = mesh or Mesh()
        self.mesh.recording.tell = self.carry
        self.mesh.recording.clock = lambda: 12.5
        self.effects: list[Effect] = []

    def carry(self, effects: list[Effect]) -> None:
        """Take effects."""
        self.effects += effects

    def connect(self, sid: str, identity: Identity | None = None) -> None:
        """A native peer comes."""
        self.mesh.connected(sid, identity=identity)
        about = {"usuario": sid, "sesion": "", "protocol": events.PROTOCOL}
        self.mesh.received(sid, "CLIENT_REGISTER", [about])

    def send(self, sid: str, event: str, *args: Any, ack: int | None = 1) -> Any:
        """A peer sends an event; the answer, if it comes at once."""
        effects = self.mesh.received(sid, event, args, ack)
        self.carry(effects)
        answers = [each.answer for each in effects if isinstance(each, Acknowledge)]
        return answers[0] if answers else None

    def told(self, sid: str) -> list[dict[str, Any]]:
        """What a peer has been told of the rooms that it records, and is not told again."""
        found = [
            parse_json(write_json(list(each.args)))[0]
            for each in self.effects
            if isinstance(each, Emit) and each.event == "ROOM_RECORD" and sid in each.to
        ]
        self.effects.clear()
        return found


@pytest.fixture
def hub() -> Hub:
    """A hub with a master m, an asker a and a recorder r."""
    hub = Hub()
    for sid in "mar":
        hub.connect(sid)
    hub.send("m", "MAKE_MASTER", DECLARED)
    assert hub.send("r", "RECORD_ROOMS", {"rooms": ["R"]}) == {"success": True, "rooms": ["R"]}
    return hub


def is_on(mesh: Mesh) -> bool:
    """Whether anything is done for recorders."""
    return mesh.requests.recorder is not None


def kinds(records: list[dict[str, Any]]) -> list[str]:
    """The kinds of records."""
    return [each["kind"] for each in records]


def test_a_recorder_learns_which_masters_there_are(hub: Hub) -> None:
    """At once, and when there are others."""
    (record,) = hub.told("r")
    assert (record["kind"], record["room"], record["usuario"]) == ("master", "R", "m")
    assert record["capabilities"]["LOGIN"]["request"] == LOGIN
    hub.carry(hub.mesh.disconnected("m"))
    (record,) = hub.told("r")
    assert (record["usuario"], record["capabilities"]) == (None, {})


def test_a_request_is_told_from_its_master_to_its_answer(hub: Hub) -> None:
    """With its asker, and without what the contract marks as a secret, or repeats one."""
    hub.told("r")
    payload = {"user": "ana", "password": "geheim"}
    hub.send("a", "GET_LOGIN", payload, {"timeoutMs": 500, "parts": 3}, ack=9)
    hub.send("m", "REQUEST_PART", {"token": "t1", "n": "geheim"}, {"id": "1"}, ack=None)
    hub.carry(hub.mesh.acknowledged("m", 1, [{"success": True, "token": "t2", "x": "geheim!"}]))
    records = hub.told("r")
    assert records == [
        {
            "kind": "request",
            "room": "R",
            "id": "1",
            "capability": "LOGIN",
            "payload": {"user": "ana", "password": "[redacted]"},
            "redacted": [["password"]],
            "from": "a",
            "usuario": "a",
            "sesion": "",
            "timeoutMs": 500,
            "streams": True,
            "at": 12.5,
        },
        {
            "kind": "part",
            "room": "R",
            "id": "1",
            "data": {"token": "[redacted]", "n": "[redacted]"},
            "redacted": [["token"], ["n"]],
            "at": 12.5,
        },
        {
            "kind": "answer",
            "room": "R",
            "id": "1",
            "answer": {"success": True, "token": "[redacted]", "x": "[redacted]!"},
            "redacted": [["token"], ["x"]],
            "at": 12.5,
        },
    ]


def test_an_event_is_told_without_what_its_master_marks(hub: Hub) -> None:
    """Whoever says it; an answer that the room is told has the marks of the reply."""
    hub.told("r")
    hub.send("a", "ROOM_MESSAGE", {"event": "CAME", "room": "R", "data": {"key": "k", "n": 1}})
    hub.send("m", "CAME", {"n": 2}, {"room": "R", "retain": True})
    hub.send("m", "ROOM_MESSAGE", {"event": "SET_LOGIN", "room": "R", "data": {"token": "t"}})
    hub.send("m", "ROOM_MESSAGE", {"event": "CAME", "room": "OTHER", "data": 1})
    first, second, third = hub.told("r")
    assert (first["data"], first["from"]) == ({"key": "[redacted]", "n": 1}, "a")
    assert (second["data"], second["retain"], second["from"]) == ({"n": 2}, True, "m")
    assert third["data"] == {"token": "[redacted]"}


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda hub: hub.send("a", "CANCEL_REQUEST", {"request": 9}), ("end", "cancelled")),
        (lambda hub: hub.carry(hub.mesh.disconnected("a")), ("end", "asker_lost")),
        (lambda hub: hub.carry(hub.mesh.disconnected("m")), ("answer", "master_lost")),
        (lambda hub: hub.carry(hub.mesh.expired(1)), ("answer", "deadline_exceeded")),
    ],
    ids=["cancelled", "asker", "master", "deadline"],
)
def test_each_end_is_told(hub: Hub, end: Callable[[Hub], None], expected: tuple[str, str]) -> None:
    """With an answer or without one, once."""
    hub.send("a", "GET_LOGIN", {}, ack=9)
    hub.told("r")
    end(hub)
    ends = [each for each in hub.told("r") if each.get("id") == "1"]
    assert [(each["kind"], each.get("code") or each["answer"]["code"]) for each in ends] == [
        expected
    ]


def test_what_no_master_takes_is_told_without_its_payload(hub: Hub) -> None:
    """As no contract says what in it is a secret."""
    hub.send("r", "RECORD_ROOMS", {"rooms": ["*"]})
    hub.told("r")
    hub.send("a", "GET_NOTHING", {"password": "geheim"})
    (record,) = hub.told("r")
    assert (record["kind"], record["capability"], record["code"]) == (
        "refused",
        "NOTHING",
        "no_master",
    )
    assert "geheim" not in repr(record)


def test_what_is_asked_back_is_told_with_the_request_that_it_is_about(hub: Hub) -> None:
    """And what comes of it."""
    hub.send("a", "GET_LOGIN", {"password": "geheim"}, {"answers": True}, ack=9)
    hub.told("r")
    question = {"capability": "SURE", "payload": {"pin": 1234}, "request": {"items": SECRET}}
    hub.send("m", "GET_ASKER_ANSWER", question, {"id": "1"}, ack=5)
    hub.carry(hub.mesh.acknowledged("a", 2, [{"success": True, "said": "geheim"}]))
    asked, answered = hub.told("r")
    assert (asked["kind"], asked["id"], asked["about"]) == ("question", "2", "1")
    assert asked["data"]["capability"] == "SURE"
    assert (answered["kind"], answered["id"]) == ("answer", "2")
    assert answered["answer"]["said"] == "[redacted]"


def test_a_request_says_which_one_it_is_made_for(hub: Hub) -> None:
    """So that nobody asks it a second time."""
    hub.send("r", "RECORD_ROOMS", {"rooms": ["*"]})
    hub.connect("b")
    hub.send("b", "MAKE_MASTER", {"room": "BANK", "features": ["CHARGE"]})
    hub.send("a", "GET_LOGIN", {}, ack=9)
    hub.told("r")
    hub.send("m", "GET_CHARGE", {}, {"chain": ["1"]}, ack=3)
    assert hub.told("r")[0]["inside"] == "1"


def test_what_is_too_much_for_a_message_is_left_out(hub: Hub) -> None:
    """Its size is told; so it is of what is too deep for one level more."""
    hub.told("r")
    deep: Any = 1
    for _ in range(63):
        deep = [deep]
    hub.send("a", "ROOM_MESSAGE", {"event": "CAME", "room": "R", "data": deep})
    (record,) = hub.told("r")
    assert "data" not in record
    assert record["omitted"] == len(write_json(deep))


def test_nobody_is_told_who_has_not_asked(hub: Hub) -> None:
    """Nor who has ended it, nor who is gone, nor of other rooms; then nothing is done for it."""
    hub.connect("s")
    hub.send("s", "RECORD_ROOMS", {"rooms": ["OTHER"]})
    hub.told("r")
    hub.send("a", "GET_LOGIN", {}, ack=9)
    assert hub.told("s") == []
    hub.send("r", "RECORD_ROOMS", {"rooms": []})
    assert is_on(hub.mesh)
    hub.carry(hub.mesh.disconnected("s"))
    assert not is_on(hub.mesh)
    hub.send("a", "GET_LOGIN", {}, ack=10)
    assert hub.told("r") == []


@pytest.mark.parametrize("rooms", [None, "R", [1], [""], ["a\x00"]], ids=str)
def test_what_names_no_rooms_is_refused(hub: Hub, rooms: Any) -> None:
    """As a sentence, and nothing changes."""
    assert hub.send("r", "RECORD_ROOMS", {"rooms": rooms})["code"] == "invalid_payload"


def test_on_a_guarded_hub_an_admin_alone_may_record() -> None:
    """And no other room than those that the admin may be in."""
    hub = Hub(Mesh(authorize=lambda identity, action, room, _: room in (identity.rooms or {room})))
    hub.connect("user", Identity(usuario="user"))
    hub.connect("admin", Identity(usuario="admin", is_admin=True))
    hub.connect("some", Identity(usuario="some", is_admin=True, rooms=frozenset({"R"})))
    assert hub.send("user", "RECORD_ROOMS", {"rooms": ["R"]})["code"] == "permission_denied"
    assert hub.send("some", "RECORD_ROOMS", {"rooms": ["*"]})["code"] == "permission_denied"
    assert hub.send("some", "RECORD_ROOMS", {"rooms": ["R"]})["success"]
    assert hub.send("admin", "RECORD_ROOMS", {"rooms": ["*"]})["success"]


def test_nobody_can_tell_records_in_place_of_the_hub(hub: Hub) -> None:
    """ROOM_RECORD is said by no peer."""
    said = hub.send("a", "ROOM_MESSAGE", {"event": "ROOM_RECORD", "room": "R", "data": {}})
    assert said["code"] == "unknown_event"


class TwoHubs:
    """Two hubs of one mesh, and the frames between them."""

    def __init__(self) -> None:
        self.hubs = {name: Hub() for name in ("one", "two")}
        for name, hub in self.hubs.items():
            federation = hub.mesh.federate(name)
            self.settle(name, federation.hub_came("two" if name == "one" else "one"))

    def settle(self, name: str, effects: list[Effect]) -> None:
        """Carry out effects of a hub, and of others what comes of them."""
        self.hubs[name].carry(effects)
        self.pass_on()

    def pass_on(self) -> None:
        """Carry frames from hub to hub until there are none."""
        while frames := [
            (name, each)
            for name, hub in self.hubs.items()
            for each in hub.effects
            if isinstance(each, ToHub)
        ]:
            for name, frame in frames:
                self.hubs[name].effects.remove(frame)
                read = parse_json(msgspec.json.encode(frame.frame))
                federation = self.hubs[frame.hub].mesh.federation
                assert federation is not None
                self.hubs[frame.hub].carry(federation.received(name, read))

    def master(self, hub: str, sid: str) -> None:
        """Have the registry choose a master of R."""
        declared = events.parse_declaration(DECLARED)
        entry = Entry(hub, sid, sid, declared, is_core=False)
        for each in self.hubs.values():
            assert each.mesh.federation is not None
            each.carry(each.mesh.federation.apply_decision("R", 1, [entry]))


@pytest.mark.parametrize("recorder", ["one", "two"])
@pytest.mark.parametrize("asker", ["one", "two"])
@pytest.mark.parametrize("master", ["one", "two"])
def test_among_several_hubs_everything_is_told_once(recorder: str, asker: str, master: str) -> None:
    """Wherever somebody asks, answers and records."""
    both = TwoHubs()
    both.hubs[master].connect("m")
    both.hubs[asker].connect("a")
    both.hubs[recorder].connect("r")
    both.hubs[recorder].send("r", "RECORD_ROOMS", {"rooms": ["R"]})
    both.pass_on()
    both.master(master, "m")
    assert kinds(both.hubs[recorder].told("r")) == ["master"]
    both.hubs[asker].send("a", "GET_LOGIN", {"password": "geheim"}, {"answers": True}, ack=9)
    both.pass_on()
    served = both.hubs[master].mesh.rooms.peers["m"].serving
    (number,) = served
    both.hubs[master].send(
        "m", "GET_ASKER_ANSWER", {"capability": "SURE"}, {"id": str(number)}, ack=5
    )
    both.pass_on()
    (question,) = both.hubs[asker].mesh.rooms.peers["a"].serving
    for hub, sid, request in ((asker, "a", question), (master, "m", number)):
        both.settle(hub, both.hubs[hub].mesh.acknowledged(sid, request, [{"success": True}]))
    both.hubs[asker].send("a", "ROOM_MESSAGE", {"event": "CAME", "room": "R", "data": {"key": "k"}})
    both.pass_on()
    records = both.hubs[recorder].told("r")
    assert kinds(records) == ["request", "question", "answer", "answer", "event"]
    asked, back, answered, ended, said = records
    assert asked["id"] == back["about"] == ended["id"] != back["id"] == answered["id"]
    assert asked["payload"] == {"password": "[redacted]"}
    assert said["data"] == {"key": "[redacted]"}


def test_a_hub_that_is_gone_is_told_nothing() -> None:
    """And one that came later is told what is recorded."""
    both = TwoHubs()
    both.hubs["one"].connect("r")
    both.hubs["one"].send("r", "RECORD_ROOMS", {"rooms": ["R"]})
    both.pass_on()
    two = both.hubs["two"].mesh
    assert is_on(two)
    assert two.federation is not None
    two.federation.hub_gone("one")
    assert not is_on(two)
    one = both.hubs["one"].mesh
    assert one.federation is not None
    two.federation.hub_came("one")
    both.settle("one", one.federation.hub_came("two"))
    assert is_on(two)
    both.settle("one", one.disconnected("r"))
    assert not is_on(two)
