"""Who sends a request by HTTP: ``Authorization: Bearer TOKEN``, as the hub's `Access` sees it.

May go in: asking the rule for one request. May not: what somebody may do (`mesh.access`), or what
follows for the request (`http`, `rest`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from alephscript.hub.admission import identify
from alephscript.mesh.access import Handshake, Identity, split_zone

if TYPE_CHECKING:
    from alephscript.hub.engine import Engine

__all__ = ["Bearers"]


class Bearers:
    """The bearers of tokens.

    Args:
        engine: The hub, whose `Access` is asked.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find(self, handshake: Handshake, room: str = "") -> Identity | None:
        """Find whose token a request has, as if it came into a namespace; None if nobody's.

        Args:
            handshake: The namespace, and where the request comes from.
            room: The room that the request is about, for a rule with a secret a room.
        """
        access = self._engine.access
        scheme, _, token = handshake.headers.get("authorization", "").partition(" ")
        if access is None or scheme.lower() != "bearer":
            return None
        auth = {"token": token.strip()}
        if room:
            auth["room"] = split_zone(room)
        try:
            async with asyncio.timeout(self._engine.limits.join_seconds):
                verdict = await identify(access, auth, handshake)
        except TimeoutError:
            return None
        if isinstance(verdict, Identity):
            return verdict
        self._engine.refusal_log.note(handshake.address, "a page", verdict.reason)
        return None
