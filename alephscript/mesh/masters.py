"""The masters of a room: one alone, one with others standing by, or several that share it.

Declarations are a stack: those on top that share one group master the room, a ``single`` one alone.
The ones below are displaced: they stand by, and master the room again when the ones above are gone
(decision 0039). `claim.lua` and `common.lua` have the same rule for hubs that share a registry.

May go in: which declarations a room keeps, and which master serves a capability. May not: who is
told about that (`mastering`). Pure: no socket, no clock. Of requests only their number counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from alephscript.mesh.peers import Master, Peer

__all__ = ["Change", "Masters"]


@attrs.frozen
class Change:
    """What a declaration, or the end of one, has brought about.

    Attributes:
        displaced: Peers that stand by now, and mastered the room before.
        restored: Peers that master the room again, and stood by before.
        gone: Peers whose declarations are kept no more.
        is_new: Whether others serve the room now: a new epoch.
    """

    displaced: tuple[Peer, ...]
    restored: tuple[Peer, ...]
    gone: tuple[Peer, ...]
    is_new: bool


class Masters:
    """A room's masters.

    Attributes:
        epoch: Counts the changes of who serves.
        acting: The masters of the room, by seniority; not those that are displaced.
        serving: The masters that requests go to: all of a shared room, else the first.
        offers: Capabilities of those that serve.
    """

    __slots__ = ("_all", "acting", "epoch", "offers", "serving")

    def __init__(self) -> None:
        self._all: dict[str, Master] = {}  # the displaced ones first, the oldest at the bottom
        self.epoch = 0
        self.acting: Sequence[Master] = ()
        self.serving: Sequence[Master] = ()
        self.offers: frozenset[str] = frozenset()

    def __contains__(self, sid: str) -> bool:
        return sid in self._all

    def __iter__(self) -> Iterator[Master]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    @property
    def displaced(self) -> Sequence[Master]:
        """The declarations that stand by because a later one has displaced them, oldest first."""
        return list(self._all.values())[: len(self._all) - len(self.acting)]

    def find(self, peer: Peer) -> Master | None:
        """Find the declaration of a peer that masters the room."""
        master = self._all.get(peer.sid)
        return master if master in self.acting else None

    def declare(self, master: Master) -> Change:
        """Add a declaration; the last one decides of which group the room is.

        A peer that declares again keeps its place among masters of its group. Masters of another
        group are displaced, and so is everybody by a ``single`` one: a restarted bot takes over
        before the hub notices that its old socket is dead. A declaration that yields goes below
        those of others, unless it joins their group.
        """
        sid, declared, before = master.peer.sid, master.declared, self._all
        known = before.get(sid)
        group = self.acting[-1].declared.group if self.acting else None
        others = {key: each for key, each in before.items() if key != sid}
        if known and (declared.yields or (group == declared.group and known in self.acting)):
            self._all = {**before, sid: master}
        elif declared.yields and others and (group == "single" or group != declared.group):
            self._all = {sid: master, **others}
        else:
            self._all = {**others, sid: master}
        return self._settle(others)

    def withdraw(self, sid: str) -> Change:
        """Remove the declaration of a peer that is gone, or that resigned."""
        before = self._all
        self._all = {key: each for key, each in before.items() if key != sid}
        return self._settle(before)

    def drop(self, sid: str) -> None:
        """Remove a declaration; the registry sets the epoch later."""
        self._all.pop(sid, None)
        self.acting = [each for each in self.acting if each.peer.sid != sid]
        self._choose_serving()

    def replace(self, masters: Sequence[Master], epoch: int) -> Change:
        """Take the decision of a registry that several hubs share.

        Args:
            masters: All declarations, as a stack: the last ones master the room.
            epoch: The room's.
        """
        before, previous = self._all, self.epoch
        self._all = {each.peer.sid: each for each in masters}
        change = self._settle(before)
        self.epoch = epoch
        return attrs.evolve(change, is_new=epoch != previous)

    def pick(self, capability: str) -> Master | None:
        """Pick the master that serves: the least busy of those that offer it, else of all."""
        serving = self.serving
        if len(serving) < 2:  # noqa: PLR2004 - nothing to choose from
            return serving[0] if serving else None
        offering = [each for each in serving if capability in each.offers] or serving
        return min(offering, key=lambda each: len(each.peer.serving))

    def _settle(self, before: Mapping[str, Master]) -> Change:
        """Choose the masters after a change, and tell what has become of those before."""
        acting, serving = self.acting, [each.peer for each in self.serving]
        self.acting = self._top()
        self._choose_serving()
        is_new = [each.peer for each in self.serving] != serving
        self.epoch += is_new
        was, now = {each.peer.sid for each in acting}, {each.peer.sid for each in self.acting}
        kept = [each.peer for sid, each in before.items() if sid in self._all]
        return Change(
            displaced=tuple(each for each in kept if each.sid in was and each.sid not in now),
            restored=tuple(each for each in kept if each.sid in now and each.sid not in was),
            gone=tuple(each.peer for sid, each in before.items() if sid not in self._all),
            is_new=is_new,
        )

    def _top(self) -> Sequence[Master]:
        """The declarations on top of the stack that share a group."""
        everyone = list(self._all.values())
        if not everyone:
            return ()
        first, group = len(everyone) - 1, everyone[-1].declared.group
        while first and group != "single" and everyone[first - 1].declared.group == group:
            first -= 1
        return everyone[first:]

    def _choose_serving(self) -> None:
        is_shared = bool(self.acting) and self.acting[0].declared.group == "shared"
        self.serving = self.acting if is_shared else self.acting[:1]
        self.offers = frozenset().union(*(each.offers for each in self.serving))
