"""Presence: one MEMBER_JOINED and one MEMBER_LEFT a member and room, whatever happens.

The last test plays two hubs and what travels between them, in any order that keeps each way's own,
and compares what a watcher has heard with who is there.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from alephscript.mesh.access import Identity
from alephscript.mesh.effects import Acknowledge, Effect, Emit, SubscribeRoom, ToHub
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value
from tests.support.properties import examples

ROOM = "R"
ACK = 1
CHANGES = ("MEMBER_JOINED", "MEMBER_LEFT")


def connect(mesh: Mesh, sid: str, usuario: str, sesion: str = "", *, native: bool = False) -> None:
    """Connect and register a peer."""
    mesh.connected(sid)
    about = {"usuario": usuario, "sesion": sesion}
    if native:
        about["protocol"] = events.PROTOCOL
    mesh.received(sid, "CLIENT_REGISTER", [about])


def enter(mesh: Mesh, sid: str, room: str = ROOM, **options: Any) -> list[Effect]:
    """Subscribe; what comes of it."""
    return mesh.received(sid, "CLIENT_SUSCRIBE", [{"room": room, **options}], ACK)


def told(effects: list[Effect], sid: str) -> list[tuple[str, str]]:
    """Who came and went, as a peer hears it."""
    changes = []
    for each in effects:
        if isinstance(each, Emit) and each.event in CHANGES and sid in each.to:
            payload = each.args[0]
            assert payload["room"] == ROOM
            word = "+" if each.event == "MEMBER_JOINED" else payload["reason"]
            changes.append((word, payload["usuario"] + payload["sesion"]))
    return changes


@pytest.fixture
def mesh() -> Mesh:
    """A mesh with a watcher w, of stock software."""
    mesh = Mesh()
    connect(mesh, "w", "watcher")
    enter(mesh, "w", presence=True)
    return mesh


def test_who_asks_hears_who_comes_and_who_goes(mesh: Mesh) -> None:
    """Once each, with the reason; of other rooms nothing."""
    connect(mesh, "a", "ana", "1")
    assert told(enter(mesh, "a"), "w") == [("+", "ana1")]
    assert told(enter(mesh, "a"), "w") == []
    assert told(enter(mesh, "a", "OTHER"), "w") == []
    assert told(mesh.received("a", "CLIENT_UNSUSCRIBE", [{"room": ROOM}]), "w") == [
        ("unsubscribed", "ana1")
    ]
    assert told(mesh.received("a", "CLIENT_UNSUSCRIBE", [{"room": ROOM}]), "w") == []
    enter(mesh, "a")
    assert told(enter(mesh, "a", out=True), "w") == [("unsubscribed", "ana1")]
    enter(mesh, "a")
    assert told(mesh.disconnected("a"), "w") == [("link_lost", "ana1")]
    connect(mesh, "b", "bo")
    enter(mesh, "b")
    assert told(mesh.disconnected("b", "disconnected"), "w") == [("disconnected", "bo")]


def test_each_dialect_is_told_in_its_own_way(mesh: Mesh) -> None:
    """The payload names the room; natives get the meta besides."""
    connect(mesh, "n", "native", native=True)
    enter(mesh, "n", presence=True)
    connect(mesh, "a", "ana", "1")
    emits = [each for each in enter(mesh, "a") if isinstance(each, Emit)]
    payload = {"room": ROOM, "usuario": "ana", "sesion": "1"}
    assert emits[0] == Emit(("w",), "MEMBER_JOINED", (payload,))
    assert emits[1] == Emit(("n",), "MEMBER_JOINED", (payload, {"room": ROOM}))


def test_who_asks_hears_nothing_of_itself_and_of_those_who_are_there(mesh: Mesh) -> None:
    """They are members, which GET_MEMBERS tells."""
    connect(mesh, "v", "vera")
    effects = enter(mesh, "v", presence=True)
    assert (told(effects, "w"), told(effects, "v")) == ([("+", "vera")], [])
    effects = mesh.disconnected("v")
    assert told(effects, "w") == [("link_lost", "vera")]
    (answer,) = [
        each.answer
        for each in mesh.received("w", "GET_MEMBERS", [{"room": ROOM, "presence": True}], ACK)
        if isinstance(each, Acknowledge)
    ]
    assert read_value(answer)["members"] == [{"usuario": "watcher", "sesion": ""}]


def test_who_does_not_ask_hears_nothing(mesh: Mesh) -> None:
    """Nor does whoever has left, or has asked in another room."""
    connect(mesh, "a", "ana")
    connect(mesh, "b", "bo")
    enter(mesh, "a")
    enter(mesh, "a", "OTHER", presence=True)
    assert told(enter(mesh, "b"), "a") == []
    mesh.received("w", "CLIENT_UNSUSCRIBE", [{"room": ROOM}])
    assert told(mesh.disconnected("b"), "w") == []
    assert list(mesh.rooms.presences.rooms) == ["OTHER"]


def test_whoever_asked_once_goes_on_hearing(mesh: Mesh) -> None:
    """A further subscription without the wish does not end it."""
    enter(mesh, "w")
    connect(mesh, "a", "ana")
    assert told(enter(mesh, "a"), "w") == [("+", "ana")]


def test_a_member_is_there_as_long_as_any_of_its_sockets(mesh: Mesh) -> None:
    """So a session that is back before the loss of its old link is noticed has never left."""
    connect(mesh, "a1", "ana", "1")
    connect(mesh, "a2", "ana", "1")
    connect(mesh, "a3", "ana", "2")
    assert told(enter(mesh, "a1"), "w") == [("+", "ana1")]
    assert told(enter(mesh, "a2"), "w") == []
    assert told(enter(mesh, "a3"), "w") == [("+", "ana2")]
    assert told(mesh.disconnected("a1"), "w") == []
    assert told(mesh.disconnected("a2"), "w") == [("link_lost", "ana1")]
    assert told(mesh.disconnected("a3"), "w") == [("link_lost", "ana2")]


def test_who_registers_as_somebody_else_has_left_and_come(mesh: Mesh) -> None:
    """Under the names that were told; the same name again is nothing new."""
    mesh.connected("a")
    assert told(enter(mesh, "a"), "w") == [("+", "--")]
    effects = mesh.received("a", "CLIENT_REGISTER", [{"usuario": "ana"}])
    assert told(effects, "w") == [("renamed", "--"), ("+", "ana")]
    assert told(mesh.received("a", "CLIENT_REGISTER", [{"usuario": "ana"}]), "w") == []
    assert told(mesh.disconnected("a"), "w") == [("link_lost", "ana")]


def test_a_displaced_master_is_still_there(mesh: Mesh) -> None:
    """Mastering is no presence, nor is its end an absence."""
    for sid in "ab":
        connect(mesh, sid, sid)
        enter(mesh, sid)
        effects = mesh.received(sid, "MAKE_MASTER", [{"room": ROOM, "features": ["X"]}])
        assert told(effects, "w") == []
    assert told(mesh.received("b", "MAKE_MASTER", [{"room": ROOM, "out": True}]), "w") == []


def test_a_crowd_that_nobody_watches_costs_nothing() -> None:
    """Ten thousand that come and go: three effects each, however many are there."""
    mesh, effects = Mesh(), 0
    for number in range(10_000):
        connect(mesh, f"s{number}", f"u{number}")
        effects += len(enter(mesh, f"s{number}"))
    for number in range(10_000):
        effects += len(mesh.disconnected(f"s{number}"))
    assert effects == 30_000
    assert not mesh.rooms.presences.rooms


def test_a_crowd_that_one_watches_costs_that_one_a_frame_each(mesh: Mesh) -> None:
    """Not the square of it."""
    frames = 0
    for number in range(2_000):
        connect(mesh, f"s{number}", f"u{number}")
        for each in enter(mesh, f"s{number}"):
            frames += len(each.to) if isinstance(each, Emit) else 0
    assert frames == 3 * 2_000


def test_members_that_could_not_be_listed_are_counted() -> None:
    """The answer is bounded, whatever they are called."""
    mesh = Mesh()
    for number in range(5_000):
        connect(mesh, f"s{number}", f"{'u' * 200}{number}")
        enter(mesh, f"s{number}")
    question = [{"room": ROOM, "presence": True}]
    (ack,) = [
        each
        for each in mesh.received("s0", "GET_MEMBERS", question, ACK)
        if isinstance(each, Acknowledge)
    ]
    answer = read_value(ack.answer)
    assert len(str(answer)) < 600_000
    assert len(answer["members"]) + answer["omitted"] == 5_000


@pytest.mark.parametrize("room", [None, 7, ""])
def test_who_asks_who_is_there_names_a_room(mesh: Mesh, room: Any) -> None:
    """All members of all rooms are nobody's to know."""
    (ack,) = mesh.received("w", "GET_MEMBERS", [{"room": room, "presence": True}], ACK)
    assert isinstance(ack, Acknowledge)
    assert read_value(ack.answer)["code"] == "invalid_payload"


def test_who_may_not_enter_a_room_is_not_told_who_is_there() -> None:
    """By neither way."""
    mesh = Mesh(authorize=lambda *_: False)
    mesh.connected("s", identity=Identity())
    for effects in (
        enter(mesh, "s", presence=True),
        mesh.received("s", "GET_MEMBERS", [{"room": ROOM, "presence": True}], ACK),
    ):
        (ack,) = [each for each in effects if isinstance(each, Acknowledge)]
        assert read_value(ack.answer)["code"] == "permission_denied"
    assert not mesh.rooms.presences.rooms


# Several hubs


class Cluster:
    """Hubs, and for each way between two of them what is under way there."""

    def __init__(self, *names: str) -> None:
        self.meshes: dict[str, Mesh] = {}
        self.ways: dict[tuple[str, str], deque[ToHub]] = {}
        self.heard: list[tuple[str, str]] = []
        self.confirmed = False
        self.sids = itertools.count()
        for name in names:
            self.come(name)

    def come(self, name: str) -> None:
        """A hub comes; all others are told before anything that it says."""
        mesh = self.meshes[name] = Mesh()
        federation = mesh.federate(name)
        others = [other for other in self.meshes if other != name]
        for other in others:
            self.ways[name, other], self.ways[other, name] = deque(), deque()
        for other in others:
            there = self.meshes[other].federation
            assert there is not None
            self.carry(other, there.hub_came(name))
        self.carry(name, federation.resynchronise(others, {}))

    def kill(self, name: str) -> None:
        """A hub dies; all others are told, and hear nothing of it afterwards."""
        del self.meshes[name]
        for way in list(self.ways):
            if name in way:
                del self.ways[way]
        for other, mesh in self.meshes.items():
            assert mesh.federation is not None
            self.carry(other, mesh.federation.hub_gone(name))

    def carry(self, hub: str, effects: list[Effect]) -> None:
        """Put on its way what is for another hub; note what the watcher hears."""
        for effect in effects:
            if isinstance(effect, ToHub):
                self.ways[hub, effect.hub].append(effect)
            elif isinstance(effect, Acknowledge) and effect.sid == "w":
                self.confirmed = True
        self.heard += told(effects, "w")

    def deliver(self, sender: str, receiver: str, count: int) -> None:
        """Let so many frames arrive."""
        way = self.ways.get((sender, receiver), deque())
        federation = self.meshes[receiver].federation if receiver in self.meshes else None
        for _ in range(min(count, len(way))):
            assert federation is not None
            self.carry(receiver, federation.received(sender, way.popleft().frame))

    def settle(self) -> None:
        """Let all that is under way arrive."""
        while any(self.ways.values()):
            for sender, receiver in list(self.ways):
                self.deliver(sender, receiver, 1)

    def enter(self, hub: str, member: str) -> str:
        """A member comes, by a new socket."""
        sid = f"s{next(self.sids)}"
        connect(self.meshes[hub], sid, member)
        self.carry(hub, enter(self.meshes[hub], sid))
        return sid

    def watch(self, hub: str) -> None:
        """The watcher comes."""
        connect(self.meshes[hub], "w", "watcher")
        self.carry(hub, enter(self.meshes[hub], "w", presence=True))


def test_what_another_hub_tells_is_checked_and_told() -> None:
    """Who comes after the answer is told, who was there before is not."""
    cluster = Cluster("one", "two")
    cluster.enter("two", "early")
    cluster.watch("one")
    assert not cluster.confirmed
    cluster.settle()
    assert (cluster.confirmed, cluster.heard) == (True, [])
    sid = cluster.enter("two", "ana")
    cluster.settle()
    cluster.carry("two", cluster.meshes["two"].disconnected(sid))
    cluster.settle()
    assert cluster.heard == [("+", "ana"), ("link_lost", "ana")]


def test_a_killed_hubs_members_have_left_by_the_word_of_the_others() -> None:
    """Once each, with the reason, but for those who are elsewhere, too."""
    cluster = Cluster("one", "two", "three")
    cluster.watch("one")
    cluster.settle()
    for hub, member in (("two", "ana"), ("two", "bo"), ("three", "bo"), ("one", "cleo")):
        cluster.enter(hub, member)
    cluster.settle()
    cluster.heard.clear()
    cluster.kill("two")
    cluster.settle()
    assert cluster.heard == [("hub_lost", "ana")]


def test_a_session_that_comes_back_at_another_hub_has_never_left() -> None:
    """If it is there before its old hub is missed; else it has left, and come."""
    cluster = Cluster("one", "two", "three")
    cluster.watch("one")
    cluster.settle()
    cluster.enter("two", "ana")
    cluster.settle()
    cluster.enter("three", "ana")
    cluster.settle()
    cluster.kill("two")
    cluster.settle()
    assert cluster.heard == [("+", "ana")]


def test_a_hub_that_nobody_watches_tells_the_others_nothing() -> None:
    """Nor does one whose watcher has gone."""
    cluster = Cluster("one", "two")
    cluster.enter("two", "ana")
    assert not any(cluster.ways.values())
    cluster.watch("one")
    cluster.settle()
    cluster.carry("one", cluster.meshes["one"].disconnected("w"))
    cluster.settle()
    cluster.enter("two", "bo")
    assert not any(cluster.ways.values())
    assert not any(mesh.rooms.presences.rooms for mesh in cluster.meshes.values())


def test_a_watcher_that_cannot_reach_a_hub_is_confirmed_without_it() -> None:
    """A hub that is gone answers no more."""
    cluster = Cluster("one", "two")
    cluster.watch("one")
    assert not cluster.confirmed
    cluster.kill("two")
    assert cluster.confirmed


def test_a_watcher_is_told_what_its_first_subscription_waits_for() -> None:
    """The room's channel comes first, so that nothing said after the confirmation is missed."""
    cluster = Cluster("one", "two")
    mesh = cluster.meshes["one"]
    connect(mesh, "w", "watcher")
    effects = enter(mesh, "w", presence=True)
    assert [type(each) for each in effects] == [SubscribeRoom, ToHub]


HUB = st.sampled_from(["one", "two", "three"])


class Crowd(RuleBasedStateMachine):
    """Members that come and go at three hubs, which come and go; one watches."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster("one", "two", "three")
        self.inside: dict[str, tuple[str, str]] = {}  # socket -> hub and member
        self.known: set[str] = set()

    @rule(hub=HUB, member=st.sampled_from(["ana", "bo", "cleo"]))
    def comes(self, hub: str, member: str) -> None:
        """By another socket, or for the first time."""
        if hub in self.cluster.meshes:
            self.inside[self.cluster.enter(hub, member)] = (hub, member)

    @rule(data=st.data(), renamed=st.booleans())
    def goes(self, data: st.DataObject, renamed: bool) -> None:
        """One socket of a member, or it becomes another one."""
        if not self.inside:
            return
        sid = data.draw(st.sampled_from(sorted(self.inside)))
        hub, _ = self.inside.pop(sid)
        mesh = self.cluster.meshes[hub]
        if renamed:
            self.inside[sid] = (hub, "dan")
            self.cluster.carry(hub, mesh.received(sid, "CLIENT_REGISTER", [{"usuario": "dan"}]))
        else:
            self.cluster.carry(hub, mesh.disconnected(sid))

    @rule(sender=HUB, receiver=HUB, count=st.integers(1, 4))
    def arrives(self, sender: str, receiver: str, count: int) -> None:
        """Some frames of one hub at another."""
        self.cluster.deliver(sender, receiver, count)

    @rule(hub=st.sampled_from(["two", "three"]))
    def dies_or_comes_back(self, hub: str) -> None:
        """A hub that has no watcher."""
        if hub in self.cluster.meshes:
            self.inside = {sid: each for sid, each in self.inside.items() if each[0] != hub}
            self.cluster.kill(hub)
        else:
            self.cluster.come(hub)

    @rule()
    def watches(self) -> None:
        """The watcher subscribes, if it has not; who is there then it asks."""
        if "w" in self.cluster.meshes["one"].rooms.peers:
            return
        self.cluster.watch("one")
        self.cluster.settle()
        assert self.cluster.confirmed
        self.cluster.heard.clear()
        self.known = {member for _, member in self.inside.values()}

    @rule()
    def stops_watching(self) -> None:
        """The watcher goes."""
        if "w" in self.cluster.meshes["one"].rooms.peers:
            self.cluster.carry("one", self.cluster.meshes["one"].disconnected("w"))
            self.cluster.confirmed = False

    def teardown(self) -> None:
        """Changes of each member alternate, and lead to who is there."""
        self.watches()
        self.cluster.settle()
        there = set(self.known)
        for word, member in self.cluster.heard:
            assert (member in there) == (word != "+")
            (there.add if word == "+" else there.remove)(member)
        assert there == {member for _, member in self.inside.values()}


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=examples(300), stateful_step_count=40, deadline=None)
