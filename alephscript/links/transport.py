"""The protocols of links: what a client needs of a connection to a hub, whatever it is made of.

May go in: what holds for every kind of link. May not: how one kind does it.

A link carries JSON texts, in order, until it is lost (decision 0015); then it is done for. It knows
no event, no room and no request, never reconnects and never blocks in `send`. Reading what it
brings is the session's, reconnecting the client's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["CLOSE_SECONDS", "OLD_PROTOCOL", "Link", "Receiver", "Transport"]

CLOSE_SECONDS = 2.0
"""Longest wait for a peer that does not take what was sent, when a link is closed."""

OLD_PROTOCOL = "the hub speaks an old Socket.IO protocol; versions 3 and 4 of Socket.IO speak ours"
"""Why a hub of Socket.IO 2, which is Engine.IO 3, is no hub for us."""


class Receiver(Protocol):
    """The object that is told what a link brings.

    Every method is called on the event loop and must not block.
    """

    def received(self, payload: bytes, ack: int | None) -> None:
        """Take an event that the hub sent.

        Args:
            payload: JSON array of the event's name and its arguments, unchecked.
            ack: To be passed to `Link.acknowledge`, None if the hub wants no acknowledgement.
        """
        ...

    def acknowledged(self, number: int, payload: bytes) -> None:
        """Take the hub's acknowledgement of a number: a JSON array, unchecked."""
        ...

    def lost(self, reason: str) -> None:
        """Take notice that the link is gone, from whichever side; the last call, exactly once."""
        ...


class Link(Protocol):
    """One living connection to one namespace of a hub.

    A link that keeps what is sent until the end of the loop's turn, to write it in one, may have a
    method ``hurry``, without arguments: the next message is the last of this turn, and there is
    nothing to wait for.
    """

    def send(self, payload: bytes, ack: int | None = None) -> None:
        """Send an event, asking for acknowledgement under a number if one is given.

        Args:
            payload: JSON array of the event's name and its arguments.
            ack: The number.

        Raises:
            NotConnected: The link is gone.
            PayloadTooLarge: The hub takes no message of that size; nothing was sent.
        """
        ...

    def acknowledge(self, ack: int, payload: bytes) -> None:
        """Answer an event that asked for it, with a JSON array; on a lost link, nothing happens.

        Raises:
            PayloadTooLarge: The hub takes no message of that size; nothing was sent.
        """
        ...

    async def close(self) -> None:
        """End the link when what was sent is out; bounded in time, safe to call twice."""
        ...


class Transport(Protocol):
    """The maker of links to one hub."""

    async def connect(
        self, receiver: Receiver, *, namespace: str, auth: Mapping[str, Any] | None, timeout: float
    ) -> Link:
        """Open a link.

        Raises:
            ConnectionRefused: There is no hub, or the hub said no, or was silent for ``timeout`` s.
        """
        ...
