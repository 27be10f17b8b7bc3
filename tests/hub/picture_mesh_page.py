"""Takes the pictures of the mesh page that the documentation shows; wants Chromium and Node.

Run it with ``python -m tests.hub.picture_mesh_page``: it writes docs/how-to/images/.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Any

from alephscript import AlephScriptClient, RequestError, aaia, observe
from alephscript.hub import Hub
from examples.persefon_bot import PersefonBot
from tests.support.browser import browsing
from tests.support.tools import ROOT

IMAGES = ROOT / "docs" / "how-to" / "images"
SECONDS = 50
"""Of traffic before the pictures: most of what the charts show."""

DESK = {"viewport": {"width": 1280, "height": 1100}}
VIEWS: Mapping[str, dict[str, Any]] = {
    "light": {**DESK, "colorScheme": "light"},
    "dark": {**DESK, "colorScheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "deviceScaleFactor": 2},
}


class Watcher(AlephScriptClient):
    """Asks for more in some seconds than in others."""

    rooms = observe(aaia.AAIA_ROOM)

    async def ask(self, session_id: str) -> None:
        """Ask for as long as it is let."""
        wanted = random.Random(3)
        pace = 4.0
        while True:
            pace = min(max(pace * wanted.uniform(0.8, 1.25), 1), 15)
            await asyncio.sleep(wanted.uniform(0.5, 1.5) / pace)
            await self.request(aaia.GetEferencia(session_id=session_id, fia_index=0))
            if wanted.random() < 0.3:
                await self.request(aaia.StepFIA(session_id=session_id, fia_index=0))
            if wanted.random() < 0.05:
                with contextlib.suppress(RequestError):
                    await self.request(aaia.ListFIAs(session_id="gone"))


async def main() -> None:
    """Look at a mesh in three ways, one after the other."""
    IMAGES.mkdir(exist_ok=True)
    async with (
        Hub(port=0) as hub,
        PersefonBot(hub.url, sesion="1"),
        Watcher(hub.url, sesion="1") as watcher,
    ):
        opened = await watcher.request(aaia.CreateSession(app_id="demo-logica"))
        asking = asyncio.create_task(watcher.ask(opened.session_id))
        for name in VIEWS:
            await _taken(hub, name, opened.session_id)
        asking.cancel()


async def _taken(hub: Hub, name: str, session_id: str) -> None:
    async with browsing("node", **VIEWS[name]) as page:
        await page.do(["goto", hub.url])
        await page.see("#masters", "PersefonBot")
        await page.do(["getByRole", "button", {"name": "AAIA_STEP_FIA"}], ["click"])
        await page.do(["getByLabel", "sessionId"], ["fill", session_id])
        await page.do(["getByLabel", "fiaIndex"], ["fill", "0"])
        await asyncio.sleep(SECONDS)
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".outcome[data-state=ok]", "answered in")
        await page.do(["evaluate", "scrollTo(0, 0), document.activeElement.blur(), null"])
        path = str(IMAGES / f"mesh-page-{name}.png")
        await page.do(["screenshot", {"path": path}])


if __name__ == "__main__":
    asyncio.run(main())
