"""A door's port.

May go in: how a door listens. May not: what it serves there.
"""

from __future__ import annotations

import socket

__all__ = ["address_of", "listen"]

_LAST_PORT = 65535


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port, 0 for a free one, before anything else is begun.

    Raises:
        OSError: The port cannot be had.
    """
    if not 0 <= port <= _LAST_PORT:
        raise OSError(f"{port} is no port; choose one from 0 to {_LAST_PORT}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    # Accepted sockets inherit it; asyncio sets it only where a socket names its protocol, and
    # Nagle's delays are 40 ms a part of an answer.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def address_of(listening: socket.socket) -> str:
    """Write the address at which a door that listens can be asked."""
    host, port, *_ = listening.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
