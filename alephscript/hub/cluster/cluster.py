"""One hub among several: takes effects to the others, and what they say to the meshes.

What hubs share is a `Registry`: it decides who masters which room, and carries frames. Without one
a hub's meshes decide for themselves, which is the registry in memory.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from alephscript.diagnostics.redaction import redacted
from alephscript.errors import Overloaded, RequestError
from alephscript.hub.carrier import Carrier
from alephscript.hub.cluster.registry import Registry, Standings
from alephscript.hub.engine import Engine
from alephscript.mesh.effects import (
    Acknowledge,
    Claim,
    Effect,
    Emit,
    Release,
    SubscribeRoom,
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
"""How long others may take to say who is there; who takes longer is left out."""


_encode = msgspec.json.Encoder().encode


class _Census:
    """Answers to a survey as they come in."""

    def __init__(self, hubs: Iterable[str], done: Callable[[list[tuple[str, Any]]], None]) -> None:
        self._expected = set(hubs)
        self._done = done
        self._answers: list[tuple[str, Any]] = []
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_SURVEY_SECONDS, self.finish)

    def answer(self, hub: str, census: Any) -> None:
        """A hub has answered."""
        if hub in self._expected:
            self._expected.discard(hub)
            self._answers.append((hub, census))
        if not self._expected:
            self.finish()

    def finish(self) -> None:
        """What has come is all."""
        self._timer.cancel()
        done, self._done = self._done, lambda _: None
        done(self._answers)


class Cluster:
    """One hub of several; see `Elsewhere` and `Listener`.

    Args:
        engine: This hub's connections and meshes; nobody is connected yet.
        registry: What it shares with the others.

    Attributes:
        hub: This hub's name.
    """

    def __init__(self, engine: Engine, registry: Registry) -> None:
        self.hub = secrets.token_hex(6)
        self._engine = engine
        self._registry = registry
        self._tokens = itertools.count(1)
        self._surveys: dict[int, _Census] = {}
        self._is_adrift = False
        self.federations = {
            namespace: carrier.mesh.federate(self.hub)
            for namespace, carrier in engine.carriers.items()
        }
        for carrier in engine.carriers.values():
            carrier.elsewhere = self
        registry.busy = lambda: any(each.is_waiting for each in self.federations.values())
        engine.sid_prefix = next(iter(self.federations.values())).prefix
        engine.why_unready = lambda: "adrift" if self._is_adrift else None

    async def open(self) -> None:
        """Join the others.

        Raises:
            OSError: The registry cannot be reached.
        """
        await self._registry.open(self.hub, self)

    async def close(self) -> None:
        """Leave them."""
        await self._registry.close()
        for census in list(self._surveys.values()):
            census.finish()

    # Effects

    def carry(self, carrier: Carrier, effect: Effect, left: Iterator[Effect]) -> None:
        """See `alephscript.hub.carrier.Elsewhere`."""
        namespace = carrier.mesh.namespace
        registry = self._registry
        if isinstance(effect, ToHub):
            self._send(carrier, effect)
        elif isinstance(effect, ToRoom):
            registry.say(namespace, effect.room, _encode([self.hub, *effect.frame]))
        elif isinstance(effect, SubscribeRoom):
            rest = list(left)
            registry.attend(namespace, effect.room, lambda: self._resume(carrier, rest))
        elif isinstance(effect, UnsubscribeRoom):
            registry.abandon(namespace, effect.room)
        elif isinstance(effect, Claim):
            claim = effect
            registry.claim(namespace, claim, lambda epoch: self._claimed(carrier, claim, epoch))
        elif isinstance(effect, Release):
            registry.release(namespace, effect)
        elif isinstance(effect, SurveyHubs):
            self._survey(carrier, effect)
        else:
            raise TypeError(f"{type(effect).__name__} concerns this hub alone")

    def _send(self, carrier: Carrier, effect: ToHub) -> None:
        namespace, frame = carrier.mesh.namespace, effect.frame
        data = _encode([self.hub, namespace, *frame])
        undelivered = None
        if frame[0] == "ask":

            def undelivered() -> None:
                federation = self.federations[namespace]
                carrier.carry(federation.undelivered(effect.hub, frame))

        self._registry.send(effect.hub, data, undelivered)

    def _resume(self, carrier: Carrier, rest: list[Effect]) -> None:
        """Do what waited; whoever it is for may have gone meanwhile."""
        peers = carrier.mesh.rooms.peers
        carrier.carry([each for each in rest if not _is_for_one_of_the_gone(each, peers)])

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

        self._surveys[token] = _Census(federation.hubs, done)
        for hub in federation.hubs:
            self._registry.send(hub, _encode([self.hub, namespace, "survey", token]), None)

    # What the registry says

    def apply_decision(
        self, namespace: str, room: str, epoch: int, entries: Sequence[Entry]
    ) -> None:
        """See `Listener`."""
        federation = self.federations.get(namespace)
        if federation is not None:
            self._engine.carriers[namespace].carry(federation.apply_decision(room, epoch, entries))

    def hub_came(self, hub: str) -> None:
        """See `Listener`."""
        for federation in self.federations.values():
            federation.hubs.add(hub)

    def hub_gone(self, hub: str) -> None:
        """See `Listener`."""
        logger.info("hub %s is gone", hub, extra={"hub": hub})
        for namespace, federation in self.federations.items():
            self._engine.carriers[namespace].carry(federation.hub_gone(hub))
        for census in list(self._surveys.values()):
            census.answer(hub, [])

    def frame(self, data: bytes) -> None:
        """See `Listener`; a frame that makes no sense is dropped, and logged."""
        try:
            sender, namespace, *frame = msgspec.json.decode(data, type=list[msgspec.Raw])
            hub, name = str(read_value(sender)), str(read_value(namespace))
            federation, carrier = self.federations[name], self._engine.carriers[name]
            kind = read_value(frame[0])
            if kind == "survey":
                answer = [self.hub, name, "census", frame[1], federation.census()]
                self._registry.send(hub, _encode(answer), None)
            elif kind == "census":
                census = self._surveys.get(read_value(frame[1]))
                if census is not None:
                    census.answer(hub, read_value(frame[2]))
            else:
                carrier.carry(federation.received(hub, frame))
        except (
            msgspec.DecodeError,
            RequestError,
            ValueError,
            TypeError,
            KeyError,
            IndexError,
        ) as exc:
            logger.error(
                "a frame of another hub makes no sense",
                exc_info=redacted(exc),
                extra={"hub": self.hub},
            )

    def said(self, namespace: str, room: str, data: bytes) -> None:
        """See `Listener`."""
        try:
            hub, event, said, sender = msgspec.json.decode(data, type=list[msgspec.Raw])
            if read_value(hub) != self.hub:
                effects = self.federations[namespace].heard(room, event, said, sender)
                self._engine.carriers[namespace].carry(effects)
        except (msgspec.DecodeError, RequestError, ValueError, TypeError, KeyError) as exc:
            logger.error(
                "what another hub says in a room makes no sense",
                exc_info=redacted(exc),
                extra={"hub": self.hub, "namespace": namespace, "room": room},
            )

    def reclaims(self) -> list[tuple[str, Claim]]:
        """See `Listener`."""
        return [
            (namespace, claim)
            for namespace, federation in self.federations.items()
            for claim in federation.reclaims()
        ]

    def go_adrift(self) -> None:
        """See `Listener`."""
        self._is_adrift = True
        for namespace, federation in self.federations.items():
            self._engine.carriers[namespace].carry(federation.go_adrift())
        for census in list(self._surveys.values()):
            census.finish()

    def resynchronise(self, hubs: Collection[str], standings: Standings) -> None:
        """See `Listener`."""
        self._is_adrift = False
        for namespace, federation in self.federations.items():
            mine = {room: told for (name, room), told in standings.items() if name == namespace}
            carrier = self._engine.carriers[namespace]
            carrier.mesh.rooms.forget_histories()
            carrier.carry(federation.resynchronise(hubs, mine))


def _is_for_one_of_the_gone(effect: Effect, peers: Mapping[str, Any]) -> bool:
    if isinstance(effect, Emit):
        return not all(sid in peers for sid in effect.to)
    return isinstance(effect, Acknowledge) and effect.sid not in peers
