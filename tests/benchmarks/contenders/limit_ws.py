"""What the websocket alone costs: a relay on picows that sends each frame as it comes.

A message is its kind, two numbers and JSON. Nothing of it is checked, nobody is registered, there
is no deadline and no room but by its number.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import zlib
from collections.abc import Callable
from typing import Any

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server

from tests.benchmarks import work
from tests.benchmarks.contenders import Ask, Bystander, Options, Say

_HEAD = struct.Struct("<BII")
"""Kind; who asks, or the room; number of the question."""
_ASK, _ANSWER, _SAY, _JOIN, _MASTER, _OFFER = range(6)


def _room(name: str) -> int:
    return zlib.crc32(name.encode())


class _Relay:
    def __init__(self) -> None:
        self.askers: dict[int, WSTransport] = {}
        self.members: dict[int, dict[int, WSTransport]] = {}
        self.master: WSTransport | None = None
        self.numbers = itertools.count(1)


class _Served(WSListener):  # type: ignore[misc]  # it ships no types
    def __init__(self, relay: _Relay) -> None:
        self._relay = relay
        self._number = next(relay.numbers)
        self._rooms: list[int] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._relay.askers[self._number] = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del self._relay.askers[self._number]
        for room in self._rooms:
            del self._relay.members[room][self._number]

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.BINARY:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code())
                transport.disconnect()
            return
        relay, message = self._relay, frame.get_payload_as_bytes()
        kind, whom, number = _HEAD.unpack_from(message)
        if kind == _ASK:
            head = _HEAD.pack(_ASK, self._number, number)
            assert relay.master is not None
            relay.master.send(WSMsgType.BINARY, head + message[_HEAD.size :])
        elif kind == _ANSWER:
            relay.askers[whom].send(WSMsgType.BINARY, message)
        elif kind == _SAY:
            for member in relay.members[whom].values():
                member.send(WSMsgType.BINARY, message)
        else:
            if kind == _JOIN:
                self._rooms.append(whom)
                relay.members.setdefault(whom, {})[self._number] = transport
            elif kind == _MASTER:
                relay.master = transport
            transport.send(WSMsgType.BINARY, message)


async def serve(port: int, options: Options) -> None:
    """See `tests.benchmarks.contenders`."""
    relay = _Relay()
    server = await ws_create_server(lambda _: _Served(relay), work.HOST, port, backlog=work.BACKLOG)
    await server.serve_forever()


class _Client(WSListener):  # type: ignore[misc]  # it ships no types
    def __init__(self, heard: Callable[[], None] | None = None) -> None:
        self._heard = heard
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._gone = asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._gone.set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.BINARY:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()
            return
        message = frame.get_payload_as_bytes()
        kind, whom, number = _HEAD.unpack_from(message)
        data = orjson.loads(message[_HEAD.size :])
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
        self._transport.send_close()
        await self._gone.wait()

    def _send(self, kind: int, whom: int, number: int, data: Any) -> None:
        message = _HEAD.pack(kind, whom, number) + orjson.dumps(data)
        self._transport.send(WSMsgType.BINARY, message)


async def _connect(port: int, heard: Callable[[], None] | None = None) -> _Client:
    url = f"ws://{work.HOST}:{port}/"
    _, client = await ws_connect(lambda: _Client(heard), url, websocket_handshake_timeout=60)
    assert isinstance(client, _Client)
    return client


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
