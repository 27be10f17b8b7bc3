"""One hub among several: takes effects to the others, and what the others send to the meshes.

May go in: which call of the registry an effect is, and which input of a mesh a report of the
registry is. May not: who serves what (`mesh.federation`), how frames are written (`frames`), or how
a registry works (`redis`). A hub without a registry has none of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from msgspec.structs import astuple

from alephscript.diagnostics.redaction import redacted
from alephscript.errors import Overloaded
from alephscript.hub.carrier import Carrier
from alephscript.hub.cluster.credit import SurveyCredit
from alephscript.hub.cluster.frames import (
    MALFORMED,
    Item,
    has_kinds,
    make_hub_name,
    read_message,
    read_one_by_one,
    write_item,
)
from alephscript.hub.cluster.pace import Pace
from alephscript.hub.cluster.registry import Logged, Registry, Standings, Values
from alephscript.hub.cluster.signing import Untrusted
from alephscript.hub.cluster.surveys import Surveys
from alephscript.hub.engine import Engine
from alephscript.hub.settling import settle
from alephscript.hub.store.logs import name_history
from alephscript.mesh.census import Censuses
from alephscript.mesh.effects import (
    Claim,
    Effect,
    Release,
    Retain,
    SurveyHubs,
    ToRoom,
    UnsubscribeRoom,
)
from alephscript.mesh.federation import Entry
from alephscript.mesh.foreign import read_announcement, read_frame, read_kind
from alephscript.mesh.frames import Frame, Said, read_frames, read_said
from alephscript.mesh.peers import Peer
from alephscript.mesh.retained import RetainedValue

__all__ = ["Cluster"]

logger = logging.getLogger("alephscript.hub.cluster")

_AGAIN_SECONDS = 0.1
"""After how long a value is put to the registry again, if too much waited for that."""

_TAKE_SECONDS = 0.5
"""How long after a hub is gone its tasks are taken over by whoever comes first; before that, those
whose masters are at a hub go to that hub."""

_SETTLE_SECONDS = 1.0
"""How long a hub that leaves waits for others to have heard of it."""

_LAST_SURVEY = 2**53 - 1
"""The number of the survey by which a hub takes leave: no other one has it."""

_TOLD_AT_ONCE = 16
"""Answers of a survey that are told in one turn of the loop: the state of a mesh may be long."""


class Cluster:
    """One hub of several: a `ClusterPort` to its carriers, a `RegistryListener` to the registry.

    Args:
        engine: This hub's connections and meshes; no client is connected yet.
        registry: The registry that all hubs share.

    Attributes:
        hub: This hub's name.
        federations: The other hubs as each mesh sees them, by namespace.
        rejoined: Called when the registry can be reached again.
        send: See `ClusterPort`; the registry's own, without a call between.
    """

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self.hub = make_hub_name()
        self.send = registry.send
        self._engine = engine
        self._registry = registry
        self._is_adrift = False
        self._is_closed = False
        self._unsettled: set[str] = set()
        self.federations = {
            namespace: carrier.mesh.federate(self.hub)
            for namespace, carrier in engine.carriers.items()
        }
        self._surveys = {
            namespace: Surveys(
                functools.partial(self._begin_survey, namespace),
                functools.partial(self._finish_survey, namespace),
            )
            for namespace in engine.carriers
        }
        for carrier in engine.carriers.values():
            carrier.cluster = self
        self.rejoined: Callable[[], None] = lambda: None
        self._frames_told, self._announcements_told = Pace(), Pace()
        self._refusals_told, self._floods_told = Pace(), Pace()
        self._survey_credit = SurveyCredit()
        registry.refuse = self.refuse
        registry.call_when_read = self._call_when_read
        registry.is_busy = lambda: any(each.is_waiting for each in self.federations.values())
        engine.entrance.sid_prefix = next(iter(self.federations.values())).prefix
        engine.find_obstacle = lambda: "adrift" if self._is_adrift else None

    async def open(self) -> None:
        """Join the other hubs.

        Raises:
            OSError: The registry cannot be reached.
        """
        self._is_closed = False
        await self._registry.open(self.hub, self)

    async def close(self) -> None:
        """Leave the other hubs."""
        self._is_closed = True
        await self._registry.close()
        for surveys in self._surveys.values():
            surveys.close()

    def hand_over(self, *, is_last: bool = False) -> None:
        """Let masters at other hubs take over; see `Federation.hand_over`."""
        for namespace, federation in self.federations.items():
            self._carrier(namespace).carry(federation.hand_over(is_last=is_last))

    async def settle(self) -> None:
        """Give up all masters here, and tell other hubs what becomes of all that they have asked.

        Each hub hears of the masters before it is asked who is there, and answers behind all that
        it has sent to them; so nothing is under way to this hub any more, which can leave.
        """
        self.hand_over(is_last=True)
        namespace, federation = next(iter(self.federations.items()))
        self._unsettled = set(federation.hubs)
        for hub in federation.hubs:
            self._registry.send(hub, namespace, ("survey", _LAST_SURVEY))
        await settle(lambda: not self._unsettled & federation.hubs, _SETTLE_SECONDS)

    def _call_when_read(self, call: Callable[[], None]) -> None:
        """Call when what is read now is handled, which is before the loop's next turn."""
        engine = self._engine
        if engine.is_reading and engine.outbox is None:
            engine.outbox = call
        else:
            asyncio.get_running_loop().call_soon(call)

    def _take_tasks(self) -> None:
        """Take over the tasks of hubs that are gone, a little later than their masters' runs."""
        if not self._is_adrift:
            loop = asyncio.get_running_loop()
            loop.call_later(_TAKE_SECONDS, self._take_tasks_now)

    def _take_tasks_now(self) -> None:
        if self._engine.is_opening and not self._is_closed:
            self._take_tasks()  # a hub joins the others first, and either may take its time
        elif not self._is_adrift and not self._is_closed:
            hubs = [self.hub, *next(iter(self.federations.values())).hubs]
            self._engine.take_tasks(hubs, self._take_tasks)

    # Effects

    def carry(self, carrier: Carrier, effect: Effect) -> None:
        """Carry out an effect that concerns other hubs; see `ClusterPort`."""
        namespace = carrier.mesh.namespace
        registry = self._registry
        if isinstance(effect, ToRoom):
            registry.say(namespace, effect.room, write_item(effect.frame))
        elif isinstance(effect, UnsubscribeRoom):
            registry.unsubscribe(namespace, effect.room)
        elif isinstance(effect, Claim):
            claim = effect
            registry.claim(namespace, claim, lambda epoch: self._claimed(carrier, claim, epoch))
        elif isinstance(effect, Release):
            registry.release(namespace, effect)
        elif isinstance(effect, Retain):
            self._retain(carrier, effect)
        elif isinstance(effect, SurveyHubs):
            self._surveys[namespace].ask(effect)
        else:
            raise TypeError(f"{type(effect).__name__} concerns this hub alone")

    def subscribe(self, carrier: Carrier, room: str, done: Callable[[], None]) -> None:
        """Receive from now on what other hubs say in a room; see `ClusterPort`."""
        self._registry.subscribe(carrier.mesh.namespace, room, done)

    def undelivered(self, hub: str, namespace: str, frame: Sequence[Any]) -> None:
        """See `RegistryListener`."""
        federation = self.federations[namespace]
        self._engine.carriers[namespace].carry(federation.undelivered(hub, frame))

    def _retain(self, carrier: Carrier, effect: Retain) -> None:
        room, event, value = effect.room, effect.event, effect.value

        def undone() -> None:
            # Adrift all of them are put again, else the queue was full for a moment.
            retained = carrier.mesh.speech.retained
            if not self._is_adrift and retained.get(room, event) is value:
                loop = asyncio.get_running_loop()
                loop.call_later(_AGAIN_SECONDS, self._retain, carrier, effect)

        self._registry.retain(carrier.mesh.namespace, effect, undone)

    def _claimed(self, carrier: Carrier, claim: Claim, epoch: int | None) -> None:
        federation = self.federations[carrier.mesh.namespace]
        if epoch is None:
            error = Overloaded("the registry of masters cannot be reached; declare again later")
            carrier.carry(federation.unclaimed(claim, error))
        else:
            carrier.carry(federation.claimed(claim, epoch))

    def _begin_survey(self, namespace: str, number: int) -> Collection[str]:
        hubs = self.federations[namespace].hubs
        for hub in hubs:
            self._registry.send(hub, namespace, ("survey", number))
        return hubs

    def _finish_survey(
        self, namespace: str, questions: Sequence[SurveyHubs], censuses: Censuses
    ) -> None:
        others = self.federations[namespace].count(censuses)
        self._tell(namespace, iter(questions), others)

    def _tell(
        self, namespace: str, questions: Iterator[SurveyHubs], others: Sequence[Peer]
    ) -> None:
        """Answer some of those that shared a survey, and the rest in later turns of the loop."""
        carrier, federation = self._engine.carriers[namespace], self.federations[namespace]
        for question in itertools.islice(questions, _TOLD_AT_ONCE):
            carrier.carry(federation.surveyed(question, others))
        following = next(questions, None)
        if following is not None:
            rest = itertools.chain([following], questions)
            asyncio.get_running_loop().call_soon(self._tell, namespace, rest, others)

    def _carrier(self, namespace: str) -> Carrier:
        """Return a namespace's carrier, its mesh told what time it is."""
        carrier = self._engine.carriers[namespace]
        carrier.mesh.rooms.now = time.time()
        return carrier

    # What the registry reports

    def apply_decision(
        self, namespace: str, room: str, epoch: int, entries: Sequence[Entry]
    ) -> None:
        """See `RegistryListener`."""
        federation = self.federations.get(namespace)
        if federation is not None:
            self._carrier(namespace).carry(federation.apply_decision(room, epoch, entries))

    def apply_value(
        self, namespace: str, room: str, event: str, value: RetainedValue, *, is_quiet: bool
    ) -> None:
        """See `RegistryListener`."""
        federation = self.federations.get(namespace)
        if federation is not None:
            effects = federation.replicas.decided(room, event, value, is_quiet=is_quiet)
            self._engine.carriers[namespace].carry(effects)

    def hub_came(self, hub: str) -> None:
        """See `RegistryListener`."""
        for namespace, federation in self.federations.items():
            self._carrier(namespace).carry(federation.hub_came(hub))

    def hub_gone(self, hub: str) -> None:
        """See `RegistryListener`."""
        logger.info("hub %s is gone", hub, extra={"hub": hub})
        for namespace, federation in self.federations.items():
            self._carrier(namespace).carry(federation.hub_gone(hub))
        for surveys in self._surveys.values():
            surveys.lose(hub)
        self._survey_credit.forget(hub)
        self._take_tasks()

    def handle_frames(self, data: bytes) -> None:
        """See `RegistryListener`; a frame that makes no sense is dropped, and logged."""
        frames: Sequence[Frame] | None = None
        with contextlib.suppress(*MALFORMED):  # or are of another kind, or version
            (hub, namespace), frames = read_frames(data)
        if frames is None or namespace not in self.federations:
            self._handle_one_by_one(data)
            return
        engine = self._engine
        carrier = engine.carriers[namespace]
        carry, mesh = carrier.carry, carrier.mesh
        mesh.rooms.now = time.time()
        # About what each of them keeps in memory: what is unread is a view of the message.
        mesh.budget.message_bytes = len(data) // (len(frames) or 1)
        take = self.federations[namespace].take
        # Until all of it is handled, what is to be sent waits: one write each connection.
        engine.is_reading = True
        try:
            for frame in frames:
                try:
                    carry(take(hub, type(frame).__name__, astuple(frame)))
                except Exception as exc:  # noqa: BLE001
                    # All that a frame brings about is caught here: others wait for the next one.
                    self._skip_frame(exc)
        finally:
            engine.is_reading = False
            engine.flush()

    def _handle_one_by_one(self, data: bytes) -> None:
        """Handle the frames of a message of which not all can be read in one go."""
        try:
            if has_kinds(data):
                hub, namespace, items = read_one_by_one(data)
            else:
                namespace = ""  # each frame says its own
                hub, items = read_message(data)
        except Exception as exc:  # noqa: BLE001 - as below
            self._skip_frame(exc)
            return
        for item in items:
            try:
                at, kind, fields = (namespace, *read_kind(item)) if namespace else read_frame(item)
                federation = self.federations[at]
                if kind in {"survey", "census"}:
                    self._handle_survey(hub, at, kind, fields)
                else:
                    carrier = self._carrier(at)
                    carrier.mesh.budget.message_bytes = len(data) // len(items)
                    carrier.carry(federation.take(hub, kind, fields))
            except Exception as exc:  # noqa: BLE001 - as above
                self._skip_frame(exc)

    def _handle_survey(self, hub: str, namespace: str, kind: str, fields: Sequence[Any]) -> None:
        if kind == "survey":
            (number,) = fields
            self._answer_survey(hub, namespace, number)
        else:
            number, census = fields
            if number == _LAST_SURVEY:
                self._unsettled.discard(hub)
            self._surveys[namespace].answer(number, hub, census)

    def _answer_survey(self, hub: str, namespace: str, number: int) -> None:
        federation, began = self.federations[namespace], time.perf_counter()
        name = hub if hub in federation.hubs else ""  # strangers may have any number of names
        if not self._survey_credit.has(name, began):
            self._engine.refusals["hub_flood"] += 1
            if self._floods_told.is_due():
                logger.warning(
                    "hub %s asks who is here more often than there is time for",
                    hub,
                    extra={"hub": hub},
                )
            return
        self._registry.send(hub, namespace, ("census", number, federation.census()))
        ended = time.perf_counter()
        self._survey_credit.spend(name, ended - began, ended)

    def refuse(self, exc: Exception) -> None:
        """Count what does not count, and log now and then who may have written it."""
        if not isinstance(exc, Untrusted):
            self._engine.refusals["hub_garbage"] += 1
            return
        self._engine.refusals[exc.reason] += 1
        if self._refusals_told.is_due():
            logger.warning(
                "refused what another hub may have written: %s",
                exc,
                extra={"hub": self.hub, "reason": exc.reason},
            )

    def _skip_frame(self, exc: Exception) -> None:
        self.refuse(exc)
        if self._frames_told.is_due():
            logger.error(
                "a frame of another hub makes no sense",
                exc_info=redacted(exc),
                extra={"hub": self.hub},
            )

    def handle_announcements(self, namespace: str, room: str, data: bytes) -> None:
        """See `RegistryListener`; what makes no sense is dropped, and logged."""
        announcements: Sequence[Said | Item] | None = None
        with contextlib.suppress(*MALFORMED):  # or are of another version
            hub, announcements = read_said(data)
        try:
            if announcements is None:
                hub, announcements = read_message(data)
        except Exception as exc:  # noqa: BLE001 - as below
            self._skip_announcement(namespace, room, exc)
            return
        if hub == self.hub:  # a channel brings back what this hub itself said
            return
        for each in announcements:
            try:
                said = astuple(each) if isinstance(each, Said) else read_announcement(each)
                effects = self.federations[namespace].heard(room, *said)
                self._engine.carriers[namespace].carry(effects)
            except Exception as exc:  # noqa: BLE001 - the next one may make sense
                self._skip_announcement(namespace, room, exc)

    def handle_logged(self, namespace: str, room: str, logged: Logged) -> None:
        """See `RegistryListener`."""
        carrier = self._engine.carriers.get(namespace)
        if carrier is None:
            return
        history = name_history(logged.log, namespace, room)
        ticket = logged.ticket if logged.hub == self.hub else None
        carrier.carry(carrier.mesh.logs.heard(room, history, logged.entry, ticket))

    def _skip_announcement(self, namespace: str, room: str, exc: Exception) -> None:
        self.refuse(exc)
        if self._announcements_told.is_due():
            logger.error(
                "what another hub says in a room makes no sense",
                exc_info=redacted(exc),
                extra={"hub": self.hub, "namespace": namespace, "room": room},
            )

    def reclaims(self) -> list[tuple[str, Claim]]:
        """See `RegistryListener`."""
        return [
            (namespace, claim)
            for namespace, federation in self.federations.items()
            for claim in federation.reclaims()
        ]

    def go_adrift(self) -> None:
        """See `RegistryListener`."""
        self._is_adrift = True
        for namespace, federation in self.federations.items():
            self._carrier(namespace).carry(federation.go_adrift())
        for surveys in self._surveys.values():
            surveys.close()

    def resynchronise(
        self, hubs: Collection[str], standings: Standings, values: Values, *, is_lost: bool
    ) -> None:
        """See `RegistryListener`."""
        for namespace, federation in self.federations.items():
            here = {room: each for (name, room), each in standings.items() if name == namespace}
            carrier = self._carrier(namespace)
            carrier.mesh.rooms.forget_histories()
            carrier.carry(federation.resynchronise(hubs, here))
            kept = {
                (room, event): each
                for (name, room, event), each in values.items()
                if name == namespace
            }
            carrier.carry(federation.replicas.resynchronise(kept, is_lost=is_lost))
            carrier.carry(carrier.mesh.logs.resynchronise())
        self.rejoined()
        self._is_adrift = False  # last: whoever asks is to hear the truth
        self._take_tasks()
