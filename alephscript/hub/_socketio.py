"""The hub's shell over python-socketio's AsyncServer; the only hub-side file that imports it.

Used of it: the transports, the handshake, the namespaces, the packets. Its event handlers,
rooms and acknowledgement callbacks are not: a packet goes straight to the mesh and the mesh's
effects straight to the send queues, with no task and no await in between, so that one client's
events are processed in order.

Foreign private names used here (each has a test in ``tests/hub/test_socketio_facts.py``):
``_handle_eio_message``, ``_handle_eio_disconnect``, ``_handle_event``, ``_handle_ack``,
``packet_class``, ``manager.eio_sid_from_sid``, ``eio.sockets``, ``queue``.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import engineio.packet
import engineio.payload
import socketio
import socketio.packet

from alephscript import wire
from alephscript.errors import InvalidPayload, RequestError
from alephscript.hub.carrier import Carrier
from alephscript.routing import Acknowledge, Emit, Mesh

__all__ = ["SocketIOServer"]

# python-socketio logs every payload at INFO; whoever wants that says so on this logger.
_quiet = logging.getLogger("alephscript.hub.socketio")
_quiet.setLevel(logging.ERROR)
logger = logging.getLogger("alephscript.hub")

# A polling client sends what it has gathered in one POST; over 16 packets the library drops
# them all, answering 200.
engineio.payload.Payload.max_decode_packets = 1024


class SocketIOServer(socketio.AsyncServer):  # type: ignore[misc]
    """An AsyncServer that feeds meshes, one a namespace.

    Args:
        meshes: By namespace.
        cors_origins: Browser origins that may connect besides the hub's own; ``"*"`` for all.
        ping_interval: Seconds between heartbeats.
        ping_timeout: Seconds that a client may take to answer one.
        max_bytes: The largest message.
    """

    def __init__(
        self,
        meshes: Mapping[str, Mesh],
        *,
        cors_origins: Sequence[str] | str = (),
        ping_interval: float,
        ping_timeout: float,
        max_bytes: int,
    ) -> None:
        super().__init__(
            async_mode="asgi",
            namespaces=list(meshes),
            serializer=_Packet,
            logger=_quiet,
            engineio_logger=_quiet,
            cors_allowed_origins=list(cors_origins) or None
            if not isinstance(cors_origins, str)
            else cors_origins,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_http_buffer_size=max_bytes,
        )
        self._carriers = {ns: _Carrier(mesh, self) for ns, mesh in meshes.items()}
        for namespace, carrier in self._carriers.items():
            self.on("connect", carrier.connected, namespace=namespace)
            self.on("disconnect", carrier.disconnected, namespace=namespace)

    async def stop(self) -> None:
        """Close every connection and end the library's own tasks."""
        for carrier in self._carriers.values():
            carrier.close()
        for socket in list(self.eio.sockets.values()):
            with contextlib.suppress(Exception):
                await socket.close(wait=False, reason=self.reason.SERVER_DISCONNECT)
        await self.shutdown()

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        if isinstance(data, str):  # bytes are attachments of what was refused already
            try:
                await super()._handle_eio_message(eio_sid, data)
            except Exception as exc:  # noqa: BLE001 - no packet of a client may end its own task
                logger.debug("dropped an unreadable packet of %s: %r", eio_sid, exc)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and not socket.upgraded:
            # The library leaves the poll of a client that said goodbye open until it times out.
            socket.queue.put_nowait(engineio.packet.Packet(engineio.packet.NOOP))

    async def _handle_event(
        self,
        eio_sid: str,
        namespace: str | None,
        id: int | None,
        data: Any,
    ) -> None:
        carrier, sid = self._sender(eio_sid, namespace)
        if carrier is not None:
            carrier.received(sid, id, data)

    async def _handle_ack(
        self,
        eio_sid: str,
        namespace: str | None,
        id: int,
        data: Any,
    ) -> None:
        carrier, sid = self._sender(eio_sid, namespace)
        if carrier is not None:
            carrier.acknowledged(sid, id, data)

    def _sender(self, eio_sid: str, namespace: str | None) -> tuple[_Carrier | None, str]:
        namespace = namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        return self._carriers.get(namespace) if sid else None, sid or ""


class _Carrier(Carrier):
    """One namespace's mesh, on python-socketio's send queues."""

    def __init__(self, mesh: Mesh, server: SocketIOServer) -> None:
        super().__init__(mesh)
        self._server = server
        self._sockets: dict[str, str] = {}  # sid -> Engine.IO sid

    async def connected(self, sid: str, environ: Any, auth: Any) -> None:  # noqa: ARG002
        eio_sid = self._server.manager.eio_sid_from_sid(sid, self.mesh.namespace)
        self._sockets[sid] = eio_sid
        self.carry(self.mesh.connected(sid, eio_sid))

    async def disconnected(self, sid: str, reason: str) -> None:  # noqa: ARG002
        self._sockets.pop(sid, None)
        self.carry(self.mesh.disconnected(sid))

    def received(self, sid: str, ack: int | None, data: Any) -> None:
        if isinstance(data, RequestError):
            self.carry(self.mesh.refused(sid, ack, data))
        elif isinstance(data, list) and data:
            self.carry(self.mesh.received(sid, data[0], data[1:], ack))
        else:
            error = InvalidPayload("an event is an array that begins with its name")
            self.carry(self.mesh.refused(sid, ack, error))

    def acknowledged(self, sid: str, request: int | None, data: Any) -> None:
        if request is None:
            return
        if isinstance(data, RequestError):
            args: list[Any] = [data.answer()]
        else:
            args = data if isinstance(data, list) else [data]
        self.carry(self.mesh.acknowledged(sid, request, args))

    def emit(self, effect: Emit) -> None:
        data = [effect.event, *effect.args]
        self._put(effect.to, socketio.packet.EVENT, data, effect.request)

    def acknowledge(self, effect: Acknowledge) -> None:
        self._put((effect.sid,), socketio.packet.ACK, [effect.answer], effect.ack)

    def _put(self, to: Sequence[str], kind: int, data: list[Any], ack: int | None) -> None:
        text = _Packet(kind, data, self.mesh.namespace, ack).encode()
        packet = engineio.packet.Packet(engineio.packet.MESSAGE, data=text)
        for sid in to:
            socket = self._server.eio.sockets.get(self._sockets.get(sid))
            if socket is not None and not socket.closed:
                socket.queue.put_nowait(packet)


class _Codec:
    """The mesh's JSON in the shape that python-socketio wants a JSON module in."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return wire.dumps(value)

    @staticmethod
    def loads(text: str) -> Any:
        return wire.loads(text)


class _Packet(socketio.packet.Packet):  # type: ignore[misc]
    """A packet whose unreadable payload becomes an error to answer with, instead of raising."""

    uses_binary_events = False
    json = _Codec
    packet_type: int
    data: Any

    def decode(self, encoded_packet: str) -> int:
        try:
            attachments = super().decode(encoded_packet)
        except RequestError as error:
            self.data = error
            attachments = 0
        if self.packet_type in (socketio.packet.BINARY_EVENT, socketio.packet.BINARY_ACK):
            # Two polling members of a room would disconnect over bytes; nothing of ours needs any.
            is_event = self.packet_type == socketio.packet.BINARY_EVENT
            self.packet_type = socketio.packet.EVENT if is_event else socketio.packet.ACK
            self.data = InvalidPayload("binary payloads are not accepted; send JSON")
        elif attachments:
            raise ValueError("attachments on a packet that can have none")
        if self.packet_type == socketio.packet.CONNECT and not isinstance(self.data, dict):
            self.data = None
        return 0
