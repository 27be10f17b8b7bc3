"""Recording: what is asked, answered and said in rooms, told to those who record it.

Theory of operation. Each hub tells what begins with its own peers: what they ask, with all that
comes of it, and what they say. Where a peer of another hub records a room, that hub wants to be
told, too (frames ``record``, ``recorded``), so that whoever records hears everything once. A
request is told when it is put to a master, whose contract says which fields are secrets: those
never leave the hub (decision 0053). What no master takes is told without its payload, as no
contract is known.

While nobody records, a request and an event cost one comparison each.

May go in: who is told what of whom. May not: who may record (`mesh`), files
(`alephscript.recording`). Pure: no socket, no clock; the shell says when something is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set as AbstractSet
from typing import Any

import attrs
import msgspec

from alephscript.mesh.effects import Effect, Emit, ToHub
from alephscript.mesh.peers import Master, OpenRequest, Peer
from alephscript.mesh.requests import Requests
from alephscript.mesh.rooms import Room, Rooms
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.json import is_shallow_utf8, read_value
from alephscript.protocol.withholding import (
    Copy,
    has_secrets,
    scrub,
    withhold,
    withhold_in_answer,
)

__all__ = ["Recording"]


@attrs.frozen
class _Open:
    """A request that was told, and whose end is to be told.

    Attributes:
        name: What it is called in all records of it.
        room: The room that it is told in.
        reply: The schema of its answer, and of the answer's parts; None if nothing in them is one.
        secrets: Secrets of its payload, which nothing that comes of it may repeat.
    """

    name: str
    room: str
    reply: Any
    secrets: tuple[str, ...]


class Recording:
    """Who records which rooms at one hub (`alephscript.mesh.witnesses.Recorder`).

    Args:
        rooms: The mesh's rooms.
        requests: Its requests.

    Attributes:
        hub: This hub's name, where there are several.
        hubs: The other hubs.
        clock: Tells the time in seconds since 1970; the shell's.
        tell: Carries effects out; the shell's.
    """

    def __init__(self, rooms: Rooms, requests: Requests) -> None:
        self.hub = ""
        self.hubs: AbstractSet[str] = frozenset()
        self.clock: Callable[[], float] = lambda: 0.0
        self.tell: Callable[[list[Effect]], None] = lambda _: None
        self._rooms = rooms
        self._requests = requests
        self._here: dict[str, frozenset[str]] = {}  # rooms, by socket id
        self._there: dict[str, frozenset[str]] = {}  # rooms, by hub
        self._open: dict[int, _Open] = {}

    # Who records

    def record(self, peer: Peer, names: Collection[str]) -> list[Effect]:
        """Tell a peer from now on what happens in rooms, and in no others.

        Args:
            peer: The peer.
            names: The rooms; `events.EVERY_ROOM` stands for all, none for the end.

        Returns:
            The effects that tell it which masters there are.
        """
        before = self._rooms_wanted()
        if names:
            self._here[peer.sid] = frozenset(names)
        else:
            self._here.pop(peer.sid, None)
        effects = self._changed(before)
        for room in self._rooms:
            if names and _is_among(room.name, names):
                effects += [self._emit([peer.sid], each) for each in _describe_masters(room)]
        return effects

    def leave(self, sid: str) -> list[Effect]:
        """Tell a socket nothing any more, which is gone."""
        if sid not in self._here:
            return []
        before = self._rooms_wanted()
        del self._here[sid]
        return self._changed(before)

    def hub_came(self, hub: str) -> list[Effect]:
        """Have another hub tell what is recorded here."""
        wanted = self._rooms_wanted()
        return [ToHub(hub, ("record", sorted(wanted)))] if wanted else []

    def hub_gone(self, hub: str) -> None:
        """Forget what a hub wanted to be told, which is gone."""
        self._there.pop(hub, None)
        self._switch()

    def hub_records(self, hub: str, names: Sequence[str]) -> list[Effect]:
        """Tell another hub from now on what happens in rooms, and in no others."""
        if names and hub in self.hubs:  # else nobody would say when that hub is gone
            self._there[hub] = frozenset(names)
        else:
            self._there.pop(hub, None)
        self._switch()
        return []

    def hub_told(self, _: str, room: str, record: Any) -> list[Effect]:
        """Tell those who record a room here what another hub tells."""
        to = self._listeners(room)
        return [Emit(to, HubEvent.ROOM_RECORD, (record,))] if to else []

    def _rooms_wanted(self) -> frozenset[str]:
        return frozenset().union(*self._here.values())

    def _changed(self, before: frozenset[str]) -> list[Effect]:
        self._switch()
        wanted = self._rooms_wanted()
        if wanted == before:
            return []
        return [ToHub(hub, ("record", sorted(wanted))) for hub in sorted(self.hubs)]

    def _switch(self) -> None:
        is_on = bool(self._here or self._there)
        self._requests.recorder = self if is_on else None
        if not is_on:
            self._open.clear()

    # What happens

    def mastered(self, room: Room) -> None:
        """Tell who masters a room, and what each master offers."""
        to = self._listeners(room.name)
        if to:
            self.tell([self._emit(to, each) for each in _describe_masters(room)])

    def said(self, peer: Peer, message: events.RoomMessage) -> None:
        """Tell an event that a peer here says."""
        if not self._is_recorded(message.room):
            return
        room = self._rooms.get(message.room)
        masters = list(room.masters) if room is not None else []
        says, replies = [each.declared.says.get(message.event) for each in masters], list[Any]()
        if message.event.startswith("SET_"):  # an answer, which the room is told
            capability = message.event.removeprefix("SET_")
            replies = [_description(each, capability).get("reply") for each in masters]
        copy = _read(message.data, says, replies)
        record = {"event": message.event, "data": copy.value, **_name_peer(peer)}
        if read_value(message.extras.get("retain")) is True:
            record["retain"] = True
        self._tell("event", message.room, record, copy)

    def put(self, request: OpenRequest) -> None:
        """See `Recorder.put`."""
        if request.about is not None:
            self._tell_question(request, request.about)
            return
        master, is_known = request.master, request.number in self._open
        if is_known or master is None or request.asker.hub or request.event in events.ASKED_OF_ONE:
            return
        room = request.room or master.declared.room
        if not self._is_recorded(room):
            return
        described = _description(master, request.capability)
        copy = _read(request.question.data, [described.get("request")])
        reply = described.get("reply")
        told = _Open(self._name(request), room, reply if has_secrets(reply) else None, copy.secrets)
        self._open[request.number] = told
        meta = request.meta
        record: dict[str, Any] = {
            "id": told.name,
            "capability": request.capability,
            "payload": copy.value,
            **_name_peer(request.asker),
        }
        inside = self._find_parent(meta.extras.get("chain", ()))
        if inside:
            record["inside"] = inside
        if meta.seconds is not None:
            record["timeoutMs"] = round(meta.seconds * 1000)
        if "parts" in meta.extras:
            record["streams"] = True
        self._tell("request", room, record, copy)

    def _tell_question(self, question: OpenRequest, about: OpenRequest) -> None:
        # The open request may be of a peer at another hub, which hears of the question there.
        told = self._open.get(about.number)
        if told is None:
            return
        data = read_value(question.question.data)
        fields = data if isinstance(data, dict) else {}
        copy = withhold(fields.get("payload"), fields.get("request"))
        paths = tuple(("payload", *path) for path in copy.paths)
        clean = scrub({**fields, "payload": copy.value}, told.secrets)
        name, secrets = self._name(question), (*told.secrets, *copy.secrets)
        self._open[question.number] = _Open(name, told.room, fields.get("reply"), secrets)
        whole = Copy(clean.value, (*paths, *clean.paths))
        self._tell(
            "question", told.room, {"id": name, "about": told.name, "data": whole.value}, whole
        )

    def noted(self, request: OpenRequest, event: str, data: Any) -> None:
        """See `Recorder.noted`."""
        told = self._open.get(request.number)
        if told is not None and event == HubEvent.REQUEST_PART:
            copy = _read(data, [told.reply], secrets=told.secrets)
            self._tell("part", told.room, {"id": told.name, "data": copy.value}, copy)

    def answered(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> None:
        """See `Recorder.answered`."""
        told = self._open.pop(request.number, None)
        if told is not None:
            copy = _read(answer, [], [told.reply], told.secrets)
            self._tell("answer", told.room, {"id": told.name, "answer": copy.value}, copy)

    def ended(self, request: OpenRequest, code: str) -> None:
        """See `Recorder.ended`."""
        told = self._open.pop(request.number, None)
        if told is not None:
            self._tell("end", told.room, {"id": told.name, "code": code})

    def refused(self, asker: Peer, event: str, room: Any, code: str) -> None:
        """See `Recorder.refused`."""
        if asker.hub or event in events.ASKED_OF_ONE:
            return
        name = room if isinstance(room, str) else ""
        capability = events.capability_name(event)
        record = {"capability": capability, "from": asker.name, "code": code}
        self._tell("refused", name, record)

    # How it is told

    def _name(self, request: OpenRequest) -> str:
        """Name a request as the hub of its asker does."""
        if request.asker.hub:
            return f"{request.asker.hub}~{request.ack}"
        return f"{self.hub}~{request.number}" if self.hub else str(request.number)

    def _find_parent(self, chain: Sequence[str]) -> str:
        """Name the request that has led to another one, empty if there is none."""
        number = chain[-1] if chain else ""
        parent = self._requests.get(int(number)) if number.isdecimal() else None
        return "" if parent is None else self._name(parent)

    def _is_recorded(self, room: str) -> bool:
        return any(
            _is_among(room, names) for names in (*self._here.values(), *self._there.values())
        )

    def _listeners(self, room: str) -> tuple[str, ...]:
        return tuple(sid for sid, names in self._here.items() if _is_among(room, names))

    def _tell(
        self, kind: str, room: str, fields: Mapping[str, Any], copy: Copy | None = None
    ) -> None:
        record: dict[str, Any] = {"kind": kind, "room": room, **fields}
        if copy is not None:
            _bound(record, copy)
        to = self._listeners(room)
        effects: list[Effect] = [self._emit(to, record)] if to else []
        for hub, names in self._there.items():
            if _is_among(room, names):
                effects.append(ToHub(hub, ("recorded", room, self._dated(record))))
        self.tell(effects)

    def _emit(self, to: Collection[str], record: Mapping[str, Any]) -> Emit:
        return Emit(tuple(to), HubEvent.ROOM_RECORD, (self._dated(record),))

    def _dated(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {**record, "at": self.clock()}


def _name_peer(peer: Peer) -> dict[str, str]:
    registration = peer.registration
    if registration is None:
        return {"from": peer.name, "usuario": peer.name, "sesion": ""}
    return {
        "from": peer.name,
        "usuario": registration.usuario,
        "sesion": registration.sesion,
    }


def _is_among(room: str, names: Collection[str]) -> bool:
    return room in names or events.EVERY_ROOM in names


def _bound(record: dict[str, Any], copy: Copy) -> None:
    """Have a record say what was left out of its copy, and leave the copy out if it is too much."""
    if copy.paths:
        record["redacted"] = copy.paths
    field = next(name for name in _COPIES if name in record)
    text = bytes(copy.value) if isinstance(copy.value, msgspec.Raw) else _encode(copy.value)
    if len(text) > _MOST_BYTES or not is_shallow_utf8(b"[[%b]]" % text):
        del record[field]
        record["omitted"] = len(text)
    else:
        record[field] = msgspec.Raw(text)


_COPIES = ("payload", "answer", "data")
"""Fields of a record that have the words of others."""

_MOST_BYTES = 15_000_000
"""Bytes of those words: a client takes messages of 16 MB, and a record is one."""

_encode = msgspec.json.Encoder().encode


def _describe_masters(room: Room) -> Iterator[dict[str, Any]]:
    """Give a record of each master of a room; one without a name where there is none."""
    record: dict[str, Any] = {"kind": "master", "room": room.name, "epoch": room.masters.epoch}
    if not room.masters.serving:
        yield {**record, "usuario": None, "capabilities": {}}
    for master in room.masters.serving:
        capabilities = {
            events.capability_name(each): _description(master, each)
            for each in master.declared.features
        }
        yield {**record, "usuario": master.peer.name, "capabilities": capabilities}


def _description(master: Master, capability: str) -> Mapping[str, Any]:
    """Find what a master says of a capability, however it spells the name."""
    descriptions, name = master.declared.descriptions, events.capability_name(capability)
    return descriptions.get(name) or descriptions.get(events.capability_event(name)) or {}


def _read(
    value: Any, schemas: Sequence[Any], replies: Sequence[Any] = (), secrets: Sequence[str] = ()
) -> Copy:
    """Copy a value without secrets; what can have none stays unread.

    Args:
        value: The value, read or unread.
        schemas: What may be its schema.
        replies: What may be the schema of the reply, if the value is an answer.
        secrets: Texts that it may not have anyway.
    """
    marking: list[tuple[Callable[[Any, Any], Copy], Any]]
    marking = [(withhold, each) for each in schemas if has_secrets(each)]
    marking += [(withhold_in_answer, each) for each in replies if has_secrets(each)]
    if not marking and not secrets:
        return Copy(value)
    copy = Copy(read_value(value), (), tuple(secrets))
    for leave_out, schema in marking:
        more = leave_out(copy.value, schema)
        copy = Copy(more.value, (*copy.paths, *more.paths), (*copy.secrets, *more.secrets))
    clean = scrub(copy.value, copy.secrets)
    return Copy(clean.value, tuple(dict.fromkeys((*copy.paths, *clean.paths))), copy.secrets)
