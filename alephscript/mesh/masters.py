"""Who masters a room: one, one with others standing by, or several that share it.

Pure: no socket, no clock. Knows nothing of requests but how many each master has in hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import attrs

from alephscript.protocol import events

__all__ = ["Change", "Master", "Masters"]


class _Peer(Protocol):
    @property
    def sid(self) -> str: ...

    @property
    def serving(self) -> Mapping[Any, Any]: ...


P = TypeVar("P", bound=_Peer)


@attrs.define(eq=False)
class Master(Generic[P]):
    """One declaration.

    Attributes:
        peer: Who declared.
        declared: What it declared.
        by_envelope: Whether it declared inside ROOM_MESSAGE, hence is asked with the envelope.
    """

    peer: P
    declared: events.Declaration
    by_envelope: bool
    offers: frozenset[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.offers = frozenset(map(events.capability_name, self.declared.features))

    def is_idempotent(self, capability: str) -> bool:
        """Whether running a capability twice does no harm."""
        return self.declared.descriptions.get(capability, {}).get("idempotent") is True


@attrs.frozen
class Change(Generic[P]):
    """What a declaration, or the end of one, has brought about.

    Attributes:
        displaced: Who masters the room no more although it is still there.
        is_new: Whether others serve the room now: a new epoch.
    """

    displaced: tuple[P, ...]
    is_new: bool


class Masters(Generic[P]):
    """A room's masters.

    Attributes:
        epoch: Counts the changes of who serves.
        serving: Those that requests go to: all of a shared room, else the first.
        offers: Capabilities of those that serve.
    """

    __slots__ = ("_all", "epoch", "offers", "serving")

    def __init__(self) -> None:
        self._all: dict[str, Master[P]] = {}
        self.epoch = 0
        self.serving: Sequence[Master[P]] = ()
        self.offers: frozenset[str] = frozenset()

    def __contains__(self, sid: str) -> bool:
        return sid in self._all

    def __iter__(self) -> Iterator[Master[P]]:
        return iter(self._all.values())

    def __bool__(self) -> bool:
        return bool(self._all)

    def declare(self, master: Master[P]) -> Change[P]:
        """A declaration came: the last one decides what group the room is.

        Who declares again keeps its place. Masters of another group are displaced, and so is
        everybody by a ``single`` one: a restarted bot takes over before its dead socket is
        noticed.
        """
        sid, group = master.peer.sid, master.declared.group
        displaced = tuple(
            each.peer
            for each in self._all.values()
            if each.peer.sid != sid and (group == "single" or each.declared.group != group)
        )
        for peer in displaced:
            del self._all[peer.sid]
        self._all[sid] = master
        return Change(displaced, self._settle())

    def withdraw(self, sid: str) -> Change[P]:
        """A master is gone, or resigned."""
        self._all.pop(sid, None)
        return Change((), self._settle())

    def drop(self, sid: str) -> None:
        """Ask a master no more; whether that is a new epoch, a registry will say."""
        self._all.pop(sid, None)
        self._serve()

    def replace(self, masters: Sequence[Master[P]], epoch: int) -> Change[P]:
        """A registry that several hubs share has decided.

        Args:
            masters: All of them, by seniority.
            epoch: The room's.
        """
        before = [each.peer for each in self._all.values()]
        self._all = {each.peer.sid: each for each in masters}
        self._serve()
        is_new, self.epoch = epoch != self.epoch, epoch
        return Change(tuple(each for each in before if each.sid not in self._all), is_new)

    def pick(self, capability: str) -> Master[P] | None:
        """Who is to serve: the least busy of those that offer it, else of all."""
        serving = self.serving
        if len(serving) < 2:  # noqa: PLR2004 - nothing to choose from
            return serving[0] if serving else None
        offering = [each for each in serving if capability in each.offers] or serving
        return min(offering, key=lambda each: len(each.peer.serving))

    def _settle(self) -> bool:
        before = [each.peer for each in self.serving]
        self._serve()
        is_new = [each.peer for each in self.serving] != before
        self.epoch += is_new
        return is_new

    def _serve(self) -> None:
        everyone = list(self._all.values())
        is_shared = bool(everyone) and everyone[0].declared.group == "shared"
        self.serving = everyone if is_shared else everyone[:1]
        self.offers = frozenset().union(*(each.offers for each in self.serving))
