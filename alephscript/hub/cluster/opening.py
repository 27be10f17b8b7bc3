"""Opening a connection to Redis, by whatever its address says: TLS, sockets, users, databases.

May go in: what redis-py knows of addresses and slots; alone imports redis-py. May not: what is said
on a connection that is open (`resp`).
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote, urlsplit

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError

__all__ = ["Place", "database_of", "open_connection", "slot_of"]

Place = tuple[str, int]
"""Host and port of a node of a Redis Cluster."""

_RESP = 2
"""Version of Redis' protocol, in which what comes by a channel is a reply like others."""


def database_of(url: str) -> int:
    """Return the number of the database that an address names.

    Raises:
        ValueError: The address is none.
    """
    parts = urlsplit(url)
    path = unquote(parts.path).strip("/")
    if path and parts.scheme != "unix" and not (path.isascii() and path.isdecimal()):
        raise ValueError("a database is a number")  # redis-py would take the first one
    return int(redis.ConnectionPool.from_url(url).connection_kwargs.get("db", 0))


def slot_of(name: bytes) -> int:
    """Return the number of the slot that a key or a channel is in."""
    return int(key_slot(name))


async def open_connection(
    url: str, timeout: float, place: Place | None = None
) -> asyncio.StreamWriter:
    """Open a connection on which Redis awaits commands.

    Args:
        url: ``redis://[[username]:[password]@]host:port/database``, or ``rediss://``.
        timeout: Seconds that each step may take.
        place: The node to connect to, None for the one that the address names.

    Raises:
        ConnectionError: Redis cannot be reached, or lets nobody in by that address.
    """
    pool = redis.ConnectionPool.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),  # a link that is gone means that something was missed
    )
    pool.connection_kwargs["protocol"] = _RESP
    if place is not None:
        pool.connection_kwargs["host"], pool.connection_kwargs["port"] = place
    opened: Any = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        await opened.connect()
    except RedisError as exc:
        raise ConnectionError(str(exc) or type(exc).__name__) from exc
    # There is no other way to have its transport without a reader that reads it.
    writer: asyncio.StreamWriter = opened._writer  # noqa: SLF001
    opened._writer = opened._reader = None  # noqa: SLF001
    return writer
