"""One namespace at work: packets become the mesh's inputs, and its effects become packets.

May go in: how an effect is carried out, and the clock that a mesh has not. May not: a decision,
which is the mesh's; a socket or a transport, of which a `Recipient` is all that is seen here. So a
mesh in memory (`alephscript.testing`) runs on this carrier, too.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import msgspec

from alephscript.errors import RequestError
from alephscript.hub.debugging import watch_mesh
from alephscript.hub.journal import Journal
from alephscript.hub.keeping import Keeper
from alephscript.hub.measuring import Measurements
from alephscript.hub.metering import Meter
from alephscript.hub.namespace import Recipient
from alephscript.hub.scribe import Scribe
from alephscript.hub.store.store import Values
from alephscript.hub.tracing import trace_hub
from alephscript.links.deadlines import Deadlines
from alephscript.mesh.access import Identity
from alephscript.mesh.effects import (
    Acknowledge,
    Append,
    Arm,
    ArmIdle,
    Deliver,
    Denied,
    Effect,
    Emit,
    Ended,
    Keep,
    Look,
    ReadLog,
    Resume,
    Retain,
    SubscribeRoom,
    Take,
    ToHub,
    Wake,
)
from alephscript.mesh.mesh import Mesh
from alephscript.mesh.presence import Reason
from alephscript.protocol import packets
from alephscript.protocol.packets import Kind
from alephscript.protocol.wire import (
    split_event,
    split_values,
    write_numbered,
    write_text_frame,
)

__all__ = ["Carrier", "ClusterPort"]

logger = logging.getLogger("alephscript.hub")


class ClusterPort(Protocol):
    """The way to other hubs, for effects that concern them."""

    def send(self, hub: str, namespace: str, frame: Sequence[Any]) -> None:
        """Send a frame to another hub; see `alephscript.hub.cluster.registry.Registry`."""
        ...

    def carry(self, carrier: Carrier, effect: Effect) -> None:
        """Carry out another effect that concerns other hubs, but for `SubscribeRoom`."""
        ...

    def subscribe(self, carrier: Carrier, room: str, done: Callable[[], None]) -> None:
        """Receive from now on what other hubs say in a room.

        Args:
            carrier: The namespace.
            room: The room.
            done: Called once, as soon as nothing said there can be missed any more.
        """
        ...


class Carrier:
    """A namespace (`alephscript.hub.namespace.Namespace`) that feeds a mesh and obeys its effects.

    Effects are carried out in order, in the call that brought the input, without awaiting.

    Args:
        mesh: The mesh of the namespace.

    Attributes:
        mesh: The same mesh, watched if ``ALEPHSCRIPT_DEBUG`` says so.
        meter: Counts the namespace's requests.
        measurements: What was counted lately, step by step.
        journal: The last requests, while somebody looks.
        keeper: Keeps the namespace's tasks.
        scribe: Keeps what is said in its rooms.
        values: Keeps its retained values, None if nothing outlives the hub.
        cluster: The way to other hubs; None if there are none.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = watch_mesh(mesh)
        self.meter = Meter()
        self.measurements = Measurements(self.meter)
        self.journal = Journal(mesh.requests, self._age)
        self.keeper = Keeper(mesh.tasks, self.carry)
        self.scribe = Scribe(mesh.namespace, mesh.logs, self.carry, self._backlog)
        self.values: Values | None = None
        self.cluster: ClusterPort | None = None
        self._recipients: dict[str, Recipient] = {}  # by socket id
        self._opened_at: dict[int, float] = {}  # by request
        self._namespace = mesh.namespace
        self._budget = mesh.budget
        self._rooms = mesh.rooms
        self._resumption: asyncio.Handle | None = None
        self._tracing = trace_hub(mesh.requests)
        self._deadlines = Deadlines(self._expire)
        self._idle = Deadlines(self._give_up)
        self._watched: set[int] = set()  # requests in `_idle`, or that were
        # Made once: all events and acknowledgements of a namespace begin alike.
        self._event_head = packets.packet_head(Kind.EVENT, mesh.namespace)
        self._ack_head = packets.packet_head(Kind.ACK, mesh.namespace)
        mesh.requests.remaining = self._deadlines.remaining  # (decision 0019)
        mesh.drops.report = self._report_drop
        mesh.recording.clock, mesh.recording.tell = time.time, self.carry
        mesh.speech.report_unheard = self._report_unheard

    def keep_values(self, values: Values) -> None:
        """Keep retained values where they outlive the hub."""
        self.values = values
        self.mesh.speech.is_kept = True

    # Packets

    def joined(self, sid: str, recipient: Recipient, identity: Identity | None) -> None:
        """Take in a client; see `Namespace`."""
        self._recipients[sid] = recipient
        self._rooms.now = time.time()
        self.carry(self.mesh.connected(sid, recipient.id, identity))

    def left(self, sid: str, reason: Reason = "link_lost") -> None:
        """Forget a client; see `Namespace`."""
        del self._recipients[sid]
        self._rooms.now = time.time()
        self.carry(self.mesh.disconnected(sid, reason))

    def received(self, sid: str, ack: int | None, payload: bytes) -> None:
        """Handle an event of a client; see `Namespace`."""
        self._budget.message_bytes = len(payload)
        self._rooms.now = time.time()
        try:
            # Values stay the bytes that they came as (decision 0004).
            name, args = split_event(payload)
        except RequestError as error:
            self.refused(sid, ack, error)
        else:
            self.carry(self.mesh.received(sid, name, args, ack))

    def acknowledged(self, sid: str, ack: int | None, payload: bytes) -> bool:
        """Handle a client's acknowledgement; see `Namespace`."""
        if ack is None:
            return False
        try:
            values = split_values(payload)
        except RequestError as error:
            # The request ends all the same: its asker gets the error for an answer.
            values = [msgspec.Raw(_encode(error.answer()))]
        effects = self.mesh.acknowledged(sid, ack, values)
        self.carry(effects)
        return effects != []

    def refused(self, sid: str, ack: int | None, error: RequestError) -> None:
        """Answer an event that is not taken; see `Namespace`."""
        self.carry(self.mesh.refused(sid, ack, error))

    def dropped(self, event: str, reason: str) -> None:
        """Count what is not taken and told nobody; see `Namespace`."""
        self.mesh.drops.count(event, reason)

    def _report_drop(self, event: str, reason: str) -> None:
        """Log a name that is seen for the first time: counts tell the rest."""
        namespace = self.mesh.namespace
        logger.warning(
            "an event %r was dropped (%s), its sender not told; GET /mesh counts such events",
            event,
            reason,
            extra={"event": event, "reason": reason, "namespace": namespace},
        )

    def _report_unheard(self, event: str, room: str) -> None:
        """Log an event that nobody of this hub hears: its name or its room may be misspelt."""
        logger.debug(
            "%s was said in %s, where nobody is",
            event,
            room,
            extra={"event": event, "room": room, "namespace": self.mesh.namespace},
        )

    def close(self) -> None:
        """Forget all deadlines; see `Namespace`."""
        self.keeper.close()
        self._deadlines.close()
        self._idle.close()
        if self._resumption is not None:
            self._resumption.cancel()
            self.mesh.resumed()  # nobody is left who could be told anything
        self._opened_at.clear()
        if self._tracing is not None:
            self._tracing.close()

    # Effects

    def carry(self, effects: Iterable[Effect]) -> None:
        """Carry out effects (decision 0001)."""
        handlers, tracing = self._HANDLERS, self._tracing
        remaining = iter(effects)
        for each in remaining:
            effect = each if tracing is None else tracing.follow(each)
            # By a table: isinstance takes 0.1 us to say that a struct is of another class.
            carry_out = handlers.get(type(effect))
            if carry_out is not None:
                carry_out(self, effect)
                continue
            assert self.cluster is not None  # a mesh alone has no effects for other hubs
            if isinstance(effect, SubscribeRoom):
                self._subscribe(self.cluster, effect.room, list(remaining))
                return
            self.cluster.carry(self, effect)

    def _deliver(self, effect: Deliver) -> None:
        request, seconds = effect.request, effect.seconds
        payload = _encode((effect.event, *effect.args))
        self._recipients[effect.to].send(write_numbered(self._event_head, request, payload))
        if seconds is not None:
            # `_open`, without the call.
            self._deadlines.set(request, seconds)
            self._opened_at[request] = time.perf_counter()

    def _acknowledge(self, effect: Acknowledge) -> None:
        payload = _encode((effect.answer,))
        self._recipients[effect.sid].send(write_numbered(self._ack_head, effect.ack, payload))

    def _end(self, effect: Ended) -> None:
        request = effect.request
        self._deadlines.forget(request)
        if request in self._watched:
            self._watched.discard(request)
            self._idle.forget(request)
        now = time.perf_counter()
        self.meter.count(effect.capability, effect.code, now - self._opened_at.pop(request, now))

    def _emit(self, effect: Emit) -> None:
        self._send(effect.to, effect.event, effect.args)

    def _deny(self, effect: Denied) -> None:
        at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        payload = {
            "reason": effect.reason,
            "room": effect.room,
            "action": effect.action,
            "timestamp": at,
        }
        self._send((effect.to,), "auth_error", (payload,))

    def _arm(self, effect: Arm) -> None:
        self._open(effect.request, effect.seconds)

    def _arm_idle(self, effect: ArmIdle) -> None:
        if effect.seconds is None:
            self._idle.forget(effect.request)
        else:
            self._watched.add(effect.request)
            self._idle.set(effect.request, effect.seconds)

    def _resume(self, effect: Resume) -> None:  # noqa: ARG002 - as all handlers
        self._resumption = asyncio.get_running_loop().call_soon(self._go_on)

    def _retain(self, effect: Retain) -> None:
        if self.cluster is not None:
            self.cluster.carry(self, effect)
        elif self.values is not None:
            namespace = self.mesh.namespace
            self.values.keep(namespace, effect.room, effect.event, effect.value)

    def _keep(self, effect: Keep) -> None:
        self.keeper.keep(effect)

    def _look(self, effect: Look) -> None:
        self.keeper.look(effect)

    def _take(self, effect: Take) -> None:
        self.keeper.take(effect)

    def _set_alarm(self, effect: Wake) -> None:
        self.keeper.wake(effect)

    def _append(self, effect: Append) -> None:
        self.scribe.append(effect)

    def _read_log(self, effect: ReadLog) -> None:
        self.scribe.read(effect)

    def _send_to_hub(self, effect: ToHub) -> None:
        seconds = effect.seconds
        if seconds is not None:
            # `_open`, without the call.
            self._deadlines.set(effect.request, seconds)
            self._opened_at[effect.request] = time.perf_counter()
        assert self.cluster is not None
        self.cluster.send(effect.hub, self._namespace, effect.frame)

    def _send(self, to: Iterable[str], event: str, args: tuple[Any, ...]) -> None:
        # Encoded and framed once, for all that hear it.
        message = self._event_head + _encode((event, *args))
        frame = write_text_frame(message)
        recipients = self._recipients
        for sid in to:
            recipients[sid].send(message, frame)

    def _open(self, request: int, seconds: float) -> None:
        self._deadlines.set(request, seconds)
        self._opened_at[request] = time.perf_counter()

    def _age(self, request: int) -> float:
        """Return how many seconds a request has been open."""
        now = time.perf_counter()
        return now - self._opened_at.get(request, now)

    def _backlog(self, sid: str) -> int:
        recipient = self._recipients.get(sid)
        return 0 if recipient is None else recipient.backlog()

    def _expire(self, request: int) -> None:
        self.carry(self.mesh.expired(request))

    def _give_up(self, request: int) -> None:
        self.carry(self.mesh.idled(request))

    def _go_on(self) -> None:
        self.carry(self.mesh.resumed())

    # Effects that wait

    def _subscribe(self, cluster: ClusterPort, room: str, waiting: list[Effect]) -> None:
        """Subscribe to a room at other hubs, and carry out what waits for that afterwards.

        A client that enters a room is told so when it can miss nothing any more, and other effects
        of the same input stay in order behind that.
        """

        def resume() -> None:
            peers = self.mesh.rooms.peers
            self.carry([each for each in waiting if not _is_for_one_of_the_gone(each, peers)])

        cluster.subscribe(self, room, resume)

    _HANDLERS: ClassVar[Mapping[type[Effect], Callable[[Carrier, Any], None]]] = {
        Deliver: _deliver,
        Acknowledge: _acknowledge,
        Ended: _end,
        Emit: _emit,
        Denied: _deny,
        Arm: _arm,
        ArmIdle: _arm_idle,
        Resume: _resume,
        ToHub: _send_to_hub,
        Keep: _keep,
        Retain: _retain,
        Look: _look,
        Take: _take,
        Wake: _set_alarm,
        Append: _append,
        ReadLog: _read_log,
    }
    """How each kind of effect is carried out here; all others concern other hubs alone."""


def _is_for_one_of_the_gone(effect: Effect, peers: Mapping[str, Any]) -> bool:
    if isinstance(effect, Emit):
        return not all(sid in peers for sid in effect.to)
    return isinstance(effect, Acknowledge) and effect.sid not in peers


# What is unread stays the bytes it came as; all values here came from the wire, so are its own.
_encode = msgspec.json.Encoder().encode
