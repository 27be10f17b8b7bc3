"""The hub: a Socket.IO shell around the pure mesh."""

from alephscript.hub.server import Hub, HubError

__all__ = ["Hub", "HubError"]
