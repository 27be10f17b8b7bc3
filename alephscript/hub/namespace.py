"""A namespace as a connection sees it, and a client as a namespace sees it: two protocols.

May go in: what the two promise each other. May not: how a client gets into a namespace (`joining`),
or what the namespace does with its packets (`carrier`, `admin`).
"""

from __future__ import annotations

from typing import Protocol

from alephscript.errors import RequestError
from alephscript.mesh.access import Identity
from alephscript.mesh.presence import Reason

__all__ = ["Namespace", "Recipient"]


class Recipient(Protocol):
    """A client that messages can be sent to.

    Attributes:
        id: The id of its transport; its socket ids, one a namespace, are others.
    """

    id: str

    def send(self, message: bytes, frame: bytes | None = None) -> None:
        """Send a message, without waiting.

        Args:
            message: An Engine.IO message.
            frame: The same message as an unmasked websocket text frame, if several recipients
                share it.
        """
        ...

    def backlog(self) -> int:
        """Count the bytes that were sent, and that the client has not taken yet."""
        ...


class Namespace(Protocol):
    """A namespace of a hub: what becomes of the packets that clients send to it."""

    def joined(self, sid: str, recipient: Recipient, identity: Identity | None) -> None:
        """Take in a client.

        Args:
            sid: The client's socket id in this namespace.
            recipient: The client.
            identity: The identity that its `Access` found; None where the hub has no `Access`.
        """
        ...

    def left(self, sid: str, reason: Reason = "link_lost") -> None:
        """Forget a client, however it left.

        Args:
            sid: The client's socket id.
            reason: What others are told of that, ``disconnected`` or ``link_lost``.
        """
        ...

    def received(self, sid: str, ack: int | None, payload: bytes) -> None:
        """Handle an event of a client.

        Args:
            sid: The client's socket id.
            ack: The acknowledgement id, None if the client wants no acknowledgement.
            payload: JSON text of an array, unchecked.
        """
        ...

    def acknowledged(self, sid: str, ack: int | None, payload: bytes) -> bool:
        """Handle a client's acknowledgement; the arguments are those of `received`.

        Returns:
            Whether it was waited for.
        """
        ...

    def refused(self, sid: str, ack: int | None, error: RequestError) -> None:
        """Answer an event that is not taken with an error."""
        ...

    def dropped(self, event: str, reason: str) -> None:
        """Count an event that is not taken and whose sender hears nothing of that.

        Args:
            event: The event's name as it came; empty if it cannot be read.
            reason: A word for what is wrong.
        """
        ...

    def close(self) -> None:
        """Stop all timers: the hub is closing."""
        ...
