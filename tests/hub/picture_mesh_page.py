"""Takes the pictures of the mesh page that the documentation shows; wants Chromium and Node.

Run it with ``python -m tests.hub.picture_mesh_page``: it writes docs/how-to/images/, of a mesh with
a hundred members and thirty rooms, and takes five minutes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import attrs

from alephscript import AlephScriptClient, Request, RequestFor, capability
from alephscript.hub import Hub
from tests.support.browser import Page, browsing
from tests.support.crowd import crowd
from tests.support.tools import ROOT

IMAGES = ROOT / "docs" / "how-to" / "images"
SECONDS = 240.0
"""Of traffic before the pictures, for the charts."""

MOST_BYTES = 250_000
"""Of each picture."""

DESK = {"viewport": {"width": 1280, "height": 800}}
VIEWS: Mapping[str, dict[str, Any]] = {
    "light": {**DESK, "colorScheme": "light"},
    "dark": {**DESK, "colorScheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "deviceScaleFactor": 1.5},
}


@attrs.frozen
class Approval:
    """The word of somebody who may say it."""

    is_given: bool
    limit: int = 500


@attrs.frozen
class Approve(RequestFor[Approval], capability="APPROVE"):
    """Is this order to be sent? It costs more than the bot may spend."""

    supplier: str
    total: int


class Purchasing(AlephScriptClient):
    """Orders what is running out; asks back where that is dear."""

    rooms = ("PURCHASING",)

    @capability("RESTOCK", idempotent=True)
    async def restock(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Order what is running out."""
        request.progress(0.4, "4 of 10 shelves are counted")
        if request.payload["shelf"] == 1:
            approval = await request.ask(Approve(supplier="Harbour Supplies", total=1240))
            return {"ordered": approval.is_given}
        if request.payload["shelf"] == 2:
            await asyncio.Event().wait()
        return {"ordered": False}


async def picture_tasks(page: Page, url: str) -> None:
    """Take a picture of a task that asks."""
    async with (
        Purchasing(url, max_in_flight=10),
        AlephScriptClient(url, usuario="Planner") as asker,
    ):
        for shelf in (3, 2, 1):
            task = await asker.submit("RESTOCK", {"shelf": shelf}, room="PURCHASING", timeout=3600)
        await asker.submit("AUDIT", {}, room="NIGHT_SHIFT", timeout=3600)
        await page.do(["goto", f"{url}/#task={task.id}"])
        await page.see("#view .question", "APPROVE asks back")
        await page.see("#tasks tbody", "queued")
        await asyncio.sleep(3)
        await _take(page, "task")


async def main(seconds: float) -> None:
    """Look at a mesh in several ways, one after the other."""
    IMAGES.mkdir(exist_ok=True)
    async with Hub(port=0) as hub:
        async with browsing("node", **VIEWS["light"]) as page:
            await page.do(["goto", hub.url])
            await page.see("#welcome", "Nobody is here yet")
            await _take(page, "empty")
        async with crowd(hub.url):
            for name, view in VIEWS.items():
                async with browsing("node", **view) as page:
                    await page.do(["goto", hub.url])
                    await page.see("#masters", "AirportBillingBot")
                    await asyncio.sleep(seconds if name == "light" else 12)
                    await _take(page, name)
                    if name == "light":
                        await page.do(["goto", f"{hub.url}/#capability=MEASURE&of=NORTH_WEATHER"])
                        await page.see("#view-title", "MEASURE")
                        await page.do(["getByLabel", "place"], ["fill", "north"])
                        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
                        await page.see(".outcome[data-state=ok]", "answered in")
                        await asyncio.sleep(3)
                        await _take(page, "capability")
                        await picture_tasks(page, hub.url)


async def _take(page: Page, name: str) -> None:
    await page.do(["evaluate", "scrollTo(0, 0), document.activeElement.blur(), null"])
    path = IMAGES / f"mesh-page-{name}.png"
    await page.do(["screenshot", {"path": str(path)}])
    size = path.stat().st_size
    sys.stdout.write(f"{path.name}: {size:,} bytes\n")
    assert size <= MOST_BYTES, f"{path} is too large"


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
