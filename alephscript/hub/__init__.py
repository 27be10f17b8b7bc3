"""The hub: a Socket.IO shell around the pure mesh.

May go in: whatever a hub does beyond deciding. May not: the rules by which it decides (`mesh`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alephscript.hub.server import Hub, HubError
from alephscript.mesh.access import (
    Access,
    Action,
    Handshake,
    Identity,
    Refusal,
    RoomSecrets,
    SharedToken,
)
from alephscript.mesh.limits import Limits

if TYPE_CHECKING:
    from alephscript.hub.tokens import JsonWebToken

__all__ = [
    "Access",
    "Action",
    "Handshake",
    "Hub",
    "HubError",
    "Identity",
    "JsonWebToken",
    "Limits",
    "Refusal",
    "RoomSecrets",
    "SharedToken",
]


def __getattr__(name: str) -> Any:
    if name != "JsonWebToken":
        raise AttributeError(name)
    from alephscript.hub import tokens  # needs the [jwt] extra

    return tokens.JsonWebToken
