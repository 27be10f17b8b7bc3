"""Measures what the mesh page costs a browser; wants Chromium and Node.

Run it with ``python -m tests.hub.measure_mesh_page``: with a hundred members and thirty rooms it
prints how much of a core Chromium computes, all its processes together, while 30 events a second
are said and as many requests made.
"""

from __future__ import annotations

import asyncio
import sys

from alephscript.hub import Hub
from tests.support.browser import browsing
from tests.support.crowd import MEMBERS, ROOMS, crowd

WARM_SECONDS = 15.0
SECONDS = 30.0
EVENTS_A_SECOND = 30.0


async def main() -> None:
    """Look at a mesh for a while."""
    # Half of what a member does is an event.
    every = (MEMBERS - len(ROOMS)) / (2 * EVENTS_A_SECOND)
    async with (
        Hub(port=0) as hub,
        crowd(hub.url, every=every),
        browsing("node", viewport={"width": 1280, "height": 800}) as page,
    ):
        await page.do(["goto", hub.url])
        await page.see("#masters", "AirportBillingBot")
        await asyncio.sleep(WARM_SECONDS)
        before = await page.cpu_seconds()
        await asyncio.sleep(SECONDS)
        busy = (await page.cpu_seconds() - before) / SECONDS
        nodes = await page.do(["evaluate", "document.querySelectorAll('*').length"])
        said = await page.text("#events [data-part=count]")
        asked = await page.text("#requests [data-part=count]")
    sys.stdout.write(f"the browser computes {busy:.1%} of a core\n")
    sys.stdout.write(f"{nodes} elements; {said}; {asked}\n")


if __name__ == "__main__":
    asyncio.run(main())
