"""How much one client may take of a hub.

Pure: no socket, no clock.
"""

from __future__ import annotations

import attrs

__all__ = ["DEFAULT_LIMITS", "Limits"]


@attrs.frozen
class Limits:
    """Bounds of a hub, per client; nesting is bounded by `alephscript.protocol.json.MAX_DEPTH`.

    Attributes:
        connections: Clients at the same time; who comes then is told to come again later.
        message_bytes: The largest message; who sends a larger one is disconnected, from twice as
            many on before it was read.
        backlog_bytes: What may wait for a client; one that reads more slowly is disconnected.
        join_seconds: What a connection may take to prove who it is and join a namespace.
        rooms_per_client: Rooms that one may be in, and as many that it may master.
        members_per_room: Members of one room.
        requests_per_client: Requests of one client that wait for an answer; further ones are
            `Overloaded`.
        events_per_second: What one client may send in the long run, twice as much for a second.
            An event beyond is answered as `Overloaded`; one that wants no answer ends the
            connection.
    """

    connections: int = 20_000
    message_bytes: int = 1_000_000
    backlog_bytes: int = 4_000_000
    join_seconds: float = 5.0
    rooms_per_client: int = 1_000
    members_per_room: int = 10_000
    requests_per_client: int = 10_000
    events_per_second: int = 50_000


DEFAULT_LIMITS = Limits()
