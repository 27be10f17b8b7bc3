"""One hub among several: takes effects to the others, and what the others send to the meshes.

May go in: which call of the registry an effect is, and which input of a mesh a report of the
registry is. May not: who serves what (`mesh.federation`), how frames are written (`frames`), or how
a registry works (`redis`). A hub without a registry has none of this.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from alephscript.diagnostics.redaction import redacted
from alephscript.errors import Overloaded
from alephscript.hub.carrier import Carrier
from alephscript.hub.cluster.frames import (
    MALFORMED,
    read_announcement,
    read_frame,
    write_announcement,
    write_frame,
)
from alephscript.hub.cluster.registry import Registry, Standings
from alephscript.hub.engine import Engine
from alephscript.mesh.effects import (
    Claim,
    Effect,
    Release,
    SurveyHubs,
    ToHub,
    ToRoom,
    UnsubscribeRoom,
)
from alephscript.mesh.federation import Entry
from alephscript.protocol.json import read_value

__all__ = ["Cluster"]

logger = logging.getLogger("alephscript.hub.cluster")

_SURVEY_SECONDS = 1.0
"""How long other hubs may take to answer a survey; those that take longer are left out."""


class _OpenSurvey:
    """A survey whose answers are coming in.

    Args:
        hubs: The hubs that are asked.
        done: Called once, with each hub's name and census, when all have answered or time is up.
    """

    def __init__(self, hubs: Iterable[str], done: Callable[[list[tuple[str, Any]]], None]) -> None:
        self._expected = set(hubs)
        self._done = done
        self._answers: list[tuple[str, Any]] = []
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_SURVEY_SECONDS, self.finish)

    def answer(self, hub: str, census: Any) -> None:
        """Take a hub's answer; the last one ends the survey."""
        if hub in self._expected:
            self._expected.discard(hub)
            self._answers.append((hub, census))
        if not self._expected:
            self.finish()

    def finish(self) -> None:
        """End the survey with the answers that have come."""
        self._timer.cancel()
        done, self._done = self._done, lambda _: None
        done(self._answers)


class Cluster:
    """One hub of several: a `ClusterPort` to its carriers, a `RegistryListener` to the registry.

    Args:
        engine: This hub's connections and meshes; no client is connected yet.
        registry: The registry that all hubs share.

    Attributes:
        hub: This hub's name.
        federations: The other hubs as each mesh sees them, by namespace.
    """

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self.hub = secrets.token_hex(6)
        self._engine = engine
        self._registry = registry
        self._tokens = itertools.count(1)
        self._surveys: dict[int, _OpenSurvey] = {}
        self._is_adrift = False
        self.federations = {
            namespace: carrier.mesh.federate(self.hub)
            for namespace, carrier in engine.carriers.items()
        }
        for carrier in engine.carriers.values():
            carrier.cluster = self
        registry.is_busy = lambda: any(each.is_waiting for each in self.federations.values())
        engine.entrance.sid_prefix = next(iter(self.federations.values())).prefix
        engine.find_obstacle = lambda: "adrift" if self._is_adrift else None

    async def open(self) -> None:
        """Join the other hubs.

        Raises:
            OSError: The registry cannot be reached.
        """
        await self._registry.open(self.hub, self)

    async def close(self) -> None:
        """Leave the other hubs."""
        await self._registry.close()
        for survey in list(self._surveys.values()):
            survey.finish()

    # Effects

    def carry(self, carrier: Carrier, effect: Effect) -> None:
        """Carry out an effect that concerns other hubs; see `ClusterPort`."""
        namespace = carrier.mesh.namespace
        registry = self._registry
        if isinstance(effect, ToHub):
            self._send(carrier, effect)
        elif isinstance(effect, ToRoom):
            registry.say(namespace, effect.room, write_announcement(self.hub, effect.frame))
        elif isinstance(effect, UnsubscribeRoom):
            registry.unsubscribe(namespace, effect.room)
        elif isinstance(effect, Claim):
            claim = effect
            registry.claim(namespace, claim, lambda epoch: self._claimed(carrier, claim, epoch))
        elif isinstance(effect, Release):
            registry.release(namespace, effect)
        elif isinstance(effect, SurveyHubs):
            self._survey(carrier, effect)
        else:
            raise TypeError(f"{type(effect).__name__} concerns this hub alone")

    def subscribe(self, carrier: Carrier, room: str, done: Callable[[], None]) -> None:
        """Receive from now on what other hubs say in a room; see `ClusterPort`."""
        self._registry.subscribe(carrier.mesh.namespace, room, done)

    def _send(self, carrier: Carrier, effect: ToHub) -> None:
        namespace, frame = carrier.mesh.namespace, effect.frame
        data = write_frame(self.hub, namespace, frame)
        undelivered = None
        if frame[0] == "ask":

            def undelivered() -> None:
                federation = self.federations[namespace]
                carrier.carry(federation.undelivered(effect.hub, frame))

        self._registry.send(effect.hub, data, undelivered)

    def _claimed(self, carrier: Carrier, claim: Claim, epoch: int | None) -> None:
        federation = self.federations[carrier.mesh.namespace]
        if epoch is None:
            error = Overloaded("the registry of masters cannot be reached; declare again later")
            carrier.carry(federation.unclaimed(claim, error))
        else:
            carrier.carry(federation.claimed(claim, epoch))

    def _survey(self, carrier: Carrier, survey: SurveyHubs) -> None:
        namespace, token = carrier.mesh.namespace, next(self._tokens)
        federation = self.federations[namespace]

        def done(answers: list[tuple[str, Any]]) -> None:
            self._surveys.pop(token, None)
            carrier.carry(federation.surveyed(survey, answers))

        self._surveys[token] = _OpenSurvey(federation.hubs, done)
        for hub in federation.hubs:
            self._registry.send(hub, write_frame(self.hub, namespace, ("survey", token)), None)

    # What the registry reports

    def apply_decision(
        self, namespace: str, room: str, epoch: int, entries: Sequence[Entry]
    ) -> None:
        """See `RegistryListener`."""
        federation = self.federations.get(namespace)
        if federation is not None:
            self._engine.carriers[namespace].carry(federation.apply_decision(room, epoch, entries))

    def hub_came(self, hub: str) -> None:
        """See `RegistryListener`."""
        for federation in self.federations.values():
            federation.hubs.add(hub)

    def hub_gone(self, hub: str) -> None:
        """See `RegistryListener`."""
        logger.info("hub %s is gone", hub, extra={"hub": hub})
        for namespace, federation in self.federations.items():
            self._engine.carriers[namespace].carry(federation.hub_gone(hub))
        for survey in list(self._surveys.values()):
            survey.answer(hub, [])

    def handle_frame(self, data: bytes) -> None:
        """Handle a frame; one that makes no sense is dropped, and logged."""
        try:
            hub, namespace, kind, fields = read_frame(data)
            federation = self.federations[namespace]
            known = read_value(kind)
            if known == "survey":
                answer = ("census", fields[0], federation.census())
                self._registry.send(hub, write_frame(self.hub, namespace, answer), None)
            elif known == "census":
                survey = self._surveys.get(read_value(fields[0]))
                if survey is not None:
                    survey.answer(hub, read_value(fields[1]))
            else:
                effects = federation.received(hub, (kind, *fields))
                self._engine.carriers[namespace].carry(effects)
        except MALFORMED as exc:
            logger.error(
                "a frame of another hub makes no sense",
                exc_info=redacted(exc),
                extra={"hub": self.hub},
            )

    def handle_announcement(self, namespace: str, room: str, data: bytes) -> None:
        """Handle what a hub says in a room; what makes no sense is dropped, and logged."""
        try:
            hub, event, payload, sender = read_announcement(data)
            if hub != self.hub:  # a channel brings back what this hub itself said
                effects = self.federations[namespace].heard(room, event, payload, sender)
                self._engine.carriers[namespace].carry(effects)
        except MALFORMED as exc:
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
            self._engine.carriers[namespace].carry(federation.go_adrift())
        for survey in list(self._surveys.values()):
            survey.finish()

    def resynchronise(self, hubs: Collection[str], standings: Standings) -> None:
        """See `RegistryListener`."""
        self._is_adrift = False
        for namespace, federation in self.federations.items():
            here = {room: each for (name, room), each in standings.items() if name == namespace}
            carrier = self._engine.carriers[namespace]
            carrier.mesh.rooms.forget_histories()
            carrier.carry(federation.resynchronise(hubs, here))
