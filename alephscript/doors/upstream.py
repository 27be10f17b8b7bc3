"""`Upstream`: a server of another protocol while it is there, and what ends when it is gone.

May go in: work that ends with its server. May not: a protocol, when to try again (`master`).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from alephscript.protocol.text import printable

__all__ = ["Upstream", "innermost", "without_password"]

T = TypeVar("T")


class Upstream(ABC):
    """A server that is connected.

    Attributes:
        gone: Set as soon as the server is known to be gone.
    """

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    @abstractmethod
    def changes(self) -> AsyncGenerator[None, None]:
        """Iterate over changes of what the server lists, until the server is gone."""

    async def work(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for what the server does, no longer than the server is there.

        Raises:
            ConnectionError: The server is gone; `ConnectionRefusedError` if it was before.
        """
        if self.gone.is_set():
            work.close()
            raise ConnectionRefusedError
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ConnectionError("the server is gone")
            return task.result()
        finally:
            task.cancel()
            gone.cancel()


def without_password(address: str) -> str:
    """Name an address for a person, without its password."""
    head, at, tail = address.rpartition("@")
    return printable(f"{head.partition('//')[0]}//{tail}" if at else address, 200)


def innermost(exc: BaseException) -> str:
    """Say what went wrong, in what groups of exceptions it may be."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return printable(f"{type(exc).__name__}: {exc}", 200)
