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
    """Choose the maker of links to a hub: our own over websockets, python-socketio's for polling.

    Args:
        url: The hub's address.
        transports: ``websocket``, ``polling`` or both.
        tls: The context that an ``https`` hub's certificate is checked with.
    """
    # Imported here: aiohttp takes longer to import than all of ours, and memory needs neither.
    if transports == ("websocket",):
        from alephscript.links.websocket import WebSocketTransport

        return WebSocketTransport(url, tls=tls)
    from alephscript.links._socketio import SocketIOTransport

    return SocketIOTransport(url, transports=transports, tls=tls)
