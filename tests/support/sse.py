"""Clients by HTTP, and server-sent events as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx2
import msgspec

JSON = {"content-type": "application/json"}


class Told(NamedTuple):
    """One server-sent event."""

    event: str
    data: Any
    id: str


class Source:
    """A stream of server-sent events, read as a browser does."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.last_id = ""
        self._lines = response.aiter_lines()

    async def next(self) -> Told:
        """The next event that has data; ids of others are kept."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self._lines:
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                    continue
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    data = msgspec.json.decode(fields["data"])
                    return Told(fields.get("event", "message"), data, self.last_id)
                fields = {}
        raise EOFError("the stream has ended")

    async def rest(self) -> list[Told]:
        """All events until the end."""
        told = []
        try:
            while True:
                told.append(await self.next())
        except EOFError:
            return told


@asynccontextmanager
async def source(
    http: httpx2.AsyncClient,
    path: str,
    payload: Any = None,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[Source]:
    """A stream that is open: of a room's events, or, with a payload, of an answer."""
    method = "GET" if payload is None else "POST"
    asked = {"accept": "text/event-stream", **(headers or {})}
    async with http.stream(method, path, json=payload, headers=asked, **options) as response:
        yield Source(response)
