"""A master of tasks in a process of its own, to be killed: ``… task_master URL LOG``.

Each run that begins is a line in LOG, which says more than any journal whether a task ran twice;
and what a run has reached is one, too, for those who wait for that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

from alephscript import AlephScriptClient, Request, capability


def at_once() -> Any:
    """Delays between attempts to reconnect: hardly any."""
    while True:
        yield 0.05


async def may_go_on(request: Request[Any]) -> None:
    """Wait for the file that the payload names, if it names one."""
    while "go" in request.payload and not Path(request.payload["go"]).exists():  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.01)


class TaskMaster(AlephScriptClient):
    """Does things that may be done twice, and things that may not."""

    rooms = ("WORK",)
    log = -1

    def note(self, request: Request[Any], what: str) -> None:
        """Write a line that outlives this process."""
        os.write(self.log, f"{what} {request.payload['number']}\n".encode())

    @capability("ONCE")
    async def once(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Do something that must not be done twice."""
        self.note(request, "once")
        await request.checkpoint({"reached": request.payload["number"]})
        self.note(request, "kept")
        await asyncio.sleep(request.payload["seconds"])
        await may_go_on(request)
        self.note(request, "end")
        return {"number": request.payload["number"]}

    @capability("AGAIN", idempotent=True)
    async def again(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Go on where the run before was, a step at a time."""
        self.note(request, "again")
        first = (request.checkpoint_data or {"step": 0})["step"]
        for step in range(first, 4):
            await asyncio.sleep(request.payload["seconds"] / 4)
            await request.checkpoint({"step": step + 1})
            self.note(request, f"step {step}")
            if step == 1:
                await may_go_on(request)
        return {"number": request.payload["number"], "first": first}

    @capability("SEND", idempotent=True)
    async def send(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Ask whether to."""
        self.note(request, "send")
        return {"sent": await request.ask("APPROVE", {"what": "send it"}, timeout=60)}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    TaskMaster.log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    TaskMaster(sys.argv[1], retry_open=True, backoff=at_once).run()
