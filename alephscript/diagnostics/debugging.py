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
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from alephscript.errors import AlephScriptError, ConnectionRefused, RequestError
from alephscript.links.transport import Link, Receiver, Transport
from alephscript.protocol import packets
from alephscript.protocol.json import parse_json
from alephscript.protocol.packets import Kind

if TYPE_CHECKING:
    pass

__all__ = ["END", "IN", "OUT", "TOPICS", "VARIABLE", "UnknownTopic", "Wire", "links", "topics"]

TOPICS = ("wire", "routing", "payloads")
VARIABLE = "ALEPHSCRIPT_DEBUG"

IN, OUT, END = "←", "→", "✗"

_COLOURS = {IN: "\x1b[32m", OUT: "\x1b[33m", END: "\x1b[31m"}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"

_LONGEST = 128
"""Characters shown of a name that nobody has checked."""


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


class Wire:
    """Shows the packets at one end of links.

    Args:
        local: Whose end that is.
        payloads: Whether what is in them is shown.
    """

    def __init__(self, local: str, *, payloads: bool) -> None:
        self._local = printable(local)
        self._payloads = payloads
        self._put = printer("wire")

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
                told.append(printable(payload.decode(errors="replace"), None))
        self._put(arrow, f"{self._local} {arrow} {printable(peer)} {' '.join(told)}")

    def end(self, peer: str, reason: str) -> None:
        """Show that a link is none, and why."""
        self._put(END, f"{self._local} {END} {printable(peer)} {printable(reason, None)}")


class _WatchedTransport:
    """See `alephscript.links.transport.Transport`."""

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


def _event(payload: bytes) -> str:
    try:
        name = parse_json(bytes(packets.split_values(payload)[0]))
    except (RequestError, IndexError):
        name = None
    return printable(name) if isinstance(name, str) else "?"


def printable(text: str, most: int | None = _LONGEST) -> str:
    """A text without what a terminal would obey: peers choose their own names."""
    shown = text[:most]
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in shown)


def printer(topic: str) -> Callable[[str, str], None]:
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
