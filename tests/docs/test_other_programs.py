"""The programs of docs/how-to/other-programs.md: each is started as its page says, and asked."""

from __future__ import annotations

import asyncio
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alephscript import AlephScriptClient
from alephscript.hub import Hub
from tests.support.pages import DOCS, PORT, Block, blocks
from tests.support.processes import choose_port
from tests.support.terminals import environment

pytestmark = pytest.mark.anyio

PAGE = DOCS / "how-to" / "other-programs.md"

NOTEBOOK = """
import asyncio, sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell

async def main():
    shell = InteractiveShell.instance()
    for cell in sys.argv[1:]:
        text = Path(cell).read_text()
        ran = await shell.run_cell_async(text, transformed_cell=shell.transform_cell(text))
        ran.raise_error()

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Path:
    """The page's files."""
    for each in (block for block in blocks(PAGE) if block.caption):
        (tmp_path / each.caption).write_text(each.text.replace(PORT, str(port)))
    return tmp_path


@asynccontextmanager
async def program(
    folder: Path, port: int, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of this Python in that folder, terminated at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env={**environment(folder, port), "PYTHONPATH": f"{DOCS.parent}:{folder}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.communicate()


async def _get(port: int, path: str) -> tuple[int, str]:
    """Ask an HTTP server, as soon as it listens."""

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async with asyncio.timeout(40):
        while True:
            try:
                return await asyncio.to_thread(ask)
            except OSError:  # nobody listens yet
                await asyncio.sleep(0.05)


SERVERS = {
    "fastapi": ("uvicorn", "fastapi_app:app", "--port", "{}"),
    "flask": ("gunicorn", "--preload", "--workers", "2", "flask_app:app", "-b", "127.0.0.1:{}"),
    "django": ("gunicorn", "django_app:application", "-b", "127.0.0.1:{}"),
}


@pytest.mark.parametrize("server", SERVERS)
async def test_a_web_application_starts_without_a_mesh_and_asks_it_later(
    folder: Path, port: int, server: str
) -> None:
    """Until then its routes have the status that fits, and SIGTERM ends it at any time."""
    web = choose_port()
    arguments = [each.format(web) for each in SERVERS[server]]
    async with program(folder, port, "-m", *arguments) as served:
        status, said = await _get(web, "/greet/you")
        assert (status, "deadline_exceeded" in said) == (504, True)
        async with Hub(port=port), program(folder, port, "greeter.py"):
            async with asyncio.timeout(60):
                while (got := await _get(web, "/greet/you"))[0] == 504:
                    pass
        assert got[0] == 200
        assert "hello you" in got[1]
        served.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await served.communicate()
        assert served.returncode in (0, -signal.SIGTERM)  # as uvicorn ends of late


async def test_a_hub_lives_in_the_lifespan_of_an_application(folder: Path, port: int) -> None:
    """With a bot and a client."""
    web = choose_port()
    async with program(folder, port, "-m", "uvicorn", "starlette_app:app", "--port", str(web)):
        assert await _get(web, "/greet/you") == (200, "hello you")


async def test_a_script_and_a_notebook_ask(folder: Path, port: int) -> None:
    """A notebook's cells are run as Jupyter runs them: one loop, `await` at the top."""
    (folder / "notebook.py").write_text(NOTEBOOK)
    async with Hub(port=port) as hub, program(folder, port, "greeter.py"):
        async with AlephScriptClient(hub.url) as client:
            await client.request("GREET", {"who": "it"}, wait_for_master=True, timeout=20)
        for arguments, said in (
            (("script.py",), b"hello script\n"),
            (
                ("notebook.py", "cell_1.py", "cell_2.py", "cell_3.py"),
                b"{'text': 'hello notebook'}\n",
            ),
        ):
            async with program(folder, port, *arguments) as asked, asyncio.timeout(30):
                out, _ = await asked.communicate()
            assert (asked.returncode, out) == (0, said), out.decode()


async def test_a_test_needs_no_marker(folder: Path, port: int) -> None:
    """The plugin comes with the package, and tells anyio's to run it."""
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_greeter.py")
    async with program(folder, port, *arguments) as tested, asyncio.timeout(60):
        out, _ = await tested.communicate()
    assert b"1 passed" in out, out.decode()


async def test_a_service_ends_with_status_0(folder: Path, port: int) -> None:
    """As systemd and containers stop it, with the command that both show."""
    captions: dict[str, Block] = {each.caption: each for each in blocks(PAGE)}
    assert "python -m greeter" in captions["greeter.service"].text
    assert '["python", "-m", "greeter"]' in captions["Containerfile"].text
    async with Hub(port=port) as hub, program(folder, port, "-m", "greeter") as bot:
        async with AlephScriptClient(hub.url) as client:
            await client.request("GREET", {"who": "it"}, wait_for_master=True, timeout=20)
        bot.terminate()
        async with asyncio.timeout(20):
            await bot.communicate()
        assert bot.returncode == 0
