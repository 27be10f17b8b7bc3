"""The life of a hub: opening, refusing to open, its pages, its clocks, closing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from websockets.asyncio.client import connect

from alephscript.errors import StateError
from alephscript.hub import Hub, Limits
from alephscript.hub.server import HubError
from alephscript.protocol.websocket import write_handshake, write_masked_text_frame
from tests.support.peers import Join, raw_peer

pytestmark = pytest.mark.anyio


on_both_loops = pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})],
    ids=["asyncio", "uvloop"],
)


async def test_a_hub_that_is_not_open_has_no_url() -> None:
    """Neither before nor after."""
    hub = Hub(port=0)
    with pytest.raises(StateError, match="not open"):
        _ = hub.url
    async with hub:
        assert hub.url.startswith("http://127.0.0.1:")
    with pytest.raises(StateError, match="not open"):
        _ = hub.url


async def test_a_hub_opens_once_at_a_time() -> None:
    """And closing twice is no error; opened again, it is where it was."""
    hub = Hub(port=0)
    async with hub:
        url = hub.url
        with pytest.raises(StateError, match="open already"):
            await hub.__aenter__()
        async with raw_peer(hub) as peer:
            await peer.fence()
        await hub.close()
    await hub.close()
    async with hub, raw_peer(hub) as peer:
        assert hub.url == url
        await peer.fence()


async def test_a_port_in_use_is_said_in_a_sentence(hub: Hub) -> None:
    """With what to do about it."""
    port = urlsplit(hub.url).port
    assert port is not None
    with pytest.raises(HubError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*--port"):
        async with Hub(port=port):
            pass
    async with raw_peer(hub) as peer:
        await peer.fence()


@on_both_loops
async def test_of_two_hubs_that_open_at_once_one_gets_the_port(port: int) -> None:
    """The other does not pretend to be open."""
    hubs = [Hub(port=port), Hub(port=port)]
    opened = await asyncio.gather(*[each.__aenter__() for each in hubs], return_exceptions=True)
    try:
        assert [type(each) for each in opened].count(Hub) == 1
        assert [type(each) for each in opened].count(HubError) == 1
    finally:
        await asyncio.gather(*[each.close() for each in hubs], return_exceptions=True)


@on_both_loops
async def test_a_hub_that_is_not_open_serves_nobody() -> None:
    """Neither before it was opened nor after it was closed."""
    hub = Hub(port=0)
    with pytest.raises(StateError, match="not open"):
        await hub.serve_forever()
    async with hub:
        pass
    with pytest.raises(StateError, match="not open"):
        await hub.serve_forever()


@on_both_loops
async def test_a_hub_that_is_interrupted_while_opening_leaves_nothing_behind() -> None:
    """Neither its port nor its server."""
    hub = Hub(port=0)
    before = asyncio.all_tasks()
    opening = asyncio.ensure_future(hub.__aenter__())
    await asyncio.sleep(0)  # it has bound its port, and waits for its server
    if opening.done():  # uvloop makes a server in one turn, in which nobody can interrupt it
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        await hub.close()
    else:
        opening.cancel()
        await asyncio.wait({opening}, timeout=5)
        assert opening.cancelled()
    with pytest.raises(StateError, match="not open"):
        _ = hub.url
    assert asyncio.all_tasks() == before
    async with Hub(port=hub._port) as another, raw_peer(another) as peer:
        await peer.fence()


@pytest.mark.parametrize("port", [-1, 65536])
async def test_a_port_that_is_none_is_said_in_a_sentence(port: int) -> None:
    """Not by an OverflowError."""
    with pytest.raises(HubError, match="65535"):
        async with Hub(port=port):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.invalid", ""])
async def test_others_than_loopback_have_to_be_meant(host: str) -> None:
    """Nobody is asked who they are."""
    with pytest.raises(HubError, match="insecure"):
        async with Hub(host=host, port=0):
            pass


async def test_an_address_of_nobody_is_said_in_a_sentence() -> None:
    """Insecure or not, it cannot be listened on."""
    with pytest.raises(HubError, match=r"cannot listen on 192\.0\.2\.1:0"):
        async with Hub(host="192.0.2.1", port=0, insecure=True):
            pass


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_loopback_goes_by_several_names(host: str) -> None:
    """None of which needs ``insecure``."""
    async with Hub(host=host, port=0) as hub, raw_peer(hub) as peer:
        await peer.fence()


async def test_healthz_counts_clients(hub: Hub) -> None:
    """As JSON, not cached."""
    async with aiohttp.ClientSession() as http, http.get(f"{hub.url}/healthz") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert answer.headers["cache-control"] == "no-store"
        assert await answer.json() == {"status": "ok", "clients": 0}
        async with raw_peer(hub), http.get(f"{hub.url}/healthz") as later:
            assert await later.json() == {"status": "ok", "clients": 1}


@pytest.mark.parametrize("path", ["/admin", "/socket.io.js", "/healthz/more", "/%00"])
async def test_there_are_no_other_pages(hub: Hub, path: str) -> None:
    """404, as JSON."""
    async with aiohttp.ClientSession() as http, http.get(hub.url + path) as answer:
        assert (answer.status, await answer.json()) == (404, {"error": "there is no such page"})


async def test_a_request_ends_at_the_hubs_deadline() -> None:
    """Whatever its master does; the answer that comes too late is dropped."""
    async with (
        Hub(port=0, default_timeout=0.1) as hub,
        raw_peer(hub) as master,
        raw_peer(hub) as asker,
    ):
        await master.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        await asker.send('42/runtime,5["GET_X",{}]')
        answer = await asker.answer(5)
        assert (answer["success"], answer["code"]) == (False, "deadline_exceeded")
        assert answer["details"] == [{"delivered": True}]
        question = await master.recv()
        await master.send(question.replace("42", "43", 1).partition("[")[0] + '[{"late":true}]')
        await master.fence()
        await asker.fence()
        assert hub._engine.meshes["/runtime"].late_answers == 1


async def test_a_deadline_that_passes_does_not_outlive_its_asker() -> None:
    """Nobody is left to be told."""
    async with (
        Hub(port=0, default_timeout=0.1) as hub,
        raw_peer(hub) as master,
        raw_peer(hub) as other,
    ):
        await master.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        async with raw_peer(hub) as asker:
            await asker.send('42/runtime,5["GET_X",{}]')
            await asker.fence()
        await other.send('42/runtime,5["GET_X",{}]')
        assert (await other.answer(5))["code"] == "deadline_exceeded"
        namespace: Any = hub._engine.namespaces["/runtime"]
        assert len(namespace._deadlines) == 0


async def test_a_client_that_answers_pings_stays() -> None:
    """For longer than the hub waits for one answer, which is more than a busy machine stalls."""
    async with (
        Hub(port=0, ping_interval=0.05, ping_timeout=0.5) as hub,
        raw_peer(hub) as peer,
    ):
        async with asyncio.timeout(10):
            for _ in range(15):
                assert await peer.websocket.recv() == "2"
                await peer.send("3")
        await peer.fence()


async def test_a_client_on_a_slow_line_stays() -> None:
    """It may take ``ping_timeout`` to answer, also where that is longer than ``ping_interval``."""
    async with (
        Hub(port=0, ping_interval=0.2, ping_timeout=0.55) as hub,
        raw_peer(hub) as peer,
    ):
        async with asyncio.timeout(5):
            for _ in range(7):
                assert await peer.websocket.recv() == "2"
                await asyncio.sleep(0.15)  # the line's latency
                await peer.send("3")
        await peer.fence()


async def test_a_client_that_answers_no_ping_is_given_up() -> None:
    """And its requests, rooms and mastership with it."""
    async with (
        Hub(port=0, ping_interval=0.3, ping_timeout=0.3) as hub,
        raw_peer(hub) as frozen,
    ):
        await frozen.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        await frozen.until_closed()
        async with raw_peer(hub) as another:
            assert (await another.ask("GET_X"))["code"] == "no_master"


@on_both_loops
async def test_a_client_that_reads_too_slowly_is_cut_off() -> None:
    """The others hear everything meanwhile."""
    url = "/socket.io/?EIO=4&transport=websocket"
    async with (
        Hub(port=0, limits=Limits(backlog_bytes=200_000)) as hub,
        raw_peer(hub) as sender,
        raw_peer(hub) as reader,
        connect(
            hub.url.replace("http", "ws") + url, compression=None, max_queue=1, close_timeout=0
        ) as stuck,
    ):
        await stuck.send("40/runtime,")
        await stuck.send('42/runtime,["CLIENT_SUSCRIBE",{"room":"R"}]')
        for _ in range(5):  # opened, joined, and told of the subscription in two events
            if "room_joined" in str(await stuck.recv()):
                break
        await reader.ask("CLIENT_SUSCRIBE", {"room": "R"})
        said = {"event": "E", "room": "R", "data": "x" * 100_000}
        for _ in range(500):
            told = (await sender.ask("ROOM_MESSAGE", said))["members"]
            assert len(await reader.recv()) > 100_000
            if told == 1:
                break
        assert told == 1
        assert len(hub._engine.connections) == 2


@on_both_loops
async def test_a_burst_over_the_backlog_is_no_matter_if_it_is_taken() -> None:
    """Only what the peer has not taken counts, not what is said in one turn of the loop."""
    async with (
        Hub(port=0, limits=Limits(backlog_bytes=20_000)) as hub,
        raw_peer(hub) as member,
        raw_peer(hub) as sender,
    ):
        await member.ask("CLIENT_SUSCRIBE", {"room": "R"})
        said = '42/runtime,["ROOM_MESSAGE",{"event":"E","room":"R","data":"%s"}]' % ("x" * 5_000)
        sender.send_at_once(*[said] * 10)
        for _ in range(10):
            assert len(await member.recv()) > 5_000
        assert (await sender.ask("ROOM_MESSAGE", {"event": "E", "room": "R"}))["members"] == 1


@asynccontextmanager
async def waiting_poll(hub: Hub) -> AsyncIterator[asyncio.StreamReader]:
    """A polling client whose poll waits at the hub."""
    url = urlsplit(hub.url)
    shake = f"{hub.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http, http.get(shake) as answer:
        sid = msgspec.json.decode((await answer.text())[1:])["sid"]
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        target = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        async with raw_peer(hub) as fence:  # sent later, answered: so the poll has arrived
            await fence.fence()
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


@on_both_loops
async def test_closing_lets_everybody_know(hub: Hub, join: Join) -> None:
    """Websockets, a waiting poll, a request under way: all end at once."""
    master, asker = await join("M"), await join("A")
    asked = asyncio.Event()

    async def never(_: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    master.serve("X", never)
    await master.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    await asker.emit("GET_X", {})
    async with waiting_poll(hub) as poll, raw_peer(hub) as peer, asyncio.timeout(5):
        await asked.wait()
        await hub.close()
        await peer.until_closed()
        assert peer.websocket.close_code == 1000
        await master.gone.wait()
        await asker.gone.wait()
        heard = await poll.read()
        assert heard.startswith(b"HTTP/1.1 200")
        assert heard.endswith(b"\r\n1\r\n0\r\n\r\n")
    assert not hub._engine.connections
    assert hub._engine._heart is None
    carrier: Any
    for carrier in hub._engine.namespaces.values():
        assert carrier.mesh.clients == 0
        assert not carrier._recipients
        assert not carrier._deadlines._grains


@on_both_loops
async def test_closing_waits_for_nobody_who_does_not_read() -> None:
    """A stuck client is aborted."""
    url = "/socket.io/?EIO=4&transport=websocket"
    async with (
        Hub(port=0, limits=Limits(backlog_bytes=10**9)) as hub,
        raw_peer(hub) as sender,
        connect(
            hub.url.replace("http", "ws") + url, compression=None, max_queue=1, close_timeout=0
        ) as stuck,
    ):
        await stuck.send("40/runtime,")
        await stuck.send('42/runtime,["CLIENT_SUSCRIBE",{"room":"R"}]')
        said = {"event": "E", "room": "R", "data": "x" * 900_000}
        for _ in range(20):
            assert (await sender.ask("ROOM_MESSAGE", said))["members"] == 1
        async with asyncio.timeout(5):
            await hub.close()


@on_both_loops
async def test_who_comes_while_it_closes_does_not_stay(hub: Hub) -> None:
    """A handshake that was read, but not yet dealt with."""
    url = urlsplit(hub.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        while not hub._state.tasks:  # noqa: ASYNC110 - of uvicorn, without event
            await asyncio.sleep(0)
        assert not hub._engine.connections
        await hub.close()
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    assert not hub._engine.connections
    assert hub._engine._heart is None
    writer.close()
    await writer.wait_closed()


@on_both_loops
@pytest.mark.parametrize("how", ["reset", "half-closed"])
async def test_a_line_that_is_cut_is_noticed_at_once(hub: Hub, how: str) -> None:
    """Without a close frame, too: the requests end, the rooms forget."""
    async with raw_peer(hub) as master, raw_peer(hub) as asker:
        await master.ask("CLIENT_SUSCRIBE", {"room": "R"})
        await master.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        await asker.send('42/runtime,5["GET_X",{}]')
        assert "GET_X" in await master.recv()
        if how == "reset":
            master.websocket.transport.abort()
        else:
            master.websocket.transport.write_eof()
        answer = await asker.answer(5)
        assert (answer["success"], answer["code"]) == (False, "master_lost")
        state = await asker.ask("GET_SERVER_STATE")
        assert (state["clients"], state["rooms"]) == (1, [])


@on_both_loops
async def test_a_websockets_goodbye_is_answered(hub: Hub) -> None:
    """With a close frame, whoever begins; JavaScript peers see an error else."""
    async with raw_peer(hub) as peer:
        await peer.websocket.close()
        assert peer.websocket.close_code == 1000
    async with raw_peer(hub) as peer:
        await peer.send("x")
        await peer.until_closed()
        assert peer.websocket.close_code == 1000


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(0xC1, b"compressed")], 1002),
        ([(0x01, b"2" + b"x" * 999), (0x80, b"x" * 1000)], None),
        ([(0x01, b"x" * 2000), (0x00, b"x" * 2000), (0x00, b"x")], 1009),
        ([(0x02, b"x" * 2000), (0x00, b"x" * 2000), (0x00, b"x")], 1009),
    ],
    ids=["compressed", "fragments", "text fragments", "binary fragments"],
)
async def test_frames_end_their_sender_that_are_compressed_or_too_much_together(
    frames: list[tuple[int, bytes]], code: int | None
) -> None:
    """The bound, twice the largest message, holds for a message however it is cut."""
    async with Hub(port=0, limits=Limits(message_bytes=2000)) as hub, raw_peer(hub) as peer:
        for first, payload in frames:
            frame = write_masked_text_frame(payload)
            peer.websocket.transport.write(bytes([first]) + frame[1:])
        if code is None:
            await peer.fence()
        else:
            await peer.until_closed()
            assert peer.websocket.close_code == code


@pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, Upgrade", "keep-alive,upgrade"])
async def test_a_handshake_may_say_more_of_its_connection(hub: Hub, connection: str) -> None:
    """Firefox and some proxies do."""
    parts = urlsplit(hub.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = write_handshake(parts.netloc, "/socket.io/?EIO=4&transport=websocket", bytes(16))
    writer.write(request.replace(b"Connection: Upgrade", f"Connection: {connection}".encode()))
    async with asyncio.timeout(5):
        assert b" 101 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_serving_for_ever_ends_with_the_hub_or_with_its_task() -> None:
    """Cancelling it leaves the hub open."""
    async with Hub(port=0) as hub:
        serving = asyncio.ensure_future(hub.serve_forever())
        async with raw_peer(hub) as peer:
            await peer.fence()
            serving.cancel()
            await asyncio.wait({serving}, timeout=5)
            assert serving.cancelled()
            await peer.fence()
        serving = asyncio.ensure_future(hub.serve_forever())
        await asyncio.sleep(0)
        await hub.close()
        async with asyncio.timeout(5):
            await serving


MISSING = """
import asyncio, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from alephscript.hub import Hub

async def main():
    try:
        async with Hub(port=0) as hub:
            print("open", hub.url)
    except OSError as error:
        print(type(error).__name__, error)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"uvicorn"}, "needs uvicorn; install it with `pip install 'alephscript[hub]'`"),
        ({"websockets"}, "needs websockets; install it with `pip install 'alephscript[hub]'`"),
        ({"uvloop"}, "open http://127.0.0.1:"),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else str(value),
)
async def test_a_missing_extra_is_named(missing: set[str], said: str) -> None:
    """A hub needs what is in [hub], and nothing of [fast]."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MISSING.format(missing=missing),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(50):
        out, errors = await process.communicate()
    assert errors == b""
    assert said in out.decode()
