"""The documented nginx configurations, in front of one hub and of two."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from alephscript import AlephScriptClient, ConnectionRefused, capability
from alephscript.hub import Hub
from tests.support.pages import blocks
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio

HOW_TO = ROOT / "docs" / "how-to"


class Bot(AlephScriptClient):
    """Says what it is told."""

    rooms = ("R",)

    @capability("ECHO")
    async def echo(self, payload: Any) -> dict[str, Any]:
        """Say it again."""
        return {"said": payload}


@asynccontextmanager
async def serving(nginx: str, folder: Path, config: str, port: int) -> AsyncIterator[None]:
    """An nginx with that configuration, by the time that it listens."""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Its workers change their user where they can, and could not write here.
    user = "user root;\n" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(
        f"{user}daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;\n"
        "events {}\n"
        f"http {{\naccess_log off;\n{temporary}{config}\n}}\n"
    )
    process = await asyncio.create_subprocess_exec(
        nginx, "-p", str(folder), "-c", str(file), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _until_it_listens(port)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def shown(page: str, instead: Mapping[str, str]) -> str:
    """The configuration that a page shows, with something in place of what is not here."""
    [config] = [block.text for block in blocks(HOW_TO / page) if block.language == "nginx"]
    for documented, here in instead.items():
        assert documented in config
        config = config.replace(documented, here)
    return config


def port_of(hub: Hub) -> str:
    """Where it listens."""
    return hub.url.rpartition(":")[2]


@pytest.fixture
async def proxy(nginx: str, shared_redis: Any, tmp_path: Path, port: int) -> AsyncIterator[str]:
    """The address of nginx, configured as the page says, before two hubs."""
    redis = shared_redis.url()
    async with Hub(port=0, redis=redis) as one, Hub(port=0, redis=redis) as two:
        here = {"8080": f"127.0.0.1:{port}", "3010": port_of(one), "3011": port_of(two)}
        async with serving(nginx, tmp_path, shown("several-hubs.md", here), port):
            yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    "transports", [("websocket",), ("polling",), ("polling", "websocket")], ids="+".join
)
async def test_members_meet_through_the_proxy(proxy: str, transports: tuple[str, ...]) -> None:
    """By whichever transport, and with messages of some size."""
    async with Bot(proxy, transports=transports):
        for _ in range(5):
            async with AlephScriptClient(proxy, transports=transports) as client:
                text = "x" * 20_000
                assert await client.request("ECHO", text) == {"said": text}


async def test_what_no_hub_answers_is_a_refusal(proxy: str) -> None:
    """A namespace that nobody serves, through the proxy too."""
    with pytest.raises(ConnectionRefused, match="none of its namespaces"):
        async with AlephScriptClient(proxy, namespace="/nowhere"):
            pass


async def test_one_hub_is_reached_through_a_proxy_that_speaks_tls(
    nginx: str, certificate: Path, tmp_path: Path, port: int
) -> None:
    """By members on either transport, and by pages of the name that the hub was told."""
    known = ssl.create_default_context(cafile=certificate / "cert.pem")
    async with Hub(port=0, allowed_hosts=["mesh.example.org"]) as hub:
        here = {
            "443": f"127.0.0.1:{port}",
            "/etc/ssl/mesh.pem": str(certificate / "cert.pem"),
            "/etc/ssl/mesh.key": str(certificate / "key.pem"),
            "10.0.0.0/8": "127.0.0.0/8",
            "3010": port_of(hub),
        }
        async with serving(nginx, tmp_path, shown("deploy.md", here), port):
            for transports in (("websocket",), ("polling",)):
                options: Any = {"tls": known, "transports": transports}
                url = f"https://127.0.0.1:{port}"
                async with Bot(url, **options), AlephScriptClient(url, **options) as client:
                    assert await client.request("ECHO", "x") == {"said": "x"}
            browsers = connect(
                "wss://mesh.example.org/socket.io/?EIO=4&transport=websocket",
                origin=Origin("https://mesh.example.org"),
                host="127.0.0.1",
                port=port,
                ssl=known,
                server_hostname="127.0.0.1",
            )
            async with browsers as page:
                assert str(await page.recv()).startswith("0{")
