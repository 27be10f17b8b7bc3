"""``alephscript bridge``, as a process between two hubs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from alephscript import AlephScriptClient
from alephscript.cli import main
from alephscript.hub import Hub, RoomSecrets, SharedToken
from tests.support.bridges import Member, Order, Shop, offered

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(
    *arguments: str, until: bytes, given: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bridge that has logged a text, and gets a SIGTERM at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alephscript", "bridge", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(given or {})},
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            async for line in process.stderr:
                if until in line:
                    break
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        out, _ = await process.communicate()
    assert (process.returncode, out) == (0, b"")


async def test_a_room_of_two_meshes_is_bridged_until_a_signal() -> None:
    """Events and capabilities that are named; the rest is counted."""
    async with (
        Hub(port=0) as a,
        Hub(port=0) as b,
        Shop(a.url) as shop,
        Member(b.url) as member,
    ):
        arguments = (
            "--room",
            "R",
            "--event",
            "ORDERED",
            "--event",
            "DONE",
            "--capability",
            "ORDER",
        )
        async with running(a.url, b.url, *arguments, until=b"bridges R between"):
            await offered(member, "ORDER")
            answer = await member.request("ORDER", Order("tea"), room="R")
            assert answer["by"] == "Shop"
            await shop.broadcast("OTHER")
            await shop.broadcast("DONE")
            assert [each.name for each in await member.heard("DONE")] == ["ORDERED"]
            counts = (await member.request("BRIDGE_COUNTS"))["counts"]
            assert counts == [
                {"direction": "a_to_b", "name": "OTHER", "reason": "not_allowed", "count": 1}
            ]
        await offered(member, "ORDER", is_there=False)


async def test_hubs_may_come_later(port: int) -> None:
    """And go, and come again."""
    async with Hub(port=0) as a, Shop(a.url):
        address = f"http://127.0.0.1:{port}"
        async with running(
            a.url, address, "--room", "R", "--capability", "ORDER", until=b"is ready"
        ):
            for _ in range(2):
                async with Hub(port=port), AlephScriptClient(address) as asker:
                    await offered(asker, "ORDER")
                    assert (await asker.request("ORDER", Order("tea")))["by"] == "Shop"


SECRETS = {"ALEPHSCRIPT_TOKEN_A": "one", "ALEPHSCRIPT_TOKEN_B": "other"}


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (("--token", "one", "--token", "other"), {}),
        ((), SECRETS),
        ((), {"ALEPHSCRIPT_TOKEN": "one", "ALEPHSCRIPT_TOKEN_B": "other"}),
    ],
    ids=["options", "environment", "both"],
)
async def test_each_hub_gets_the_token_that_is_meant_for_it(
    arguments: tuple[str, ...], given: dict[str, str]
) -> None:
    """With the room, where each room has a secret of its own."""
    async with (
        Hub(port=0, access=SharedToken("one")) as a,
        Hub(port=0, access=RoomSecrets({"R": "other"})) as b,
        Member(a.url, token="one") as here,
        Member(b.url, auth={"token": "other", "room": "R"}) as there,
        running(
            a.url,
            b.url,
            "--room",
            "R",
            "--event",
            "SAID",
            *arguments,
            until=b"bridges",
            given=given,
        ),
    ):
        await here.broadcast("SAID")
        await there.heard("SAID")


async def test_a_hub_that_refuses_ends_the_command() -> None:
    """With the code for no hub, and a sentence."""
    async with Hub(port=0) as a, Hub(port=0, access=SharedToken("secret")) as b:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "alephscript", "bridge", a.url, b.url, "--room", "R"),
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            _, said = await process.communicate()
    assert process.returncode == 9
    assert b"unauthorized; check the credentials" in said
    assert b"Traceback" not in said


async def test_an_interrupt_ends_it_in_peace() -> None:
    """The first one."""
    async with (
        Hub(port=0) as a,
        Hub(port=0) as b,
        running(a.url, b.url, "--room", "R", until=b"bridges") as process,
    ):
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            await process.wait()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("127.0.0.1:1", "127.0.0.1:1/runtime"), "both addresses are of one hub"),
        (("127.0.0.1:1", "http://u:p@127.0.0.1:2"), "b: no user and password belong there"),
        (("127.0.0.1:1", "127.0.0.1:2", "--event", "GET_X"), "GET_X means something else"),
        (("127.0.0.1:1", "127.0.0.1:2", "--capability", ""), "a sequence of names"),
        (("127.0.0.1:1", "127.0.0.1:2", *("--token", "x") * 3), "write --token twice"),
    ],
)
def test_wrong_usage_is_said(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence, with the status of wrong usage."""
    assert main(["bridge", *arguments, "--room", "R"]) == 2
    assert said in capsys.readouterr().err
