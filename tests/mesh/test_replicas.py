"""Retained values of several hubs: after anything that can happen the last one is the same on all.

The registry is played by hand, as `retain.lua` and `join.lua` have it: what it decides, in which
order it hears the hubs, what is lost when it is cut off from one, and that it forgets everything.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

import attrs
import msgspec
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from alephscript.mesh.effects import Effect, Emit, Retain
from alephscript.mesh.mesh import Mesh
from alephscript.mesh.retained import RetainedValue
from alephscript.protocol.json import read_value
from tests.support.properties import examples

ROOM = "R"
EVENTS = ("A", "B")
HUBS = ("one", "two", "three")

HUB = st.sampled_from(HUBS)


@attrs.define
class Registry:
    """What all hubs share: the values, and the name of the data."""

    seq: int = 0
    source: str = ""
    values: dict[str, RetainedValue] = attrs.Factory(dict)

    def decide(self, effect: Retain, limit: int) -> RetainedValue | None:
        """Decide about a value; the notice that all hubs get, None for one that comes too late."""
        known = self.values.get(effect.event)
        if limit and known is not None and known.position >= limit:
            return None
        self.seq += 1
        self.source = self.source or f"data {self.seq}"
        value = copy(effect.value, limit or self.seq)
        self.values.pop(effect.event, None)
        if value.data is not None:
            self.values[effect.event] = copy(value, value.position)
        return value

    def lose(self) -> None:
        """Forget everything."""
        self.seq, self.source, self.values = 0, "", {}


def copy(value: RetainedValue, position: int) -> RetainedValue:
    """A value as it comes by a message."""
    return RetainedValue(value.data, value.sender, value.at, stamp=value.stamp, position=position)


class Hub:
    """One hub with a member, and its two ways to and from the registry."""

    def __init__(self, name: str, registry: Registry) -> None:
        self.registry = registry
        self.mesh = Mesh()
        federation = self.mesh.federate(name)
        self.replicas = federation.replicas
        self.is_up = False
        self.seq = 0
        self.source = ""
        self.commands: deque[tuple[Retain, int]] = deque()
        self.notices: deque[tuple[int, str, RetainedValue, bool, str]] = deque()
        self.heard: dict[str, Any] = {}
        self.mesh.connected("m")
        self.mesh.received("m", "CLIENT_SUSCRIBE", [{"room": ROOM}])

    def carry(self, effects: list[Effect]) -> None:
        """Note what the member hears, and put to the registry what is for it."""
        for effect in effects:
            if isinstance(effect, Emit) and effect.event in EVENTS:
                assert effect.to == ("m",)
                self.heard[effect.event] = read_value(effect.args[0])
            elif isinstance(effect, Retain) and self.is_up:
                value = effect.value
                limit = 0 if value.is_pending else value.position
                frozen = msgspec.structs.replace(effect, value=copy(value, 0))
                self.commands.append((frozen, limit))

    def say(self, event: str, data: Any) -> None:
        """The member says something that is to be kept."""
        message = {"event": event, "room": ROOM, "data": data, "retain": True}
        self.carry(self.mesh.received("m", "ROOM_MESSAGE", [message]))

    def go_adrift(self) -> None:
        """Lose what is under way in both directions."""
        self.is_up = False
        self.commands.clear()
        self.notices.clear()

    def join(self) -> None:
        """Take part again, or for the first time."""
        registry = self.registry
        if registry.seq < self.seq:
            registry.seq, registry.source = self.seq, ""
        registry.seq += 1
        self.is_up, self.seq = True, registry.seq
        is_lost, self.source = registry.source != self.source, registry.source
        kept = sorted(registry.values.items(), key=lambda pair: pair[1].position)
        values = {(ROOM, event): copy(value, value.position) for event, value in kept}
        self.carry(self.replicas.resynchronise(values, is_lost=is_lost))

    def follow(self) -> None:
        """Hear of the next decision."""
        seq, event, value, is_quiet, source = self.notices.popleft()
        self.seq, self.source = seq, source
        value = copy(value, value.position)
        self.carry(self.replicas.decided(ROOM, event, value, is_quiet=is_quiet))

    def kept(self) -> dict[str, Any]:
        """What a member that comes now is told."""
        return {event: read_value(each.data) for event, each in self.mesh.speech.retained.of(ROOM)}


class Hubs(RuleBasedStateMachine):
    """Three hubs, which say things, are cut off and come back."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.hubs = {name: Hub(name, self.registry) for name in HUBS}
        self.numbers = itertools.count()
        for each in self.hubs.values():
            each.join()

    @rule(hub=HUB, event=st.sampled_from(EVENTS), forget=st.sampled_from([False, False, True]))
    def says(self, hub: str, event: str, forget: bool) -> None:
        """A member says something new, or has the value forgotten."""
        self.hubs[hub].say(event, None if forget else next(self.numbers))

    @rule(hub=HUB, count=st.integers(1, 3))
    def is_decided(self, hub: str, count: int) -> None:
        """The registry gets to what a hub has put to it."""
        commands = self.hubs[hub].commands
        for _ in range(min(count, len(commands))):
            effect, limit = commands.popleft()
            value = self.registry.decide(effect, limit)
            if value is None:
                continue
            for each in self.hubs.values():
                if each.is_up:
                    notice = (self.registry.seq, effect.event, value, effect.is_quiet)
                    each.notices.append((*notice, self.registry.source))

    @rule(hub=HUB, count=st.integers(1, 3))
    def hears(self, hub: str, count: int) -> None:
        """A hub gets to what was decided."""
        for _ in range(min(count, len(self.hubs[hub].notices))):
            self.hubs[hub].follow()

    @rule(hub=HUB)
    @precondition(lambda self: any(each.is_up for each in self.hubs.values()))
    def is_cut_off(self, hub: str) -> None:
        """A hub goes on alone."""
        self.hubs[hub].go_adrift()

    @rule(hub=HUB)
    def comes_back(self, hub: str) -> None:
        """A hub that is cut off comes back."""
        if not self.hubs[hub].is_up:
            self.hubs[hub].join()

    @rule()
    def loses_its_data(self) -> None:
        """The registry dies, and begins anew with nothing: all hubs are cut off from it."""
        for each in self.hubs.values():
            each.go_adrift()
        self.registry.lose()

    @rule(hub=HUB)
    def is_started_anew(self, hub: str) -> None:
        """A hub dies, and another one takes its place."""
        self.hubs[hub] = Hub(f"{hub}{next(self.numbers)}", self.registry)
        self.hubs[hub].join()

    def teardown(self) -> None:
        """Once all is heard of all, every hub has the same, and its members have heard that."""
        for hub in HUBS:
            self.comes_back(hub)
        while any(each.commands or each.notices for each in self.hubs.values()):
            for hub, each in self.hubs.items():
                self.is_decided(hub, len(each.commands))
            for hub, each in self.hubs.items():
                self.hears(hub, len(each.notices))
        kept = {event: read_value(each.data) for event, each in self.registry.values.items()}
        for each in self.hubs.values():
            assert each.kept() == kept
            assert {k: v for k, v in each.heard.items() if v is not None} == kept
            assert not any(value.is_pending for *_, value in each.mesh.speech.retained)


TestHubs = Hubs.TestCase
TestHubs.settings = settings(max_examples=examples(300), stateful_step_count=40, deadline=None)


class Pair:
    """Two hubs and their registry, which decides and tells at once."""

    def __init__(self) -> None:
        self.machine = Hubs()
        self.one, self.two = self.machine.hubs["one"], self.machine.hubs["two"]

    def settle(self) -> None:
        """All that is under way arrives."""
        self.machine.teardown()


def test_what_one_hub_takes_all_have_and_tell() -> None:
    """Members hear it once each, and whoever comes later is told it at its own hub."""
    pair = Pair()
    pair.one.say("A", 1)
    assert (pair.one.heard, pair.one.kept(), pair.two.kept()) == ({"A": 1}, {"A": 1}, {})
    pair.settle()
    assert (pair.two.heard, pair.two.kept()) == ({"A": 1}, {"A": 1})
    pair.two.say("A", None)
    assert pair.two.kept() == {}
    pair.settle()
    assert (pair.one.heard, pair.one.kept()) == ({"A": None}, {})


def test_of_two_values_at_the_same_time_the_registry_decides_which_is_the_last() -> None:
    """The hub that was first hears both in order, the other one is told its own again."""
    pair = Pair()
    pair.one.say("A", "first")
    pair.two.say("A", "last")
    pair.settle()
    assert pair.one.kept() == pair.two.kept() == {"A": "last"}
    assert pair.one.heard == pair.two.heard == {"A": "last"}


def test_a_value_that_was_said_while_its_hub_was_cut_off_counts() -> None:
    """If no other hub has decided meanwhile."""
    pair = Pair()
    pair.one.say("A", 1)
    pair.one.say("B", 1)
    pair.settle()
    pair.one.go_adrift()
    pair.one.say("A", 2)
    pair.one.say("B", 2)
    pair.two.say("B", 3)
    pair.machine.is_decided("two", 1)
    pair.settle()
    assert pair.one.kept() == pair.two.kept() == {"A": 2, "B": 3}


def test_a_value_that_was_under_way_when_its_hub_was_cut_off_counts() -> None:
    """It was to come after what that hub had heard of others until then."""
    pair = Pair()
    pair.one.say("A", "first")
    pair.machine.is_decided("one", 1)
    pair.two.say("A", "last")
    pair.two.follow()
    pair.two.go_adrift()
    pair.settle()
    assert pair.one.kept() == pair.two.kept() == {"A": "last"}


def test_what_was_forgotten_while_a_hub_was_cut_off_stays_forgotten() -> None:
    """Its members are told."""
    pair = Pair()
    pair.one.say("A", 1)
    pair.settle()
    pair.one.go_adrift()
    pair.two.say("A", None)
    pair.machine.is_decided("two", 1)
    pair.settle()
    assert pair.one.kept() == pair.two.kept() == {}
    assert pair.one.heard == {"A": None}


def test_a_registry_that_has_lost_its_data_gets_back_the_last_values() -> None:
    """Of two hubs the one that knew the later value is right, whoever comes first."""
    for first, second in itertools.permutations(("one", "two")):
        pair = Pair()
        pair.one.say("A", "old")
        pair.settle()
        pair.one.go_adrift()
        pair.two.say("A", "new")
        pair.machine.is_decided("two", 1)
        pair.two.follow()
        pair.machine.loses_its_data()
        for hub in HUBS:
            pair.machine.comes_back(hub)
        pair.machine.is_decided(first, 1)
        pair.machine.is_decided(second, 1)
        pair.settle()
        assert pair.one.kept() == pair.two.kept() == {"A": "new"}


def test_a_hub_that_comes_anew_has_all_that_was_said_before() -> None:
    """Hubs are started again one after the other, and even all of them."""
    pair = Pair()
    pair.one.say("A", 1)
    pair.settle()
    for hub in HUBS:
        pair.machine.hubs[hub].go_adrift()
    for hub in HUBS:
        pair.machine.is_started_anew(hub)
        assert pair.machine.hubs[hub].kept() == {"A": 1}
