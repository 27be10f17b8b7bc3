"""Declarations of peers here that the registry has not decided yet, by peer and room.

However often a peer declares meanwhile, one claim is under way: when that is decided, the last
declaration counts, and all that waited are answered by it. So a burst of declarations is two
commands for the registry and two decisions for all hubs.

May go in: what waits for a decision. May not: what a decision brings about (`federation`). Pure: no
socket, no clock.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from alephscript.mesh.effects import Claim
from alephscript.mesh.peers import Master

__all__ = ["Claims", "OpenClaim", "make_claim"]


@attrs.define(eq=False)
class OpenClaim:
    """A claim that is under way, and what its peer has said since.

    Attributes:
        master: The declaration that was put forward.
        acks: Acknowledgement ids of those that wait for it.
        is_over: Whether the peer has declared again, or resigned.
        successor: The peer's last declaration since; None if there was none, or it resigned.
        waiting: Acknowledgement ids of the declarations since.
    """

    master: Master
    acks: list[int]
    is_over: bool = False
    successor: Master | None = None
    waiting: list[int] = attrs.Factory(list)


class Claims:
    """The claims of a hub that are under way."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, OpenClaim]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def rooms(self, sid: str) -> Collection[str]:
        """The rooms that a peer has claims for."""
        return self._open.get(sid, {}).keys()

    def find(self, sid: str, room: str) -> Master | None:
        """Find what was put forward for a peer in a room."""
        claim = self._open.get(sid, {}).get(room)
        return None if claim is None else claim.master

    def put(self, master: Master, acks: list[int]) -> bool:
        """Take a declaration.

        Returns:
            Whether the declaration is to be put forward now; else it waits for the decision about
            the one before.
        """
        sid, room = master.peer.sid, master.declared.room
        claims = self._open.setdefault(sid, {})
        claim = claims.get(room)
        if claim is None:
            claims[room] = OpenClaim(master, acks)
            return True
        claim.is_over, claim.successor = True, master
        claim.waiting += acks
        return False

    def resign(self, sid: str, room: str) -> None:
        """Take a peer's word that it masters a room no more, whatever is decided."""
        claim = self._open.get(sid, {}).get(room)
        if claim is not None:
            claim.is_over, claim.successor = True, None

    def settle(self, sid: str, room: str) -> OpenClaim | None:
        """Forget a claim that was decided."""
        claims = self._open.get(sid, {})
        claim = claims.pop(room, None)
        if not claims:
            self._open.pop(sid, None)
        return claim


def make_claim(master: Master, epoch: int, *, reclaiming: bool) -> Claim:
    """Make the effect that puts a declaration forward.

    Args:
        master: The declaration.
        epoch: The room's last known epoch.
        reclaiming: Whether the hub had the master before an outage.
    """
    peer, declared = master.peer, master.declared
    fields: dict[str, Any] = {
        "room": declared.room,
        "features": list(declared.features),
        "group": declared.group,
        "descriptions": declared.descriptions,
    }
    if declared.says:
        fields["says"] = declared.says
    return Claim(
        sid=peer.sid,
        name=peer.name,
        room=declared.room,
        declared=fields,
        is_core=master.is_core,
        epoch=epoch,
        reclaiming=reclaiming,
    )
