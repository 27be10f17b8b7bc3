"""A master in a process of its own, to be killed: ``python -m tests.faults.worker URL``."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from alephscript import AlephScriptClient, capability


class Worker(AlephScriptClient):
    """Echoes after a while."""

    rooms = ("WORK",)

    @capability("ECHO")
    async def echo(self, number: Any) -> dict[str, Any]:
        """Say it again, after a few turns."""
        await asyncio.sleep(0.001 * (number % 7))
        return {"number": number}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    Worker(sys.argv[1], connect_timeout=5).run()
