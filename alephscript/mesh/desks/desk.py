"""What all desks have in common: how a handler looks, and how it reads what it is given.

May go in: what several desks need. May not: the meaning of any event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alephscript.mesh.effects import Effect
from alephscript.mesh.peers import Peer
from alephscript.protocol.json import read_value

__all__ = ["Handler", "read_first"]

Handler = Callable[[Peer, Sequence[Any], int | None], list[Effect]]
"""Takes the peer that sent an event, the event's arguments, and the acknowledgement id."""


def read_first(args: Sequence[Any]) -> Any:
    """Read an event's payload; None if it has none."""
    return read_value(args[0]) if args else None
