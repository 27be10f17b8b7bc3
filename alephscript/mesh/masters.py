"""The masters of a room: one alone, one with others standing by, or several that share it.

May go in: which declarations a room keeps, and which master serves a capability. May not: who is
told about that (`rooms`). Pure: no socket, no clock. Of requests only their number counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from alephscript.mesh.peers import Master, Peer

__all__ = ["Change", "Masters"]


@attrs.frozen
class Change:
    """What a declaration, or the end of one, has brought about.

    Attributes:
        displaced: Peers that master the room no more although they are still connected.
        is_new: Whether others serve the room now: a new epoch.
    """

    displaced: tuple[Peer, ...]
    is_new: bool


class Masters:
    """A room's masters.

    Attributes:
        epoch: Counts the changes of who serves.
        serving: The masters that requests go to: all of a shared room, else the first.
        offers: Capabilities of those that serve.
    """

    __slots__ = ("_all", "epoch", "offers", "serving")

    def __init__(self) -> None:
        self._all: dict[str, Master] = {}
        self.epoch = 0
        self.serving: Sequence[Master] = ()
        self.offers: frozenset[str] = frozenset()

    def __contains__(self, sid: str) -> bool:
        return sid in self._all

    def __iter__(self) -> Iterator[Master]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def find(self, peer: Peer) -> Master | None:
        """Find the declaration of a peer."""
        return self._all.get(peer.sid)

    def declare(self, master: Master) -> Change:
        """Add a declaration; the last one decides of which group the room is.

        A peer that declares again keeps its place. Masters of another group are displaced, and so
        is everybody by a ``single`` one: a restarted bot takes over before the hub notices that its
        old socket is dead.
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

    def withdraw(self, sid: str) -> Change:
        """Remove the declaration of a peer that is gone, or that resigned."""
        self._all.pop(sid, None)
        return Change((), self._settle())

    def drop(self, sid: str) -> None:
        """Remove a declaration; the registry sets the epoch later."""
        self._all.pop(sid, None)
        self._choose_serving()

    def replace(self, masters: Sequence[Master], epoch: int) -> Change:
        """Take the decision of a registry that several hubs share.

        Args:
            masters: All masters, by seniority.
            epoch: The room's.
        """
        before = [each.peer for each in self._all.values()]
        self._all = {each.peer.sid: each for each in masters}
        self._choose_serving()
        is_new, self.epoch = epoch != self.epoch, epoch
        return Change(tuple(each for each in before if each.sid not in self._all), is_new)

    def pick(self, capability: str) -> Master | None:
        """Pick the master that serves: the least busy of those that offer it, else of all."""
        serving = self.serving
        if len(serving) < 2:  # noqa: PLR2004 - nothing to choose from
            return serving[0] if serving else None
        offering = [each for each in serving if capability in each.offers] or serving
        return min(offering, key=lambda each: len(each.peer.serving))

    def _settle(self) -> bool:
        """Choose who serves after a change, and whether that is a new epoch."""
        before = [each.peer for each in self.serving]
        self._choose_serving()
        is_new = [each.peer for each in self.serving] != before
        self.epoch += is_new
        return is_new

    def _choose_serving(self) -> None:
        everyone = list(self._all.values())
        is_shared = bool(everyone) and everyone[0].declared.group == "shared"
        self.serving = everyone if is_shared else everyone[:1]
        self.offers = frozenset().union(*(each.offers for each in self.serving))
