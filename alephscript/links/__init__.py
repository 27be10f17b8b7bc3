"""A client's connection to a hub: bytes in, bytes out, and how it ends.

May go in: transports, their handshakes and heartbeats, deadlines, and which acknowledgement belongs
to what. May not: what an event means, sessions, reconnecting (`client`).
"""

from __future__ import annotations

import ssl

from alephscript.links.transport import Transport

__all__ = ["transport_to"]


def transport_to(
    url: str, transports: tuple[str, ...] = ("websocket",), tls: ssl.SSLContext | None = None
) -> Transport:
    """What makes links to a hub: over websockets our own, on picows where it is installed.

    Args:
        url: The hub's address.
        transports: ``websocket``, ``polling`` or both.
        tls: What an ``https`` hub's certificate is checked with.
    """
    # Imported here: heavy, and memory needs none of it.
    if transports == ("websocket",):
        try:
            from alephscript.links._picows import PicowsTransport
        except ModuleNotFoundError:
            from alephscript.links._asyncio import AsyncioTransport

            return AsyncioTransport(url, tls=tls)
        return PicowsTransport(url, tls=tls)
    from alephscript.links._socketio import SocketIOTransport

    return SocketIOTransport(url, transports=transports, tls=tls)
