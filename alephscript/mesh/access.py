"""Who may connect to a hub, and what each client may do there.

A hub with an `Access` asks it once a connection (`Access.authenticate`), and for each room that
a client wants to enter, to speak in, to ask or to master (`Access.authorize`). Ready-made are one
secret for all (`SharedToken`), one secret a room as upstream's newer hubs have it (`RoomSecrets`)
and, in `alephscript.hub.tokens`, JSON Web Tokens.

May go in: rules that need no library. May not: how a hub asks them. Pure: no socket, no clock; a
custom `Access` may do I/O to authenticate.
"""

from __future__ import annotations

import abc
import hmac
from collections.abc import Awaitable, Mapping
from secrets import token_hex
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
    "split_zone",
]

_ZONE = "::z:"
"""What stands between a room and its zone, in the names of upstream's newer hubs."""

Action = Literal["subscribe", "speak", "ask", "master"]
"""An action in a room. ``subscribe`` is to enter it, and to learn who is there; ``speak`` to say
something to it; ``ask`` to ask its master; ``master`` to be its master."""


@attrs.frozen
class Handshake:
    """How a client connects.

    Attributes:
        namespace: The namespace that it wants to join, ``/runtime``, ``/`` or ``/admin``.
        address: The address of the client, or of a proxy in front of the hub.
        headers: The headers of the HTTP request, by lower-case name.
    """

    namespace: str
    address: str
    headers: Mapping[str, str]


@attrs.frozen
class Identity:
    """A client that was let in.

    Attributes:
        usuario: The authenticated name, in place of the one that the client registers; None if
            authentication gives no name.
        suggested: The name of a client that registers no usuario.
        rooms: The rooms that the client may use; None for all.
        masters: The rooms that the client may master; None for all that it may use.
        is_admin: Whether the client may see the whole hub: the mesh page, ``/mesh``, ``/metrics``
            and the Admin UI; and record what is asked and answered in its rooms.
        expires_at: When the client has to authenticate anew, seconds since 1970; None for never.
        priority: The highest priority that the client's requests may have: 0, the normal one, or
            more; None for any where the client is an admin, else 0.
    """

    usuario: str | None = None
    suggested: str | None = None
    rooms: frozenset[str] | None = None
    masters: frozenset[str] | None = None
    is_admin: bool = False
    expires_at: float | None = None
    priority: int | None = None

    @property
    def highest_priority(self) -> int:
        """The highest priority that the client's requests may have."""
        if self.priority is not None:
            return self.priority
        return events.MAX_PRIORITY if self.is_admin else 0


@attrs.frozen
class Refusal:
    """The decision not to let a client in.

    Attributes:
        reason: The text that the client gets: ``unauthorized``, ``room required``, or words of
            yours that give nothing away.
    """

    reason: str = "unauthorized"


class Access(abc.ABC):
    """The rules of a hub: who comes in, and what each client may do. Subclass it for your own."""

    @abc.abstractmethod
    def authenticate(
        self, auth: Any, handshake: Handshake
    ) -> Identity | Refusal | Awaitable[Identity | Refusal]:
        """Decide whether a client may come in.

        The method may be plain or async, and take as long as a connection may take to join. If it
        raises, the client is refused and the error logged.

        Args:
            auth: The handshake's ``auth``, any JSON; None if the client sent none.
            handshake: How the client connects.
        """

    def authorize(
        self,
        identity: Identity,
        action: Action,
        room: str,
        name: str,  # noqa: ARG002 - for rules of subclasses
    ) -> bool:
        """Whether a client may do something in a room.

        A hub calls this often, so the method must not wait for anything. Unless overridden, it goes
        by `Identity.rooms` and `Identity.masters`.

        Args:
            identity: The client, as `Access.authenticate` returned it.
            action: What the client wants to do.
            room: The room; ``*`` stands for hearing of the masters of all rooms. A zone of a room,
                ``ROOM::z:ZONE``, is another room, which who may use ROOM may use, too.
            name: The event that the client says, or the capability that it asks; else empty.
        """
        if not _covers(identity.rooms, room):
            return False
        return action != "master" or _covers(identity.masters, room)


class SharedToken(Access):
    """One secret for all: handshake ``auth: {token}``. A client that has it may do everything.

    Args:
        secret: The secret that ``token`` has to equal.

    Raises:
        ValueError: The secret is empty.
    """

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("an empty token keeps nobody out; choose a secret")
        self._secret = secret

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:  # noqa: ARG002
        """Let in a client that has the secret."""
        if _equals(self._secret, _field(auth, "token")):
            return Identity(suggested=_suggested(auth), is_admin=True)
        return Refusal()


class RoomSecrets(Access):
    """One secret a room: handshake ``auth: {token, room, user}``, as upstream's newer hubs want it.

    A client that has a room's secret may do everything in that room and its zones
    (``ROOM::z:ZONE``), and nothing elsewhere.

    Args:
        secrets: The secrets, by room.

    Raises:
        ValueError: There is no secret, or one of them is empty.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        if not secrets or not all(secrets.values()):
            raise ValueError("each room needs a secret that is not empty")
        self._secrets = dict(secrets)
        self._nobodys = token_hex()

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:  # noqa: ARG002
        """Let in a client that has the secret of the room that it names."""
        room = _field(auth, "room")
        if not isinstance(room, str) or not room:
            return Refusal("room required")
        # A room that there is not has a secret that nobody knows, and the same answer: which rooms
        # there are is not for everybody to know.
        secret = self._secrets.get(room, self._nobodys)
        if not _equals(secret, _field(auth, "token")):
            return Refusal()
        return Identity(suggested=_suggested(auth), rooms=frozenset({room}))


def split_zone(room: str) -> str:
    """Return the room that a name is a zone of; the name itself if it is no zone's."""
    whole, mark, zone = room.partition(_ZONE)
    return whole if mark and zone else room


def _covers(granted: frozenset[str] | None, room: str) -> bool:
    """Whether a grant holds for a room: one of its own, or for the room that it is a zone of."""
    return granted is None or room in granted or split_zone(room) in granted


def _field(auth: Any, name: str) -> Any:
    return auth.get(name) if isinstance(auth, dict) else None


def _suggested(auth: Any) -> str | None:
    user = _field(auth, "user")
    return user if isinstance(user, str) and 0 < len(user) <= events.MAX_NAME else None


def _equals(secret: str, token: Any) -> bool:
    """Whether a token equals the secret, in a time that does not say how much of it was right."""
    if not isinstance(token, str):
        return False
    return hmac.compare_digest(secret.encode(), token.encode("utf-8", "surrogatepass"))
