"""A hub's connections, shown packet by packet: see `alephscript.diagnostics.debugging`.

May go in: a connection that prints what passes. May not: anything that changes what passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alephscript.diagnostics import debugging
from alephscript.hub.engine import Connection
from alephscript.protocol import packets
from alephscript.protocol.packets import ProtocolError

if TYPE_CHECKING:
    pass

__all__ = ["WatchedConnection", "connections"]


def connections() -> type[Connection]:
    """What a hub makes of its clients: what shows itself, if that is to be shown."""
    return WatchedConnection if "wire" in debugging.topics() else Connection


class WatchedConnection(Connection):
    """One client, and what it sends and takes on stderr."""

    __slots__ = ("_wire",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._wire = debugging.Wire("hub", payloads="payloads" in debugging.topics())

    def send(self, message: bytes, frame: bytes | None = None) -> None:
        """See `Connection.send`."""
        if not (self.closed or self._doomed):
            self._show(debugging.OUT, message)
        super().send(message, frame)

    def receive(self, message: bytes) -> None:
        """See `Connection.receive`."""
        if not self.closed:
            self._show(debugging.IN, message)
        super().receive(message)

    def close(self, reason: str) -> None:
        """See `Connection.close`."""
        if not self.closed:
            self._wire.end(self._peer(*self.sids), reason)
        super().close(reason)

    def _show(self, arrow: str, message: bytes) -> None:
        if message[:1] != packets.MESSAGE:
            return
        try:
            kind, namespace, ack, payload = packets.parse_packet(message)
        except ProtocolError:
            return  # it ends the connection, and that says why
        self._wire.packet(arrow, self._peer(namespace), kind, ack, payload)

    def _peer(self, *namespaces: str) -> str:
        """Its name in the first of these where it has one; else its id, the beginning of it."""
        for namespace in namespaces:
            mesh = self._engine.meshes.get(namespace)
            peer = mesh and mesh.rooms.peers.get(self.sids.get(namespace, ""))
            if peer and peer.registration:
                return peer.name
        return self.id[:8]
