"""nats-server, and nats-py with orjson: request and reply, a subject for what a room hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nats
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.benchmarks import work
from tests.benchmarks.contenders import Ask, Bystander, Options, Say, which


def hub(port: int, options: Options) -> list[str]:
    """See `tests.benchmarks.contenders`."""
    return [which("nats-server") or "nats-server", "--addr", work.HOST, "--port", str(port)]


async def _connect(port: int) -> Client:
    return await nats.connect(
        f"nats://{work.HOST}:{port}", allow_reconnect=False, connect_timeout=60
    )


def _asked(room: str, capability: str) -> str:
    return f"{room}.GET.{capability}"


def _said(room: str) -> str:
    return f"{room}.{work.EVENT}"


async def requester(port: int, options: Options) -> Ask:
    """See `tests.benchmarks.contenders`."""
    client = await _connect(port)
    subject = _asked(work.ROOM, work.CAPABILITY)

    async def ask(paso: int, relleno: str) -> bool:
        asked = orjson.dumps(work.question(paso, relleno))
        answered = await client.request(subject, asked, timeout=60)
        return work.fits(orjson.loads(answered.data), paso, relleno)

    return ask


async def master(port: int, options: Options) -> Say:
    """See `tests.benchmarks.contenders`."""
    client = await _connect(port)

    async def answer(message: Msg) -> None:
        await message.respond(orjson.dumps(work.answer(orjson.loads(message.data))))

    await client.subscribe(_asked(work.ROOM, work.CAPABILITY), cb=answer)
    await client.flush()

    async def say(paso: int) -> None:
        await client.publish(_said(work.ROOM), orjson.dumps(work.event(paso)))

    return say


async def observer(port: int, options: Options, heard: Callable[[], None]) -> None:
    """See `tests.benchmarks.contenders`."""
    client = await _connect(port)

    async def hear(message: Msg) -> None:
        assert orjson.loads(message.data)["eferencia"]
        heard()

    await client.subscribe(_said(work.ROOM), cb=hear)
    await client.flush()


class _Bystander:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def join(self, room: str) -> None:
        await self._subscribe(_said(room))

    async def master(self, room: str) -> None:
        await self._subscribe(_asked(room, "NADA"))

    async def leave(self) -> None:
        await self._client.close()

    async def _subscribe(self, subject: str) -> None:
        async def ignore(_: Any) -> None: ...

        await self._client.subscribe(subject, cb=ignore)
        await self._client.flush(60)


async def bystander(port: int, options: Options) -> Bystander:
    """See `tests.benchmarks.contenders`."""
    return _Bystander(await _connect(port))
