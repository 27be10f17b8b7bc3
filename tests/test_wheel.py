"""The wheel, by itself: what is in it, and what it does in an environment of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from alephscript.cli import starting
from tests.support.browser import browsing
from tests.support.pages import DOCS, blocks
from tests.support.tools import ROOT

pytestmark = pytest.mark.timeout(300)  # pip has to fetch what it installs

README = ROOT / "README.md"

ENVIRONMENT = {
    # A stranger's: nothing of the test run, nothing of the checkout.
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("ALEPHSCRIPT", "COV", "PYTEST", "PYTHON"))
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install alephscript` gets."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    done(folder, sys.executable, "-m", *build, "-w", str(folder), str(ROOT))
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and pytest, far from the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    done(folder, sys.executable, "-m", "venv", "venv")
    done(folder, "venv/bin/pip", "install", "-q", f"{wheel}[hub,cli]")
    return folder / "venv" / "bin"


def done(folder: Path, *command: str) -> str:
    """What a command prints that succeeds, in a folder."""
    ran = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_it_holds_the_package_with_all_that_is_no_python_and_nothing_else(wheel: Path) -> None:
    """No tests, no documentation, no packages of Node."""
    held = set(zipfile.ZipFile(wheel).namelist())
    page = {each.name for each in (ROOT / "alephscript" / "hub" / "page").iterdir()}
    assert "index.html" in page
    files = {f"alephscript/hub/page/{name}" for name in page}
    files |= {f"alephscript/cli/new-bot/{name}" for name in starting.FILES}
    scripts = {each.name for each in (ROOT / "alephscript" / "hub" / "cluster").glob("*.lua")}
    assert {"common.lua", "claim.lua"} <= scripts
    files |= {f"alephscript/hub/cluster/{name}" for name in scripts}
    journal = {each.name for each in (ROOT / "alephscript" / "hub" / "store").glob("*.lua")}
    assert "keep.lua" in journal
    files |= {f"alephscript/hub/store/{name}" for name in journal}
    assert files <= held
    rest = held - files
    compiled = {name for name in rest if name.endswith((".so", ".pyd"))}
    assert {name.partition(".")[0] for name in compiled} <= {"alephscript/protocol/_wire"}
    assert ("none-any" in wheel.name) == (not compiled)
    suffixes = {Path(name).suffix for name in rest - compiled if name.startswith("alephscript/")}
    assert suffixes == {".py", ".pyi", ".typed"}
    assert {name.split("/")[0].split("-")[0] for name in held} == {"alephscript"}


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel into a folder, without a compiler."""
    command = (sys.executable, "-m", "build", "-n", "--wheel", "-o", str(folder), str(ROOT))
    without = ENVIRONMENT | {"CC": "no-compiler"} | environment
    return subprocess.run(command, env=without, capture_output=True, text=True, check=False)


def test_without_a_compiler_the_wheel_is_pure_and_it_is_said_why(tmp_path: Path) -> None:
    """In one line; that is no error."""
    built = build(tmp_path)
    assert built.returncode == 0, built.stderr
    [why] = re.findall(
        "^alephscript will be pure Python, since C was .*", built.stderr, re.MULTILINE
    )
    assert "no-compiler" in why
    assert [each.name.split("-")[2:] for each in tmp_path.iterdir()] == [["py3", "none", "any.whl"]]


def test_what_has_to_be_compiled_is_not_built_without_a_compiler(tmp_path: Path) -> None:
    """As CI and releases want it."""
    assert build(tmp_path, ALEPHSCRIPT_COMPILE="1").returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_project_is_made_and_tested_by_readmes_line(programs: Path, tmp_path: Path) -> None:
    """As printed, with nothing installed but the wheel; then on a hub, too."""
    [line] = re.findall(r"^alephscript new .*pytest$", README.read_text(), re.MULTILINE)
    path = f"PATH={programs}:$PATH"
    assert "2 passed" in done(tmp_path, "sh", "-c", f"{path}; {line}")
    folder = tmp_path / line.split()[2]
    said = done(folder, str(programs / "pytest"), "-q", "-W", "error", "--mesh=real")
    assert "2 passed" in said


MARKED = """
import pytest
from alephscript import AlephScriptClient
from alephscript.testing import InMemoryMesh
from greeter import Greet, Greeter, Greeting


@pytest.mark.asyncio
async def test_it_opens_its_own_mesh():
    async with InMemoryMesh() as mesh, Greeter(mesh), AlephScriptClient(mesh) as client:
        assert await client.request(Greet("you")) == Greeting("hello you")
"""


def test_its_plugin_stands_beside_pytest_asyncios_in_strict_mode(
    programs: Path, tmp_path: Path
) -> None:
    """The test of the page about other programs, and one that is marked for pytest-asyncio."""
    install = ("install", "-q", "--target", "beside", "pytest", "pytest-asyncio")
    done(tmp_path, str(programs / "pip"), *install)
    for block in blocks(DOCS / "how-to" / "other-programs.md"):
        if block.caption in ("greeter.py", "test_greeter.py"):
            (tmp_path / block.caption).write_text(block.text)
    (tmp_path / "test_marked.py").write_text(MARKED)
    scope = "asyncio_default_fixture_loop_scope=function"
    options = ("-q", "-W", "error", "--ignore=beside", "-o", "asyncio_mode=strict", "-o", scope)
    command = (str(programs / "python"), "-m", "pytest", *options)
    said = done(tmp_path, "env", "PYTHONPATH=beside", *command)
    assert "2 passed" in said


@pytest.mark.anyio
async def test_its_demonstration_needs_nothing_else(programs: Path, tmp_path: Path) -> None:
    """The three commands that it prints work as printed, in an empty folder."""
    demo = await asyncio.create_subprocess_exec(
        *(programs / "alephscript", "demo", "--port", "0"),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert demo.stderr is not None
        lines = [(await demo.stderr.readline()).decode().strip() for _ in range(6)]
        greet, count, watch = [line for line in lines if re.match("alephscript (?!demo)", line)]
        watch += " --count 1"
        for line, shown in ((greet, "hello you"), (count, '{"number": 5}'), (watch, "TICK")):
            command = ("sh", "-c", f"PATH={programs}:$PATH; {line}")
            assert shown in await asyncio.to_thread(done, tmp_path, *command)
        demo.send_signal(signal.SIGINT)
        assert b"Traceback" not in await demo.stderr.read()
        assert await demo.wait() == 0
    finally:
        if demo.returncode is None:
            demo.kill()
        await demo.wait()


def test_what_is_published_is_well_formed_and_the_sdist_makes_the_same_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    """By twine, and by building again from what the sdist holds."""
    done(ROOT, sys.executable, "-m", "build", "-q", "-n", "--sdist", "-o", str(tmp_path), ".")
    [sdist] = tmp_path.glob("*.tar.gz")
    done(tmp_path, sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel))
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "tests/test_wheel.py"} <= names
    assert not any("node_modules" in name or name.startswith(".ci") for name in names)
    build = ("pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "again")
    done(tmp_path, sys.executable, "-m", *build, str(sdist))
    [again] = tmp_path.glob("again/*.whl")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


@pytest.mark.anyio
async def test_its_hub_shows_itself_in_a_browser(
    programs: Path, browser: str, node: str, tmp_path: Path
) -> None:
    """Every file of the page is there."""
    hub = await asyncio.create_subprocess_exec(
        *(programs / "alephscript", "hub", "--port", "0"),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(50), browsing(node) as page:
            assert hub.stderr is not None
            said = (await hub.stderr.readline()).decode()
            assert said.startswith("alephscript hub listening on http"), said
            await page.do(["goto", said.split()[-1]])
            await page.see("#link", "connected")
            await page.see("#demo-command", "alephscript demo")
            assert await page.problems() == []
    finally:
        hub.kill()
        await hub.communicate()
