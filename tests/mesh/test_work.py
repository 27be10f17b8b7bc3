"""The work of one cheap message does not grow with what others left at the hub.

Work is counted in Python's own instructions: no clock, the same on each machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from alephscript.mesh.effects import Acknowledge, Deliver, Effect, Emit, Resume
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events

ACK = 7
DAY = 86_400_000

Act = Callable[[], Any]
Scene = Callable[[int], Act]
"""Leaves so many things at a hub, and gives the cheap message."""


if sys.version_info >= (3, 12):

    def instructions(act: Act) -> int:
        """Count the instructions that Python takes for something; those of C do not count."""
        count = 0

        def step(*_: object) -> None:
            nonlocal count
            count += 1

        tool, event = 4, sys.monitoring.events.INSTRUCTION  # others are debuggers', coverage's
        sys.monitoring.use_tool_id(tool, __name__)
        sys.monitoring.register_callback(tool, event, step)
        sys.monitoring.set_events(tool, event)
        try:
            act()
        finally:
            sys.monitoring.set_events(tool, 0)
            sys.monitoring.register_callback(tool, event, None)
            sys.monitoring.free_tool_id(tool)
        return count

else:

    def instructions(act: Act) -> int:
        """Count the instructions that Python takes for something; those of C do not count."""
        count = 0

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal count
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            count += event == "opcode"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            act()
        finally:
            sys.settrace(before)
        return count


def enter(mesh: Mesh, *names: str) -> None:
    """Connect and register native peers."""
    for name in names:
        mesh.connected(name)
        mesh.received(
            name, "CLIENT_REGISTER", [{"usuario": name, "sesion": "", "protocol": events.PROTOCOL}]
        )


def declare(mesh: Mesh, sid: str, room: str, *features: str, **fields: Any) -> list[Effect]:
    """Master a room, as one that may be asked twice."""
    descriptions = {each: {"idempotent": True} for each in features}
    declared = {"room": room, "features": features, "descriptions": descriptions, **fields}
    return mesh.received(sid, "MAKE_MASTER", [{**declared, "features": list(features)}], ACK)


def ask(mesh: Mesh, count: int, event: str = "GET_Q", **meta: Any) -> list[Effect]:
    """Ask so often, each with a mark of its own, and wait for long."""
    effects: list[Effect] = []
    for number in range(1, count + 1):
        data = {"requestId": f"mark {number}"}
        effects += mesh.received("A", event, [data, {"timeoutMs": DAY, **meta}], number)
    return effects


def settle(mesh: Mesh, effects: list[Effect]) -> list[Effect]:
    """Give the mesh its turns until nothing is left for later."""
    every = list(effects)
    while any(isinstance(each, Resume) for each in effects):
        effects = mesh.resumed()
        every += effects
    return every


def waits_for_another_capability(count: int) -> Act:
    """A master of something else comes."""
    mesh = Mesh()
    enter(mesh, "A", "M")
    ask(mesh, count, wait=True)
    return lambda: declare(mesh, "M", "Z", "OTHER")


def waits_for_another_room(count: int) -> Act:
    """The capability comes, in a room that was not named."""
    mesh = Mesh()
    enter(mesh, "A", "M")
    ask(mesh, count, wait=True, room="Y")
    return lambda: declare(mesh, "M", "Z", "Q")


def waits_where_it_is_not_allowed(count: int) -> Act:
    """The capability comes where the asker may not ask."""
    mesh = Mesh(authorize=lambda identity, action, room, _: action == "master" or room == "Y")
    from alephscript.mesh.access import Identity

    for name in "AM":
        mesh.connected(name, identity=Identity(usuario=name))
        mesh.received(name, "CLIENT_REGISTER", [{"usuario": name, "protocol": events.PROTOCOL}])
    ask(mesh, count, wait=True)
    return lambda: declare(mesh, "M", "Z", "Q")


def is_being_put(count: int) -> Act:
    """A master declares again while waiting requests are being put to it."""
    mesh = Mesh()
    enter(mesh, "A", "M")
    ask(mesh, 1000 + count, wait=True)
    declare(mesh, "M", "Z", "Q")
    return lambda: declare(mesh, "M", "Z", "Q")


def is_answered_elsewhere(count: int) -> Act:
    """A master that has much to answer in one room is displaced in another."""
    mesh = Mesh()
    enter(mesh, "A", "M", "N")
    declare(mesh, "M", "Y", "Q")
    ask(mesh, count)
    declare(mesh, "M", "X")
    declare(mesh, "N", "X")
    declare(mesh, "M", "Z")
    return lambda: declare(mesh, "N", "Z")


def answered_by_event(data: Any, *, seen: int = 0) -> Scene:
    """A master tells a SET_ that answers the oldest request, or the one of a mark."""

    def scene(count: int) -> Act:
        mesh = Mesh()
        enter(mesh, "A", "M")
        declare(mesh, "M", "Z", "Q")
        ask(mesh, count)
        message = {"event": "SET_Q", "room": "Z", "data": data}
        for _ in range(1 + seen * count // 2):
            mesh.received("M", "ROOM_MESSAGE", [message])
        return lambda: mesh.received("M", "ROOM_MESSAGE", [message])

    return scene


def ends(count: int) -> Act:
    """One request of many is cancelled."""
    mesh = Mesh()
    enter(mesh, "A", "M")
    declare(mesh, "M", "Z", "Q")
    ask(mesh, count)
    return lambda: mesh.received("A", "CANCEL_REQUEST", [{"request": 5}])


def waiting_ends(count: int) -> Act:
    """One waiting request of many is cancelled."""
    mesh = Mesh()
    enter(mesh, "A")
    ask(mesh, count, wait=True)
    return lambda: mesh.received("A", "CANCEL_REQUEST", [{"request": 5}])


SCENES: dict[str, Scene] = {
    "waits for another capability": waits_for_another_capability,
    "waits for another room": waits_for_another_room,
    "waits where it is not allowed": waits_where_it_is_not_allowed,
    "is being put": is_being_put,
    "is answered elsewhere": is_answered_elsewhere,
    "is answered by an event": answered_by_event({}),
    "is answered by an event of another mark": answered_by_event({"requestId": "nobody's"}),
    "is answered by an event of a mark": answered_by_event({"requestId": "mark 7"}),
    "is answered by events again and again": answered_by_event({}, seen=1),
    "ends": ends,
    "ends waiting": waiting_ends,
}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_a_cheap_message_takes_as_long_however_much_others_left(scene: Scene) -> None:
    """Ten times as much is there, and the work is the same."""
    scene(10)()  # what is cached is cached for both
    few, many = instructions(scene(40)), instructions(scene(400))
    assert many < few * 1.2


def test_masters_that_take_over_by_turns_cannot_have_requests_asked_for_ever() -> None:
    """Each loss is told; after some the request ends, and its asker hears why."""
    mesh = Mesh()
    enter(mesh, "A", "M", "N")
    declare(mesh, "M", "Z", "Q")
    sent = ask(mesh, 2)
    for turn in range(10):
        sent += settle(mesh, declare(mesh, "NM"[turn % 2], "Z", "Q"))
    asked = [each for each in sent if isinstance(each, Deliver)]
    assert len(asked) == 2 * 4
    told = [each for each in sent if isinstance(each, Emit) and each.event == "CANCEL_REQUEST"]
    assert len(told) == 2 * 4
    codes = [
        each.answer["code"]
        for each in sent
        if isinstance(each, Acknowledge) and each.sid == "A" and isinstance(each.answer, dict)
    ]
    assert codes == ["master_lost"] * 2
    assert len(mesh.requests) == 0


@pytest.mark.parametrize("wait", [False, True])
def test_many_requests_come_to_a_new_master_in_slices(wait: bool) -> None:
    """Others have their turn in between; each request is asked once, in order, none is lost."""
    mesh = Mesh()
    enter(mesh, "A", "M", "N")
    if not wait:
        declare(mesh, "M", "Z", "Q")
    ask(mesh, 1500, wait=wait)
    effects, turns = declare(mesh, "N", "Z", "Q"), []
    while effects:
        turns.append(sum(isinstance(each, Deliver) for each in effects))
        assert sum(isinstance(each, Resume) for each in effects) <= 1
        assert len(effects) <= 600
        effects = mesh.resumed() if any(isinstance(each, Resume) for each in effects) else []
    assert sum(turns) == 1500
    assert list(mesh.rooms.peers["N"].serving) == sorted(mesh.rooms.peers["N"].serving)
    assert not mesh.rooms.peers["M"].serving


def test_what_ends_before_its_turn_is_not_asked() -> None:
    """Cancelled, or answered by the master that was displaced, while others had their turn."""
    mesh = Mesh()
    enter(mesh, "A", "M", "N")
    declare(mesh, "M", "Z", "Q")
    numbers = [each.request for each in ask(mesh, 1000) if isinstance(each, Deliver)]
    later = declare(mesh, "N", "Z", "Q")
    assert any(isinstance(each, Resume) for each in later)
    mesh.received("A", "CANCEL_REQUEST", [{"request": 1000}])
    mesh.acknowledged("M", numbers[998], [{"success": True}])
    mesh.disconnected("M")  # what is left of its requests is lost now, and not once more
    assert not [
        each
        for each in settle(mesh, later)[len(later) :]
        if isinstance(each, Deliver) and each.request in numbers[998:]
    ]
    assert len(mesh.requests) == 998
    assert len(mesh.rooms.peers["N"].serving) == 998


def test_a_master_that_goes_again_leaves_the_rest_waiting() -> None:
    """What was to be put to it waits for the next, and is put once."""
    mesh = Mesh()
    enter(mesh, "A", "M", "N")
    ask(mesh, 1000, wait=True)
    later = declare(mesh, "M", "Z", "Q")
    later += mesh.received("M", "MAKE_MASTER", [{"room": "Z", "out": True}])
    settle(mesh, later)
    left = len(mesh.requests) - len(mesh.rooms.peers["M"].serving)
    assert left > 0
    settle(mesh, declare(mesh, "N", "Y", "Q"))
    assert len(mesh.rooms.peers["N"].serving) == left


def test_who_waited_and_may_not_ask_hears_so() -> None:
    """When a master comes whom the asker may not ask: not at its deadline."""
    mesh = Mesh(require_subscription=True)
    enter(mesh, "A", "M")
    ask(mesh, 2, wait=True)
    answers = [
        each.answer["code"]
        for each in declare(mesh, "M", "Z", "Q")
        if isinstance(each, Acknowledge) and each.sid == "A" and isinstance(each.answer, dict)
    ]
    assert answers == ["not_subscribed"] * 2
