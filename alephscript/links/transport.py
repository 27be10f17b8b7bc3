"""What a client needs of a link to a hub, and the table of what waits for an acknowledgement.

A link carries JSON texts, in order, until it is lost; then it is done for. It knows no event, no
room and no request, never reconnects and never blocks in `send`. Reading what it brings is the
session's, reconnecting the client's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Link", "Receiver", "Transport"]


class Receiver(Protocol):
    """Who is told what a link brings; all of it is called on the event loop and must not block."""

    def received(self, payload: bytes, ack: int | None) -> None:
        """The hub sent an event.

        Args:
            payload: JSON array of its name and its arguments, unchecked.
            ack: To be passed to `Link.acknowledge`, None if the hub wants no acknowledgement.
        """
        ...

    def acknowledged(self, number: int, payload: bytes) -> None:
        """The hub acknowledged what was sent under ``number`` with a JSON array, unchecked."""
        ...

    def lost(self, reason: str) -> None:
        """The link is gone, whoever ended it; the last call, exactly once."""
        ...


class Link(Protocol):
    """One living connection to one namespace of a hub."""

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
    """Makes links to one hub."""

    async def connect(
        self, receiver: Receiver, *, namespace: str, auth: Mapping[str, Any] | None, timeout: float
    ) -> Link:
        """Open a link.

        Raises:
            ConnectionRefused: There is no hub, or it said no, or it was silent for ``timeout`` s.
        """
        ...
