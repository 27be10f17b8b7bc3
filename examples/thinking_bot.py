"""PersefonBot with a model: FIAs that think with it, and a capability that answers as they think.

May go in: model, tools and askers put together. May not: each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import anyio
from pydantic_ai.models import Model

from alephscript import DEFAULT_URL, Request, Transport, capability
from examples.aaia_runtime.apps import DEMOS, FIA_CLASSES
from examples.aaia_runtime.conexionista import APP, FIAConexionista
from examples.aaia_runtime.thoughts import ThinkFIA, Thought, TipoThought
from examples.attending import Asker
from examples.mesh_tools import MeshTools
from examples.persefon_bot import PersefonBot

__all__ = ["ThinkingBot"]


class ThinkingBot(PersefonBot):
    """Drives FIAs in mundos as PersefonBot does, those that think with a model, too.

    Args:
        hub: As for `PersefonBot`.
        model: The model.
        options: As for `PersefonBot`.
    """

    def __init__(self, hub: str | Transport = DEFAULT_URL, *, model: Model, **options: Any) -> None:
        options.setdefault("usuario", "PersefonBot")
        options.setdefault("apps", (*DEMOS, APP))
        rooms = [str(room) for room in self.rooms]
        thinker = functools.partial(FIAConexionista, model=model, tools=MeshTools(self, rooms))
        options["classes"] = {**FIA_CLASSES, "FIAConexionista": thinker}
        super().__init__(hub, **options)

    @capability
    async def think_fia(self, request: Request[ThinkFIA]) -> AsyncIterator[Thought]:
        """One reasoning step of a FIA, told part by part."""
        asked = request.payload
        said, heard = anyio.create_memory_object_stream[Thought]()
        step = asyncio.create_task(
            self._runtime.step_fia(asked.session_id, asked.fia_index, Asker(request, said.send))
        )
        step.add_done_callback(lambda _: said.close())
        try:
            async for thought in heard:
                yield thought
            yield Thought(TipoThought.PASO, paso=await step)
        finally:
            heard.close()
            step.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await step
