"""A submitter of tasks in a process of its own, to be killed: ``… task_asker URL LOG COUNT``.

LOG has a line for each task that was acknowledged: its number and its id. One that is started again
submits the same tasks, by their keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

from alephscript import AlephScriptClient, RequestError
from tests.faults.task_master import at_once


async def main(url: str, path: str, count: int) -> None:
    """Submit all tasks, each until it is acknowledged."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with AlephScriptClient(
        url, usuario="asker", retry_open=True, backoff=at_once, when_offline="wait"
    ) as client:
        sys.stderr.write("asker is ready\n")
        for number in range(count):
            name = "ONCE" if number % 2 else "AGAIN"
            payload = {"number": number, "seconds": 0.05 + 0.4 * (number % 10 == 0)}
            while True:
                with contextlib.suppress(RequestError):
                    task = await client.submit(name, payload, timeout=90, key=f"n{number}")
                    break
            os.write(log, f"{number} {task.id}\n".encode())
            await asyncio.sleep(0.04)
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
