"""How a socket gets from the HTTP server to a connection.

May go in: handshakes, and handing sockets over. May not: packets (`protocol`), connections (`hub`).
"""

__all__: list[str] = []
