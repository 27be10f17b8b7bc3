"""A Socket.IO connection that registers, stays and answers heartbeats; by websockets."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.benchmarks import work
from tests.benchmarks.contenders import Bystander, Options

_numbers = itertools.count(1)


class _Connection:
    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._acks = itertools.count(1)
        self._acknowledged: asyncio.Future[Any] | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._websocket.recv()
        await self._websocket.send(f"40{work.NAMESPACE},")
        welcome = await self._websocket.recv()
        assert str(welcome).startswith("40"), welcome
        self._reading = asyncio.create_task(self._read())
        await self._call("CLIENT_REGISTER", {"usuario": f"bystander-{next(_numbers)}"})

    async def join(self, room: str) -> None:
        await self._call("CLIENT_SUSCRIBE", {"room": room})

    async def master(self, room: str) -> None:
        await self._call("MAKE_MASTER", {"room": room, "features": ["NADA"]})

    async def leave(self) -> None:
        await self._websocket.close()
        assert self._reading is not None
        await self._reading

    async def _call(self, event: str, data: dict[str, Any]) -> None:
        self._acknowledged = asyncio.get_running_loop().create_future()
        text = json.dumps([event, data])
        await self._websocket.send(f"42{work.NAMESPACE},{next(self._acks)}{text}")
        (answered,) = await asyncio.wait_for(self._acknowledged, 60)
        assert answered["success"], answered

    async def _read(self) -> None:
        try:
            async for message in self._websocket:
                text = str(message)
                if text == "2":
                    await self._websocket.send("3")
                elif text.startswith(f"43{work.NAMESPACE},"):
                    assert self._acknowledged is not None
                    self._acknowledged.set_result(json.loads(text[text.index("[") :]))
        except ConnectionClosed as exc:
            if self._acknowledged is not None and not self._acknowledged.done():
                self._acknowledged.set_exception(exc)


async def bystander(port: int, options: Options) -> Bystander:
    """See `tests.benchmarks.contenders`."""
    url = f"ws://{work.HOST}:{port}/socket.io/?EIO=4&transport=websocket"
    connection = _Connection(
        await connect(url, compression=None, ping_interval=None, proxy=None, open_timeout=60)
    )
    await connection.open()
    return connection
