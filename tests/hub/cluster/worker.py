"""A master in a process of its own: ``python -m tests.hub.cluster.worker URL NAME``."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from alephscript import AlephScriptClient, capability


class Worker(AlephScriptClient):
    """Answers, or does not."""

    rooms = ("WORK",)

    @capability("ECHO")
    async def echo(self, number: Any) -> dict[str, Any]:
        """Say it again."""
        return {"number": number, "by": self.usuario}

    @capability("HANG")
    async def hang(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Never answer."""
        await asyncio.Event().wait()
        return payload


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    Worker(sys.argv[1], usuario=sys.argv[2]).run()
