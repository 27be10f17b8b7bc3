"""`alephscript serve`, `run`, `say`, `ping`, `bench`, `check` and `demo` as processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient, CapabilityError
from alephscript.cli import main, programs
from alephscript.cli.programs import MOST_OUTPUT
from alephscript.hub import Hub
from tests.cli.test_commands import run, started

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

BOT = """
from alephscript import AlephScriptClient, capability

class Bot(AlephScriptClient):
    rooms = ("R",)

    @capability("ANSWER")
    async def answer(self) -> dict[str, str]:
        return {"text": "old"}
"""


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A hub."""
    async with Hub(port=0) as hub:
        yield hub.url


async def said(process: asyncio.subprocess.Process, text: str) -> str:
    """The line of its stderr that has a text."""
    assert process.stderr is not None
    async for line in process.stderr:
        if text in line.decode():
            return line.decode()
    raise AssertionError(f"it ended and never said {text}")


@asynccontextmanager
async def serving(url: str, *command: str) -> AsyncIterator[AlephScriptClient]:
    """A client of a mesh in which a command serves X."""
    async with (
        started("serve", "X", "--room", "R", "--", *command, url=url) as process,
        AlephScriptClient(url, timeout=20) as client,
    ):
        await said(process, "is ready")
        yield client
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_command_is_asked_by_stdin_and_answers_by_stdout(url: str) -> None:
    """Options behind the -- are its own, and a further -- too."""
    program = "import json, sys; print(json.dumps([json.load(sys.stdin), sys.argv[1:]]))"
    async with serving(url, sys.executable, "-c", program, "--room", "--", "-h") as client:
        answer = await client.request("X", {"é": 1})
        assert answer == {"result": [{"é": 1}, ["--room", "--", "-h"]]}


async def test_a_status_is_an_error_with_the_end_of_stderr(url: str) -> None:
    """And so is what is no JSON."""
    program = "import sys; print('why', file=sys.stderr); sys.exit(7)"
    async with serving(url, sys.executable, "-c", program) as client:
        with pytest.raises(CapabilityError) as caught:
            await client.request("X")
        assert caught.value.code == "command_failed"
        assert caught.value.details == [{"status": 7, "stderr": "why\n"}]
    async with serving(url, "echo", "no JSON") as client:
        with pytest.raises(CapabilityError, match="not valid JSON") as caught:
            await client.request("X")
        assert caught.value.code == "command_failed"
    async with serving(url, "true") as client:
        assert await client.request("X") == {}


async def test_output_is_bounded(url: str) -> None:
    """However much a command has to say."""
    async with serving(url, "sh", "-c", "yes") as client:
        with pytest.raises(Exception, match=f"more than {MOST_OUTPUT} bytes") as caught:
            await client.request("X")
        assert getattr(caught.value, "code", None) == "payload_too_large"


def is_alive(process: int) -> bool:
    """Whether a process runs; one that only waits to be read by its parent does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["obeys", "ignores"])
async def test_a_cancelled_request_ends_the_command_and_what_it_started(
    url: str, tmp_path: Path, trap: str
) -> None:
    """Whether they obey SIGTERM or not."""
    pids = tmp_path / "pids"
    script = f"{trap}sleep 300 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait; wait"
    async with serving(url, "sh", "-c", script) as client:
        asking = asyncio.ensure_future(client.request("X"))
        while not pids.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        asking.cancel()
        processes = [int(each) for each in pids.read_text().split()]
        while any(map(is_alive, processes)):  # noqa: ASYNC110 - they say nothing
            await asyncio.sleep(0.01)


async def test_a_program_that_is_cancelled_as_it_starts_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs before whoever starts it hears so."""
    create, has_started, goes_on = asyncio.create_subprocess_exec, asyncio.Event(), asyncio.Event()

    async def create_late(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await create(*arguments, **options)
        has_started.set()
        await goes_on.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", create_late)
    pids = tmp_path / "pids"
    script = f"sleep 300 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
    running = asyncio.ensure_future(programs.run(["sh", "-c", script], b""))
    await has_started.wait()
    while not pids.exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    processes = [int(each) for each in pids.read_text().split()]
    while any(map(is_alive, processes)):  # noqa: ASYNC110 - they say nothing
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["serve", "X", "--room", "R"], 2, "write the command behind --"),
        (["serve", "X", "--room", "R", "--", "/no/such"], 1, "there is no program /no/such"),
        (["serve", "X", "--room", "\n", "--", "true"], 1, "control characters"),
        (["run", "no_such_module:Bot"], 1, "cannot find no_such_module:Bot"),
        (["run", "json:loads"], 1, "no AlephScriptClient class"),
        (["say", "R", "connect"], 4, "reserved"),
        (["say", "R", "EVENT", "{x"], 3, "not valid JSON"),
        (["bench", "NOBODY", "--requests", "3"], 1, "3 of 3 requests failed: no_master 3"),
        (["ping", "--interval", "-1"], 1, "0 seconds or more"),
        (["ping", "--count", "0"], 2, "1 or more"),
        (["ping", "--count", "x"], 2, "write a number of 1 or more"),
        (["ping", "--url", "http://127.0.0.1:9"], 9, "is a hub running there?"),
        (["demo", "--port", "99999"], 1, "99999"),
        (["say", "R", "EVENT", "--debug", "nothing"], 1, "topics are"),
    ],
)
async def test_a_wrong_use_gets_a_sentence(
    url: str, arguments: list[str], code: int, says: str
) -> None:
    """And an exit status, and no traceback."""
    ended = await run(*arguments, url=url)
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err


async def test_what_is_said_is_heard_and_counted(url: str) -> None:
    """By who is in the room."""
    async with AlephScriptClient(url) as listener:
        await listener.subscribe("R")
        stream = listener.events("R")
        ended = await run("say", "R", "HELLO", '{"n": 1}', url=url)
        assert (ended.code, ended.out, ended.err) == (0, "1 heard it\n", "")
        event = await anext(stream)
        assert (event.name, event.data) == ("HELLO", {"n": 1})
        await listener.subscribe("LOBBY")
        ended = await run("say", "LOBY", "HELLO", url=url)
        assert ended.out == "0 heard it\n"
        assert ended.err == "there is no room LOBY; did you mean LOBBY?\n"
        async with started("watch", "Lobby", url=url) as watching, asyncio.timeout(20):
            assert watching.stderr is not None
            said = (await watching.stderr.readline()).decode()
        assert said == f"watching Lobby on {url}; did you mean LOBBY?\n"
    assert (await run("say", "R", "HELLO", url=url)).out == "0 heard it\n"


async def test_all_rooms_are_watched_and_new_ones_too(url: str) -> None:
    """With the room of each event."""
    async with (
        AlephScriptClient(url, usuario="me") as speaker,
        started("watch", "*", "HELLO", "--json", "--count", "2", url=url) as process,
    ):
        await said(process, "watching all rooms")
        await speaker.subscribe("LATER")
        assert process.stdout is not None
        heard: asyncio.Future[bytes] = asyncio.ensure_future(process.stdout.readline())
        while not heard.done():
            await speaker.broadcast("HELLO", 1, room="LATER")
            await asyncio.wait([heard], timeout=0.05)
        assert json.loads(await heard)["room"] == "LATER"


async def test_a_class_runs_and_again_when_its_file_changes(url: str, tmp_path: Path) -> None:
    """Until SIGTERM."""
    (tmp_path / "bots.py").write_text(BOT)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alephscript", "run", "bots:Bot", "--reload", "--url", url),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await said(process, "is ready")
        async with AlephScriptClient(url, timeout=20) as client:
            assert await client.request("ANSWER") == {"text": "old"}
            (tmp_path / "bots.py").write_text(BOT.replace("old", "new"))
            await said(process, "bots.py changed")
            await said(process, "is ready")
            assert await client.request("ANSWER") == {"text": "new"}
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.terminate()  # a kill would leave the process that it has started
            await process.wait()


async def test_a_hub_is_measured(url: str) -> None:
    """By round trips, and by requests of its own."""
    ping = await run("ping", "--count", "3", "--interval", "0", url=url)
    assert ping.code == 0
    assert re.search(r"3 round trips to .*: min .* ms, p50 .* ms, p95 .*, p99 .*, max ", ping.out)
    bench = await run("bench", "--requests", "50", url=url)
    assert re.fullmatch(
        r"50 answers in .*: \d+/s\nmin .*p99.*\nCPU of asker and master: \S+ \S+ a request, "
        r"frames and packets in (C|Python)\none at a time: min .*p99.*\n"
        r"500 events heard by 10 listeners in .*: \d+/s\n",
        bench.out,
    ), bench.err
    assert (bench.code, bench.err) == (0, "")


async def test_monitoring_gets_a_line_and_a_status(url: str) -> None:
    """As Nagios reads them."""
    fine = await run("check", url=url)
    assert (fine.code, fine.err) == (0, "")
    assert re.fullmatch(r"OK - rooms with a master: 0, round trip \S+ ms\|time=\S+\n", fine.out)
    lost = await run("check", "R", url=url)
    assert lost.code == 2
    assert lost.out.startswith("CRITICAL - no master: R|time=")
    assert (await run("check", "--warning", "0", url=url)).code == 1
    gone = await run("check", url="http://127.0.0.1:9")
    assert (gone.code, gone.err) == (2, "")
    assert gone.out.startswith("CRITICAL - cannot connect to http://127.0.0.1:9")


async def test_the_demonstration_prints_what_works(port: int) -> None:
    """Three commands, word by word; Ctrl+C ends it without a traceback."""
    async with started("demo", "--port", str(port)) as process:
        assert process.stderr is not None
        assert f"http://127.0.0.1:{port}" in await said(process, "its page is")
        lines = [(await process.stderr.readline()).decode() for _ in range(5)]
        commands = [shlex.split(line)[1:] for line in lines if line.startswith("  alephscript ")]
        greet, count, watch = commands
        assert json.loads((await run(*greet)).out) == {"text": "hello you"}
        assert json.loads((await run(*count)).out.splitlines()[-1]) == {"number": 5}
        watched = await run(*watch, "--count", "2")
        assert re.match(r"[0-9:]{8} DemoBot [0-9a-f]{8} TICK ", watched.out)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert b"Traceback" not in await process.stderr.read()


async def test_names_are_completed_by_the_hub_and_never_at_its_mercy(url: str) -> None:
    """What a shell could obey is not among them; without a hub there are none."""
    async with AlephScriptClient(url) as client:
        await client.make_master("FINE.ROOM", ("ASK", "$(reboot)"))
        await client.make_master("$(reboot)", ("ASK",))
        assert (await run("names", "capabilities", url=url)).out == "ASK\n"
        assert "FINE.ROOM" in (await run("names", "rooms", url=url)).out
        assert "reboot" not in (await run("names", "rooms", url=url)).out
    gone = await run("names", "rooms", url="http://127.0.0.1:9")
    assert (gone.code, gone.out, gone.err) == (0, "", "")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Of who types nothing else."""
    import alephscript

    assert main([]) == 0
    assert "usage: alephscript" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"alephscript {alephscript.__version__}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_a_bot_obeys_signals_on_a_loop_that_has_no_handlers(
    url: str, number: signal.Signals
) -> None:
    """As on Windows."""
    program = f"""
import asyncio, logging, sys
sys.modules["uvloop"] = None
def refuse(*_):
    raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = refuse
asyncio.SelectorEventLoop.remove_signal_handler = refuse
from alephscript import AlephScriptClient
logging.basicConfig(level=logging.INFO)
AlephScriptClient({url!r}).run()
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE, env={**os.environ}
    )
    try:
        await said(process, "is ready")
        process.send_signal(number)
        assert process.stderr is not None
        rest = await process.stderr.read()
        assert (await process.wait(), b"Traceback" in rest) == (0, False), rest
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
