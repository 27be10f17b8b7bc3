"""The documented nginx configuration in front of two hubs."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient, ConnectionRefused, capability
from alephscript.hub import Hub

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "several-hubs.md"


class Bot(AlephScriptClient):
    """Says what it is told."""

    rooms = ("R",)

    @capability("ECHO")
    async def echo(self, payload: Any) -> dict[str, Any]:
        """Say it again."""
        return {"said": payload}


@pytest.fixture
async def proxy(nginx: str, shared_redis: Any, tmp_path: Path) -> AsyncIterator[str]:
    """The address of nginx, configured as the page says, before two hubs."""
    redis = shared_redis.url()
    async with Hub(port=0, redis=redis) as one, Hub(port=0, redis=redis) as two:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        found = re.search(r":caption: mesh\.conf\n\n(.*?)```", PAGE.read_text(), re.DOTALL)
        assert found is not None
        config = found[1].replace("8080", f"127.0.0.1:{port}")
        for documented, hub in (("3010", one), ("3011", two)):
            config = config.replace(documented, hub.url.rpartition(":")[2])
        temporary = "".join(
            f"{kind}_temp_path {tmp_path}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Its workers change their user where they can, and could not write here.
        user = "user root;\n" if os.geteuid() == 0 else ""
        file = tmp_path / "nginx.conf"
        file.write_text(
            f"{user}daemon off; pid {tmp_path}/pid; error_log stderr; worker_processes 1;\n"
            "events {}\n"
            f"http {{\naccess_log off;\n{temporary}{config}\n}}\n"
        )
        process = await asyncio.create_subprocess_exec(
            nginx, "-p", str(tmp_path), "-c", str(file), stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await _until_it_listens(port)
            yield f"http://127.0.0.1:{port}"
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
    with pytest.raises(ConnectionRefused, match="Invalid namespace"):
        async with AlephScriptClient(proxy, namespace="/nowhere"):
            pass
