"""What the commands show on a terminal, which keys they obey, and that a pipe gets none of it."""

from __future__ import annotations

import asyncio
import html
import re
import signal
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from alephscript import AlephScriptClient, Request, RequestFor, capability
from alephscript.hub import Hub
from tests.cli.picture_top import IMAGES
from tests.cli.test_commands import run
from tests.support.screens import Screen

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


class Worker(AlephScriptClient):
    """Works, and says how far it is."""

    rooms = ("A_ROOM_WITH_A_LONG_NAME",)

    @capability("WORK")
    async def work(self, request: Request[Any]) -> dict[str, int]:
        """Do it."""
        request.progress(0.5, "half \x1b[2Jof it")
        await asyncio.sleep(0)
        return {"done": 1}

    @capability("A_CAPABILITY_WHOSE_NAME_IS_TOO_LONG_FOR_A_COLUMN")
    async def idle(self) -> None:
        """Wait."""


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A mesh with ten workers in it, of one name."""
    async with Hub(port=0) as hub:
        workers = [Worker(hub.url, sesion=f"{number:032x}") for number in range(10)]
        for worker in workers:
            await worker.__aenter__()
        try:
            yield hub.url
        finally:
            for worker in workers:
                await worker.close()


async def test_a_request_shows_how_far_it_is_and_how_long_it_took(url: str) -> None:
    """On the terminal; what a stranger says of it is not obeyed."""
    async with Screen("request", "WORK", "--room", Worker.rooms[0], "--url", url) as screen:
        await screen.see(r"\[##########          \]  50% half \\u001b\[2Jof it")
        await screen.see(r"\d+\.\d\d ms")
        assert await screen.ended() == 0
    assert b"\x1b[2J" not in screen.raw


async def test_a_pipe_gets_neither_colour_nor_bar(url: str) -> None:
    """Of any command."""
    for command in (
        ["request", "WORK", "--room", Worker.rooms[0]],
        ["capabilities"],
        ["state"],
        ["top", "--once"],
        ["ping", "--count", "1"],
        ["check"],
    ):
        ended = await run(*command, url=url, TERM="xterm")
        assert ended.code == 0, ended.err
        assert "\x1b" not in ended.out + ended.err
        assert ended.err == ""


async def test_watching_has_colours_on_a_terminal(url: str) -> None:
    """Unless they are not wanted."""
    for term, has_colours in (("xterm", True), ("dumb", False)):
        async with Screen("watch", "R", "--count", "1", "--url", url, TERM=term) as screen:
            await screen.see("watching R")
            async with AlephScriptClient(url, usuario="me") as speaker:
                await speaker.broadcast("SAID", {"n": 1}, room="R")
            await screen.see(r"[0-9:]{8} me [0-9a-f]{8} SAID \{\"n\": 1\}")
            assert await screen.ended() == 0
        assert (b"\x1b[" in screen.raw) == has_colours


async def test_top_shows_a_line_each_at_80x24_and_the_busy_one_first(url: str) -> None:
    """Twenty of them, more than fit; what does not fit is counted."""
    async with Screen("top", "--interval", "0.3", "--url", url) as screen:
        await screen.see("q quits")
        async with AlephScriptClient(url) as asker:
            while True:
                await asker.request("WORK", room=Worker.rooms[0])
                await asyncio.sleep(0.01)
                lines = screen.text.split("req/s")[-1].splitlines()
                shown = [line for line in lines if " Worker " in line]
                if len(shown) > 8 and re.match(r" *WORK .* [1-9]\d* +\d+ +\d", shown[0]):
                    break
        await screen.see(r"\d+ clients, 11 members, 20 capabilities")
        screen.press("q")
        assert await screen.ended() == 0
    assert all(len(line) <= 80 for line in shown)
    assert "…" in screen.text
    assert re.search(r"Worker 0{8}", screen.text)


async def test_the_picture_in_the_documentation_is_of_this_top(url: str) -> None:
    """Its heads and keys are those of today."""
    async with Screen("top", "--interval", "0.2", "--url", url) as screen:
        await screen.see("q quits")
        lines = re.sub(r"\x1b\[[0-9;]*m", "", await screen.frame()).splitlines()
    heads, keys = lines[1].split(), lines[-2].split("  ")[:3]
    texts = re.findall(r">([^<]*)</text>", (IMAGES / "top.svg").read_text())
    shown = html.unescape(" ".join(texts)).replace("\xa0", " ")
    assert heads[:3] == ["capability", "room", "member"]
    assert set(heads) <= set(shown.split())
    assert all(key in shown for key in keys)


async def test_top_filters_and_sorts_by_keys(url: str) -> None:
    """And says by which."""
    async with Screen("top", "--interval", "30", "--url", url) as screen:
        await screen.see("busy first")
        screen.forget()
        screen.press("s")
        await screen.see("slow first")
        screen.forget()
        screen.press("/work\n")
        await screen.see(r"\(work\)")
        screen.press("q")
        assert await screen.ended() == 0


@attrs.frozen
class Approval:
    """What is filled in."""

    is_given: bool
    how_many: int = 3


@attrs.frozen
class Approve(RequestFor[Approval], capability="APPROVE"):
    """Shall it be done?"""

    the_deed: str


class Asking(AlephScriptClient):
    """Asks back."""

    rooms = ("ASKING",)

    @capability("SEND")
    async def send(self, request: Request[Any]) -> dict[str, Any]:
        """Send something."""
        approval = await request.ask(Approve(the_deed="send \x1b[2Jit"))
        return {"sent": approval.is_given, "times": approval.how_many}

    @capability("SEND_PARTS")
    async def send_parts(self, request: Request[Any]) -> AsyncIterator[str]:
        """Send something in parts."""
        answer = await request.ask("NAME")
        yield answer["result"]


async def test_what_is_asked_back_is_asked_at_the_terminal(url: str) -> None:
    """Entry by entry, until each is one; what a stranger asks is not obeyed."""
    async with Asking(url), Screen("request", "SEND", "--url", url) as screen:
        await screen.see(r'APPROVE {"theDeed":"send \\u001b\[2Jit"}\nShall it be done\?\n')
        await screen.see(r"isGiven, y or n: ")
        screen.press("perhaps\n")
        await screen.see("isGiven: y or n, please")
        screen.press("Yes\n")
        await screen.see(r"howMany, a whole number: ")
        screen.press("\n")
        await screen.see(r'"sent": true,\s+"times": 3')
        assert await screen.ended() == 0
    assert b"\x1b[2J" not in screen.raw


async def test_a_stream_is_asked_back_as_well_and_an_interrupt_ends_that(url: str) -> None:
    """A text is taken as it is; the end of the input is no answer."""
    async with Asking(url):
        async with Screen("request", "SEND_PARTS", "--stream", "--url", url) as screen:
            await screen.see(r"NAME {}\nresult, a text: ")
            screen.press("Ana\n")
            await screen.see('"Ana"')
            assert await screen.ended() == 0
        async with Screen("request", "SEND", "--url", url) as screen:
            await screen.see("y or n: ")
            screen.press("\x04")
            await screen.see("nobody answered")
            assert await screen.ended() == 20
        async with Screen("request", "SEND", "--url", url) as screen:
            await screen.see("y or n: ")
            screen.process.send_signal(signal.SIGINT)
            assert await screen.ended() == 130


async def test_in_a_pipe_nobody_is_asked(url: str) -> None:
    """The request ends at once, with a sentence."""
    async with Asking(url):
        ended = await run("request", "SEND", url=url)
    assert ended.code == 6
    assert ended.out == ""
    assert "SEND asks back (APPROVE)" in ended.err
    assert "run this at a terminal" in ended.err
