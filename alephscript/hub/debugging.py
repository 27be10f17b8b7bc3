"""A hub's packets and a mesh's decisions, shown line by line: see `diagnostics.debugging`.

May go in: a mesh and a connection that print what passes. May not: anything that changes what
passes; what a client shows, or how a line looks (`diagnostics.debugging`).

A mesh or a connection that is to be shown is wrapped when a hub is made, so that the way of a
packet has no branch for that (decision 0006).
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from alephscript.diagnostics import debugging
from alephscript.errors import RequestError
from alephscript.hub.connection import Connection, Host
from alephscript.mesh.access import Handshake
from alephscript.mesh.effects import Effect
from alephscript.mesh.federation import Federation
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import packets
from alephscript.protocol.packets import Packet, ProtocolError
from alephscript.protocol.text import printable

__all__ = ["WatchedConnection", "find_inputs", "watch_connections", "watch_mesh"]

_SECRET = frozenset({"engine_id", "identity"})
"""Arguments that say who somebody is before that is public; the name shows at registration."""


def watch_connections(
    meshes: Mapping[str, Mesh],
) -> Callable[[Host, str, Handshake | None], Connection]:
    """Choose what a hub makes of its clients: connections that show their packets, or plain ones.

    Args:
        meshes: The meshes, by namespace, in which clients have names.
    """
    topics = debugging.topics()
    if "wire" not in topics:
        return Connection
    return functools.partial(WatchedConnection, meshes, payloads="payloads" in topics)


class WatchedConnection(Connection):
    """A client whose packets are shown on stderr."""

    __slots__ = ("_meshes", "_wire")

    def __init__(
        self,
        meshes: Mapping[str, Mesh],
        host: Host,
        connection_id: str,
        handshake: Handshake | None,
        *,
        payloads: bool,
    ) -> None:
        super().__init__(host, connection_id, handshake)
        self._meshes = meshes
        self._wire = debugging.Wire("hub", payloads=payloads)

    def send(self, message: bytes, frame: bytes | None = None) -> None:
        """Show and send a message; see `Connection.send`."""
        if not (self.closed or self._is_doomed):
            self._show(debugging.OUT, message)
        super().send(message, frame)

    def receive(self, message: bytes | Packet) -> None:
        """Show and handle a message; see `Connection.receive`."""
        if not self.closed:
            self._show(debugging.IN, message)
        super().receive(message)

    def close(self, reason: str) -> None:
        """Show why the connection ends, and end it; see `Connection.close`."""
        if not self.closed:
            self._wire.end(self._peer(*self.sids), reason)
        super().close(reason)

    def _show(self, arrow: str, message: bytes | Packet) -> None:
        if isinstance(message, tuple):
            kind, namespace, ack, payload = message
            self._wire.packet(arrow, self._peer(namespace), kind, ack, payload)
            return
        if message[:1] != packets.MESSAGE:
            return
        try:
            kind, namespace, ack, payload = packets.parse_packet(message)
        except ProtocolError:
            return  # such a message ends the connection, and `close` says why
        self._wire.packet(arrow, self._peer(namespace), kind, ack, payload)

    def _peer(self, *namespaces: str) -> str:
        """Return the client's name in the first of these where it has one; else part of its id."""
        for namespace in namespaces:
            mesh = self._meshes.get(namespace)
            peer = mesh and mesh.rooms.peers.get(self.sids.get(namespace, ""))
            if peer and peer.registration:
                return peer.name
        return self.id[:8]


def watch_mesh(mesh: Mesh) -> Mesh:
    """Return a mesh that shows what it decides, if that is to be shown; else the mesh itself."""
    topics = debugging.topics()
    if "routing" not in topics:
        return mesh
    return cast("Mesh", _WatchedMachine(mesh, mesh, payloads="payloads" in topics))


def find_inputs(machine: Any) -> frozenset[str]:
    """Name the inputs of `Mesh` or `Federation`: the public methods that return effects."""
    return frozenset(
        name
        for name, method in inspect.getmembers(machine, inspect.isfunction)
        if not name.startswith("_") and typing.get_type_hints(method).get("return") == list[Effect]
    )


class _WatchedMachine:
    """A stand-in for a mesh or its federation, which shows inputs and the effects they lead to.

    No subclass, since a method that the machine itself calls is no input then.
    """

    def __init__(self, machine: Any, mesh: Mesh, *, payloads: bool) -> None:
        self._machine = machine
        self._inputs = find_inputs(type(machine))
        self._mesh = mesh
        self._payloads = payloads
        self._print = debugging.printer("routing")

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._machine, name)
        if name in self._inputs:
            return functools.partial(self._run, value)
        return value

    def federate(self, hub: str) -> Federation:
        """Watch the other hubs' inputs, too; see `Mesh.federate`."""
        federation = self._mesh.federate(hub)
        watched = _WatchedMachine(federation, self._mesh, payloads=self._payloads)
        return cast("Federation", watched)

    def _run(self, method: Callable[..., list[Effect]], *args: Any, **kwargs: Any) -> list[Effect]:
        arguments = inspect.signature(method).bind(*args, **kwargs).arguments
        is_new = arguments.get("sid") not in self._mesh.rooms.peers
        before = self._describe(arguments)
        effects = method(*args, **kwargs)
        # A peer that comes has its name afterwards, one that leaves had it before.
        self._put(debugging.IN, method.__name__, self._describe(arguments) if is_new else before)
        for effect in effects:
            fields = msgspec.structs.asdict(effect)
            self._put(debugging.OUT, type(effect).__name__, self._describe(fields))
        return effects

    def _put(self, arrow: str, name: str, description: str) -> None:
        self._print(arrow, f"{self._mesh.namespace} {arrow} {name} {description}".rstrip())

    def _describe(self, fields: Mapping[str, Any]) -> str:
        return " ".join(
            self._value(field, value)
            for field, value in fields.items()
            if not (field in _SECRET or value is None or value is False or value in ((), []))
        )

    def _value(self, field: str, value: Any) -> str:
        if field == "seconds":
            return f"{value:g} s"
        if isinstance(value, RequestError):
            return value.code
        if isinstance(value, str):
            return self._name(value)
        if field == "to":
            return ",".join(map(self._name, value))
        if isinstance(value, int):
            return f"{field} {value}"
        if not self._payloads:
            return "…"
        return printable(msgspec.json.encode(value, enc_hook=str).decode())

    def _name(self, text: str) -> str:
        """Return the name of a peer in place of its socket id; other text as it is."""
        peer = self._mesh.rooms.peers.get(text)
        if peer is None:
            return printable(text, debugging.LONGEST)
        name = peer.name if peer.registration else peer.engine_id[:8]
        return printable(name, debugging.LONGEST)
