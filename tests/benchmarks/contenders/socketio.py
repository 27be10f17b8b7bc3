"""python-socketio: a relay hub as one would write it, served by uvicorn, and unmodified clients.

The clients speak the mesh's words, so that they do their work under each Socket.IO hub alike. With
the option ``orjson``, that is their JSON module.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import socketio
import uvicorn

from tests.benchmarks import work
from tests.benchmarks.contenders import Ask, Options, Say


class _Orjson:
    """orjson as python-socketio wants a JSON module to be."""

    @staticmethod
    def dumps(value: Any, *_: Any, **__: Any) -> str:
        import orjson

        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str, *_: Any, **__: Any) -> Any:
        import orjson

        return orjson.loads(text)


def _json(options: Options) -> dict[str, Any]:
    return {"json": _Orjson} if options.get("orjson") else {}


class _Relay(socketio.AsyncNamespace):  # type: ignore[misc]  # it ships no types
    """The mesh's words, as far as the work needs them."""

    def __init__(self) -> None:
        super().__init__(work.NAMESPACE)
        self._masters: dict[str, str] = {}

    async def trigger_event(self, event: str, sid: str, *arguments: Any) -> Any:
        """Questions go to whoever offers them, under any name; the rest has a method."""
        if event.startswith("GET_"):
            return await self.call(event, *arguments, to=self._masters[event[4:]])
        return await super().trigger_event(event, sid, *arguments)

    async def on_CLIENT_REGISTER(self, sid: str, data: Any) -> Any:  # noqa: N802 - the event's name
        return {"success": True}

    async def on_CLIENT_SUSCRIBE(self, sid: str, data: Any) -> Any:  # noqa: N802
        await self.enter_room(sid, data["room"])
        return {"success": True}

    async def on_MAKE_MASTER(self, sid: str, data: Any) -> Any:  # noqa: N802
        self._masters.update(dict.fromkeys(data["features"], sid))
        return {"success": True}

    async def on_ROOM_MESSAGE(self, sid: str, data: Any) -> None:  # noqa: N802
        await self.emit(data["event"], data["data"], room=data["room"])


async def serve(port: int, options: Options) -> None:
    """See `tests.benchmarks.contenders`."""
    server = socketio.AsyncServer(async_mode="asgi", **_json(options))
    server.register_namespace(_Relay())
    config = uvicorn.Config(
        socketio.ASGIApp(server),
        host=work.HOST,
        port=port,
        backlog=work.BACKLOG,
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
    await uvicorn.Server(config).serve()


_numbers = itertools.count(1)


async def _connect(port: int, options: Options) -> Any:
    client = socketio.AsyncClient(reconnection=False, **_json(options))
    await client.connect(
        f"http://{work.HOST}:{port}", transports=["websocket"], namespaces=[work.NAMESPACE]
    )
    await _call(client, "CLIENT_REGISTER", {"usuario": f"py-{next(_numbers)}"})
    return client


async def _call(client: Any, event: str, data: dict[str, Any]) -> dict[str, Any]:
    answered: dict[str, Any] = await client.call(event, data, namespace=work.NAMESPACE)
    assert answered["success"], answered
    return answered


async def requester(port: int, options: Options) -> Ask:
    """See `tests.benchmarks.contenders`."""
    client = await _connect(port, options)

    async def ask(paso: int, relleno: str) -> bool:
        return work.fits(
            await _call(client, work.ASKING, work.question(paso, relleno)), paso, relleno
        )

    return ask


async def master(port: int, options: Options) -> Say:
    """See `tests.benchmarks.contenders`."""
    client = await _connect(port, options)

    async def answer(asked: dict[str, Any]) -> dict[str, Any]:
        return work.answer(asked)

    client.on(work.ASKING, answer, namespace=work.NAMESPACE)
    await _call(client, "CLIENT_SUSCRIBE", {"room": work.ROOM})
    await _call(client, "MAKE_MASTER", {"room": work.ROOM, "features": [work.CAPABILITY]})

    async def say(paso: int) -> None:
        said = {"event": work.EVENT, "room": work.ROOM, "data": work.event(paso)}
        await client.emit("ROOM_MESSAGE", said, namespace=work.NAMESPACE)

    return say


async def observer(port: int, options: Options, heard: Callable[[], None]) -> None:
    """See `tests.benchmarks.contenders`."""
    client = await _connect(port, options)

    async def hear(data: dict[str, Any]) -> None:
        assert data["eferencia"]
        heard()

    client.on(work.EVENT, hear, namespace=work.NAMESPACE)
    await _call(client, "CLIENT_SUSCRIBE", {"room": work.ROOM})
