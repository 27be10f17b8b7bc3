"""``record`` and ``verify``: files, sentences and statuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient
from alephscript.cli import main
from alephscript.hub import Hub
from alephscript.recording import record
from alephscript.testing import InMemoryMesh
from tests.support.processes import Start

FULL = [path for path in [Path("/dev/full")] if path.exists()]
"""A disk without space, where the system has such a thing."""

SHOP = '''
from typing import Any
from alephscript import AlephScriptClient, capability

class Shop(AlephScriptClient):
    rooms = ("SHOP",)
    price = 3

    @capability("BUY")
    async def buy(self, order: dict[str, Any]) -> dict[str, Any]:
        return {"bought": order["what"], "price": {"cents": self.price}}

class Dearer(Shop):
    price = 4

class Empty(AlephScriptClient):
    rooms = ("SHOP",)

    @capability("LOOK")
    async def look(self) -> None:
        """Look."""

class Broken(Shop):
    def __init__(self, hub: Any) -> None:
        raise RuntimeError("no database")

class Choosy(Shop):
    def __init__(self, hub: Any, *, database: str) -> None:
        super().__init__(hub)
'''


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """A recording of the shop."""
    namespace: dict[str, Any] = {"__name__": "shop"}
    exec(compile(SHOP, "shop.py", "exec"), namespace)
    written: list[bytes] = []

    async def make() -> None:
        async with InMemoryMesh() as mesh:
            began = asyncio.Event()
            task = asyncio.ensure_future(
                record(mesh, ["SHOP"], written.append, opened=lambda _: began.set())
            )
            await began.wait()
            async with namespace["Shop"](mesh), AlephScriptClient(mesh) as client:
                await client.request("BUY", {"what": "tea"})
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(make())
    return written


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[bytes]) -> Path:
    """A current directory with the shop and its recording."""
    name = f"shop{os.urandom(4).hex()}"  # a module is imported once
    tmp_path.joinpath(f"{name}.py").write_text(SHOP)
    tmp_path.joinpath("r.jsonl").write_bytes(b"".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP", name)
    return tmp_path


def verify(cls: str, *options: str, file: str = "r.jsonl") -> int:
    """Verify against a class of the shop's module."""
    return main(["verify", file, "--against", f"{os.environ['SHOP']}:{cls}", *options])


@pytest.mark.usefixtures("folder")
def test_a_version_that_answers_the_same_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    """With the latencies of then and now."""
    assert verify("Shop") == 0
    out, error = capsys.readouterr()
    latency, summary = out.splitlines()
    assert latency.startswith("latency: BUY: ")
    assert summary == "answers compared: 1, places that differ: 0"
    assert error == ""


@pytest.mark.usefixtures("folder")
def test_a_version_that_answers_otherwise_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless that is ignored; what is gone is a break."""
    assert verify("Dearer") == 1
    out, error = capsys.readouterr()
    assert "answer: BUY (1) price.cents: 3 then, 4 now" in out
    assert "differs from r.jsonl" in error
    assert verify("Dearer", "--ignore", "price.euros", "--ignore", "price.cents") == 0
    assert verify("Empty") == 1
    assert "schema: SHOP has no BUY any more" in capsys.readouterr().out


@pytest.mark.parametrize(("cls", "status"), [("Shop", 0), ("Dearer", 1)])
def test_the_status_is_of_the_version_whoever_reads_the_report(
    folder: Path, cls: str, status: int
) -> None:
    """``verify … | head -1`` in CI; a report that cannot be written is no difference."""
    command = [sys.executable, "-m", "alephscript", "verify", "r.jsonl"]
    command += ["--against", f"{os.environ['SHOP']}:{cls}"]
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(command, cwd=folder, stdout=writing, check=False)
    os.close(writing)
    assert ended.returncode == status
    for path in FULL:
        with path.open("wb") as full:
            ended = subprocess.run(command, cwd=folder, stdout=full, check=False)
        assert ended.returncode == 2


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        ("Nothing", "cannot find"),
        ("Broken", "Broken fails: RuntimeError: no database"),
        ("Choosy", "cannot be made by verify"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_class_that_cannot_be_asked_is_2(
    cls: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the sentence says why."""
    assert verify(cls) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is not there, is a folder, is empty, is something else, is damaged."""
    whole = folder.joinpath("r.jsonl").read_bytes()
    folder.joinpath("damaged").write_bytes(whole.replace(b'{"at"', b'{"at', 1))
    folder.joinpath("empty").touch()
    folder.joinpath("binary").write_bytes(os.urandom(5000))
    for file in ("gone", ".", "empty", "binary", "damaged"):
        assert verify("Shop", file=file) == 2, file
        assert capsys.readouterr().err.count("\n") == 1


def test_a_recording_that_was_cut_off_is_verified_as_far_as_it_goes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that is said."""
    whole = folder.joinpath("r.jsonl").read_bytes()
    folder.joinpath("r.jsonl").write_bytes(whole[:-8])
    assert verify("Dearer") == 1
    assert "the last one, was cut off" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["r.jsonl"], ["--against", "a:B"], []], ids=str)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    """As everywhere."""
    with pytest.raises(SystemExit) as raised:
        main(["verify", *arguments])
    assert raised.value.code == 2


@pytest.mark.slow
@pytest.mark.anyio
async def test_ctrl_c_ends_a_recording_and_kill_leaves_a_readable_one(
    start: Start, tmp_path: Path
) -> None:
    """With its last line, or without it."""
    async with Hub(port=0) as hub, AlephScriptClient(hub.url) as client:
        for number, expected in ((signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -9)):
            file = tmp_path / f"{number.name}.jsonl"
            arguments = (
                "-m",
                "alephscript",
                "record",
                "-o",
                str(file),
                "--room",
                "R",
                "--url",
                hub.url,
            )
            process = await start(*arguments, ready=b"recording R into")
            await client.broadcast("SAID", {"n": 1}, room="R", confirm=True)
            async with asyncio.timeout(10):
                while b"SAID" not in file.read_bytes():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
            process.send(number)
            assert await process.ended() == expected
            kinds = [json.loads(line).get("kind") for line in file.read_text().splitlines()]
            assert kinds == [None, "event", *(["closed"] if expected == 0 else [])]


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A folder, a place that is not there, a full disk."""
    async with Hub(port=0) as hub:
        for path in (tmp_path, tmp_path / "no" / "file", *FULL):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "alephscript", "record", "-o", str(path)),
                *("--url", hub.url),
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(20):
                _, error = await process.communicate()
            assert process.returncode == 1
            assert f"alephscript: cannot write {path}: " in error.decode()
