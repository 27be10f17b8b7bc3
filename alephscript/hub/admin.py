"""What the official Socket.IO Admin UI is told: an observer in a namespace of its own.

It reads what the meshes know, every second while somebody watches, and says what has changed since.
Nothing is hooked into the way of a packet, so it costs nothing while nobody looks; payloads are not
shown. Events and their shapes are those of ``@socket.io/admin-ui`` 0.5.
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
    from alephscript.hub.engine import Connection, Engine
    from alephscript.mesh.access import Identity

__all__ = ["Admin"]

_NAMESPACE = "/admin"
_SECONDS = 1.0


class Admin:
    """The namespace ``/admin``; see `alephscript.hub.engine.Inhabited`.

    Args:
        engine: What it watches.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watching: dict[str, Connection] = {}
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        self._clients = 0
        self._began = time.time()
        self._timer: asyncio.TimerHandle | None = None

    def joined(self, sid: str, connection: Connection, identity: Identity | None) -> None:  # noqa: ARG002
        """An Admin UI came: tell it what there is."""
        if not self._watching:
            self._known = self._sockets()
        self._watching[sid] = connection
        to = [connection]
        self._say(to, "config", {"supportedFeatures": ["ALL_EVENTS", "AGGREGATED_EVENTS"]})
        self._say(to, "server_stats", self._stats([]))
        self._say(to, "all_sockets", list(self._known.values()))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._tick)

    def left(self, sid: str) -> None:
        """It is gone."""
        del self._watching[sid]
        if not self._watching:
            self.close()

    def received(self, sid: str, ack: int | None, payload: bytes) -> None:
        """It wants something done; nothing can be done from here."""

    def acknowledged(self, sid: str, ack: int | None, payload: bytes) -> None:
        """Nothing here wants an acknowledgement."""

    def refused(self, sid: str, ack: int | None, error: RequestError) -> None:
        """It sent what cannot be read; nothing here answers."""

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._tick)
        now, before, after = _now(), self._known, self._sockets()
        self._known = after
        for key in after.keys() - before.keys():
            self._tell("socket_connected", after[key], now)
        for namespace, sid in before.keys() - after.keys():
            self._tell("socket_disconnected", namespace, sid, "transport close", now)
        for key in before.keys() & after.keys():
            self._tell_of_rooms(key, before[key]["rooms"], after[key]["rooms"], now)
        came, self._clients = (
            len(self._engine.connections) - self._clients,
            len(self._engine.connections),
        )
        moved = "rawConnection" if came > 0 else "rawDisconnection"
        counted = [{"timestamp": int(time.time() * 1000), "type": moved, "count": abs(came)}]
        self._tell("server_stats", self._stats(counted if came else []))

    def _tell_of_rooms(
        self, key: tuple[str, str], before: Iterable[str], after: Iterable[str], now: str
    ) -> None:
        namespace, sid = key
        for room in set(after) - set(before):
            self._tell("room_joined", namespace, room, sid, now)
        for room in set(before) - set(after):
            self._tell("room_left", namespace, room, sid, now)

    def _tell(self, event: str, *args: Any) -> None:
        self._say(self._watching.values(), event, *args)

    def _say(self, to: Iterable[Connection], event: str, *args: Any) -> None:
        payload = msgspec.json.encode([event, *args])
        message = packets.write_packet(Kind.EVENT, _NAMESPACE, None, payload)
        frame = write_text_frame(message)
        for connection in list(to):
            connection.send(message, frame)

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
        """Every socket, by namespace and id, as the UI wants it."""
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
