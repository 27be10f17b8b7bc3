"""A hub, stock python-socketio peers, a raw peer that misbehaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
import socketio
from websockets.asyncio.client import ClientConnection, connect

from alephscript.hub import Hub

SEPARATOR = "\x1e"
"""What stands between the messages of one polling body."""

_SOON = 20
"""Seconds after which what was to come does not: fewer come and go where machines are busy."""

quiet = logging.getLogger("tests.socketio")
quiet.setLevel(logging.CRITICAL)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub on a free port."""
    async with Hub(port=0) as hub:
        yield hub


@pytest.fixture(autouse=True)
def errors_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a peer does is an error of the hub: a test that logs one fails."""
    yield
    said = [
        each.getMessage()
        for when in ("setup", "call", "teardown")
        for each in caplog.get_records(when)
        if each.levelno >= logging.ERROR
    ]
    assert said == []


class Raw:
    """A websocket that speaks Socket.IO by hand."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket

    async def send(self, frame: str | bytes) -> None:
        """Send one frame."""
        await self.websocket.send(frame)

    def send_at_once(self, *frames: str) -> None:
        """Send frames in one segment."""
        for frame in frames:
            self.websocket.protocol.send_text(frame.encode())
        self.websocket.transport.write(b"".join(self.websocket.protocol.data_to_send()))

    async def recv(self) -> str:
        """The next frame that is no Engine.IO ping."""
        async with asyncio.timeout(_SOON):
            while True:
                frame = await self.websocket.recv(decode=None)
                if frame != "2":
                    assert "Traceback" not in str(frame)
                    return str(frame)

    async def until_closed(self) -> None:
        """Wait for the hub to end the connection."""
        async with asyncio.timeout(_SOON):
            await self.websocket.wait_closed()

    async def answer(self, ack: int, namespace: str = "/runtime") -> Any:
        """The one object that an event was acknowledged with; other frames are passed over."""
        head = "43" + ("" if namespace == "/" else f"{namespace},") + f"{ack}["
        while not (frame := await self.recv()).startswith(head):
            pass
        values = msgspec.json.decode(frame[len(head) - 1 :])
        assert len(values) == 1
        return values[0]

    async def ask(self, event: str, *args: Any, ack: int = 1) -> Any:
        """Send an event and return what it was acknowledged with."""
        await self.send(f"42/runtime,{ack}" + msgspec.json.encode([event, *args]).decode())
        return await self.answer(ack)

    async def fence(self) -> Any:
        """An answer to something healthy: everything before it has been dealt with."""
        return await self.ask("CLIENT_SUSCRIBE", {"room": "FENCE"}, ack=987654)


@asynccontextmanager
async def raw_peer(hub: Hub, namespace: str | None = "/runtime") -> AsyncIterator[Raw]:
    """A raw peer, connected to a namespace unless that is None."""
    url = hub.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    async with connect(url, compression=None, max_size=None) as websocket:
        peer = Raw(websocket)
        assert (await peer.recv())[0] == "0"
        if namespace is not None:
            where = "" if namespace == "/" else f"{namespace},"
            await peer.send(f"40{where}")
            assert (await peer.recv()).startswith(f"40{where}")
        yield peer


@pytest.fixture
async def raw(hub: Hub) -> AsyncIterator[Raw]:
    """A raw peer in /runtime."""
    async with raw_peer(hub) as peer:
        yield peer


class Stock:
    """An unmodified python-socketio client that notes what it hears."""

    def __init__(self, namespace: str) -> None:
        self.sio = socketio.AsyncClient(
            reconnection=False, handle_sigint=False, logger=quiet, engineio_logger=quiet
        )
        self.namespace = namespace
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.sio.on("*", self._hear, namespace=namespace)
        self.sio.on("disconnect", self._lost, namespace=namespace)

    async def connect(self, url: str, **options: Any) -> None:
        """Connect to a hub's address, whose path is told apart, as stock clients want that."""
        path = f"{urlsplit(url).path}/socket.io".lstrip("/")
        await self.sio.connect(url, namespaces=[self.namespace], socketio_path=path, **options)

    async def _hear(self, event: str, *args: Any) -> None:
        self.heard.put_nowait((event, *args))

    async def _lost(self, _: str) -> None:
        self.gone.set()

    @property
    def sid(self) -> str:
        """Its socket id."""
        return str(self.sio.get_sid(self.namespace))

    async def emit(self, event: str, *args: Any) -> None:
        """Send without asking for acknowledgement."""
        await self.sio.emit(event, args or None, namespace=self.namespace)

    async def call(self, event: str, *args: Any) -> Any:
        """Send and wait for the acknowledgement."""
        return await self.sio.call(event, args or None, namespace=self.namespace, timeout=_SOON)

    async def say(self, room: str, event: str, data: Any = None, **extras: Any) -> None:
        """Send a ROOM_MESSAGE without acknowledgement."""
        await self.emit("ROOM_MESSAGE", {"event": event, "room": room, "data": data, **extras})

    async def next(self, *names: str) -> tuple[Any, ...]:
        """The next event heard, of these names if any are given; others are passed over."""
        async with asyncio.timeout(_SOON):
            while True:
                heard = await self.heard.get()
                if not names or heard[0] in names:
                    return heard

    def serve(self, capability: str, answer: Callable[[Any], Any]) -> None:
        """Acknowledge a GET_ with what a function makes of its payload."""

        async def handler(payload: Any) -> Any:
            made = answer(payload)
            return await made if isinstance(made, Awaitable) else made

        self.sio.on(f"GET_{capability}", handler, namespace=self.namespace)

    async def leave(self) -> None:
        """Disconnect, and leave no task and no socket behind."""
        async with asyncio.timeout(10):
            await self.sio.disconnect()
            for task in (self.sio.eio.read_loop_task, self.sio.eio.write_loop_task):
                if task is not None:
                    task.cancel()
                    await asyncio.wait({task})
            if self.sio.eio.http is not None:
                await self.sio.eio.http.close()


Join = Callable[..., Awaitable[Stock]]


@pytest.fixture
async def join(hub: Hub) -> AsyncIterator[Join]:
    """Makes stock peers and takes them off again."""
    async with AsyncExitStack() as stack:

        async def enter(
            usuario: str,
            *rooms: str,
            namespace: str = "/runtime",
            transports: tuple[str, ...] = ("websocket",),
        ) -> Stock:
            peer = Stock(namespace)
            await peer.connect(hub.url, transports=list(transports))
            stack.push_async_callback(peer.leave)
            await peer.call("CLIENT_REGISTER", {"usuario": usuario, "sesion": "-1"})
            for room in rooms:
                await peer.call("CLIENT_SUSCRIBE", {"room": room})
            return peer

        yield enter


class Poller:
    """A polling client that speaks Engine.IO by hand."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.query = {"EIO": "4", "transport": "polling"}

    async def request(
        self, method: str, body: str | bytes | None = None, **query: str
    ) -> tuple[int, str]:
        """One request; a query value of "" takes the key out."""
        merged = {key: value for key, value in {**self.query, **query}.items() if value}
        async with self.http.request(
            method, f"{self.url}/socket.io/", params=merged, data=body
        ) as answer:
            return answer.status, await answer.text()

    async def open(self) -> dict[str, Any]:
        """The handshake."""
        status, body = await self.request("GET")
        assert (status, body[0]) == (200, "0")
        shaken: dict[str, Any] = msgspec.json.decode(body[1:])
        self.query["sid"] = shaken["sid"]
        return shaken

    async def join(self) -> None:
        """The handshake, and /runtime."""
        await self.open()
        await self.post("40/runtime,")
        assert (await self.get())[0].startswith("40/runtime,")

    async def get(self) -> list[str]:
        """The messages of one poll."""
        status, body = await self.request("GET")
        assert status == 200
        return body.split(SEPARATOR)

    async def post(self, *messages: str) -> None:
        """Send messages."""
        assert await self.request("POST", SEPARATOR.join(messages)) == (200, "ok")

    def upgrade_url(self) -> str:
        """Where it may change to a websocket."""
        where = self.url.replace("http", "ws")
        return f"{where}/socket.io/?EIO=4&transport=websocket&sid={self.query['sid']}"
