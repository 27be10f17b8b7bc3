"""Histories are bounded in bytes, over all rooms and all that anybody has said."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from alephscript.hub import Limits
from alephscript.mesh.history import Archive, History
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events

LIMITS = Limits(history_bytes=400_000)


def enter(mesh: Mesh, name: str, *rooms: str) -> None:
    """Connect and register a native peer."""
    mesh.connected(name)
    about = {"usuario": name, "sesion": "", "protocol": events.PROTOCOL}
    mesh.received(name, "CLIENT_REGISTER", [about])
    for room in rooms:
        mesh.received(name, "CLIENT_SUSCRIBE", [{"room": room}])


def say(mesh: Mesh, name: str, room: str, data: Any, event: str = "E") -> None:
    """Tell a room something."""
    mesh.received(name, "ROOM_MESSAGE", [{"event": event, "room": room, "data": data}])


def memory_of(mesh: Mesh) -> int:
    """What is kept of all that was said, as the objects take it."""
    seen: set[int] = set()

    def take(each: Any) -> int:
        if id(each) in seen:
            return 0
        seen.add(id(each))
        if isinstance(each, msgspec.Raw):
            return 64 + len(each)
        size = sys.getsizeof(each)
        if isinstance(each, dict):
            return size + sum(take(key) + take(child) for key, child in each.items())
        if isinstance(each, list | tuple):
            return size + sum(map(take, each))
        return size

    return sum(take(list(room._kept)) for room, _, _ in mesh.rooms._archive._kept.values())


def in_rooms_that_stay(mesh: Mesh, number: int) -> None:
    """Each message into another room, whose members listen."""
    enter(mesh, f"s{number}", f"r{number}")
    say(mesh, f"s{number}", f"r{number}", "x" * 20_000)


def in_rooms_that_were_left(mesh: Mesh, number: int) -> None:
    """Rooms that stand empty keep their histories, for those who come back."""
    in_rooms_that_stay(mesh, number)
    mesh.disconnected(f"s{number}")


def by_one_speaker(mesh: Mesh, number: int) -> None:
    """A member that goes from room to room."""
    if not number:
        enter(mesh, "s")
    mesh.received("s", "CLIENT_SUSCRIBE", [{"room": f"r{number}"}])
    say(mesh, "s", f"r{number}", "x" * 20_000)


def of_many_small_things(mesh: Mesh, number: int) -> None:
    """A short text whose objects take twenty times as much, in an event that a hub reads."""
    enter(mesh, f"s{number}", f"r{number}")
    say(mesh, f"s{number}", f"r{number}", {"x": [[]] * 500}, "SET_E")


def unread(mesh: Mesh, number: int) -> None:
    """A short text, which is part of a long message."""
    enter(mesh, f"s{number}", f"r{number}")
    message = b'{"event":"E","room":"r%d","data":7%s}' % (number, b" " * 20_000)
    mesh.received(f"s{number}", "ROOM_MESSAGE", [msgspec.Raw(message)])


def empty(mesh: Mesh, number: int) -> None:
    """Nothing, many times."""
    enter(mesh, f"s{number}", f"r{number}")
    for _ in range(50):
        say(mesh, f"s{number}", f"r{number}", None)


@pytest.mark.parametrize(
    "flood",
    [
        in_rooms_that_stay,
        in_rooms_that_were_left,
        by_one_speaker,
        of_many_small_things,
        unread,
        empty,
    ],
)
def test_all_histories_together_take_so_many_bytes(flood: Any) -> None:
    """However many rooms there are, whoever has spoken there."""
    mesh = Mesh(history=100, limits=LIMITS)
    for number in range(60):
        flood(mesh, number)
    archive = mesh.rooms._archive
    assert 0 < archive._bytes <= LIMITS.history_bytes
    assert archive._bytes == sum(size for _, _, size in archive._kept.values())
    assert memory_of(mesh) <= 1.2 * LIMITS.history_bytes


def test_one_speaker_does_not_push_out_what_others_said() -> None:
    """What it said first goes first, and is missed as what is too old."""
    mesh = Mesh(history=100, limits=LIMITS)
    enter(mesh, "quiet", "R")
    say(mesh, "quiet", "R", "kept")
    enter(mesh, "loud", "R")
    for number in range(100):
        mesh.received("loud", "CLIENT_SUSCRIBE", [{"room": f"r{number}"}])
        say(mesh, "loud", f"r{number}", "x" * 20_000)
    quiet, oldest = mesh.rooms.get("R"), mesh.rooms.get("r0")
    assert quiet is not None
    assert quiet.history is not None
    assert oldest is not None
    assert oldest.history is not None
    assert [each.data for each in quiet.history.since(0)] == ["kept"]
    assert oldest.history.missed(0) == 1
    assert list(oldest.history.since(0)) == []
    assert mesh.rooms._archive._bytes <= LIMITS.history_bytes / 4 + 1000


def test_nothing_is_counted_of_histories_that_are_forgotten() -> None:
    """Rooms that have stood empty for too long, or that are begun anew."""
    mesh = Mesh(history=10)
    for number in range(1100):
        enter(mesh, "s", f"r{number}")
        say(mesh, "s", f"r{number}", "x")
        mesh.disconnected("s")
    assert len(mesh.rooms._archive._kept) == 1024
    assert len(mesh.rooms._archive._speakers) == 1024
    mesh.rooms.forget_histories()
    archive = mesh.rooms._archive
    assert (len(archive._kept), len(archive._speakers), archive._bytes) == (0, 0, 0)


def test_a_message_is_not_kept_for_the_sake_of_its_data() -> None:
    """The data is copied: a view would keep all of the text that it stands in."""
    archive = Archive(events=5, room_bytes=10_000, most_bytes=100_000)
    history = archive.open()
    assert history is not None
    whole = b"[" + b" " * 50_000 + b"7]"
    (view,) = msgspec.json.decode(whole, type=list[msgspec.Raw])
    before = sys.getrefcount(whole)
    history.add("E", view, "s", "s")
    del view
    assert sys.getrefcount(whole) == before - 1
    assert [bytes(each.data) for each in history.since(0)] == [b"7"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 3000)), max_size=80))
def test_what_is_counted_is_what_is_kept(steps: list[tuple[int, int, int]]) -> None:
    """Whoever says how much where: events are kept from some number on, without a gap."""
    archive = Archive(events=6, room_bytes=5000, most_bytes=12_000)
    histories = [each for _ in range(4) if (each := archive.open()) is not None]
    for room, speaker, size in steps:
        histories[room].add("E", "x" * size, "s", speaker)
        assert archive._bytes <= 12_000
    kept = {(each.number, event.number) for each in histories for event in each.since(0)}
    assert kept == set(archive._kept)
    assert archive._bytes == sum(size for _, _, size in archive._kept.values())
    for each in histories:
        numbers = [event.number for event in each.since(0)]
        assert numbers == list(range(each.missed(0) + 1, each.last + 1))
    for each in histories:
        each.drop_until(each.last)
    assert not archive._kept
    assert not archive._speakers
    assert isinstance(histories[0], History)
