"""Mistakes that type checkers must find, one a marked line."""

from __future__ import annotations

from alephscript import AlephScriptClient, capability, on
from alephscript.aaia import StepFIA


async def mistakes(client: AlephScriptClient) -> None:
    step = await client.request(StepFIA(session_id="x", fia_index=0))
    step.nothing  # error
    await client.request(StepFIA(session_id="x"))  # error
    await client.request(7)  # error
    await client.request("X", timeout="soon")  # error
    await client.broadcast(7)  # error
    capability("X")(7)  # error
    on(7)  # error
