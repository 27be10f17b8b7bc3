"""What ``ALEPHSCRIPT_DEBUG=wire,routing`` prints to stderr: a line each, of packets and decisions.

============  ================================================================
topic         what is shown
============  ================================================================
``wire``      each Socket.IO packet that a client or a hub sends and takes
``routing``   each input of a mesh, and the effects it led to
``payloads``  what is in them, too; else only how large packets are
============  ================================================================

::

    12:30:01.250000 wire    me1 → 127.0.0.1:3010 GET_GREET #2 38 B
    12:30:01.251000 routing /runtime ← received me1 GET_GREET #2

Which it is to be is asked when a client, a hub or a mesh is made: what is to be seen is wrapped
then, and costs nothing otherwise. The handshake's ``auth`` is never shown.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import msgspec

from alephscript import frames, wire
from alephscript.errors import AlephScriptError, ConnectionRefused, RequestError
from alephscript.frames import Kind
from alephscript.transport import Link, Receiver, Transport

if TYPE_CHECKING:
    from alephscript.routing import Mesh

__all__ = [
    "END",
    "IN",
    "OUT",
    "TOPICS",
    "VARIABLE",
    "UnknownTopic",
    "Wire",
    "links",
    "mesh",
    "topics",
]

TOPICS = ("wire", "routing", "payloads")
VARIABLE = "ALEPHSCRIPT_DEBUG"

IN, OUT, END = "←", "→", "✗"

_COLOURS = {IN: "\x1b[32m", OUT: "\x1b[33m", END: "\x1b[31m"}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"

_LONGEST = 128
"""Characters shown of a name that nobody has checked."""

_SECRET = frozenset({"engine_id", "identity"})
"""What an input says about who comes; who it is shows when it registers."""


class UnknownTopic(AlephScriptError, ValueError):
    """Something is to be shown that there is not; the text lists what there is."""


def topics() -> frozenset[str]:
    """What is to be shown.

    Raises:
        UnknownTopic: The environment wants something that there is not.
    """
    wanted = frozenset(filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))))
    if unknown := wanted.difference(TOPICS):
        raise UnknownTopic(
            f"{VARIABLE} knows no {', '.join(sorted(unknown))}; topics are {', '.join(TOPICS)}"
        )
    if wanted == {"payloads"}:
        raise UnknownTopic(f"{VARIABLE}: payloads of what? name wire or routing, too")
    return wanted


def links(name: str) -> Callable[[Transport], Transport]:
    """What a client does with a transport to have its links shown; nothing if they are not to be.

    Args:
        name: The client's.
    """
    wanted = topics()
    if "wire" not in wanted:
        return lambda transport: transport
    shown = Wire(name, payloads="payloads" in wanted)
    return lambda transport: _WatchedTransport(transport, shown)


def mesh(mesh: Mesh) -> Mesh:
    """A mesh that shows what it decides, if that is to be shown."""
    wanted = topics()
    if "routing" not in wanted:
        return mesh
    return cast("Mesh", _WatchedMachine(mesh, mesh, payloads="payloads" in wanted))


class Wire:
    """Shows the packets at one end of links.

    Args:
        local: Whose end that is.
        payloads: Whether what is in them is shown.
    """

    def __init__(self, local: str, *, payloads: bool) -> None:
        self._local = _printable(local)
        self._payloads = payloads
        self._put = _printer("wire")

    def packet(
        self, arrow: str, peer: str, kind: Kind, ack: int | None = None, payload: bytes = b""
    ) -> None:
        """Show a packet.

        Args:
            arrow: `IN` or `OUT`.
            peer: Who is at the other end.
            kind: What it is.
            ack: The acknowledgement's number, None if there is none.
            payload: Its JSON text.
        """
        told = [_event(payload) if kind is Kind.EVENT else kind.name]
        if ack is not None:
            told.append(f"#{ack}")
        if payload and kind is not Kind.CONNECT:
            told.append(f"{len(payload)} B")
            if self._payloads:
                told.append(_printable(payload.decode(errors="replace"), None))
        self._put(arrow, f"{self._local} {arrow} {_printable(peer)} {' '.join(told)}")

    def end(self, peer: str, reason: str) -> None:
        """Show that a link is none, and why."""
        self._put(END, f"{self._local} {END} {_printable(peer)} {_printable(reason, None)}")


class _WatchedTransport:
    """See `alephscript.transport.Transport`."""

    def __init__(self, transport: Transport, shown: Wire) -> None:
        self._transport = transport
        self._shown = shown
        self.url = str(getattr(transport, "url", "memory"))

    async def connect(
        self, receiver: Receiver, *, namespace: str, auth: Mapping[str, Any] | None, timeout: float
    ) -> Link:
        hub = urlsplit(self.url).netloc.rpartition("@")[2] or self.url
        watched = _WatchedLink(receiver, self._shown, hub)
        self._shown.packet(OUT, hub, Kind.CONNECT)
        try:
            link = await self._transport.connect(
                watched, namespace=namespace, auth=auth, timeout=timeout
            )
        except ConnectionRefused as refused:
            self._shown.end(hub, refused.reason)
            raise
        self._shown.packet(IN, hub, Kind.CONNECT)
        watched.link = link
        return watched


class _WatchedLink:
    """A link that shows what it carries: for its session the link, for the link the session."""

    link: Link

    def __init__(self, receiver: Receiver, shown: Wire, hub: str) -> None:
        self._receiver = receiver
        self._shown = shown
        self._hub = hub
        self._is_up = True

    def send(self, payload: bytes, ack: int | None = None) -> None:
        self.link.send(payload, ack)
        self._shown.packet(OUT, self._hub, Kind.EVENT, ack, payload)

    def acknowledge(self, ack: int, payload: bytes) -> None:
        self.link.acknowledge(ack, payload)
        if self._is_up:
            self._shown.packet(OUT, self._hub, Kind.ACK, ack, payload)

    async def close(self) -> None:
        # Whether a goodbye goes out is the link's affair; that it has ended, it says.
        await self.link.close()

    def received(self, payload: bytes, ack: int | None) -> None:
        self._shown.packet(IN, self._hub, Kind.EVENT, ack, payload)
        self._receiver.received(payload, ack)

    def acknowledged(self, number: int, payload: bytes) -> None:
        self._shown.packet(IN, self._hub, Kind.ACK, number, payload)
        self._receiver.acknowledged(number, payload)

    def lost(self, reason: str) -> None:
        self._is_up = False
        self._shown.end(self._hub, reason)
        self._receiver.lost(reason)


class _WatchedMachine:
    """A mesh, or what it is to other hubs, from outside: what returns effects is an input.

    A stand-in, since what a machine does by its own inputs is no input.
    """

    def __init__(self, machine: Any, mesh: Mesh, *, payloads: bool) -> None:
        self._machine = machine
        self._mesh = mesh
        self._payloads = payloads
        self._print = _printer("routing")

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._machine, name)
        if not inspect.ismethod(found):
            return found
        signature = inspect.signature(found)
        if signature.return_annotation == "list[Effect]":
            return functools.partial(self._run, found, signature)
        if signature.return_annotation == "Federation":
            return lambda *args: _WatchedMachine(found(*args), self._mesh, payloads=self._payloads)
        return found

    def _run(
        self,
        method: Callable[..., list[Any]],
        signature: inspect.Signature,
        *args: Any,
        **kwargs: Any,
    ) -> list[Any]:
        fields = signature.bind(*args, **kwargs).arguments
        comes = fields.get("sid") not in self._mesh.rooms.peers
        said = self._told(fields)
        effects = method(*args, **kwargs)
        # Whoever comes is known afterwards, whoever leaves is known before.
        self._put(IN, method.__name__, self._told(fields) if comes else said)
        for effect in effects:
            self._put(OUT, type(effect).__name__, self._told(msgspec.structs.asdict(effect)))
        return effects

    def _put(self, arrow: str, what: str, told: str) -> None:
        self._print(arrow, f"{self._mesh.namespace} {arrow} {what} {told}".rstrip())

    def _told(self, fields: Mapping[str, Any]) -> str:
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
        return _printable(msgspec.json.encode(value, enc_hook=str).decode(), None)

    def _name(self, text: str) -> str:
        """A socket id, as whose it is; other text as it is."""
        peer = self._mesh.rooms.peers.get(text)
        if peer is None:
            return _printable(text)
        return _printable(peer.name if peer.registration else peer.engine_id[:8])


def _event(payload: bytes) -> str:
    try:
        name = wire.loads(bytes(frames.values(payload)[0]))
    except (RequestError, IndexError):
        name = None
    return _printable(name) if isinstance(name, str) else "?"


def _printable(text: str, most: int | None = _LONGEST) -> str:
    """A text without what a terminal would obey: peers choose their own names."""
    shown = text[:most]
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in shown)


def _printer(topic: str) -> Callable[[str, str], None]:
    """What prints lines of a topic; an arrow gives the colour, on a terminal that has some."""
    colourful = (
        sys.stderr.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )

    def put(arrow: str, text: str) -> None:
        at = dt.datetime.now().astimezone().strftime("%H:%M:%S.%f")
        if colourful:
            at = f"{_DIM}{at}{_PLAIN}"
            text = text.replace(f" {arrow} ", f" {_COLOURS[arrow]}{arrow}{_PLAIN} ", 1)
        # A mesh goes on when nobody reads this any more.
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{at} {topic:<7} {text}\n")
            sys.stderr.flush()

    return put
