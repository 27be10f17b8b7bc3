"""Who may connect to a hub, and what each may do there.

A hub with an `Access` asks it once a connection (`Access.authenticate`), and for each room that
somebody wants to enter, to speak in, to ask or to master (`Access.authorize`). Ready-made are one
secret for all (`SharedToken`), one secret a room as upstream's newer hubs have it (`RoomSecrets`)
and, in `alephscript.hub.tokens`, JSON Web Tokens.

Pure: no socket, no clock; what an `Access` of yours does to find out who it is is its own affair.
"""

from __future__ import annotations

import abc
import hmac
from collections.abc import Awaitable, Mapping
from typing import Any, Literal

import attrs

from alephscript.protocol import events

__all__ = [
    "Access",
    "Action",
    "Handshake",
    "Identity",
    "Refusal",
    "RoomSecrets",
    "SharedToken",
]

Action = Literal["subscribe", "speak", "ask", "master"]
"""Entering a room (and learning who is there), saying something to it, asking its master, being its
master."""


@attrs.frozen
class Handshake:
    """How somebody connects.

    Attributes:
        namespace: What is to be joined, ``/runtime``, ``/`` or ``/admin``.
        address: The peer's address; a proxy's, if there is one in front.
        headers: Of the HTTP request, by lower-case name.
    """

    namespace: str
    address: str
    headers: Mapping[str, str]


@attrs.frozen
class Identity:
    """Somebody who was let in.

    Attributes:
        usuario: Who it is; replaces what it registers as. None if that is not known.
        suggested: What it is called if it registers no usuario.
        rooms: The rooms it may use; None for all.
        masters: The rooms it may master; None for all that it may use.
        is_admin: Whether it may see the whole hub: the mesh page, ``/mesh``, ``/metrics`` and the
            Admin UI.
        expires_at: When it is to prove itself anew, seconds since 1970; None for never.
    """

    usuario: str | None = None
    suggested: str | None = None
    rooms: frozenset[str] | None = None
    masters: frozenset[str] | None = None
    is_admin: bool = False
    expires_at: float | None = None


@attrs.frozen
class Refusal:
    """Somebody is not let in.

    Attributes:
        reason: What it is told: ``unauthorized``, ``room required``, ``room not allowed``, or
            words of yours that give nothing away.
    """

    reason: str = "unauthorized"


class Access(abc.ABC):
    """Decides who comes in, and what each may do. Subclass it for a rule of your own."""

    @abc.abstractmethod
    def authenticate(
        self, auth: Any, handshake: Handshake
    ) -> Identity | Refusal | Awaitable[Identity | Refusal]:
        """Whether somebody may come in.

        Plain or async; it may take as long as a connection may take to join. One that raises
        refuses, and is logged.

        Args:
            auth: What it sent as the handshake's ``auth``, any JSON; None if it sent none.
            handshake: How it connects.
        """

    def authorize(
        self,
        identity: Identity,
        action: Action,
        room: str,
        name: str,  # noqa: ARG002 - for rules of subclasses
    ) -> bool:
        """Whether somebody may do something; called often, so it must not wait for anything.

        This one goes by `Identity.rooms` and `Identity.masters`.

        Args:
            identity: As `Access.authenticate` gave it.
            action: What it wants to do.
            room: Where; ``*`` stands for hearing of the masters of all rooms.
            name: The event that it says, or the capability that it asks; else empty.
        """
        if identity.rooms is not None and room not in identity.rooms:
            return False
        return action != "master" or identity.masters is None or room in identity.masters


class SharedToken(Access):
    """One secret for all: handshake ``auth: {token}``. Who has it may do everything.

    Args:
        secret: What ``token`` has to be.

    Raises:
        ValueError: It is empty.
    """

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("an empty token keeps nobody out; choose a secret")
        self._secret = secret

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:  # noqa: ARG002
        """Whether it has the secret."""
        if _is(self._secret, _field(auth, "token")):
            return Identity(suggested=_suggested(auth), is_admin=True)
        return Refusal()


class RoomSecrets(Access):
    """One secret a room: handshake ``auth: {token, room, user}``, as upstream's newer hubs want it.

    Who has a room's secret may do everything in that room and nothing elsewhere.

    Args:
        secrets: By room.

    Raises:
        ValueError: There is none, or one is empty.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        if not secrets or not all(secrets.values()):
            raise ValueError("each room needs a secret that is not empty")
        self._secrets = dict(secrets)

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:  # noqa: ARG002
        """Whether it has the secret of the room that it names."""
        room = _field(auth, "room")
        if not isinstance(room, str) or not room:
            return Refusal("room required")
        secret = self._secrets.get(room)
        if secret is None:
            return Refusal("room not allowed")
        if not _is(secret, _field(auth, "token")):
            return Refusal()
        return Identity(suggested=_suggested(auth), rooms=frozenset({room}))


def _field(auth: Any, name: str) -> Any:
    return auth.get(name) if isinstance(auth, dict) else None


def _suggested(auth: Any) -> str | None:
    user = _field(auth, "user")
    return user if isinstance(user, str) and 0 < len(user) <= events.MAX_NAME else None


def _is(secret: str, said: Any) -> bool:
    """Whether that is the secret, in a time that does not say how much of it was right."""
    if not isinstance(said, str):
        return False
    return hmac.compare_digest(secret.encode(), said.encode("utf-8", "surrogatepass"))
