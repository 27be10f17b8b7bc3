"""The namespace of the official Socket.IO Admin UI: what is sent to it.

The meshes are read every second while an Admin UI is connected, and changes are sent. Nothing is
hooked into the way of a packet, so this costs nothing while nobody looks; payloads are not shown.
Events and their shapes are those of ``@socket.io/admin-ui`` 0.5.

May go in: what that UI shows. May not: commands of that UI, which this hub does not obey.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from alephscript.errors import RequestError
from alephscript.protocol import events, packets
from alephscript.protocol.packets import Kind
from alephscript.protocol.websocket import write_text_frame

if TYPE_CHECKING:
    from alephscript.hub.connection import Connection
    from alephscript.hub.engine import Engine
    from alephscript.hub.namespace import Recipient
    from alephscript.mesh.access import Identity
    from alephscript.mesh.presence import Reason

__all__ = ["Admin"]

_NAMESPACE = "/admin"
_SECONDS = 1.0


class Admin:
    """The namespace ``/admin`` (`alephscript.hub.namespace.Namespace`).

    Args:
        engine: The hub's connections and meshes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watching: dict[str, Recipient] = {}
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        self._clients = 0
        self._began = time.time()
        self._timer: asyncio.TimerHandle | None = None

    def joined(self, sid: str, recipient: Recipient, identity: Identity | None) -> None:  # noqa: ARG002
        """Send an Admin UI all that there is."""
        if not self._watching:
            self._known = self._sockets()
        self._watching[sid] = recipient
        to = [recipient]
        self._send(to, "config", {"supportedFeatures": ["ALL_EVENTS", "AGGREGATED_EVENTS"]})
        self._send(to, "server_stats", self._stats([]))
        self._send(to, "all_sockets", list(self._known.values()))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._tick)

    def left(self, sid: str, reason: Reason = "link_lost") -> None:  # noqa: ARG002 - a protocol's
        """Forget an Admin UI."""
        del self._watching[sid]
        if not self._watching:
            self.close()

    def received(self, sid: str, ack: int | None, payload: bytes) -> None:
        """Ignore a command: nothing can be done from here."""

    def acknowledged(self, sid: str, ack: int | None, payload: bytes) -> bool:  # noqa: ARG002 - a protocol's
        """Ignore an acknowledgement: nothing here asks for one."""
        return False

    def refused(self, sid: str, ack: int | None, error: RequestError) -> None:
        """Ignore what cannot be read."""

    def dropped(self, event: str, reason: str) -> None:
        """Ignore what is not taken."""

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._tick)
        now, before, after = _now(), self._known, self._sockets()
        self._known = after
        for key in after.keys() - before.keys():
            self._send_all("socket_connected", after[key], now)
        for namespace, sid in before.keys() - after.keys():
            self._send_all("socket_disconnected", namespace, sid, "transport close", now)
        for key in before.keys() & after.keys():
            self._send_rooms(key, before[key]["rooms"], after[key]["rooms"], now)
        clients = len(self._engine.connections)
        more, self._clients = clients - self._clients, clients
        kind = "rawConnection" if more > 0 else "rawDisconnection"
        counts = [{"timestamp": int(time.time() * 1000), "type": kind, "count": abs(more)}]
        self._send_all("server_stats", self._stats(counts if more else []))

    def _send_rooms(
        self, key: tuple[str, str], before: Iterable[str], after: Iterable[str], now: str
    ) -> None:
        namespace, sid = key
        for room in set(after) - set(before):
            self._send_all("room_joined", namespace, room, sid, now)
        for room in set(before) - set(after):
            self._send_all("room_left", namespace, room, sid, now)

    def _send_all(self, event: str, *args: Any) -> None:
        self._send(self._watching.values(), event, *args)

    def _send(self, to: Iterable[Recipient], event: str, *args: Any) -> None:
        payload = msgspec.json.encode([event, *args])
        message = packets.write_packet(Kind.EVENT, _NAMESPACE, None, payload)
        frame = write_text_frame(message)
        for recipient in list(to):
            recipient.send(message, frame)

    def _stats(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        connections = self._engine.connections.values()
        return {
            "serverId": f"{socket.gethostname()}#{os.getpid()}",
            "hostname": socket.gethostname(),
            "pid": os.getpid(),
            "uptime": time.time() - self._began,
            "clientsCount": len(connections),
            "pollingClientsCount": sum(not each.upgraded for each in connections),
            "aggregatedEvents": events,
            "namespaces": [
                {"name": name, "socketsCount": mesh.clients}
                for name, mesh in self._engine.meshes.items()
            ],
        }

    def _sockets(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Describe every socket in the UI's shape, by namespace and id."""
        return {
            (namespace, sid): self._socket(namespace, sid, connection)
            for connection in self._engine.connections.values()
            for namespace, sid in connection.sids.items()
            if namespace != _NAMESPACE
        }

    def _socket(self, namespace: str, sid: str, connection: Connection) -> dict[str, Any]:
        peer = self._engine.meshes[namespace].rooms.peers[sid]
        registered: Mapping[str, Any] = {}
        if peer.registration is not None:
            registered = {"usuario": peer.registration.usuario, "sesion": peer.registration.sesion}
        return {
            "id": sid,
            "clientId": connection.id,
            "nsp": namespace,
            "transport": "websocket" if connection.upgraded else "polling",
            "data": {**registered, "masters": list(peer.mastered)},
            "handshake": {
                "address": "",
                "headers": {},
                "query": {},
                "issued": connection.opened_at * 1000,
                "secure": False,
                "time": _at(connection.opened_at),
                "url": events.RUNTIME,
                "xdomain": False,
            },
            "rooms": [sid, *peer.rooms],
        }


def _now() -> str:
    return _at(time.time())


def _at(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
