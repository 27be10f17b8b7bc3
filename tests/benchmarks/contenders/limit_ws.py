"""What the websocket alone costs: a relay on bare frames that sends each as it comes.

A message is its kind, two numbers and JSON. Nothing of it is checked, nobody is registered, there
is no deadline and no room but by its number. Frames are read and written by this package, the
handshake is granted by websockets.
"""

from __future__ import annotations

import asyncio
import itertools
import zlib
from collections.abc import Callable
from typing import Any

import orjson
from websockets.http11 import Request
from websockets.server import ServerProtocol

from alephscript.links.handshake import open_websocket
from alephscript.protocol.websocket import (
    FrameReader,
    write_close_frame,
    write_masked_text_frame,
    write_text_frame,
)
from tests.benchmarks import work
from tests.benchmarks.contenders import Ask, Bystander, Options, Say

_ASK, _ANSWER, _SAY, _JOIN, _MASTER, _OFFER = range(6)
_MAX_BYTES = 2_000_000


def _room(name: str) -> int:
    return zlib.crc32(name.encode())


def _write_message(kind: int, whom: int, number: int, text: bytes) -> bytes:
    """Who asks, or the room, is ``whom``; the number is the question's."""
    return b"%d %d %d %b" % (kind, whom, number, text)


def _parse_message(message: bytes) -> tuple[int, int, int, bytes]:
    kind, whom, number, text = message.split(b" ", 3)
    return int(kind), int(whom), int(number), text


class _Relay:
    def __init__(self) -> None:
        self.askers: dict[int, asyncio.Transport] = {}
        self.members: dict[int, dict[int, asyncio.Transport]] = {}
        self.master: asyncio.Transport | None = None
        self.numbers = itertools.count(1)


class _Served(asyncio.Protocol):
    def __init__(self, relay: _Relay) -> None:
        self._relay = relay
        self._number = next(relay.numbers)
        self._rooms: list[int] = []
        self._reader = FrameReader(masked=True, max_bytes=_MAX_BYTES)
        self._handshake: ServerProtocol | None = ServerProtocol()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self._relay.askers[self._number] = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        del self._relay.askers[self._number]
        for room in self._rooms:
            del self._relay.members[room][self._number]

    def data_received(self, data: bytes) -> None:
        if self._handshake is not None:
            self._shake_hands(self._handshake, data)
            return
        for message in self._reader.read(data):
            self._take(message)
        if self._reader.closed:
            self._transport.write(self._reader.reply)
            self._transport.close()

    def _shake_hands(self, handshake: ServerProtocol, data: bytes) -> None:
        handshake.receive_data(data)
        for request in handshake.events_received():
            assert isinstance(request, Request)
            handshake.send_response(handshake.accept(request))
            self._transport.write(b"".join(handshake.data_to_send()))
            self._handshake = None

    def _take(self, message: bytes) -> None:
        relay = self._relay
        kind, whom, number, text = _parse_message(message)
        if kind == _ASK:
            assert relay.master is not None
            asked = _write_message(_ASK, self._number, number, text)
            relay.master.write(write_text_frame(asked))
        elif kind == _ANSWER:
            relay.askers[whom].write(write_text_frame(message))
        elif kind == _SAY:
            for member in relay.members[whom].values():
                member.write(write_text_frame(message))
        else:
            if kind == _JOIN:
                self._rooms.append(whom)
                relay.members.setdefault(whom, {})[self._number] = self._transport
            elif kind == _MASTER:
                relay.master = self._transport
            self._transport.write(write_text_frame(message))


async def serve(port: int, options: Options) -> None:
    """See `tests.benchmarks.contenders`."""
    relay = _Relay()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Served(relay), work.HOST, port, backlog=work.BACKLOG)
    await server.serve_forever()


class _Client(asyncio.Protocol):
    def __init__(
        self, transport: asyncio.Transport, heard: Callable[[], None] | None = None
    ) -> None:
        self._transport = transport
        self._heard = heard
        self._reader = FrameReader(masked=False, max_bytes=_MAX_BYTES)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._gone = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()

    def data_received(self, data: bytes) -> None:
        for message in self._reader.read(data):
            self._take(message)
        if self._reader.closed:
            self._transport.close()

    def _take(self, message: bytes) -> None:
        kind, whom, number, text = _parse_message(message)
        data = orjson.loads(text)
        if kind == _ASK:
            self._send(_ANSWER, whom, number, work.answer(data))
        elif kind == _SAY:
            assert data["eferencia"]
            assert self._heard is not None
            self._heard()
        else:
            self._pending.pop(number).set_result(data)

    async def call(self, kind: int, whom: int, data: Any = None) -> Any:
        number = next(self._numbers)
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        self._send(kind, whom, number, data)
        return await future

    def say(self, room: str, data: Any) -> None:
        self._send(_SAY, _room(room), 0, data)

    async def join(self, room: str) -> None:
        await self.call(_JOIN, _room(room))

    async def master(self, room: str) -> None:
        await self.call(_OFFER, _room(room))

    async def leave(self) -> None:
        close = write_close_frame(1000)
        self._transport.write(close[:1] + write_masked_text_frame(close[2:])[1:])
        await self._gone.wait()

    def _send(self, kind: int, whom: int, number: int, data: Any) -> None:
        message = _write_message(kind, whom, number, orjson.dumps(data))
        self._transport.write(write_masked_text_frame(message))


async def _connect(port: int, heard: Callable[[], None] | None = None) -> _Client:
    return await open_websocket(
        f"ws://{work.HOST}:{port}/", None, lambda transport: _Client(transport, heard)
    )


async def requester(port: int, options: Options) -> Ask:
    """See `tests.benchmarks.contenders`."""
    client = await _connect(port)

    async def ask(paso: int, relleno: str) -> bool:
        answered = await client.call(_ASK, 0, work.question(paso, relleno))
        return work.fits(answered, paso, relleno)

    return ask


async def master(port: int, options: Options) -> Say:
    """See `tests.benchmarks.contenders`."""
    client = await _connect(port)
    await client.call(_MASTER, 0)

    async def say(paso: int) -> None:
        client.say(work.ROOM, work.event(paso))

    return say


async def observer(port: int, options: Options, heard: Callable[[], None]) -> None:
    """See `tests.benchmarks.contenders`."""
    await (await _connect(port, heard)).join(work.ROOM)


async def bystander(port: int, options: Options) -> Bystander:
    """See `tests.benchmarks.contenders`."""
    return await _connect(port)
