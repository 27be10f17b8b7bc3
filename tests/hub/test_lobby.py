"""Sockets that are no session yet: each is counted, and none stays."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import resource
import socket
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from alephscript.hub import Hub, Limits
from alephscript.hub.admission import make_admission
from alephscript.hub.sockets import listening, lobby
from alephscript.protocol.packets import PING, PROBE
from alephscript.protocol.websocket import write_masked_text_frame
from tests.support.peers import raw_peer

pytestmark = pytest.mark.anyio

HOST = b"Host: 127.0.0.1\r\n"
UPGRADE = (
    HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
GET_WEBSOCKET = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n" + UPGRADE
GET_PAGE = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
POST = (
    b"POST /socket.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 9\r\n\r\n40/sopas,"
)
BEGINNINGS = {
    "silent": b"",
    **{
        f"{name}, {cut} bytes": request[:cut]
        for name, request in (("page", GET_PAGE), ("body", POST), ("websocket", GET_WEBSOCKET))
        for cut in (1, 3, 20, len(request) // 2, len(request) - 4, len(request) - 1)
    },
    "page, whole": GET_PAGE,
    "page, and one byte": GET_PAGE + b"G",
    "pages": GET_PAGE * 50,
    "body, whole": POST,
    "websocket that joins nothing": GET_WEBSOCKET,
    "websocket of another path": GET_WEBSOCKET.replace(b"socket.io", b"sockets"),
    "another upgrade": GET_WEBSOCKET.replace(b": websocket", b": h2c"),
    "websocket, half a frame": GET_WEBSOCKET + write_masked_text_frame(b"40/runtime,")[:4],
    "no HTTP": b"\x16\x03\x01" * 9,
}


async def opened(hub: Hub) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket at the hub's port."""
    return await asyncio.open_connection("127.0.0.1", urlsplit(hub.url).port)


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_a_socket_that_becomes_no_session_does_not_stay(beginning: bytes) -> None:
    """However far it came with its request."""
    async with Hub(port=0, limits=Limits(join_seconds=0.2)) as hub, asyncio.timeout(10):
        reader, writer = await opened(hub)
        writer.write(beginning)
        try:
            while await reader.read(65_536):
                pass
        except ConnectionResetError:
            pass
        writer.close()
        while len(hub._lobby) or hub._state.connections:  # noqa: ASYNC110 - of uvicorn, without event
            await asyncio.sleep(0)


@pytest.mark.parametrize(("beginning", "reason"), [(b"", "silent"), (b"GET", "join_seconds")])
async def test_a_socket_that_never_said_a_word_is_counted_apart(
    beginning: bytes, reason: str
) -> None:
    """Browsers keep spare ones with each page that they load: these are no alarm."""
    async with Hub(port=0, limits=Limits(join_seconds=0.2)) as hub, asyncio.timeout(10):
        reader, writer = await opened(hub)
        writer.write(beginning)
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        assert hub._engine.refusals == {reason: 1}


async def until_refused(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes
) -> None:
    """Write a piece again and again, until the hub has hung up."""
    try:
        while not reader.at_eof():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)
    except ConnectionError:
        pass
    writer.close()


async def test_a_request_that_drips_does_not_stay() -> None:
    """A byte now and then wins no time."""
    async with Hub(port=0, limits=Limits(join_seconds=0.2)) as hub, asyncio.timeout(10):
        reader, writer = await opened(hub)
        writer.write(GET_PAGE[:-2] + b"X: ")
        await until_refused(reader, writer, b"x")


async def test_a_websocket_that_is_tried_out_and_left_does_not_stay() -> None:
    """The session goes on polling; and it has a clock, too."""
    async with Hub(port=0, limits=Limits(join_seconds=0.6)) as hub, asyncio.timeout(10):
        reader, writer = await opened(hub)
        writer.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n" + HOST + b"\r\n")
        head = await reader.readuntil(b'"sid":"')
        sid = (await reader.readuntil(b'"'))[:-1]
        assert head.startswith(b"HTTP/1.1 200")
        probing, probe = await opened(hub)
        probe.write(GET_WEBSOCKET.replace(b"=websocket", b"=websocket&sid=" + sid))
        await probing.readuntil(b"\r\n\r\n")
        probe.write(write_masked_text_frame(PING + PROBE))
        try:
            while await probing.read(100):
                pass
        except ConnectionResetError:
            pass
        probe.close()
        writer.close()


async def test_the_head_of_a_request_has_a_bound() -> None:
    """It is kept until it is whole."""
    async with Hub(port=0) as hub, asyncio.timeout(10):
        reader, writer = await opened(hub)
        writer.write(GET_PAGE[:-2] + b"X: ")
        await until_refused(reader, writer, b"x" * 10_000)


async def test_silent_sockets_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the bound the longest waiting has to go; members and newcomers do not feel them."""
    monkeypatch.setattr(lobby, "_GRACE_SECONDS", 0.0)
    limits = Limits(connections=10, join_seconds=60)
    async with Hub(port=0, limits=limits) as hub, AsyncExitStack() as stack, asyncio.timeout(10):
        member = await stack.enter_async_context(raw_peer(hub))
        for _ in range(50):
            _, writer = await opened(hub)
            stack.callback(writer.close)
        newcomer = await stack.enter_async_context(raw_peer(hub))
        assert len(hub._lobby) + len(hub._engine.connections) <= limits.connections
        assert hub._engine.refusals["connections"] >= 40
        await member.fence()
        await newcomer.fence()


async def test_within_the_grace_nobody_has_to_go_and_who_comes_waits() -> None:
    """Until there is room again."""
    limits = Limits(connections=10, join_seconds=60)
    async with Hub(port=0, limits=limits) as hub, asyncio.timeout(10):
        writers = [(await opened(hub))[1] for _ in range(10)]
        while len(hub._lobby) < 10:  # noqa: ASYNC110 - the sockets' own turn
            await asyncio.sleep(0)
        entering = asyncio.ensure_future(opened(hub))
        for writer in writers:
            writer.close()
        reader, writer = await entering
        writer.write(GET_PAGE)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_member_keeps_its_idle_sockets_and_no_more_than_a_few() -> None:
    """A polling client's next request must not meet a socket that closes."""
    async with Hub(port=0) as hub, AsyncExitStack() as stack, asyncio.timeout(10):
        path, sid = "/socket.io/?EIO=4&transport=polling", ""

        async def ask(method: str, body: str = "") -> str:
            reader, writer = await opened(hub)
            stack.callback(writer.close)
            writer.write(
                f"{method} {path}{sid} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head
            chunked = b"chunked" in head.lower()
            return (await reader.readline() + await reader.readline() if chunked else b"").decode()

        shaken = await ask("GET")
        sid = "&sid=" + json.loads(shaken[shaken.index("{") :])["sid"]
        await ask("POST", "40/runtime,")
        for _ in range(9):
            await ask("POST", "3")
        assert len(hub._lobby._kept) == 4
        assert len(hub._lobby) == 7


async def test_out_of_descriptors_is_said_once_and_who_comes_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those who are in are served meanwhile."""
    monkeypatch.setattr(listening, "_PAUSE_SECONDS", 0)
    loop = asyncio.get_running_loop()
    accept, tries = loop.sock_accept, 0

    async def fail(listener: socket.socket) -> Any:
        nonlocal tries
        tries += 1
        if tries < 1_000:
            raise OSError(errno.EMFILE, "Too many open files")
        return await accept(listener)

    async with Hub(port=0) as hub, raw_peer(hub) as member:
        monkeypatch.setattr(loop, "sock_accept", fail)
        async with raw_peer(hub):  # takes the accept that waits already
            pass
        await member.fence()
        async with raw_peer(hub) as newcomer:
            await newcomer.fence()
    assert tries >= 1_000
    said = [each for each in caplog.records if "further client" in each.msg]
    assert len(said) == 1
    assert said[0].__dict__["error"] == "Too many open files"


async def test_who_is_accepted_in_the_moment_of_the_close_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not kept open by nobody."""
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    comes: asyncio.Future[Any] = loop.create_future()

    async def accept(_: socket.socket) -> Any:
        return await comes

    monkeypatch.setattr(loop, "sock_accept", accept)
    async with Hub(port=0) as hub:
        await asyncio.sleep(0)
        comes.set_result((here, None))
        await hub.close()
    await asyncio.sleep(0)
    assert here.fileno() == -1
    there.close()


FEW, MANY = 100, 50_000
DESCRIPTORS = [
    # soft, hard, clients -> what is asked for, whether a line is logged
    (1_024, MANY, 20_000, 20_100, False),
    (1_024, resource.RLIM_INFINITY, 20_000, 20_100, False),
    (MANY, MANY, 20_000, None, False),
    (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 20_000, None, False),
    (FEW, FEW, 20_000, FEW, True),
    (FEW, 1_024, 20_000, 1_024, True),
    (FEW, 1_024, 10, 110, False),
]


@pytest.mark.parametrize(("soft", "hard", "clients", "asked", "is_logged"), DESCRIPTORS)
def test_the_soft_limit_is_raised_to_what_the_clients_need(
    soft: int,
    hard: int,
    clients: int,
    asked: int | None,
    is_logged: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Or the log says that it cannot be."""
    limits: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    listening.raise_descriptor_limit(clients)
    assert limits == ([] if asked is None else [(asked, hard)])
    assert bool(caplog.records) is is_logged


def test_a_system_that_refuses_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some have a further limit of their own."""

    def refuse(*_: Any) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (FEW, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    listening.raise_descriptor_limit(20_000)
    assert "may open 100" in caplog.text


NAMES = [
    # Host, Origin; whether a hub on loopback takes it, and one of --insecure on 0.0.0.0
    ("localhost:3010", None, True, True),
    ("127.0.0.1:3010", "http://127.0.0.1:3010", True, True),
    ("[::1]:3010", None, True, True),
    ("mesh.example:3010", "http://mesh.example:3010", True, True),  # --allowed-host
    ("192.168.1.7:3010", None, False, True),
    ("192.168.1.7:3010", "http://192.168.1.7:3010", False, True),
    ("[fd00::7]:3010", "http://[fd00::7]:3010", False, True),
    ("hub:3010", None, False, True),  # a container's name, from another container
    ("hub:3010", "http://hub:3010", False, False),
    ("evil.example:3010", "http://evil.example:3010", False, False),
    ("evil.example:3010", None, False, False),
    ("evil.example", "http://evil.example", False, False),
    ("127.0.0.1.evil.example:3010", "http://127.0.0.1.evil.example:3010", False, False),
    ("localhost.evil.example:3010", None, False, False),
    ("192.168.1.7:3010", "http://evil.example", False, False),
    (None, None, True, True),
]


@pytest.mark.parametrize(("host", "origin", "private", "insecure"), NAMES)
def test_a_hub_that_asks_nobody_looks_at_its_name(
    host: str | None, origin: str | None, *, private: bool, insecure: bool
) -> None:
    """Any website can give its own name this machine's address (DNS rebinding)."""
    headers = {"host": host, "origin": origin}
    given = {name: value for name, value in headers.items() if value is not None}
    known = ["localhost", "127.0.0.1", "::1", "mesh.example"]
    for is_private, is_taken in ((True, private), (False, insecure)):
        refusal = make_admission((), known, is_private=is_private)(given)
        assert (refusal is None) is is_taken


async def test_an_insecure_hub_looks_at_its_name_too() -> None:
    """On both transports."""
    page = GET_PAGE.replace(b"/healthz", b"/socket.io/?EIO=4&transport=polling")
    async with Hub(host="0.0.0.0", port=0, insecure=True) as hub, asyncio.timeout(10):
        for request in (GET_WEBSOCKET, page):
            for host, is_taken in ((b"127.0.0.1", True), (b"evil.example", False)):
                reader, writer = await opened(hub)
                writer.write(request.replace(b"Host: 127.0.0.1", b"Host: " + host))
                status = (await reader.readline()).split()[1]
                assert (status in (b"101", b"200")) is is_taken
                writer.close()


CONNECTION = [
    "Connection: Upgrade",
    "Connection: keep-alive, Upgrade",
    "Connection: Upgrade, keep-alive",
    "connection:keep-alive,upgrade",
    "Connection: keep-alive\r\nConnection: Upgrade",
    "Connection: Upgrade\r\nConnection: keep-alive",
    "Connection: a\r\nConnection: UPGRADE\r\nConnection: b",
]


@pytest.mark.parametrize("line", CONNECTION)
async def test_connection_is_a_list_that_contains_upgrade(hub: Hub, line: str) -> None:
    """In any order, over one line or more (RFC 6455, 4.2.1)."""
    async with asyncio.timeout(10):
        reader, writer = await opened(hub)
        writer.write(GET_WEBSOCKET.replace(b"Connection: Upgrade", line.encode()))
        assert b" 101 " in await reader.readline()
        writer.close()
