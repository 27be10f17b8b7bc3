"""JSON Web Tokens as a hub's `alephscript.mesh.access.Access` ([jwt] extra)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from alephscript.mesh.access import Access, Handshake, Identity, Refusal

__all__ = ["JsonWebToken"]


class JsonWebToken(Access):
    """Lets in whoever brings a valid token: handshake ``auth: {token}``.

    Of its claims, ``sub`` is who it is (its usuario, whatever it registers as), ``rooms`` and
    ``masters`` are lists of rooms that it may use and master (all without), ``admin: true`` lets it
    see the whole hub, and when ``exp`` comes its connection ends. A token without ``sub`` or
    ``exp`` is refused.

    Args:
        key: The secret, or the public key in PEM, that tokens are checked with.
        algorithms: Those that are believed; never take them from the token.
        audience: What ``aud`` has to be, if that matters.
        issuer: What ``iss`` has to be, if that matters.
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
        """Whether its token is valid."""
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
                usuario=claims["sub"],
                rooms=_rooms(claims, "rooms"),
                masters=_rooms(claims, "masters"),
                is_admin=claims.get("admin") is True,
                expires_at=float(claims["exp"]),
            )
        except (jwt.InvalidTokenError, TypeError):
            return Refusal()


def _rooms(claims: Mapping[str, Any], name: str) -> frozenset[str] | None:
    """The rooms that a claim lists, None if there is no such claim.

    Raises:
        TypeError: It is no list of names.
    """
    rooms = claims.get(name)
    if rooms is None:
        return None
    if not isinstance(rooms, list) or not all(isinstance(room, str) for room in rooms):
        raise TypeError(f"{name} is no list of names")
    return frozenset(rooms)
