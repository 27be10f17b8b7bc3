"""Bodies of requests by HTTP, read piece by piece within the hub's bounds.

May go in: reading a body, and what is done with one that is too large. May not: what a body means
(`http`, `rest`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from alephscript.errors import PayloadTooLarge
from alephscript.hub.backlogs import FREE
from alephscript.hub.engine import Engine
from alephscript.hub.sockets.lobby import Arrival
from alephscript.protocol.packets import ProtocolError

__all__ = ["Body", "Receive"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_MOST_DIGITS = 16

_DISCARDED = 16
"""Times the largest body that is read and thrown away, so that its sender reads why."""


class Body:
    """The body of a request, on its way: a holder of `alephscript.hub.backlogs.Halves`."""

    def __init__(self, engine: Engine, arrival: Arrival) -> None:
        self._engine = engine
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.pause = self._has_room.clear
        self.resume = self._has_room.set
        self.end = arrival.end

    async def read(self, receive: Receive, headers: Mapping[str, str] | None = None) -> bytes:
        """Read all of it.

        Args:
            receive: ASGI's.
            headers: The request's headers, whose length is believed if it is too large.

        Raises:
            PayloadTooLarge: The body has more bytes than a message may have.
            ProtocolError: Its sender has hung up.
        """
        body, most = bytearray(), self._engine.limits.message_bytes
        length = (headers or {}).get("content-length", "")
        try:
            if length.isdecimal() and int(length[:_MOST_DIGITS]) > most:
                raise PayloadTooLarge(f"a body is at most {most} bytes")
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise ProtocolError("its request broke off")
                body += event.get("body", b"")
                if len(body) > most:
                    raise PayloadTooLarge(f"a body is at most {most} bytes")
                if not event.get("more_body"):
                    return bytes(body)
                if len(body) > FREE:
                    self._engine.halves.keep(self, len(body))
                    await self._has_room.wait()
        finally:
            self._engine.halves.release(self)

    async def discard(self, receive: Receive) -> bool:
        """Read the rest of a body that is too large, as far as that is no burden.

        Returns:
            Whether all of it was read: of a socket that is closed before, the sender may read
            nothing more, the answer included.
        """
        left = _DISCARDED * self._engine.limits.message_bytes
        while left > 0:
            event = await receive()
            if event["type"] == "http.disconnect":
                return False
            if not event.get("more_body"):
                return True
            left -= len(event.get("body", b""))
        return False
