"""How much one client may take of a hub.

May go in: bounds, as data. May not: who keeps them. Pure: no socket, no clock.
"""

from __future__ import annotations

import attrs

__all__ = ["DEFAULT_LIMITS", "Limits"]


@attrs.frozen
class Limits:
    """Bounds of a hub, each per client; ``alephscript.protocol.json.MAX_DEPTH`` bounds nesting.

    Attributes:
        connections: Clients at the same time; further ones are told to come again later.
        message_bytes: Maximum bytes of a message. A larger one disconnects its sender; one over
            twice the limit, before it is read. Of messages that are not whole yet, those of all
            clients take eight times as many bytes, and more wait.
        backlog_bytes: Bytes that may wait for a client; a client that reads more slowly is
            disconnected. Four times as many may wait for all clients; beyond, those with the most
            are disconnected.
        join_seconds: Seconds that a connection may take to authenticate and join a namespace.
        rooms_per_client: Rooms that a client may be in, and as many that it may master.
        members_per_room: Members of a room.
        requests_per_client: Requests of a client that wait for an answer; further ones are
            `Overloaded`.
        kept_bytes: Bytes that a client may have the hub keep: open requests with their payloads,
            what it declares and registers, the rooms that it is in. What is beyond is
            `Overloaded`, or `LimitExceeded` where nothing is asked.
        kept_bytes_of_all: Bytes that all clients together may have the hub keep beyond the first
            64 kB of each.
        history_bytes: Bytes of events that a namespace keeps for clients that reconnect, of all
            rooms; a quarter of them may be of one client.
        retained_bytes: Bytes of retained values that a room keeps; four times as many of what one
            member has said, in whichever rooms, and sixteen times as many of a namespace. What is
            beyond the first two is `LimitExceeded`; beyond the last the oldest are forgotten.
        events_per_second: Events that a client may send in the long run, twice as many for a
            second. An event beyond is answered as `Overloaded`; an event that wants no answer ends
            the connection.
    """

    connections: int = 20_000
    message_bytes: int = 1_000_000
    backlog_bytes: int = 4_000_000
    join_seconds: float = 5.0
    rooms_per_client: int = 1_000
    members_per_room: int = 10_000
    requests_per_client: int = 10_000
    kept_bytes: int = 16_000_000
    kept_bytes_of_all: int = 32_000_000
    history_bytes: int = 16_000_000
    retained_bytes: int = 1_000_000
    events_per_second: int = 50_000


DEFAULT_LIMITS = Limits()
