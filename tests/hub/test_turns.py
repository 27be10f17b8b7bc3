"""Much that one client sends at once: handled in turns, all of it, in order, or not at all."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest

from alephscript.hub import Hub, Limits, turns
from alephscript.hub.sockets import listening, websocket
from alephscript.hub.turns import AT_ONCE, Turns
from alephscript.protocol.websocket import write_masked_text_frame
from tests.hub.test_lobby import GET_WEBSOCKET
from tests.support.peers import SEPARATOR, Poller, raw_peer

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is over with the first look at the clock."""
    for module in (turns, websocket, listening):
        monkeypatch.setattr(module, "TURN_SECONDS", 0.0)


async def test_those_who_wait_go_on_by_turns() -> None:
    """One each turn of the loop, so that many delay the others no more than one does."""
    order: list[str] = []
    waiting = Turns()

    def work(name: str, times: int) -> None:
        left = [times]

        def go_on(_: float) -> bool:
            order.append(name)
            left[0] -= 1
            return not left[0]

        waiting.wait(go_on)

    work("a", 3)
    work("b", 2)
    work("c", 1)
    asyncio.get_running_loop().call_soon(order.append, "another")
    for _ in range(8):
        await asyncio.sleep(0)
    assert "".join(name for name in order if name != "another") == "abcaba"
    assert order.index("another") == 1


async def test_a_burst_is_answered_whole_and_in_order() -> None:
    """Its end with a goodbye, too; a member is served between its messages."""
    async with Hub(port=0) as hub, raw_peer(hub) as member, raw_peer(hub) as sender:
        await member.ask("CLIENT_SUSCRIBE", {"room": "R"})
        said = '42/runtime,["ROOM_MESSAGE",{"event":"E","room":"R","data":%d}]'
        sender.send_at_once(*(said % number for number in range(1_000)))
        asked = asyncio.ensure_future(sender.fence())
        heard = [await member.recv() for _ in range(1_000)]
        assert heard == [f'42/runtime,["E",{number}]' for number in range(1_000)]
        await asked
        sender.send_at_once(*(said % number for number in range(1_000)), "1")
        heard = [await member.recv() for _ in range(1_000)]
        assert heard[-1] == '42/runtime,["E",999]'
        await sender.until_closed()


async def test_others_are_served_before_all_of_a_burst_is() -> None:
    """Nothing of a burst is handled in one go but its first messages."""
    async with Hub(port=0) as hub, raw_peer(hub) as sender:
        carrier, handled = hub._engine.carriers["/runtime"], [0]
        runs: list[int] = []
        received = carrier.received

        def count(sid: str, ack: int | None, payload: bytes) -> None:
            if not handled[0]:
                asyncio.get_running_loop().call_soon(look)
            handled[0] += 1
            received(sid, ack, payload)

        def look() -> None:
            runs.append(handled[0])
            handled[0] = 0

        carrier.received = count  # type: ignore[method-assign]
        sender.send_at_once(*['42/runtime,["A"]'] * 2_000)
        await sender.fence()
        assert sum(runs) + handled[0] == 2_001
        assert max(runs) <= 2 * AT_ONCE


async def test_a_client_that_is_to_go_is_heard_no_more() -> None:
    """The rest of what it sent at once is dropped."""
    async with Hub(port=0, limits=Limits(backlog_bytes=10_000)) as hub, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(hub.url).port)
        writer.write(GET_WEBSOCKET)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(write_masked_text_frame(b"40/runtime,"))
        await reader.readuntil(b"40/runtime,")
        (connection,) = hub._engine.connections.values()
        connection.cut_off()
        connection.receive(b'42/runtime,["CLIENT_SUSCRIBE",{"room":"GHOST"}]')
        assert "GHOST" not in hub._engine.meshes["/runtime"].rooms._rooms
        writer.close()


async def test_a_body_is_taken_whole_and_in_order() -> None:
    """However many messages it has."""
    async with Hub(port=0) as hub, raw_peer(hub) as member, aiohttp.ClientSession() as http:
        await member.ask("CLIENT_SUSCRIBE", {"room": "R"})
        poller = Poller(http, hub.url)
        await poller.join()
        said = '42/runtime,["ROOM_MESSAGE",{"event":"E","room":"R","data":%d}]'
        posting = asyncio.ensure_future(poller.post(*(said % number for number in range(1_000))))
        heard = [await member.recv() for _ in range(1_000)]
        assert heard == [f'42/runtime,["E",{number}]' for number in range(1_000)]
        await posting


@pytest.mark.parametrize("chunk", [1, 1_000, 200_000])
async def test_a_body_in_chunks_is_taken_whole(chunk: int) -> None:
    """Also in as many as it has bytes."""
    async with Hub(port=0) as hub, aiohttp.ClientSession() as http, asyncio.timeout(20):
        poller = Poller(http, hub.url)
        await poller.join()
        body = SEPARATOR.join(f"2{number:04}" for number in range(1_000)).encode()
        pieces = [body[start : start + chunk] for start in range(0, len(body), chunk)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(hub.url).port)
        path = f"/socket.io/?EIO=4&transport=polling&sid={poller.query['sid']}"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + chunks + b"0\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        heard: list[str] = []
        while len(heard) < 1_000:
            heard += await poller.get()
        assert heard == [f"3{number:04}" for number in range(1_000)]
        writer.close()
