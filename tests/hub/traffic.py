"""Traffic in lines, played against a hub's engine, and the books on what the hub owes to whom.

A line's first byte says who does what, so that what hypothesis draws, what atheris mutates and
what somebody writes by hand look alike and are played alike::

    a42/runtime,1["GET_X"]   peer a says the rest of the line, an Engine.IO message
    -a                       it hangs up
    |a                       it stops reading
    ~                        a quarter of a second passes; who is gone by then comes anew

Any other first byte is one of four peers too. Lines without a ``~`` between come in one turn.
"""

from __future__ import annotations

import asyncio
import json
import logging
import selectors
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Self

from alephscript.errors import RequestError
from alephscript.hub import Limits
from alephscript.hub.engine import Engine
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events, packets
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import read_value
from alephscript.protocol.packets import Kind, ProtocolError

NOTES = frozenset(
    {
        HubEvent.CANCEL_REQUEST,
        HubEvent.REQUEST_MORE,
        HubEvent.REQUEST_PART,
        HubEvent.REQUEST_PROGRESS,
    }
)
"""What is said about a request asks for nothing, and is answered only if it cannot be read."""

_OURS = [
    b"40/runtime,",
    b'42/runtime,["CLIENT_REGISTER",{"usuario":"ours","protocol":"alephscript/1"}]',
]
_SUBSCRIBE = b'42/runtime,["CLIENT_SUSCRIBE",{"room":"R"}]'
_MASTER = b'42/runtime,["MAKE_MASTER",{"room":"%b","features":["X","Y"]%b}]'
_TWICE = b',"descriptions":{"X":{"idempotent":true}},"group":"%b"'
_BY_ENVELOPE = (
    b'42/runtime,["ROOM_MESSAGE",{"event":"MAKE_MASTER","room":"R","data":{"features":["X"]}}]'
)
OPENINGS = [
    [b"40/runtime,"],
    [b"40", b'42["CLIENT_REGISTER",{"usuario":"root"}]', b'42["CLIENT_SUSCRIBE",{"room":"R"}]'],
    [*_OURS, _SUBSCRIBE],
    [*_OURS, _MASTER % (b"R", _TWICE % b"shared")],
    [b"40/runtime,", _SUBSCRIBE, _BY_ENVELOPE],
]
"""How peers of each kind begin."""

HOSTILE = [
    b"",
    b"x",
    b"9",
    b"1",
    b"2probe",
    b"2\xff",
    b"3",
    b"5",
    b"6",
    b"4",
    b"42",
    b"42[]",
    b'42[["a"]]',
    b'42{"0":"e"}',
    b"4999",
    b"42/runtime,",
    b"40/" + b"\xff" * 200,
    b"42/runtime,5[]",
    b'42/runtime,5[["a"]]',
    b"450-/runtime,5",
    b"459999999999-",
    b'451-/runtime,5["GET_X",{"_placeholder":true,"num":0}]',
    b"461-/runtime,1[]",
    b"43/runtime,0[]",
    b"43/runtime,1",
    b"43/runtime,1[]",
    b"43/runtime,1[1,2]",
    b'43/runtime,1{"a":1}',
    b"43/runtime,1[NaN]",
    b'44/runtime,{"message":"no"}',
    b"41/runtime,",
    b"40/nowhere,",
    b'42/runtime,5["disconnect",{"reason":"x"}]',
    b'42/runtime,5["connect_error"]',
    b'42/runtime,5["ROOM_MESSAGE",{"event":"disconnect","room":"R"}]',
    b'42/runtime,5["ROOM_MESSAGE",{"event":"E","room":"R","data":NaN}]',
    b'42/runtime,5["ROOM_MESSAGE",{"event":"E","room":"R","data":1e999}]',
    b'42/runtime,5["ROOM_MESSAGE",{"event":"E","room":"R","data":"\\ud800"}]',
    b'42/runtime,5["ROOM_MESSAGE",{"event":"SET_X","room":"R","data":1e999}]',
    b'42/runtime,5["GET_X",' + b"[" * 62 + b"]" * 62 + b"]",
    b'42/runtime,5["GET_X",' + b"[" * 1_000 + b"]" * 1_000 + b"]",
    b'42/runtime,5["GET_X",{"a":"' + b"x" * 2_000 + b'"}]',
    b'42/runtime,5["CLIENT_SUSCRIBE",{"room":""}]',
    b'42/runtime,5["CLIENT_SUSCRIBE",{"room":"' + b"r" * 300 + b'"}]',
    b'42/runtime,5["GET_X"]\n',
]
"""Frames that have broken hubs, or would break what a hub passes them on to."""

JOINED = [name + message for name in (b"a", b"b", b"c") for message in _OURS]
_ASKED = b'42/runtime,1["GET_X",{},{"room":"R"}]'
_WAITED_FOR = b'42/runtime,1["GET_X",{},{"room":"R","wait":true}]'
_CANCELLED = b'42/runtime,["CANCEL_REQUEST",{"request":1}]'
_SERVES = b"a" + _MASTER % (b"R", b"")
_STANDS_BY = _MASTER % (b"R", _TWICE % b"standby")
LIVES = {
    "its asker goes": [_SERVES, b"b" + _ASKED, b"~", b"-b", b"~"],
    "its asker leaves the namespace": [_SERVES, b"b" + _ASKED, b"b41/runtime,"],
    "its master goes": [_SERVES, b"b" + _ASKED, b"~", b"-a", b"~"],
    "its master asked, too, and goes": [_SERVES, b"a" + _ASKED, b"b" + _ASKED, b"-a"],
    "its master is displaced": [_SERVES, b"b" + _ASKED, b"c" + _MASTER % (b"R", b""), b"~"],
    "its master is mute": [_SERVES, b"b" + _ASKED, b"b" + _ASKED, *[b"~"] * 5],
    "somebody stands by": [b"a" + _STANDS_BY, b"c" + _STANDS_BY, b"b" + _ASKED, b"-a", b"~", b"-c"],
    "it is cancelled": [_SERVES, b"b" + _ASKED, b"~", b"b" + _CANCELLED],
    "one of two under one id is": [_SERVES, b"b" + _ASKED, b"b" + _ASKED, b"b" + _CANCELLED, b"~"],
    "two under one id, and their asker goes": [_SERVES, b"b" + _ASKED, b"b" + _ASKED, b"-b"],
    "it waits, and nobody comes": [b"b" + _WAITED_FOR, *[b"~"] * 5],
    "it waits, and its asker goes": [b"b" + _WAITED_FOR, b"-b"],
    "it waits, and is cancelled": [b"b" + _WAITED_FOR, b"b" + _CANCELLED],
    "it waits, and somebody comes": [b"b" + _WAITED_FOR, b"~", _SERVES, b"~", b"a43/runtime,2[]"],
    "it is answered by a SET_": [
        b"a" + _BY_ENVELOPE,
        b"b" + _ASKED,
        b'c42/runtime,["GET_X"]',
        b'a42/runtime,1["ROOM_MESSAGE",{"event":"SET_X","room":"R","data":{}}]',
    ],
}
"""What becomes of requests, among `JOINED`."""

_MAX_BACKLOG = 1_000_000
_ALL_DEADLINES = events.LONGEST_TIMEOUT + 1


def parsed(line: bytes) -> tuple[bytes, int, bytes]:
    """A line that is not empty: its sign if it has one, which peer it is about, and a message."""
    sign = line[:1] if line[:1] in (b"-", b"|") and len(line) > 1 else b""
    return sign, line[len(sign)] % 4, line[len(sign) + 1 :]


class Books:
    """What one peer has said and heard: one answer to each event with an acknowledgement id.

    Attributes:
        owed: How many acknowledgements are still to come, by namespace and id.
    """

    def __init__(self) -> None:
        self.owed: Counter[tuple[str, int | None]] = Counter()
        self._waived: Counter[tuple[str, int | None]] = Counter()  # these may come
        self._joined: set[str] = set()

    def says(self, message: bytes) -> None:
        """The peer sent an Engine.IO message."""
        if not message.startswith(packets.MESSAGE):
            return
        try:
            kind, namespace, ack, payload = packets.parse_packet(message)
        except ProtocolError:
            return
        if kind is Kind.CONNECT and namespace in events.NAMESPACES:
            self._joined.add(namespace)
        elif namespace not in self._joined:
            return
        elif kind is Kind.DISCONNECT:
            self._joined.remove(namespace)
            for key in [key for key in self.owed if key[0] == namespace]:
                self._waive(key, self.owed[key])
        elif kind in (Kind.EVENT, Kind.BINARY_EVENT):
            if ack is not None:
                self.owed[namespace, ack] += 1
            if kind is Kind.EVENT:
                self._says_of_requests(namespace, ack, payload)

    def hears(self, message: bytes) -> None:
        """The hub sent an Engine.IO message.

        Raises:
            AssertionError: It breaks peers, or answers what was not asked.
        """
        assert message.decode()[0] in "0234"  # open, ping, pong, message
        if not message.startswith(packets.MESSAGE):
            return
        kind, namespace, ack, payload = packets.parse_packet(message)
        said = _strictly(payload)
        if kind is Kind.EVENT:
            packets.split_values(payload)
            assert isinstance(said[0], str)
            assert said[0] not in events.RESERVED
        elif kind is Kind.ACK:
            packets.split_values(payload)
            (answer,) = said
            assert "success" in answer
            paid = self.owed if self.owed[namespace, ack] else self._waived
            assert paid[namespace, ack], f"{message!r} answers nothing"
            paid[namespace, ack] -= 1
        else:
            assert kind in (Kind.CONNECT, Kind.CONNECT_ERROR)
            assert isinstance(said, dict)

    def _says_of_requests(self, namespace: str, ack: int | None, payload: bytes) -> None:
        event, about = _read(payload)
        if event in NOTES:
            self._waive((namespace, ack), 1)
        if event == HubEvent.CANCEL_REQUEST and isinstance(about, dict):
            number = about.get("request")
            if type(number) is int:
                self._waive((namespace, number), 1)

    def _waive(self, key: tuple[str, int | None], times: int) -> None:
        if self.owed[key] >= times:
            self.owed[key] -= times
            self._waived[key] += times


class Peer:
    """A connection on a websocket that is none.

    Args:
        engine: Where it connects.
        is_honest: Whether it answers what it is asked, and is to be served to the end.
    """

    def __init__(self, engine: Engine, *, is_honest: bool = False) -> None:
        self.books = Books()
        self.is_honest = is_honest
        self._is_stalled = False
        self._written: list[bytes] = []
        self._connection = engine.open()
        self._connection.attach(self)

    @property
    def closed(self) -> bool:
        """Whether its connection has ended."""
        return self._connection.closed

    def says(self, message: bytes) -> None:
        """Send an Engine.IO message."""
        if not self.closed:
            self.books.says(message)
        self._connection.receive(message)

    def leaves(self) -> None:
        """Hang up."""
        self._connection.close("it hung up")

    def stalls(self) -> None:
        """Read no more."""
        self._is_stalled = True

    def listens(self) -> None:
        """Hear what came since, and keep alive."""
        written, self._written = self._written, []
        for message in _messages(b"".join(written)):
            self.books.hears(message)
            if message == packets.PING:
                self.says(packets.PONG)
            elif self.is_honest and message.startswith(packets.MESSAGE):
                kind, namespace, ack, _ = packets.parse_packet(message)
                if kind is Kind.EVENT and ack is not None:
                    self.says(packets.write_packet(Kind.ACK, namespace, ack, b'[{"served":true}]'))

    # What a connection needs of a websocket

    def write(self, data: bytes) -> None:
        """Framed bytes leave the hub."""
        assert not self.closed
        self._written.append(data)

    def backlog(self) -> int:
        """Bytes that were not read."""
        return _MAX_BACKLOG + 1 if self._is_stalled else 0

    def close(self, reason: str = "") -> None:
        """The hub hangs up."""


class Stage:
    """An engine on which traffic is played, again and again, in time that nobody waits for.

    ::

        with Stage() as stage:
            stage.play([b"a40/runtime,", b'a42/runtime,1["GET_X"]'])
    """

    def __init__(self) -> None:
        self._clock = _Clock()
        self._runner = asyncio.Runner(loop_factory=lambda: _Loop(self._clock))
        self._alarm = _Alarm()
        self.engine = Engine(
            {name: Mesh(name, default_timeout=1.0) for name in events.NAMESPACES},
            ping_interval=2.0,
            ping_timeout=1.0,
            limits=Limits(backlog_bytes=_MAX_BACKLOG),
        )

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self._alarm)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._alarm)
        self._runner.close()

    def play(self, lines: Iterable[bytes]) -> None:
        """Play lines, let every deadline pass, and let everybody go.

        Raises:
            AssertionError: The hub sent what breaks peers, answered not exactly once, cut off who
                was honest, logged an error, or keeps something of who is gone.
        """
        self._runner.run(self._play(lines))

    async def _play(self, lines: Iterable[bytes]) -> None:
        honest = [Peer(self.engine, is_honest=True) for _ in _HONEST]
        for peer, words in zip(honest, _HONEST, strict=True):
            for each in words:
                peer.says(each)
        others: dict[int, Peer] = {}
        for line in lines:
            if line == b"~":
                await self._pass(0.25, [*honest, *others.values()])
                others = {name: peer for name, peer in others.items() if not peer.closed}
            elif line:
                self._act(*parsed(line), others)
        self._clock.now += _ALL_DEADLINES
        everybody = [*honest, *others.values()]
        for peer in honest:
            peer.says(b'42/runtime,999["CLIENT_SUSCRIBE",{"room":"R"}]')
        for _ in range(3):  # deadlines pass; what follows from that is heard; and from that
            await self._pass(0.001, everybody)
        for peer in everybody:
            assert not (peer.is_honest and peer.closed), "an honest peer was cut off"
            assert peer.closed or not +peer.books.owed, f"unanswered: {+peer.books.owed}"
        for peer in everybody:
            peer.leaves()
        await asyncio.sleep(0)
        assert not self._alarm.rung, self._alarm.rung
        assert kept(self.engine) == {}

    def _act(self, sign: bytes, name: int, message: bytes, peers: dict[int, Peer]) -> None:
        peer = peers.get(name) or peers.setdefault(name, Peer(self.engine))
        if sign == b"-":
            peer.leaves()
        elif sign == b"|":
            peer.stalls()
        else:
            peer.says(message)

    @staticmethod
    async def _pass(seconds: float, peers: Iterable[Peer]) -> None:
        await asyncio.sleep(seconds)
        for peer in peers:
            peer.listens()


_HONEST = [
    [*_OURS, _SUBSCRIBE, _MASTER % (b"M", b"")],
    [b"40/runtime,", _SUBSCRIBE, b'42/runtime,5["GET_X",{}]'],
]


class _Clock(selectors.SelectSelector):
    """Where the loop would wait, time has passed: a little more than asked for, as always."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += (timeout or 0.0) + 1e-6
        return super().select(0 if timeout is not None else None)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: _Clock) -> None:
        self._now = clock
        super().__init__(clock)

    def time(self) -> float:
        return self._now.now


class _Alarm(logging.Handler):
    """Rings at what is an error: also of callbacks, which asyncio only logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.rung: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.rung.append(self.format(record))


def kept(engine: Engine) -> dict[str, Any]:
    """What the tables of an engine and its meshes hold of those who were or are there."""
    found: dict[str, Any] = {"connections": engine.connections}
    for name, mesh in engine.meshes.items():
        carrier: Any = engine.namespaces[name]
        found[f"{name} deadlines"] = range(len(carrier._deadlines))
        for part in (carrier, mesh, mesh.rooms, mesh.requests):
            for attribute, table in vars(part).items():
                found[f"{name} {type(part).__name__}.{attribute}"] = table
    return {
        name: table
        for name, table in found.items()
        if isinstance(table, dict | list | set | range) and table
    }


def _messages(data: bytes) -> Iterator[bytes]:
    """The messages of whole, unmasked websocket text frames (RFC 6455, section 5.2)."""
    while data:
        assert data[0] == 0x81
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start])
        yield data[start : start + size]
        data = data[start + size :]


def _read(payload: bytes) -> tuple[Any, Any]:
    """Name and first argument of an event, as far as they can be read."""
    try:
        values = packets.split_values(payload)[:2]
        event, about = [*map(read_value, values), None, None][:2]
    except RequestError:
        return None, None
    return event if isinstance(event, str) else None, about


def _strictly(payload: bytes) -> Any:
    """JSON as JavaScript takes it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    said = json.loads(payload.decode(), parse_int=float, parse_constant=refuse)
    json.dumps(said, ensure_ascii=False).encode()  # a lone surrogate has no UTF-8
    return said
