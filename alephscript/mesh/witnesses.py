"""Who is told what becomes of requests: metrics and journals of a hub, and those who record a room.

May go in: what a witness has to offer. May not: what one does with it (`hub`, `recording`).
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from alephscript.mesh.peers import OpenRequest, Peer
from alephscript.protocol import events
from alephscript.protocol.events import Answer

__all__ = ["Recorder", "Witness"]


class Witness(Protocol):
    """Somebody who is told how each request ends; see `Requests.witness`."""

    def ended(self, request: OpenRequest, code: str) -> None:
        """Take note of an open request that ends just now."""
        ...

    def refused(self, asker: Peer, event: str, room: Any, code: str) -> None:
        """Take note of a request that was never open.

        Args:
            asker: The peer that asks.
            event: ``GET_`` and the capability.
            room: The room that it named, any JSON; None if it named none.
            code: The error's code.
        """
        ...


class Recorder(Witness, Protocol):
    """Somebody who is told all that becomes of requests; see `Requests.recorder`."""

    def put(self, request: OpenRequest) -> None:
        """Take note of a request that is put to a master, perhaps not to its first one."""
        ...

    def noted(self, request: OpenRequest, event: str, data: Any) -> None:
        """Take note of what a master says of a request before its answer: a part, progress."""
        ...

    def answered(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> None:
        """Take note of the answer of a request, which ends just after that."""
        ...

    def said(self, peer: Peer, message: events.RoomMessage) -> None:
        """Take note of an event that a peer says in a room."""
        ...
