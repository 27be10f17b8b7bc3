"""The Redis that has a journal or a log: in a Redis Cluster, the node of the slot that all is in.

May go in: redis-py's client, the scripts beside this file, which node is asked. May not: what is
kept there (`redis`, `redis_log`).
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import redis.asyncio as redis
from redis.exceptions import (
    AskError,
    ConnectionError as RedisConnectionError,
    NoScriptError,
    RedisError,
)

from alephscript.hub.cluster.opening import Place, database_of
from alephscript.hub.cluster.shards import find_place, find_slots

__all__ = ["TROUBLE", "RedisNode"]

T = TypeVar("T")

TROUBLE = (RedisError, OSError, TimeoutError)
"""What is raised while Redis is out of reach, or takes nothing."""

_TIMEOUT_SECONDS = 5.0

_MORE_ATTEMPTS = 2
"""To find another node, and to have it know the scripts."""


class RedisNode:
    """A Redis, or the node of a Redis Cluster that has a slot.

    Args:
        url: The address of the Redis.
        scripts: Names of the scripts that are used.
        prefix: The text that keys and channels begin with.

    Attributes:
        prefix: That text with the number of the database; in a Redis Cluster a hash tag, too.
        client: The client, which asks the right node as far as that is known; set by `open`.
    """

    def __init__(self, url: str, scripts: Sequence[str], prefix: str) -> None:
        self.prefix = f"{prefix}:{database_of(url)}"
        self.client: Any = None
        self._url = url
        self._scripts = scripts
        self._shas: dict[str, str] = {}
        self._is_alone = False  # a Redis that is no cluster
        self._place: Place | None = None
        self._places: list[Place] = []  # any of them knows which one it is

    async def open(self) -> None:
        """Reach the Redis, and have it know the scripts; raises one of `TROUBLE`."""
        self.client = self._make_client()
        try:
            await self.find()
            await self._load_scripts()
        except TROUBLE:
            await self.client.aclose()
            raise

    async def find(self) -> None:
        """In a Redis Cluster, ask the node from now on that has the slot."""
        if self._is_alone:
            return
        slots = await find_slots(self._url, _TIMEOUT_SECONDS, self._places)
        if slots is None:
            self._is_alone = True
            return
        self._places = list(dict.fromkeys(place for *_, place in slots))
        if not self.prefix.startswith("{"):
            self.prefix = f"{{{self.prefix}}}"
        place = find_place(slots, self.prefix.encode())
        if place is not None and place != self._place:
            self._place = place
            before, self.client = self.client, self._make_client()
            # The connections of a client stay those to the node that they were made for.
            await before.aclose()

    def _make_client(self) -> Any:
        client = redis.Redis.from_url(
            self._url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
        )
        if self._place is not None:
            known = client.connection_pool.connection_kwargs
            known["host"], known["port"] = self._place
        return client

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """Ask something, and again if another node has that by now, or Redis was started again.

        Args:
            question: Asks by the client that it is given; once more does no harm.
        """
        for _ in range(_MORE_ATTEMPTS):
            try:
                return await question(self.client)
            except NoScriptError:
                await self._load_scripts()
            except (RedisConnectionError, AskError):  # the second one says MOVED, too
                await self.find()
        return await question(self.client)

    async def execute(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run scripts in one round trip.

        Args:
            commands: Each has the name of a script and its arguments.
        """

        async def evaluate(client: Any) -> list[Any]:
            async with client.pipeline(transaction=False) as pipe:
                for name, *arguments in commands:
                    pipe.evalsha(self._shas[name], 1, self.prefix, *arguments)
                results: list[Any] = await pipe.execute()
                return results

        return await self.ask(evaluate)

    async def _load_scripts(self) -> None:
        folder = importlib.resources.files("alephscript.hub.store")
        for name in self._scripts:
            text = folder.joinpath(f"{name}.lua").read_text(encoding="utf-8")
            self._shas[name] = await self.client.script_load(text)
