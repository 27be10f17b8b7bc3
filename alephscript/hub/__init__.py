"""The hub: a Socket.IO shell around `alephscript.routing`."""

from alephscript.hub.server import Hub

__all__ = ["Hub"]
