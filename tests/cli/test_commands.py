"""What the commands print, to whom, and how they end."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    RequestError,
    RequestFor,
    capability,
    errors,
)
from alephscript.cli import EXIT_CODES, parser
from alephscript.cli.showing import example
from alephscript.contracts import json_schema, structure
from alephscript.hub import Hub
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio

COMMAND = Path(sys.executable).with_name("alephscript")


@attrs.frozen
class Sum:
    """A sum."""

    total: int


@attrs.frozen
class Add(RequestFor[Sum], capability="ADD"):
    """Add numbers."""

    a: int
    b: int


class Abacus(AlephScriptClient):
    """Adds."""

    rooms = ("SUMS",)

    @capability
    async def add(self, request: Add) -> Sum:
        """Add two numbers.

        More about it.
        """
        return Sum(request.a + request.b)

    @capability("COUNT")
    async def count(self, to: int) -> Any:
        """Count."""
        for number in range(to):
            yield number

    @capability("BREAK")
    async def fail(self) -> None:
        """Fail in the bot's own words."""
        raise CapabilityError("broken", "a bead is missing")

    @capability("CRASH")
    async def crash(self) -> None:
        """Fail in nobody's words."""
        raise RuntimeError("secret")


class Ended:
    """What a command left behind."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out.decode()
        self.err = err.decode()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A mesh with an abacus."""
    async with Hub(port=0) as hub, Abacus(hub.url, usuario="abacus", sesion="1"):
        yield hub.url


@asynccontextmanager
async def started(
    *arguments: str, url: str = "", **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that runs, and is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "ALEPHSCRIPT_URL": url, **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*arguments: str, url: str = "", stdin: str = "", **environment: str) -> Ended:
    """What a command printed, and its exit code."""
    async with asyncio.timeout(30), started(*arguments, url=url, **environment) as process:
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Ended(process.returncode, out, err)


async def test_an_answer_is_json_on_stdout_and_nothing_else(url: str) -> None:
    """Whether the hub is named by an option or by the environment."""
    by_option = await run("request", "ADD", '{"a": 1, "b": 2}', "--url", url)
    assert (by_option.code, json.loads(by_option.out), by_option.err) == (0, {"total": 3}, "")
    by_environment = await run("request", "GET_ADD", '{"a": 1, "b": 2}', "--room", "SUMS", url=url)
    assert json.loads(by_environment.out) == {"total": 3}


async def test_a_payload_may_come_from_stdin_or_a_file(url: str, tmp_path: Path) -> None:
    """Long ones do not fit a command line."""
    piped = await run("request", "ADD", "-", url=url, stdin='{"a": 2, "b": 2}')
    assert json.loads(piped.out) == {"total": 4}
    file = tmp_path / "sum.json"
    file.write_text('{"a": 3, "b": 2}')
    read = await run("request", "ADD", f"@{file}", url=url)
    assert json.loads(read.out) == {"total": 5}


async def test_parts_of_an_answer_are_printed_one_a_line(url: str) -> None:
    """As they come."""
    ended = await run("request", "COUNT", "3", "--stream", url=url)
    assert (ended.code, ended.out) == (0, "0\n1\n2\n")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["request", "NOPE"], 5, "nobody offers NOPE"),
        (["request", "ADD", '{"a": "x"}'], 3, "a: expected an integer"),
        (["request", "ADD", "{x"], 3, "not valid JSON"),
        (["request", "ADD", "@/no/such/file"], 1, "cannot read"),
        (["request", "BREAK"], 20, "a bead is missing"),
        (["request", "CRASH"], 12, "failed at its master"),
        (["request", "ADD", '{"a":1,"b":1}', "--room", "ELSEWHERE"], 5, "has no master"),
        (["request", "LATER", "--wait", "--timeout", "0.1"], 7, "came in time"),
        (["capabilities", "--url", "http://127.0.0.1:9"], 9, "is a hub running there?"),
        (["state", "--url", "no address"], 9, "cannot connect"),
        (["top", "--interval", "0"], 1, "more than 0"),
        (["asyncapi", "no.such:Thing"], 1, "cannot find no.such:Thing"),
        (["asyncapi", "json:loads"], 1, "no AlephScriptClient class"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_sentence(
    url: str, arguments: list[str], code: int, says: str
) -> None:
    """On stderr, with an exit code of its own, and without a traceback."""
    ended = await run(*arguments, url=url)
    assert (ended.code, ended.out) == (code, "")
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert "secret" not in ended.err


def test_every_error_of_ours_has_an_exit_code() -> None:
    """So 20 says for sure that a capability failed with a code of its own."""
    ours = {each.code for each in vars(errors).values() if hasattr(each, "code")}
    ours -= {CapabilityError.code, RequestError.code}
    assert "closed" in ours
    assert ours == EXIT_CODES.keys()


async def test_a_room_is_watched_event_by_event(url: str) -> None:
    """As JSON for programs, until enough has come."""
    async with (
        asyncio.timeout(30),
        started("watch", "SUMS", "NEWS", "--json", "--count", "2", url=url) as process,
        AlephScriptClient(url, usuario="me", sesion="1") as speaker,
    ):
        assert process.stderr is not None
        assert process.stdout is not None
        assert b"watching SUMS" in await process.stderr.readline()
        for number in range(3):
            await speaker.broadcast("OTHER", 0, room="SUMS")
            await speaker.broadcast("NEWS", {"n": number}, room="SUMS")
        lines = (await process.stdout.read()).splitlines()
        assert await process.wait() == 0
    said = json.loads(lines[0])
    assert dt.datetime.fromisoformat(said.pop("time")).tzinfo is not None
    first = {"room": "SUMS", "name": "NEWS", "data": {"n": 0}, "sender": "me1"}
    assert said == first
    assert len(lines) == 2


async def test_retained_values_and_presence_are_watched(url: str) -> None:
    """Values with a mark, and members who come and go if that is asked for."""
    wanted = ("watch", "SUMS", "STATE", "MEMBER_JOINED", "MEMBER_LEFT", "--count", "3", "--json")
    async with asyncio.timeout(30), AlephScriptClient(url, usuario="me", sesion="1") as speaker:
        await speaker.broadcast("STATE", 7, room="SUMS", retain=True)
        await speaker.server_state()
        async with started(*wanted, url=url) as process:
            assert process.stdout is not None
            lines = [json.loads(await process.stdout.readline())]
            await speaker.subscribe("SUMS")
            await speaker.unsubscribe("SUMS")
            lines += [json.loads(await process.stdout.readline()) for _ in range(2)]
            assert await process.wait() == 0
        async with started("watch", "SUMS", "--count", "1", url=url) as process:
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
    member = {"room": "SUMS", "usuario": "me", "sesion": "1"}
    assert [(each["name"], each["data"], each.get("retained")) for each in lines] == [
        ("STATE", 7, True),
        ("MEMBER_JOINED", member, None),
        ("MEMBER_LEFT", {**member, "reason": "unsubscribed"}, None),
    ]
    assert re.fullmatch(r"[0-9:]{8} me1 STATE \(retained\) 7\n", line)


async def test_watching_for_people_ends_by_an_interrupt(url: str) -> None:
    """With the time and the sender in front, and no colour in a pipe."""
    async with asyncio.timeout(30), started("watch", "SUMS", url=url) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        await process.stderr.readline()
        async with AlephScriptClient(url, usuario="me", sesion="3f2a9c1d" * 4) as speaker:
            await speaker.broadcast("NEWS", {"n": 1}, room="SUMS")
            line = (await process.stdout.readline()).decode()
        assert re.fullmatch(r'[0-9:]{8} me 3f2a9c1d NEWS \{"n": 1\}\n', line)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130


async def test_the_state_is_a_table_or_what_the_hub_tells(url: str) -> None:
    """Who is where, who masters what."""
    table = await run("state", url=url)
    assert re.search(r"SUMS +abacus 1 +1 +ADD", table.out)
    told = json.loads((await run("state", "--json", url=url)).out)
    [room] = told["rooms"]
    assert (room["master"], room["features"]) == ("abacus1", ["ADD", "COUNT", "BREAK", "CRASH"])


async def test_capabilities_come_with_a_call_that_works(url: str) -> None:
    """Copied from the table to the shell."""
    told = json.loads((await run("capabilities", "--json", url=url)).out)
    adding = next(offer for offer in told if offer["capability"] == "ADD")
    assert adding["summary"] == "Add two numbers."
    assert adding["request"]["required"] == ["a", "b"]
    table = await run("capabilities", "--room", "SUMS", url=url)
    assert """alephscript request ADD '{"a": 0, "b": 0}' --room SUMS""" in table.out
    ended = await run("request", "ADD", '{"a": 0, "b": 0}', "--room", "SUMS", url=url)
    assert json.loads(ended.out) == {"total": 0}


async def test_a_master_that_describes_itself_in_metadata_is_listed_with_that(url: str) -> None:
    """As masters of upstream's do; with a call that fits what it says it takes."""
    asks = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    card = {"id": "HALVE", "description": "Half of it.", "inputSchema": asks, "tags": ["sums"]}
    async with AlephScriptClient(url) as client:
        said = {"room": "R", "metadata": {"capabilities": [card]}}
        await client._alephscript_life.present_session().dialect.tell("MAKE_MASTER", said)
        [offer] = json.loads((await run("capabilities", "--json", "--room", "R", url=url)).out)
        table = (await run("capabilities", "--room", "R", url=url)).out
    assert (offer["summary"], offer["request"], offer["tags"]) == ("Half of it.", asks, ["sums"])
    assert "Half of it. (sums)" in table
    assert """alephscript request HALVE '{"n": 0}' --room R""" in table


@pytest.mark.parametrize("dialect", ["doc", "core"])
async def test_a_master_in_plain_node_is_listed_and_can_be_called(
    url: str, node: str, dialect: str
) -> None:
    """It never heard of this package."""
    process = await asyncio.create_subprocess_exec(
        node,
        ROOT / "tests" / "node" / "master.mjs",
        *("--url", url, "--dialect", dialect, "--room", "NODE_ROOM"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            async for line in process.stdout:
                if b'"ready"' in line:
                    break
        table = await run("capabilities", "--room", "NODE_ROOM", url=url)
        assert "alephscript request ECHO" in table.out
        asked = await run("request", "ECHO", '{"a": 1}', "--room", "NODE_ROOM", url=url)
        assert json.loads(asked.out)["echo"]["a"] == 1
        failed = await run("request", "ECHO", '{"fail": 1}', "--room", "NODE_ROOM", url=url)
        assert (failed.code, failed.out) == (20, "")
    finally:
        process.terminate()
        await process.communicate()


async def test_top_counts_what_members_did(url: str) -> None:
    """Errors by code, too."""
    await run("request", "BREAK", url=url)
    ended = await run("top", "--once", url=url)
    assert ended.code == 0
    assert re.search(r"BREAK +SUMS +abacus 1 .* broken 1", ended.out)


async def test_a_token_reaches_the_handshake() -> None:
    """By option or by environment; our hub asks for none."""
    given = parser().parse_args(["state", "--token", "s"])
    assert given.token == "s"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
async def test_a_shell_can_complete_all_commands(shell: str) -> None:
    """Every one of them."""
    ended = await run("completion", shell)
    assert ended.code == 0
    for command in ("hub", "request", "watch", "state", "capabilities", "asyncapi", "top"):
        assert command in ended.out


async def test_what_an_extra_brings_is_named_when_it_is_missing(tmp_path: Path) -> None:
    """A table without rich, a completion without shtab."""
    for missing in ("rich", "shtab"):
        (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError(name='{missing}')")
    for arguments in (["state"], ["completion", "bash"]):
        ended = await run(*arguments, PYTHONPATH=str(tmp_path))
        assert ended.code == 1
        assert "alephscript[cli]" in ended.err


@attrs.frozen
class Inner:
    """Held by another one."""

    names: list[str]
    share: float


@attrs.frozen
class Outer:
    """Holds another one."""

    inner: Inner
    others: tuple[Inner, ...]
    flag: bool
    text: str | None
    left_out: int | None = None


def test_an_example_fits_the_schema_that_it_was_made_from() -> None:
    """What is required, nested and referred to included."""
    made = example(json_schema(Outer))
    assert "leftOut" not in made
    assert structure(made, Outer).inner.share == 0.5
