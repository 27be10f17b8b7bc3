"""`alephscript hub`: what it prints, how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from alephscript import AlephScriptClient, cli
from alephscript.errors import ConnectionRefused
from tests.support.peers import Stock, errors_logged  # noqa: F401 - a fixture of every test here
from tests.support.thrift import unmeasured

COMMAND = Path(sys.executable).with_name("alephscript")
LISTENING = re.compile(r"alephscript hub listening on (http://127\.0\.0\.1:[0-9]+)\n")
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `alephscript` as a process of its own, and leave none behind."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        env=unmeasured(),  # what counts lines is interrupted by a second signal
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_listening(process: asyncio.subprocess.Process) -> str:
    """The address that it prints first."""
    assert process.stderr is not None
    async with asyncio.timeout(20):  # an interpreter starts, on a slow machine
        line = (await process.stderr.readline()).decode()
    found = LISTENING.fullmatch(line)
    assert found is not None, line
    return found[1]


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Its exit code, and what it printed on stdout and (further) on stderr."""
    async with asyncio.timeout(20):
        out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.anyio
@pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
async def test_a_signal_ends_it_well_while_clients_are_connected(number: signal.Signals) -> None:
    """Exit code 0, soon, nothing but its address printed; the clients notice."""
    async with command("hub", "--port", "0") as process, AsyncExitStack() as clients:
        url = await until_listening(process)
        peers = [Stock("/runtime"), Stock("/runtime")]
        for peer, transport in zip(peers, ("websocket", "polling"), strict=True):
            await peer.sio.connect(
                url, namespaces=["/runtime"], transports=[transport], wait_timeout=20
            )
            clients.push_async_callback(peer.leave)
            assert (await peer.call("CLIENT_SUSCRIBE", {"room": "R"}))["success"]
        process.send_signal(number)
        assert await ended(process) == (0, "", "")
        async with asyncio.timeout(20):
            for peer in peers:
                await peer.gone.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
async def test_a_signal_right_after_the_address_ends_it_well(number: signal.Signals) -> None:
    """Whoever reads the address may rely on it."""
    async with command("hub", "--port", "0") as process:
        await until_listening(process)
        process.send_signal(number)
        assert await ended(process) == (0, "", "")


@pytest.mark.anyio
async def test_a_second_signal_does_no_harm() -> None:
    """Impatient people press Ctrl+C twice."""
    async with command("hub", "--port", "0") as process:
        await until_listening(process)
        for _ in range(2):  # nothing between them: after its end Python alone is there to hear
            os.kill(process.pid, signal.SIGINT)
        assert await ended(process) == (0, "", "")


@pytest.mark.anyio
async def test_what_cannot_be_done_is_one_sentence_on_stderr(taken: int, tmp_path: Path) -> None:
    """No traceback, nothing on stdout, exit code 1."""
    everywhere = ("--host", "0.0.0.0", "--port", "0")
    (tmp_path / "index.html").touch()
    for arguments, said in (
        (("--port", str(taken)), f"cannot listen on 127.0.0.1:{taken}"),
        (everywhere, "--insecure"),
        ((*everywhere, "--insecure", "--admin-ui", str(tmp_path)), "Admin UI"),
    ):
        async with command("hub", *arguments) as process:
            code, out, errors = await ended(process)
        assert (code, out) == (1, "")
        assert errors.startswith("alephscript: ")
        assert errors.count("\n") == 1
        assert said in errors


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "served"),
    [((), ["/"]), (("--no-mesh-page",), []), (("--admin-ui", "."), ["/", "/admin-ui/"])],
)
async def test_its_pages_are_served_where_they_are_wanted(
    options: tuple[str, ...], served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mesh page unless it is turned off, the Admin UI only if it is turned on."""
    (tmp_path / "index.html").touch()
    monkeypatch.chdir(tmp_path)
    async with command("hub", "--port", "0", *options) as process:
        url = await until_listening(process)
        found = []
        async with aiohttp.ClientSession() as http:
            for path in ("/", "/admin-ui/"):
                async with http.get(url + path) as answer:
                    if answer.status == 200:
                        found.append(path)
    assert found == served


def test_the_same_without_a_process(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The function behind the command returns the exit code."""
    assert cli.main(["hub", "--port", str(taken)]) == 1
    assert cli.main(["hub", "--host", "192.0.2.1"]) == 1
    assert cli.main(["hub", "--port", "65536"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["alephscript"] * 3


@pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_function_too(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the main thread, where Python delivers signals."""

    def ignored(*_: object) -> None:
        """What there was before; a signal that comes too early must not end this test run."""

    def interrupt() -> None:
        for _ in range(3000):
            if signal.getsignal(number) is not ignored:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.01)

    before = signal.signal(number, ignored)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert cli.main(["hub", "--port", "0"]) == 0
    finally:
        thread.join()
        signal.signal(number, before)
    printed = capfd.readouterr()
    assert printed.out == ""
    # Nothing is said of a hub that was interrupted before it was open.
    assert printed.err == "" or LISTENING.fullmatch(printed.err)


@pytest.mark.parametrize("arguments", [["hub", "--port", "many"], ["spoke"]], ids=str)
def test_what_is_no_command_line_is_explained(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By argparse, with its exit code."""
    with pytest.raises(SystemExit) as info:
        cli.main(arguments)
    assert info.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: alephscript")


def test_help_is_data_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """It was asked for."""
    with pytest.raises(SystemExit) as info:
        cli.main(["hub", "--help"])
    assert info.value.code == 0
    assert "--insecure" in capsys.readouterr().out


async def let_in(url: str, auth: dict[str, str] | None) -> bool:
    """Whether the hub lets somebody in."""
    try:
        async with AlephScriptClient(url, auth=auth):
            return True
    except ConnectionRefused:
        return False


@pytest.mark.anyio
@pytest.mark.parametrize("by", ["option", "environment"])
async def test_a_token_keeps_strangers_out(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given as an option, or where ps does not show it."""
    arguments = ["hub", "--port", "0"]
    if by == "option":
        monkeypatch.setenv("ALEPHSCRIPT_TOKEN", "not this one")
        arguments += ["--token", "s3cret"]
    else:
        monkeypatch.setenv("ALEPHSCRIPT_TOKEN", "s3cret")
    async with command(*arguments) as process:
        url = await until_listening(process)
        assert await let_in(url, {"token": "s3cret"})
        assert not await let_in(url, {"token": "not this one"})
        monkeypatch.delenv("ALEPHSCRIPT_TOKEN")  # else a client takes that
        assert not await let_in(url, None)


@pytest.mark.anyio
async def test_secrets_of_rooms_come_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An explicit rule goes before the environment's token."""
    monkeypatch.setenv("ALEPHSCRIPT_TOKEN", "s3cret")
    file = tmp_path / "secrets.json"
    file.write_text('{"A": "a"}')
    async with command("hub", "--port", "0", "--room-secrets", str(file)) as process:
        url = await until_listening(process)
        assert await let_in(url, {"token": "a", "room": "A"})
        assert not await let_in(url, {"token": "s3cret"})


@pytest.mark.anyio
async def test_tokens_are_checked_with_a_key_from_a_file(tmp_path: Path) -> None:
    """The algorithm is the option's, never the token's."""
    key = "a key of at least sixty-four bytes, which is what HS512 wants it to have"
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    arguments = ("--jwt-key", str(file), "--jwt-algorithm", "HS512")
    claims = {"sub": "ana", "exp": time.time() + 60}
    async with command("hub", "--port", "0", *arguments) as process:
        url = await until_listening(process)
        assert await let_in(url, {"token": jwt.encode(claims, key, "HS512")})
        assert not await let_in(url, {"token": jwt.encode(claims, key, "HS256")})


@pytest.mark.anyio
async def test_limits_are_options() -> None:
    """By the names that `Limits` has."""
    limits = ("--limit", "connections=1", "--limit", "join_seconds=2.5")
    async with command("hub", "--port", "0", *limits) as process:
        url = await until_listening(process)
        async with AlephScriptClient(url):
            assert not await let_in(url, None)


@pytest.mark.anyio
async def test_events_to_be_retained_are_options() -> None:
    """As many as there are authorities that know nothing of that."""
    rules = ("--retain", "AAIA_ROOM:MUNDO_STATE", "--retain", "LOBBY:*")
    async with command("hub", "--port", "0", *rules) as process:
        url = await until_listening(process)
        async with AlephScriptClient(url) as client:
            for room in ("AAIA_ROOM", "LOBBY"):
                for event in ("MUNDO_STATE", "FIA_STEP"):
                    await client.broadcast(event, 1, room=room, confirm=True)
            stream = client.events()
            for room in ("AAIA_ROOM", "LOBBY"):
                await client.subscribe(room)
            heard = [each for _ in range(len(stream)) if (each := stream.take())]
    assert [(each.room, each.name) for each in heard] == [
        ("AAIA_ROOM", "MUNDO_STATE"),
        ("LOBBY", "MUNDO_STATE"),
        ("LOBBY", "FIA_STEP"),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--token", "a", "--jwt-key", "b"], 1, "choose one of"),
        (["--token", ""], 1, "keeps nobody out"),
        (["--room-secrets", "/no/such/file"], 1, "No such file"),
        (["--room-secrets", __file__], 1, "is no JSON"),
        (["--tls-key", "x"], 1, "needs --tls-cert"),
        (["--tls-cert", __file__], 1, "cannot use"),
        (["--limit", "patience=3"], 2, "NAME is one of connections, message_bytes"),
        (["--limit", "connections=0"], 2, "N more than 0"),
        (["--limit", "connections"], 2, "N more than 0"),
        (["--host", "0.0.0.0"], 1, "--token"),
        (["--retain", "AAIA_ROOM"], 1, "(--retain): 'AAIA_ROOM' is not ROOM:EVENT"),
    ],
)
def test_options_that_make_no_sense_are_said_in_a_sentence(
    arguments: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything listens."""
    monkeypatch.delenv("ALEPHSCRIPT_TOKEN", raising=False)
    try:
        exit_code: Any = cli.main(["hub", "--port", "0", *arguments])
    except SystemExit as wrong_usage:
        exit_code = wrong_usage.code
    assert exit_code == code
    assert said in capsys.readouterr().err
