"""A proxy has the signatures of the master; type checkers find what does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, assert_type

from alephscript import AlephScriptClient
from alephscript.aaia import StepFIA, StepResult
from examples.persefon_bot import PersefonBot


class Stepping(Protocol):
    async def step_fia(self, request: StepFIA) -> StepResult: ...
    def steps(self, request: StepFIA) -> AsyncIterator[StepResult]: ...


async def use(client: AlephScriptClient) -> None:
    bot = client.proxy(PersefonBot, room="AAIA_ROOM", timeout=5)
    assert_type(bot, PersefonBot)
    step = StepFIA(session_id="x", fia_index=0)
    assert_type(await bot.step_fia(step), StepResult)
    other = client.proxy(Stepping)  # type: ignore[type-abstract]
    assert_type(await other.step_fia(step), StepResult)
    async for part in other.steps(step):
        assert_type(part, StepResult)
