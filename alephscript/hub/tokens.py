"""JSON Web Tokens as a hub's `alephscript.mesh.access.Access` ([jwt] extra); alone knows PyJWT.

May go in: which claims are read, and how. May not: what an identity may do (`mesh.access`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from alephscript.mesh.access import Access, Handshake, Identity, Refusal
from alephscript.protocol import events

__all__ = ["JsonWebToken"]


class JsonWebToken(Access):
    """Lets in clients with a valid token: handshake ``auth: {token}``.

    Of the token's claims, ``sub`` is the client's usuario, whatever it registers as; ``rooms`` and
    ``masters`` are lists of the rooms that the client may use and master (all rooms without such a
    claim); ``admin: true`` lets the client see the whole hub; ``priority`` is the highest
    that its requests may have; and at the time ``exp`` the
    connection ends. A token without ``sub`` or ``exp`` is refused.

    Args:
        key: The secret, or the public key in PEM, that tokens are checked with.
        algorithms: The algorithms that are accepted; never take them from the token.
        audience: The ``aud`` that is required, None for any.
        issuer: The ``iss`` that is required, None for any.
    """

    def __init__(
        self,
        key: str,
        *,
        algorithms: Sequence[str] = ("HS256",),
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        self._key = key
        self._algorithms = list(algorithms)
        self._audience = audience
        self._issuer = issuer

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:  # noqa: ARG002
        """Check the client's token."""
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str):
            return Refusal()
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "sub"]},
            )
            return Identity(
                usuario=_name(claims),
                rooms=_rooms(claims, "rooms"),
                masters=_rooms(claims, "masters"),
                is_admin=claims.get("admin") is True,
                expires_at=float(claims["exp"]),
                priority=_priority(claims),
            )
        except (jwt.InvalidTokenError, TypeError):
            return Refusal()


def _name(claims: Mapping[str, Any]) -> str:
    """Read whom a token names.

    Raises:
        TypeError: ``sub`` is no name; an empty one would leave the name to the client.
    """
    name = claims["sub"]
    if not isinstance(name, str) or not 0 < len(name) <= events.MAX_NAME:
        raise TypeError(f"sub is no name of 1 to {events.MAX_NAME} characters")
    return name


def _priority(claims: Mapping[str, Any]) -> int | None:
    """Read the highest priority that a token grants; None if it says nothing of it.

    Raises:
        TypeError: The claim is no whole number.
    """
    priority = claims.get("priority")
    if priority is not None and type(priority) is not int:
        raise TypeError("priority is no whole number")
    return priority


def _rooms(claims: Mapping[str, Any], name: str) -> frozenset[str] | None:
    """Read the rooms that a claim lists; None if there is no such claim.

    Raises:
        TypeError: The claim is no list of names.
    """
    rooms = claims.get(name)
    if rooms is None:
        return None
    if not isinstance(rooms, list) or not all(isinstance(room, str) for room in rooms):
        raise TypeError(f"{name} is no list of names")
    return frozenset(rooms)
