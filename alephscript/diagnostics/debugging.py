"""Lines that ``ALEPHSCRIPT_DEBUG=wire,routing`` has printed to stderr: packets and decisions.

============  ================================================================
topic         what is shown
============  ================================================================
``wire``      each Socket.IO packet that a client or a hub sends and takes
``routing``   each input of a mesh, and the effects that it leads to
``payloads``  the payloads of these, too; else only the sizes of packets
============  ================================================================

::

    12:30:01.250000 wire    me1 → 127.0.0.1:3010 GET_GREET #2 38 B
    12:30:01.251000 routing /runtime ← received me1 GET_GREET #2

The topics are looked up when a client, a hub or a mesh is made: what is to be shown is wrapped
then, and costs nothing otherwise (decision 0006). The handshake's ``auth`` is never shown.

May go in: topics, how a line looks, and the links of a client that show what they carry. May not:
connections and meshes that do so, which are a hub's (`hub.debugging`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from alephscript.errors import AlephScriptError, ConnectionRefused, RequestError
from alephscript.links.transport import Link, Receiver, Transport
from alephscript.protocol import packets
from alephscript.protocol.json import parse_json
from alephscript.protocol.packets import Kind
from alephscript.protocol.text import printable

__all__ = [
    "END",
    "IN",
    "LONGEST",
    "OUT",
    "TOPICS",
    "VARIABLE",
    "UnknownTopic",
    "Wire",
    "printer",
    "topics",
    "watch_links",
]

TOPICS = ("wire", "routing", "payloads")
VARIABLE = "ALEPHSCRIPT_DEBUG"

IN, OUT, END = "←", "→", "✗"

_COLOURS = {IN: "\x1b[32m", OUT: "\x1b[33m", END: "\x1b[31m"}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"

LONGEST = 128
"""Characters shown of a name that nobody has checked."""


class UnknownTopic(AlephScriptError, ValueError):
    """A topic that does not exist is to be shown; the text lists the topics that do."""


def topics() -> frozenset[str]:
    """Read from the environment which topics are to be shown.

    Raises:
        UnknownTopic: The environment names a topic that does not exist.
    """
    names = frozenset(filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))))
    if unknown := names.difference(TOPICS):
        raise UnknownTopic(
            f"there is nothing to debug named {', '.join(sorted(unknown))}; "
            f"topics are {', '.join(TOPICS)}"
        )
    if names == {"payloads"}:
        raise UnknownTopic("payloads of what are to be shown? name wire or routing, too")
    return names


def watch_links(name: str) -> Callable[[Transport], Transport]:
    """Choose what a client does with a transport: watch its links, or leave the transport as it is.

    Args:
        name: The client's name.
    """
    to_show = topics()
    if "wire" not in to_show:
        return lambda transport: transport
    wire = Wire(name, payloads="payloads" in to_show)
    return lambda transport: _WatchedTransport(transport, wire)


class Wire:
    """Shows the packets at one end of links.

    Args:
        local: The name of the client or hub at this end.
        payloads: Whether the payloads are shown.
    """

    def __init__(self, local: str, *, payloads: bool) -> None:
        self._local = printable(local, LONGEST)
        self._payloads = payloads
        self._put = printer("wire")

    def packet(
        self, arrow: str, peer: str, kind: Kind, ack: int | None = None, payload: bytes = b""
    ) -> None:
        """Show a packet.

        Args:
            arrow: `IN` or `OUT`.
            peer: The name of the peer at the other end.
            kind: The packet's kind.
            ack: The acknowledgement's number, None if there is none.
            payload: The packet's JSON text.
        """
        words = [_event(payload) if kind is Kind.EVENT else kind.name]
        if ack is not None:
            words.append(f"#{ack}")
        if payload and kind is not Kind.CONNECT:
            words.append(f"{len(payload)} B")
            if self._payloads:
                words.append(printable(payload.decode(errors="replace")))
        self._put(arrow, f"{self._local} {arrow} {printable(peer, LONGEST)} {' '.join(words)}")

    def end(self, peer: str, reason: str) -> None:
        """Show that a link was refused or lost, and why."""
        self._put(END, f"{self._local} {END} {printable(peer, LONGEST)} {printable(reason)}")


class _WatchedTransport:
    """See `alephscript.links.transport.Transport`."""

    def __init__(self, transport: Transport, wire: Wire) -> None:
        self._transport = transport
        self._wire = wire
        self.url = str(getattr(transport, "url", "memory"))

    async def connect(
        self, receiver: Receiver, *, namespace: str, auth: Mapping[str, Any] | None, timeout: float
    ) -> Link:
        hub = urlsplit(self.url).netloc.rpartition("@")[2] or self.url
        watched = _WatchedLink(receiver, self._wire, hub)
        self._wire.packet(OUT, hub, Kind.CONNECT)
        try:
            link = await self._transport.connect(
                watched, namespace=namespace, auth=auth, timeout=timeout
            )
        except ConnectionRefused as refused:
            self._wire.end(hub, refused.reason)
            raise
        self._wire.packet(IN, hub, Kind.CONNECT)
        watched.link = link
        return watched


class _WatchedLink:
    """A link that shows what it carries: for its session the link, for the link the session."""

    link: Link

    def __init__(self, receiver: Receiver, wire: Wire, hub: str) -> None:
        self._receiver = receiver
        self._wire = wire
        self._hub = hub
        self._is_up = True

    def send(self, payload: bytes, ack: int | None = None) -> None:
        self.link.send(payload, ack)
        self._wire.packet(OUT, self._hub, Kind.EVENT, ack, payload)

    def acknowledge(self, ack: int, payload: bytes) -> None:
        self.link.acknowledge(ack, payload)
        if self._is_up:
            self._wire.packet(OUT, self._hub, Kind.ACK, ack, payload)

    async def close(self) -> None:
        # Nothing is shown here: the link calls `lost` when it has ended.
        await self.link.close()

    def received(self, payload: bytes, ack: int | None) -> None:
        self._wire.packet(IN, self._hub, Kind.EVENT, ack, payload)
        self._receiver.received(payload, ack)

    def acknowledged(self, number: int, payload: bytes) -> None:
        self._wire.packet(IN, self._hub, Kind.ACK, number, payload)
        self._receiver.acknowledged(number, payload)

    def lost(self, reason: str) -> None:
        self._is_up = False
        self._wire.end(self._hub, reason)
        self._receiver.lost(reason)


def _event(payload: bytes) -> str:
    try:
        name = parse_json(bytes(packets.split_values(payload)[0]))
    except (RequestError, IndexError):
        name = None
    return printable(name, LONGEST) if isinstance(name, str) else "?"


def printer(topic: str) -> Callable[[str, str], None]:
    """Make a function that prints lines of a topic, in the arrow's colour on a terminal."""
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
