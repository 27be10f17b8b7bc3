"""Where a request comes from, so that a polling session's id alone lets nobody speak for it.

May go in: what a request's socket, its headers and the proxies that are trusted tell of its sender.
May not: whose requests are taken at all (`admission`), or who a client is (`joining`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from alephscript.hub.connection import Connection

__all__ = ["OF_PROXIES", "Senders"]

OF_PROXIES = ("x-forwarded-for", "forwarded", "x-real-ip")
"""Headers that proxies add, and nobody else has a reason to send."""


class Senders:
    """The rule by which requests belong to a session (decision 0040).

    Args:
        trusted: Addresses of proxies, whose ``X-Forwarded-For`` is believed: uvicorn's, from the
            environment's ``FORWARDED_ALLOW_IPS``.
    """

    def __init__(self, trusted: Container[str] = ()) -> None:
        self.trusted = trusted

    def find(self, peer: str, headers: Mapping[str, str]) -> str | None:
        """Find the address of the program that sent a request; None if a proxy alone knows it.

        Args:
            peer: The address at the other end of the socket.
            headers: The request's headers, by lower-case name.
        """
        if not any(name in headers for name in OF_PROXIES):
            return peer
        forwarded = headers.get("x-forwarded-for")
        if forwarded is None:
            return None
        hosts = [_without_port(each.strip()) for each in forwarded.split(",")]
        if peer not in self.trusted:
            # An ASGI server that trusts the proxy has put the program's address in its place.
            return peer if peer in hosts else None
        # Each proxy adds the address that it sees: what stands before the first is anybody's word.
        return next((each for each in reversed(hosts) if each not in self.trusted), hosts[0])

    def is_of(self, session: Connection, peer: str, headers: Mapping[str, str]) -> bool:
        """Say whether a request is of the program that opened a session."""
        if session.sender is not None and session.sender != self.find(peer, headers):
            return False
        opening = session.handshake
        return opening is None or (
            opening.headers.get("authorization") == headers.get("authorization")
        )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host
