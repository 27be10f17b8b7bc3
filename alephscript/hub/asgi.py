"""A hub in the server of another application: lifespan, prefix, and whose requests are taken.

May go in: what an ASGI application has to know of where it is. May not: what is answered
(`hub.http`), how messages come and go (`hub.sockets.asgi`), the life of the hub (`hub.server`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from alephscript.errors import AlephScriptError, StateError
from alephscript.hub.admission import Admit, is_loopback, make_admission, make_refusal_of_others
from alephscript.hub.engine import Engine
from alephscript.hub.http import HubApp
from alephscript.hub.senders import OF_PROXIES, Senders
from alephscript.hub.sockets.asgi import (
    AsgiArrival,
    AsgiWebSocket,
    Receive,
    Scope,
    Send,
    refuse_websocket,
)
from alephscript.hub.sockets.handover import PATH, Handover
from alephscript.hub.sockets.lobby import Lobby

__all__ = ["Audience", "HubAsgi", "Serving", "find_path"]

logger = logging.getLogger("alephscript.hub")

_FOLDER = "/mesh"
_IN_FOLDER = ("/live/", "/members/", "/rooms/", "/capabilities/", "/invoke/")
"""The hub's own folder, and what is in there and nowhere else."""

_UNAVAILABLE = 503
_CANNOT_START = "the hub cannot start; its log says why"

_LAST_SECONDS = 1.0
"""Seconds that requests have to end when the hub closes."""

_RETRY_SECONDS = 1.0
"""Seconds until a hub that could not start is tried again: requests may come by the thousand."""


class Audience(NamedTuple):
    """Those whose requests are taken by the same rule, and what answers them.

    Attributes:
        admit: Whose requests are taken.
        app: The hub's plain HTTP.
    """

    admit: Admit
    app: HubApp


class Serving:
    """All that serves, as long as a mounted hub is open.

    Args:
        engine: The hub's connections.
        lobby: The place where requests are counted and timed.
        senders: The rule about of which session's program a request is.
        near: The audience of programs on this machine.
        far: The audience of all others.

    Attributes:
        clocks: Timeouts, one around each request and each websocket.
    """

    def __init__(
        self, engine: Engine, lobby: Lobby, senders: Senders, near: Audience, far: Audience
    ) -> None:
        self.engine = engine
        self.lobby = lobby
        self.senders = senders
        self.near = near
        self.far = far
        self.clocks: set[asyncio.Timeout] = set()

    def end_requests(self) -> None:
        """Have all that is served end in a moment."""
        last = asyncio.get_running_loop().time() + _LAST_SECONDS
        for clock in self.clocks:
            when = clock.when()
            if when is None or when > last:
                clock.reschedule(last)


class MakeApp(Protocol):
    """The function that makes a hub's plain HTTP."""

    def __call__(
        self, admit: Admit, senders: Senders, *, is_private: bool, is_shown: bool
    ) -> HubApp:
        """Make it.

        Args:
            admit: The rule about whose requests are taken.
            senders: The rule about of which session's program a request is.
            is_private: Whether only programs on this machine can ask.
            is_shown: Whether the mesh page is served, if it is at all.
        """
        ...


def make_serving(
    engine: Engine,
    lobby: Lobby,
    make_app: MakeApp,
    *,
    origins: Sequence[str] | str,
    names: Sequence[str] | None,
    is_for_all: bool,
) -> Serving:
    """Make what serves a mounted hub, which does not know what its server listens on.

    For programs on this machine the hub is what it would be on loopback. For others it is what it
    would be beyond: without a rule of access it is not there, unless it is meant (decision 0044).

    Args:
        engine: The hub's connections.
        lobby: The place where requests are counted and timed.
        make_app: Makes the plain HTTP.
        origins: Origins that may connect, see `make_admission`.
        names: The names that the hub goes by, see `make_admission`.
        is_for_all: Whether a hub without a rule of access is meant for other machines, too.
    """
    senders = Senders()
    is_guarded = engine.access is not None

    def audience(admit: Admit, *, is_private: bool, is_shown: bool) -> Audience:
        return Audience(admit, make_app(admit, senders, is_private=is_private, is_shown=is_shown))

    if is_guarded or is_for_all:
        admit = make_admission(origins, names, is_private=False)
    else:
        admit = make_refusal_of_others()
    far = audience(admit, is_private=False, is_shown=is_guarded)
    if is_for_all and not is_guarded:  # a proxy that shows by no header makes all look near
        return Serving(engine, lobby, senders, far, far)
    is_private = not is_guarded
    admit = make_admission(origins, names, is_private=is_private, is_on_loopback=True)
    near = audience(admit, is_private=is_private, is_shown=True)
    return Serving(engine, lobby, senders, near, far)


class Serve(Protocol):
    """The function that opens a hub and says what serves there."""

    async def __call__(self, *, is_again: bool = False) -> Serving:
        """Return what serves, which starts if need be.

        Args:
            is_again: Whether a hub that was closed is to be opened again.

        Raises:
            StateError: The hub is closed.
            AlephScriptError: The hub cannot be opened.
        """
        ...


class HubAsgi:
    """A hub as an ASGI application: websockets, polling, pages, lifespan.

    Args:
        serve: Opens the hub.
        close: Closes the hub.
    """

    def __init__(self, serve: Serve, close: Callable[[], Awaitable[None]]) -> None:
        self._serve = serve
        self._close = close
        # The loop of each lifespan that has begun: one hub may be mounted in several places.
        self._lives: list[asyncio.AbstractEventLoop] = []
        self._retry_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one websocket, or the application's lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
        elif scope["type"] != "http":
            raise StateError(f"a hub serves no {scope['type']!r}")
        serving, obstacle = await self._find_serving()
        if serving is None:
            await _refuse(scope, send, _UNAVAILABLE, obstacle)
        elif not serving.lobby.make_room():
            serving.engine.refusals["connections"] += 1
            await _refuse(scope, send, _UNAVAILABLE, "the hub is full")
        else:
            await self._serve_request(serving, scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        try:
            await self._serve(is_again=True)
        except AlephScriptError as exc:
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            return
        loop = asyncio.get_running_loop()
        self._lives.append(loop)
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        self._lives.remove(loop)
        if loop not in self._lives:
            await self._close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _find_serving(self) -> tuple[Serving | None, str]:
        """Return what serves; or None, and why nothing does."""
        if time.monotonic() < self._retry_at:
            return None, _CANNOT_START
        try:
            return await self._serve(), ""
        except StateError as exc:
            return None, str(exc)
        except AlephScriptError as exc:
            # Not for strangers: the sentence may name what is behind the hub.
            logger.error("the mounted hub cannot start: %s", exc, extra={"error": str(exc)})
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            return None, _CANNOT_START

    async def _serve_request(
        self, serving: Serving, scope: Scope, receive: Receive, send: Send
    ) -> None:
        client = scope.get("client")
        address = str(client[0]) if client else ""
        audience = serving.near if _is_near(address, scope) else serving.far
        clock = asyncio.timeout(None)
        arrival = AsgiArrival(serving.lobby, address, clock)
        query = scope.get("query_string", b"")
        scope = {**scope, "path": find_path(scope), "query_string": query}
        serving.clocks.add(clock)
        serving.lobby.wait(arrival)
        try:
            async with clock:
                if scope["type"] == "http":
                    await _answer(audience.app, arrival, scope, receive, send)
                    return
                handover = Handover(serving.engine, audience.admit, serving.senders, arrival)
                refusal = handover.check(_target(scope), _headers(scope), address)
                if refusal is None:
                    await AsgiWebSocket(serving.engine, handover, clock, receive, send).serve()
                else:
                    await refuse_websocket(scope, send, *refusal)
        except TimeoutError:
            if scope["type"] == "http" and not arrival.has_answered:
                await _refuse(scope, send, 408, "the request took too long")
        finally:
            serving.clocks.discard(clock)
            arrival.leave()


async def _answer(
    app: HubApp, arrival: AsgiArrival, scope: Scope, receive: Receive, send: Send
) -> None:
    """Have plain HTTP answered."""
    scope = {**scope, "state": {"arrival": arrival}}
    send = arrival.sliced(send)
    if not scope["path"]:
        # The page names its parts relative to a folder.
        where = scope["root_path"].rpartition("/")[2].encode("latin-1", "ignore") + b"/"
        headers = [(b"location", where), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
    elif scope["method"] == "GET" and scope["path"].rstrip("/") == PATH.rstrip("/"):
        watching = asyncio.create_task(_end_with_its_poll(receive, arrival))
        try:
            await app(scope, receive, send)
        finally:
            watching.cancel()
    else:
        await app(scope, receive, send)


async def _end_with_its_poll(receive: Receive, arrival: AsgiArrival) -> None:
    """End a session whose poll waits, when nobody is there any more for its answer."""
    while (await receive())["type"] != "http.disconnect":
        pass
    arrival.leave()


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await refuse_websocket(scope, send, status, reason)
        return
    body = msgspec.json.encode({"error": reason})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if status == _UNAVAILABLE:
        headers.append((b"retry-after", b"1"))
    elif scope.get("http_version", "1.1") < "2":
        headers.append((b"connection", b"close"))  # the rest of the request is not waited for
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def find_path(scope: Scope) -> str:
    """Find a request's path below the place where the hub is mounted; empty for that place itself.

    By the specification a path has the prefix (``root_path``) in front; some servers, and proxies
    that cut a prefix off, leave all of it out, or its beginning.
    """
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "").rstrip("/")
    while prefix:
        below = path.removeprefix(prefix)
        if below != path and below[:1] in ("", "/"):
            is_short = prefix.endswith(_FOLDER) and f"{below}/".startswith(_IN_FOLDER)
            return _FOLDER + below if is_short else below
        prefix = "/".join(["", *prefix.split("/")[2:]])
    return path


def _is_near(address: str, scope: Scope) -> bool:
    """Whether a request comes from a program on this machine, which passes on none of others."""
    return is_loopback(address.removeprefix("::ffff:")) and not any(
        name.decode("latin-1").lower() in OF_PROXIES for name, _ in scope["headers"]
    )


def _headers(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


def _target(scope: Scope) -> str:
    return f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
