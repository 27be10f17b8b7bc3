"""The official Admin UI on our hub: its pages, what it is told, and itself in a browser."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.request import urlopen

import pytest

from alephscript import AlephScriptClient, observe
from alephscript.hub import Hub, SharedToken
from alephscript.hub.server import HubError
from tests.support.peers import Stock
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio

BROWSER = ROOT / "tests" / "node" / "browser"
INSTALLED = BROWSER / "node_modules" / "@socket.io" / "admin-ui"


class Member(AlephScriptClient):
    """Is somewhere."""

    rooms = observe("LOBBY")


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """An Admin UI of two files, with a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "ui"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text("<title>Admin</title>")
    (folder / "js" / "app.js").write_text("1")
    return folder


async def fetched(url: str) -> tuple[int, str, str]:
    """Status, type and text of a page."""

    def fetch() -> tuple[int, str, str]:
        try:
            with urlopen(url, timeout=5) as answer:
                return answer.status, answer.headers.get_content_type(), answer.read().decode()
        except OSError as error:
            return getattr(error, "code", 0), "", ""

    return await asyncio.to_thread(fetch)


async def test_its_pages_are_served_and_nothing_beside_them(pages: Path) -> None:
    """Each with its type; no path leads out of the folder."""
    async with Hub(port=0, admin_ui=pages) as hub:
        assert "url=admin-ui/" in (await fetched(f"{hub.url}/admin-ui"))[2]
        assert (await fetched(f"{hub.url}/admin-ui/"))[1:] == ("text/html", "<title>Admin</title>")
        script = await fetched(f"{hub.url}/admin-ui/js/app.js")
        assert (script[1].endswith("javascript"), script[2]) == (True, "1")
        for hidden in ("../secret.txt", "%2e%2e/secret.txt", "js", "js/none.js", "//etc/passwd"):
            assert (await fetched(f"{hub.url}/admin-ui/{hidden}"))[0] == 404
    async with Hub(port=0) as plain:
        assert (await fetched(f"{plain.url}/admin-ui/"))[0] == 404


@pytest.mark.slow
async def test_who_watches_is_told_what_there_is_and_what_changes(pages: Path) -> None:
    """By the events of the Admin UI's own server, without anybody's payloads."""
    async with Hub(port=0, admin_ui=pages) as hub, Member(hub.url, usuario="first", sesion=""):
        admin = Stock("/admin")
        await admin.sio.connect(hub.url, namespaces=["/admin"], transports=["websocket"])
        try:
            assert (await admin.next())[1]["supportedFeatures"] == [
                "ALL_EVENTS",
                "AGGREGATED_EVENTS",
            ]
            stats = (await admin.next("server_stats"))[1]
            assert {"name": "/runtime", "socketsCount": 1} in stats["namespaces"]
            [known] = (await admin.next("all_sockets"))[1]
            assert (known["nsp"], known["transport"]) == ("/runtime", "websocket")
            assert (known["data"]["usuario"], known["rooms"][1:]) == ("first", ["LOBBY"])
            async with Member(hub.url, usuario="second", sesion="") as second:
                _, came, _ = await admin.next("socket_connected")
                assert came["data"]["usuario"] == "second"
                await second.subscribe("NEWS")
                _, namespace, room, sid, _ = await admin.next("room_joined")
                assert (namespace, room, sid) == ("/runtime", "NEWS", came["id"])
                await second.unsubscribe("NEWS")
                assert (await admin.next("room_left"))[2] == "NEWS"
            assert (await admin.next("socket_disconnected"))[2] == came["id"]
            counted = (await admin.next("server_stats"))[1]["aggregatedEvents"]
            assert all(set(each) == {"timestamp", "type", "count"} for each in counted)
            await admin.emit("_disconnect", "/runtime", False, known["id"])  # noqa: FBT003 - in vain
            assert (await admin.next("server_stats"))[1]["clientsCount"] == 2
        finally:
            await admin.leave()


async def test_nobody_is_in_its_namespace_where_it_is_not_wanted() -> None:
    """A hub without it refuses the namespace."""
    async with Hub(port=0) as hub:
        refused = AlephScriptClient(hub.url, namespace="/admin")
        with pytest.raises(ConnectionError, match="none of its namespaces"):
            await refused.__aenter__()


def test_a_folder_without_it_is_said_in_a_sentence(tmp_path: Path) -> None:
    """With what to install."""
    with pytest.raises(HubError, match="npm install"):
        Hub(port=0, admin_ui=tmp_path)


async def test_beyond_loopback_somebody_has_to_ask_who_it_is(pages: Path) -> None:
    """Whoever opens it sees who is connected."""
    with pytest.raises(HubError, match=r"beyond 127\.0\.0\.1 it needs access"):
        async with Hub(host="0.0.0.0", port=0, insecure=True, admin_ui=pages):
            pass


@pytest.mark.usefixtures("browser")
@pytest.mark.parametrize("passwords", [(), ("a guess", "a secret")])
async def test_in_a_browser_it_connects_and_lists_the_clients(
    node: str, passwords: tuple[str, ...]
) -> None:
    """The installed Admin UI, in Chromium; where the hub asks, by a password that is right."""
    access = SharedToken(passwords[-1]) if passwords else None
    auth = {"token": passwords[-1]} if passwords else None
    async with (
        Hub(port=0, access=access, admin_ui=INSTALLED) as hub,
        Member(hub.url, auth=auth) as member,
        asyncio.timeout(50),
    ):
        process = await asyncio.create_subprocess_exec(
            *(node, str(BROWSER / "admin_ui.mjs"), hub.url, *passwords),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        seen = json.loads(out)
        sid = (await member.server_state())["socketId"]
    assert any(row[:1] == [sid] and "WebSocket" in row for row in seen["rows"])
    assert "CONNECTED" in seen["text"]
