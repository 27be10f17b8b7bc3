"""The mesh page: its files, and itself in a browser, on a hub with PersefonBot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    DeadlineExceeded,
    Request,
    RequestError,
    RequestFor,
    aaia,
    capability,
    observe,
)
from alephscript.hub import Access, Handshake, Hub, Identity, Refusal, SharedToken
from alephscript.hub.measuring import STEP_SECONDS
from examples.persefon_bot import PersefonBot
from tests.support.browser import Page, browsing
from tests.support.crowd import MEMBERS, ROOMS, crowd
from tests.support.peers import raw_peer
from tests.support.servers import mounted

pytestmark = pytest.mark.anyio

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
LONG = "R" * 120
HOSTILE = "<img src=x onerror=\"document.title='hit'\">"


class Member(AlephScriptClient):
    """Is where PersefonBot is."""

    rooms = observe(aaia.AAIA_ROOM)


@pytest.fixture
async def plain() -> AsyncIterator[Hub]:
    """A hub as it is by default."""
    async with Hub(port=0) as hub:
        yield hub


@pytest.fixture
async def page(browser: str, node: str) -> AsyncIterator[Page]:
    """Chromium, without a page in it yet."""
    async with asyncio.timeout(50), browsing(node) as page:
        yield page


async def opened(page: Page, hub: Hub) -> None:
    """Open the page and wait until it knows the mesh and has counted once."""
    await page.do(["goto", hub.url])
    await page.see("#link", "connected")
    await page.see("#hub", "client")
    await page.see("#masters", "PersefonBot")


async def unfold(page: Page, master: str = "PersefonBot") -> None:
    """Show the capabilities of a master."""
    await page.do(["locator", "#masters tr", {"hasText": master}], ["locator", ".fold"], ["click"])


async def choose(page: Page, capability: str) -> None:
    """Choose a capability in the form."""
    await page.do(["locator", "#capability"], ["selectOption", {"label": capability}])


async def session(client: AlephScriptClient) -> str:
    """A new session's id."""
    made = await client.request(aaia.CreateSession(app_id="demo-logica"))
    return str(made.session_id)


# Its files


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/index.html", "text/html"),
        ("/page.mjs", "text/javascript"),
        ("/socket.mjs", "text/javascript"),
        ("/style.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
async def test_its_files_are_served_under_a_strict_policy(plain: Hub, path: str, kind: str) -> None:
    """Nothing from elsewhere, nothing inline, no frame; fetched again only when they changed."""
    async with aiohttp.ClientSession() as http:
        async with http.get(plain.url + path) as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            assert answer.headers["content-security-policy"] == POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-cache"
            assert len(await answer.read()) > 100
            known = {"if-none-match": answer.headers["etag"]}
        async with http.get(plain.url + path, headers=known) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with http.get(plain.url + path, headers={"if-none-match": '"other"'}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "path", ["/../pages.py", "/%2e%2e/pages.py", "/page/", "/page.mjs/", "//page.mjs", "/pages.py"]
)
async def test_nothing_beside_its_files_is_served(plain: Hub, path: str) -> None:
    """Paths are looked up, never followed."""
    assert (await status(plain, path)) == 404


async def test_it_is_not_shown_under_a_name_that_is_not_the_hubs(plain: Hub) -> None:
    """A page of elsewhere that gives its own name this address gets nothing."""
    assert (await status(plain, "/", host="evil.example")) == 403


async def status(hub: Hub, path: str, host: str = "127.0.0.1") -> int:
    """What a path is answered that no client library has tidied up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(hub.url.rsplit(":", 1)[1]))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        return int((await reader.read()).split()[1])
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_hub_without_it_has_no_page() -> None:
    """And says how it is all the same."""
    async with Hub(port=0, mesh_page=False) as hub, aiohttp.ClientSession() as http:
        async with http.get(f"{hub.url}/") as answer:
            assert answer.status == 404
        async with http.get(f"{hub.url}/healthz") as answer:
            assert answer.status == 200


# In a browser


async def test_what_others_ask_and_say_is_seen(page: Page, plain: Hub) -> None:
    """Masters with their health, requests in the charts, events in the stream."""
    async with PersefonBot(plain.url), Member(plain.url) as client:
        await opened(page, plain)
        await page.see("#masters .health[data-state=good]", "ms")
        await page.see("#members", "Member")
        await unfold(page)
        await client.request(aaia.StepFIA(session_id=await session(client), fia_index=0))
        await page.see("#events li", "FIA_STEP")
        await page.see(".capability", "AAIA_STEP_FIA 0.")
        for chart in ("#rate", "#p95"):
            said = f"document.querySelector('{chart} .plot').getAttribute('aria-valuetext')"
            await page.until(rf"parseFloat(/at most ([\d.]+)/.exec({said})?.[1]) > 0")
        drawn = "document.querySelector('#rate .series-0').getAttribute('d')"
        await page.until(f"/M/.test({drawn})")
        assert await page.problems() == []


async def test_what_was_dropped_is_seen(page: Page, plain: Hub) -> None:
    """By event and reason, with a count; as text, whatever its name."""
    async with PersefonBot(plain.url), raw_peer(plain) as peer:
        await opened(page, plain)
        assert not await page.do(["locator", "#drops"], ["isVisible"])
        for _ in range(2):
            for event in ("BOARD", HOSTILE):
                await peer.send(f"42/runtime,{json.dumps([event, {}])}")
        await peer.fence()
        await page.see("#dropped li", "BOARD unknown_event 2")
        await page.see("#dropped", HOSTILE)
        assert await page.problems() == []


async def test_it_is_a_member_that_others_can_ask(page: Page, plain: Hub) -> None:
    """It answers about itself, and is no master of anything."""
    async with PersefonBot(plain.url), Member(plain.url) as client:
        await opened(page, plain)
        told = await client.survey("info")
        [own] = [each for each in told.answers.values() if each.usuario == "mesh page"]
        assert (own.capabilities, told.missing) == ((), ())
        assert len((await client.survey("stats")).answers) == 3
        assert await page.problems() == []


async def test_one_room_can_be_looked_at(page: Page, plain: Hub) -> None:
    """By an address that can be kept; other rooms are not listened to then."""
    async with PersefonBot(plain.url), Member(plain.url) as client:
        await opened(page, plain)
        await page.do(["locator", "#rooms a", {"hasText": "ENGINE_THREADS_ROOM"}], ["click"])
        await page.until("document.querySelectorAll('#capability option').length === 1")
        await page.until("location.hash === '#room=ENGINE_THREADS_ROOM'")
        await page.do(["reload"])
        await page.see("[aria-current]", "ENGINE_THREADS_ROOM")
        await unfold(page)
        await page.see("#masters", "LIST_OF_THREADS")
        state = await client.server_state()
        inside = {
            room["roomId"]: [each["usuario"] for each in room["miembros"]]
            for room in state["rooms"]
        }
        assert "mesh page" in inside["ENGINE_THREADS_ROOM"]
        assert "mesh page" not in inside[aaia.AAIA_ROOM]


async def test_the_stream_of_events_is_filtered_searched_and_held(page: Page, plain: Hub) -> None:
    """What is said meanwhile is counted, and shown when it is let go."""
    async with PersefonBot(plain.url), Member(plain.url) as client:
        await opened(page, plain)
        for word in ("red", "green"):
            await client.broadcast("COLOUR", {"word": word}, room=aaia.AAIA_ROOM)
        await client.broadcast("SHAPE", {"word": "round"}, room=aaia.AAIA_ROOM)
        await page.see("#events li", "SHAPE")
        await page.do(["locator", "#search"], ["fill", "gree colour"])
        await page.until("document.querySelectorAll('#events li').length === 1")
        assert "green" in await page.text("#events li")
        await page.do(["locator", "#search"], ["fill", ""])
        await page.do(["locator", "#filter"], ["selectOption", "SHAPE"])
        await page.until("document.querySelectorAll('#events li').length === 1")
        await page.do(["locator", "#filter"], ["selectOption", ""])
        await page.do(["locator", "#events [data-part=pause]"], ["click"])
        await client.broadcast("LATER", {}, room=aaia.AAIA_ROOM)
        await page.see("#events [data-part=more]", "1 new")
        assert "LATER" not in await page.text("#events ol")
        await page.do(["locator", "#events [data-part=pause]"], ["click"])
        await page.see("#events li", "LATER")
        await page.do(["locator", "#events [data-part=clear]"], ["click"])
        await page.see("#events [data-part=count]", "0 of 0 events")


async def test_the_keyboard_alone_reaches_and_uses_the_form(page: Page, plain: Hub) -> None:
    """From the top of the page to PersefonBot's answer."""

    async def press(key: str) -> None:
        await page.do(["keyboard"], ["press", key])

    async def enter(text: str) -> None:
        await page.do(["keyboard"], ["type", text])

    async with PersefonBot(plain.url), Member(plain.url) as client:
        await opened(page, plain)
        await press("Tab")
        await press("Enter")  # past everything, to the form
        await press("Tab")
        await enter("AAIA_STEP_FIA")
        await page.see("[data-part=fields]", "fiaIndex")
        await press("Tab")
        await enter(await session(client))
        await press("Tab")
        await enter("0")
        await press("Enter")
        await page.see(".outcome[data-state=ok]", "answered in")
        assert '"eferencia"' in await page.text("[data-part=answer]")
        assert await page.problems() == []


in_each_view = pytest.mark.parametrize(
    "view",
    [
        {"colorScheme": "light"},
        {"colorScheme": "dark"},
        {"viewport": {"width": 360, "height": 740}, "hasTouch": True},
    ],
    ids=["light", "dark", "phone"],
)


@in_each_view
async def test_everybody_can_read_and_use_it(
    browser: str, node: str, plain: Hub, view: dict[str, Any]
) -> None:
    """Contrast, names and roles as axe wants them; on a phone nothing is beside the screen."""
    async with (
        asyncio.timeout(50),
        browsing(node, **view) as page,
        PersefonBot(plain.url),
        Member(plain.url) as client,
    ):
        await opened(page, plain)
        await choose(page, "AAIA_STEP_FIA")
        await page.do(["getByLabel", "fiaIndex"], ["fill", "first"])
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".problem", "is not a whole number")
        assert await page.violations() == []
        await page.do(["getByLabel", "sessionId"], ["fill", await session(client)])
        await page.do(["getByLabel", "fiaIndex"], ["fill", "0"])
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".outcome[data-state=ok]", "answered in")
        await page.do(["locator", "#events summary"], ["first"], ["click"])
        await page.see("#events pre", "sessionId")
        assert await page.violations() == []
        await page.until("document.documentElement.scrollWidth <= innerWidth")
        assert await page.problems() == []


async def test_the_form_says_what_does_not_fit_and_what_failed(page: Page, plain: Hub) -> None:
    """At the field, before anything is sent; or with the answer's code."""
    async with PersefonBot(plain.url):
        await opened(page, plain)
        await choose(page, "AAIA_STEP_FIA")
        await page.do(["getByLabel", "sessionId"], ["fill", "nobody"])
        await page.do(["getByLabel", "fiaIndex"], ["fill", "first"])
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".problem", "is not a whole number")
        await page.until("document.activeElement.matches('[aria-invalid]')")
        await page.do(["getByLabel", "fiaIndex"], ["fill", "0"])
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".outcome[data-state=failed]", "session_not_found")
        assert await page.do(["locator", "[aria-invalid]"], ["count"]) == 0


@attrs.frozen
class Tick(RequestFor[int], capability="TICK"):
    """Count."""

    start: int = 0


class Clock(AlephScriptClient):
    """Counts for as long as it is read."""

    rooms = ("CLOCK",)

    def __init__(self, hub: str, **options: Any) -> None:
        super().__init__(hub, **options)
        self.stopped = asyncio.Event()

    @capability
    async def tick(self, request: Tick) -> AsyncIterator[int]:
        """Count without end."""
        try:
            for number in range(request.start, request.start + 1000):
                yield number
            await asyncio.Event().wait()
        finally:
            self.stopped.set()

    @capability("WIND")
    async def wind(self, request: Request[Any]) -> None:
        """Say how far it is, and stay there."""
        request.progress(0.5, "half way")
        await asyncio.Event().wait()


async def test_an_answer_in_parts_is_shown_as_it_comes_until_it_is_cancelled(
    page: Page, plain: Hub
) -> None:
    """Many more parts than are granted at first; its master hears of the end."""
    async with PersefonBot(plain.url), Clock(plain.url) as clock:
        await opened(page, plain)
        await choose(page, "TICK")
        await page.do(["getByLabel", "start"], ["fill", "7"])
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".outcome", "1000 parts so far")
        assert "\n1006" in await page.text("[data-part=answer]")
        await page.do(["getByRole", "button", {"name": "Cancel"}], ["click"])
        await page.see(".outcome", "cancelled")
        await clock.stopped.wait()
        await choose(page, "WIND")
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".outcome", "50 % half way")


@attrs.frozen
class Approval:
    """What a viewer fills in."""

    is_given: bool
    how_often: int


@attrs.frozen
class Approve(RequestFor[Approval], capability="APPROVE"):
    """Shall it be done?"""

    the_deed: str


class Asking(AlephScriptClient):
    """Asks back before it does anything."""

    rooms = ("ASKING",)

    @capability("SEND")
    async def send(self, request: Request[Any]) -> dict[str, Any]:
        """Send something."""
        approval = await request.ask(Approve(the_deed="<b>send</b> it"))
        return {"sent": approval.is_given, "times": approval.how_often}

    @capability("GIVE_UP")
    async def give_up(self, request: Request[Any]) -> str:
        """Ask, and go on without an answer."""
        try:
            await request.ask("WHATEVER", timeout=0.3)
        except DeadlineExceeded:
            request.progress(0.5, "gave up")
        await asyncio.Event().wait()
        return "never"


async def test_what_a_capability_asks_back_is_a_form(page: Page, plain: Hub) -> None:
    """Made of the schema of the answer; a viewer answers, declines, or is too late."""
    async with PersefonBot(plain.url), Asking(plain.url):
        await opened(page, plain)
        await choose(page, "SEND")
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".question", "APPROVE asks back")
        await page.see(".question code", '{"theDeed":"<b>send</b> it"}')
        await page.do(["getByLabel", "isGiven"], ["check"])
        await page.do(["getByRole", "button", {"name": "Answer", "exact": True}], ["click"])
        await page.see(".question .problem", "howOften is needed")
        assert await page.violations() == []
        await page.do(["getByLabel", "howOften"], ["fill", "2"])
        await page.do(["getByLabel", "howOften"], ["press", "Enter"])
        await page.see(".outcome[data-state=ok]", "answered in")
        assert '"times": 2' in await page.text("[data-part=answer]")
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.do(["getByRole", "button", {"name": "Decline"}], ["click"])
        await page.see(".outcome[data-state=failed]", "declined")
        await choose(page, "GIVE_UP")
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".question", "WHATEVER asks back")
        await page.see(".outcome", "50 % gave up")
        assert await page.do(["locator", ".question"], ["count"]) == 0
        assert await page.problems() == []


async def test_a_task_is_submitted_answered_and_cancelled(page: Page, plain: Hub) -> None:
    """From the form to its own view, where its question is one; and in the table of all."""
    async with PersefonBot(plain.url), Asking(plain.url), Clock(plain.url) as client:
        await opened(page, plain)
        await choose(page, "SEND")
        await page.do(["getByRole", "button", {"name": "Submit as a task"}], ["click"])
        await page.see("#view .question", "APPROVE asks back")
        await page.see("#view-facts", "asking")
        await page.see("#view .question code", '{"theDeed":"<b>send</b> it"}')
        await page.see("#tasks tbody", "asking")
        await page.do(["getByLabel", "isGiven"], ["check"])
        await page.do(["getByLabel", "howOften"], ["fill", "2"])
        assert await page.violations() == []
        await page.do(["getByLabel", "howOften"], ["press", "Enter"])
        await page.see("#view-facts", "done")
        await page.see("#view-task pre", '"times": 2')
        assert await page.violations() == []
        task = await client.submit("WIND", {}, room="CLOCK", timeout=3600)
        await page.see("#tasks tbody", "50 %")
        await page.do(["locator", "#tasks a", {"hasText": "WIND"}], ["click"])
        await page.see("#view-facts", "50 % half way")
        await page.do(["getByRole", "button", {"name": "Cancel the task"}], ["click"])
        await page.see("#view-facts", "cancelled")
        assert (await task.status()).state == "cancelled"
        await page.do(["locator", "#find"], ["fill", "cancelled"])
        await page.until("document.querySelectorAll('#tasks tbody tr').length === 1")
        assert await page.problems() == []


@pytest.mark.slow
@in_each_view
async def test_everybody_can_read_and_use_a_task(
    browser: str, node: str, plain: Hub, view: dict[str, Any]
) -> None:
    """While it asks, when it is refused, when it is done, with an error, and in the table."""

    async def fits(page: Page, shown: str) -> None:
        assert await page.violations() == [], shown
        root = "document.documentElement"
        assert await page.do(["evaluate", f"{root}.scrollWidth - {root}.clientWidth"]) == 0, shown

    async with (
        asyncio.timeout(50),
        browsing(node, **view) as page,
        PersefonBot(plain.url),
        Asking(plain.url),
        Clock(plain.url) as client,
    ):
        await opened(page, plain)
        await client.submit(LONG, {LONG: LONG}, room=LONG)
        await client.submit("WIND", {}, room="CLOCK", timeout=3600)
        refused = await client.submit("SEND", {}, room="ASKING")
        await page.see("#tasks tbody", "50 %")
        await page.do(["goto", f"{plain.url}/#task={refused.id}"])
        await page.see("#view .question", "APPROVE asks back")
        await page.do(["getByLabel", "howOften"], ["fill", "often"])
        await page.do(["getByRole", "button", {"name": "Answer", "exact": True}], ["click"])
        await page.see(".question .problem", "howOften")
        await fits(page, "asking")
        await page.do(["getByRole", "button", {"name": "Decline"}], ["click"])
        await page.see("#view-facts", "failed")
        await page.see("#view-facts", "the viewer of the mesh page did not agree")
        assert (await refused.status()).state == "failed"
        await fits(page, "refused")
        long = (await client.tasks(state="queued"))[0]
        await page.do(["goto", f"{plain.url}/#task={long.id}"])
        await page.see("#view-title", LONG)
        await page.see("#view-facts", "queued")
        await fits(page, "a long name")
        await page.do(["goto", f"{plain.url}/#task={'0' * 32}"])
        await page.see("#view", "no such task")
        await fits(page, "unknown")
        await page.do(["goto", plain.url])
        await page.see("#tasks tbody", "failed")
        await fits(page, "table")
        assert await page.problems() == []


@pytest.mark.slow
async def test_the_keyboard_alone_submits_answers_and_finds_a_task(page: Page, plain: Hub) -> None:
    """The question is where one types next; arrow keys go through the table."""

    async def press(*keys: str) -> None:
        for key in keys:
            await page.do(["keyboard"], ["press", key])

    async def focused(selector: str) -> None:
        await page.until(f"document.activeElement.matches({json.dumps(selector)})")

    async with PersefonBot(plain.url), Asking(plain.url), Clock(plain.url) as client:
        await opened(page, plain)
        first = await client.submit("WIND", {}, room="CLOCK", timeout=3600)
        await page.see("#tasks tbody", "50 %")
        await choose(page, "SEND")
        await page.do(["getByRole", "button", {"name": "Submit as a task"}], ["focus"])
        await press("Enter")
        await page.see("#view .question", "APPROVE asks back")
        await focused(".question input")
        await press("Space", "Tab", "3", "Enter")
        await page.see("#view-facts", "done")
        await page.see("#view-task pre", '"times": 3')
        await focused("#view")
        await page.do(["locator", "#tasks tbody a"], ["first"], ["focus"])
        await press("End", "Enter")
        await page.see("#view-facts", "50 % half way")
        await focused("#view")
        await press("Tab")
        while await page.text("*:focus") != "Cancel the task":
            await press("Tab")
        await press("Enter")
        await page.see("#view-facts", "cancelled")
        assert (await first.status()).state == "cancelled"
        await focused("#view")
        assert await page.violations() == []
        assert await page.problems() == []


async def test_a_hub_that_is_started_again_is_found_again(page: Page, port: int) -> None:
    """At the same port: the link, the masters and what is said come back."""
    async with Hub(port=port) as first, PersefonBot(first.url):
        await opened(page, first)
        await first.close()
        await page.see("#link", "no link")
        async with Hub(port=port) as again, Member(again.url) as client:
            await page.see("#link", "connected")
            await page.see("#masters .health[data-state=good]", "ms")
            await client.request(aaia.StepFIA(session_id=await session(client), fia_index=0))
            await page.see("#events li", "FIA_STEP")
            assert await page.problems() == []


async def test_a_hub_that_asks_who_comes_is_told_a_token(page: Page) -> None:
    """A wrong one is asked for again; what is counted is seen by it, too."""
    async with (
        Hub(port=0, access=SharedToken("a secret")) as hub,
        PersefonBot(hub.url, auth={"token": "a secret"}),
    ):
        await page.do(["goto", hub.url])
        for token in ("a guess", "a secret"):
            await page.see("#link", "the hub wants to know who you are")
            await page.do(["getByLabel", "This hub wants a token"], ["fill", token])
            await page.do(["keyboard"], ["press", "Enter"])
            await page.until("document.getElementById('token-value').value === ''")
        await page.see("#link", "connected")
        await page.see("#masters", "PersefonBot")
        await page.see("#hub", "clients")
        await page.see("#requests [data-part=count]", "requests")
        await page.do(["reload"])
        await page.see("#link", "connected")


class Guests(Access):
    """Lets guests look at one room, and use what is offered there."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:
        """By what each says."""
        who = auth.get("token", "") if isinstance(auth, dict) else ""
        guest = Identity(rooms=frozenset({"ENGINE_THREADS_ROOM"}))
        return {"bot": Identity(), "guest": guest}.get(who, Refusal())


async def test_a_viewer_is_shown_and_offered_what_it_may_use(page: Page) -> None:
    """Nothing of other rooms, no figures of the whole hub; what it may ask, it can try."""
    async with (
        Hub(port=0, access=Guests()) as hub,
        PersefonBot(hub.url, auth={"token": "bot"}),
    ):
        await page.do(["goto", hub.url])
        await page.do(["getByLabel", "This hub wants a token"], ["fill", "guest"])
        await page.do(["keyboard"], ["press", "Enter"])
        await page.see("#masters .health[data-state=good]", "ms")
        await page.see("#uncounted", "does not tell")
        assert await page.do(["locator", "#capability option"], ["count"]) == 1
        await page.do(["getByRole", "button", {"name": "Call"}], ["click"])
        await page.see(".outcome[data-state=ok]", "answered in")
        assert '"threads": []' in await page.text("[data-part=answer]")
        await page.see("#requests li", "LIST_OF_THREADS")
        assert "AAIA" not in await page.text("body")


async def test_a_viewer_sees_tasks_that_it_may_use_and_no_others(page: Page) -> None:
    """Neither in the table nor by their ids."""
    bot = {"token": "bot"}
    async with (
        Hub(port=0, access=Guests()) as hub,
        PersefonBot(hub.url, auth=bot),
        AlephScriptClient(hub.url, auth=bot) as client,
    ):
        secret = await client.submit("AAIA_SECRET", {}, room=aaia.AAIA_ROOM)
        await page.do(["goto", f"{hub.url}/#task={secret.id}"])
        await page.do(["getByLabel", "This hub wants a token"], ["fill", "guest"])
        await page.do(["keyboard"], ["press", "Enter"])
        await page.see("#view-summary", "there is no such task")
        await page.see("#masters", "PersefonBot")
        await page.do(["getByRole", "button", {"name": "Submit as a task"}], ["click"])
        await page.see("#view-facts", "done")
        await page.until("document.querySelectorAll('#tasks tbody tr').length === 1")
        assert "AAIA" not in await page.text("body")
        listed = {each.id for each in await client.tasks()}
        assert secret.id in listed
        assert len(listed) == 2


async def test_names_and_payloads_stay_text(page: Page, plain: Hub) -> None:
    """Whatever a member calls itself, its room, its capability's fields or says."""
    schema = {
        "type": "object",
        "properties": {HOSTILE: {"enum": [HOSTILE]}, "__proto__": {"type": "object"}},
        "description": HOSTILE,
    }
    described = {"X": {"summary": HOSTILE, "request": schema}}
    async with PersefonBot(plain.url), raw_peer(plain) as peer:
        await peer.ask("CLIENT_REGISTER", {"usuario": HOSTILE})
        declared = {"room": HOSTILE, "features": ["X"], "descriptions": described}
        assert (await peer.ask("MAKE_MASTER", declared))["success"]
        await opened(page, plain)
        await page.do(
            ["locator", "#masters tr", {"hasText": HOSTILE}], ["locator", ".fold"], ["click"]
        )
        for where in ("#rooms a", "#masters .who a", "#masters .names", "#members .who"):
            await page.see(where, HOSTILE)
        assert not (await peer.ask(f"GET_{HOSTILE[:20]}", {}))["success"]
        await page.see("#requests li", HOSTILE[:20])
        await page.do(["locator", "#requests summary"], ["first"], ["click"])
        await page.see("#requests .facts", HOSTILE)
        await page.do(["locator", "#requests .facts a"], ["first"], ["click"])
        await page.see("#view-title", HOSTILE)
        await page.see("#view-facts", HOSTILE)
        said = {"event": HOSTILE, "room": HOSTILE, "data": {HOSTILE: HOSTILE}}
        await peer.ask("ROOM_MESSAGE", said)
        await page.see("#events li", HOSTILE)
        await page.do(["locator", "#events summary"], ["first"], ["click"])
        await page.see("#events pre", "<img src=x")
        await page.do(["locator", "#events [open] summary"], ["click"])
        await peer.ask("ROOM_MESSAGE", {**said, "event": "OBEYED", "data": "\u202e\x1b\u009b"})
        await page.see("#events li", r"\u202e\u001b\u009b")
        await page.do(["locator", "#rooms a", {"hasText": HOSTILE}], ["click"])
        for where in ("[data-part=summary]", "#try label", "#try option"):
            found = ["locator", where, {"hasText": HOSTILE}]
            await page.do(found, ["first"], ["waitFor", ATTACHED])
        assert await page.do(["locator", "img"], ["count"]) == 1  # the page's own
        assert await page.do(["title"]) == "alephscript mesh"
        assert await page.problems() == []


async def test_what_was_asked_is_seen_and_what_failed_is_a_click_away(
    page: Page, plain: Hub
) -> None:
    """With code, asker, and time; opened, it leads to who asked and who answered."""
    async with PersefonBot(plain.url), Member(plain.url) as client:
        await opened(page, plain)
        await client.request(aaia.StepFIA(session_id=await session(client), fia_index=0))
        with pytest.raises(RequestError):
            await client.request(aaia.ListFIAs(session_id="gone"))
        await page.see("#requests li", "AAIA_STEP_FIA Member")
        await page.see("#requests li", "session_not_found")
        await page.see(".failures", "failed")
        await page.do(["locator", ".failures"], ["click"])
        await page.until("document.querySelectorAll('#requests li').length === 1")
        await page.until("document.activeElement.id === 'outcome'")
        await page.do(["locator", "#requests summary"], ["click"])
        await page.see("#requests .facts", "PersefonBot")
        await page.do(["locator", "#requests .facts a", {"hasText": "PersefonBot"}], ["click"])
        await page.see("#view-title", "PersefonBot")
        for fact in ("here since", "version", "answers in", aaia.AAIA_ROOM, "AAIA_STEP_FIA"):
            await page.see("#view-facts", fact)
        await page.do(["locator", "#view-facts a", {"hasText": "AAIA_STEP_FIA"}], ["click"])
        await page.see("#view-title", "AAIA_STEP_FIA")
        for fact in ("answered by", "served since", "lately", "PersefonBot", aaia.AAIA_ROOM):
            await page.see("#view-facts", fact)
        await page.see("[data-part=fields]", "fiaIndex")
        assert await page.violations() == []
        await page.do(["locator", "#view-close"], ["click"])
        await page.see("#rate", "Requests")
        assert await page.problems() == []


async def test_an_opened_row_stays_where_it_is(page: Page, plain: Hub) -> None:
    """What is said meanwhile is counted, and shown when the row is closed."""
    where = "document.querySelector('#events [open]').getBoundingClientRect().top"
    async with PersefonBot(plain.url), Member(plain.url) as client:
        await opened(page, plain)
        for number in range(5):
            await client.broadcast("BEFORE", {"number": number}, room=aaia.AAIA_ROOM)
        await page.see("#events li", "number: 4")
        await page.do(["locator", "#events summary"], ["nth", 3], ["click"])
        await page.see("#events pre", '"number": 1')
        before = await page.do(["evaluate", where])
        for number in range(300):
            await client.broadcast("AFTER", {"number": number}, room=aaia.AAIA_ROOM)
        await page.see("#events [data-part=more]", "300 new")
        assert await page.do(["evaluate", where]) == before
        await page.do(["locator", "#events [open] summary"], ["click"])
        await page.see("#events li", "number: 299")
        assert await page.problems() == []


async def test_what_is_drawn_has_a_bound_however_much_is_said(page: Page, plain: Hub) -> None:
    """Many are drawn at once, and as many leave."""
    async with PersefonBot(plain.url), Member(plain.url) as client:
        await opened(page, plain)
        await page.do(["evaluate", COUNT_DRAWS])
        for number in range(1500):
            await client.broadcast("SAID", {"number": number}, room=aaia.AAIA_ROOM)
            if number % 50 == 0:
                await client.request(aaia.ListSessions())
        await page.see("#events li", "number: 1499")
        assert await page.do(["locator", "#events li"], ["count"]) == 200
        await page.see("#events [data-part=count]", "200 of 1000 events")
        assert await page.do(["evaluate", "document.querySelectorAll('*').length"]) < 5000
        assert await page.do(["evaluate", "window.draws"]) < 100


COUNT_DRAWS = """
window.draws = 0;
new MutationObserver(() => { window.draws += 1; })
  .observe(document.querySelector("#events ol"), { childList: true });
"""


async def test_charts_begin_with_what_the_hub_has_kept(page: Page, plain: Hub) -> None:
    """The value under the pointer, or found by arrow keys, is told."""
    async with PersefonBot(plain.url), Member(plain.url) as client:
        measurements = plain._engine.carriers["/runtime"].measurements
        await client.request(aaia.ListSessions())
        for number in range(1, 5):
            measurements.take(1e6 + number * STEP_SECONDS, number)
        await opened(page, plain)
        drawn = "document.querySelector('#flight .series-0').getAttribute('d')"
        await page.until(f"({drawn} ?? '').split('L').length >= 3")
        plot = ["locator", "#flight .plot"]
        await page.do(plot, ["focus"])
        await page.do(["keyboard"], ["press", "Home"])
        await page.see("#flight .told", "s ago")
        await page.do(["locator", "#rate .plot"], ["hover"])
        await page.see("#rate .told", "requests")
        assert await page.problems() == []


async def test_a_mesh_without_anybody_says_how_to_begin(page: Page, plain: Hub) -> None:
    """With commands to copy, until somebody is there."""
    await page.do(["goto", plain.url])
    await page.see("#welcome", "alephscript new my-bot")
    await page.see("#welcome", f"ALEPHSCRIPT_URL={plain.url}")
    await page.see("#hub", "1 client")
    assert "1 clients" not in await page.text("#hub")
    await page.do(["locator", "#welcome button"], ["first"], ["click"])
    await page.see("#welcome button", "Copied")
    assert await page.violations() == []
    async with PersefonBot(plain.url):
        await page.see("#masters", "PersefonBot")
        await page.until("document.getElementById('welcome').hidden")
    assert await page.problems() == []


async def test_it_works_where_the_hub_is_mounted(page: Page) -> None:
    """All that it asks is below its own address, and so is what it says to begin with."""
    async with mounted(prefix="/deep/mesh") as hub:
        await page.do(["goto", f"{hub.url}/"])
        await page.see("#welcome", f"ALEPHSCRIPT_URL={hub.url} ")
        async with PersefonBot(hub.url):
            await page.see("#masters", "PersefonBot")
            await page.see("#hub", "2 clients")
        assert await page.problems() == []


async def test_of_a_hundred_members_each_is_found(page: Page, plain: Hub) -> None:
    """By the search that `/` leads to, in tables that sort and fold; what lives is on top."""
    focused = "document.activeElement"
    async with crowd(plain.url, every=60):
        await page.do(["goto", plain.url])
        await page.see("#members [data-part=total]", str(MEMBERS + 1))
        assert await page.do(["locator", "#masters tbody tr"], ["count"]) == len(ROOMS)
        tops = "document.querySelector('{}').getBoundingClientRect().top < innerHeight / 2"
        for lively in ("#requests ol", "#events ol"):
            await page.until(tops.format(lively))
        await page.do(["locator", "body"], ["press", "/"])
        await page.until(f"{focused}.id === 'find'")
        await page.do(["keyboard"], ["type", "harbour_stock"])
        await page.until("document.querySelectorAll('#rooms li').length === 2")
        await page.until("document.querySelectorAll('#masters tbody tr').length === 1")
        assert int(await page.do(["locator", "#members tbody tr"], ["count"])) <= 5
        await page.do(["keyboard"], ["press", "Escape"])
        await page.until(f"document.querySelectorAll('#rooms li').length === {len(ROOMS) + 1}")
        for key in ("Tab", "ArrowDown", "ArrowDown"):  # one Tab to the rooms, not thirty
            await page.do(["keyboard"], ["press", key])
        await page.until(f"{focused}.textContent.startsWith('{sorted(ROOMS)[1]}')")
        for key in ("End", "Enter"):
            await page.do(["keyboard"], ["press", key])
        await page.see("#rooms [aria-current]", max(ROOMS))
        await page.do(["locator", "#rooms a"], ["first"], ["click"])
        await page.do(["getByRole", "button", {"name": "Member", "exact": True}], ["click"])
        await page.see("#members tbody tr:first-child", "WestWeatherBot")
        await page.do(["locator", "#members summary"], ["click"])
        assert not await page.do(["locator", "#members table"], ["isVisible"])
        stops = "[...document.querySelectorAll('a, button, input, select, textarea, summary')]"
        there = "e.tabIndex === 0 && e.checkVisibility()"  # a room's time line is hidden
        assert await page.do(["evaluate", f"{stops}.filter((e) => {there}).length"]) < 40
        assert await page.violations() == []
        assert await page.problems() == []


ATTACHED = {"state": "attached"}  # an option of a closed select is not visible


@pytest.mark.parametrize("width", [320, 390])
async def test_on_a_phone_nothing_is_wider_than_the_screen(
    browser: str, node: str, plain: Hub, width: int
) -> None:
    """Not even by names without a place to break, an open event and a long answer."""
    long = "R" * 120
    async with PersefonBot(plain.url), raw_peer(plain) as peer, asyncio.timeout(50):
        await peer.ask("CLIENT_REGISTER", {"usuario": long})
        schema = {"type": "object", "properties": {long: {"enum": [long]}}}
        described = {long: {"summary": long, "request": schema}}
        declared = {"room": long, "features": [long], "descriptions": described}
        assert (await peer.ask("MAKE_MASTER", declared))["success"]
        phone = {"width": width, "height": 800}
        async with browsing(node, viewport=phone) as page:
            await opened(page, plain)
            await page.see("#members", long)
            await peer.ask("ROOM_MESSAGE", {"event": long, "room": long, "data": long})
            await page.see("#events li", long)
            await page.do(["locator", "#events summary"], ["first"], ["click"])
            await page.do(
                ["locator", "#masters tr", {"hasText": long}], ["locator", ".fold"], ["click"]
            )
            await page.do(["locator", ".capability", {"hasText": long}], ["click"])
            await page.see("#view-title", long)
            await page.see("[data-part=fields]", long)
            root = "document.documentElement"
            wide = await page.do(["evaluate", f"{root}.scrollWidth - {root}.clientWidth"])
            assert wide == 0


# The time line


async def test_a_room_with_a_log_has_a_time_line(page: Page, tmp_path: Path) -> None:
    """Pause, go back into the log, to any place in it, forth, and on live."""
    async with (
        Hub(port=0, data=tmp_path, log=["TALK"]) as hub,
        AlephScriptClient(hub.url) as speaker,
    ):
        await speaker.subscribe("TALK")
        for number in range(249):
            await speaker.broadcast("TICK", {"number": number}, room="TALK")
        await speaker.broadcast("TICK", {"number": 249}, room="TALK", confirm=True)
        await page.do(["goto", f"{hub.url}/#room=TALK"])
        await page.see("#link", "connected")
        await page.do(["locator", "#timeline"], ["waitFor"])
        await speaker.broadcast("TICK", {"number": "live"}, room="TALK")
        await page.see("#events li", "number: live")
        await page.do(["locator", "#events [data-part=earlier]"], ["click"])
        await page.see("#events li", "number: 249")
        await page.see("#events li", "number: 151")
        await page.do(["locator", "#events [data-part=earlier]"], ["click"])
        await page.see("#events li", "number: 150")
        await page.see("#events li", "number: 51")
        assert "number: 249" not in await page.text("#events ol")
        await speaker.broadcast("TICK", {"number": "meanwhile"}, room="TALK")
        await page.see("#events [data-part=more]", "1 new")
        await page.do(["locator", "#events [data-part=place]"], ["fill", "10"])
        await page.see("#events li", "number: 9")
        await page.until("document.querySelectorAll('#events li').length === 10")
        await page.until("document.querySelector('#events [data-part=earlier]').disabled")
        await page.do(["locator", "#events [data-part=later]"], ["click"])
        await page.see("#events li", "number: 109")
        assert await page.violations() == []
        await page.do(["locator", "#events [data-part=live]"], ["click"])
        await page.see("#events li", "number: meanwhile")
        await page.until("document.querySelectorAll('#events li').length === 2")
        await page.do(["locator", "#events [data-part=pause]"], ["click"])
        await speaker.broadcast("TICK", {"number": "paused"}, room="TALK")
        await page.see("#events [data-part=more]", "1 new")
        await page.do(["goto", f"{hub.url}/#"])
        await page.until("document.querySelector('#timeline').hidden")
        assert await page.problems() == []
