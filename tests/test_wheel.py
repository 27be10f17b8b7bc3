"""The wheel, by itself: what is in it, and what it does in an environment of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from alephscript.cli import starting
from tests.support.browser import browsing
from tests.support.tools import ROOT

pytestmark = pytest.mark.timeout(300)  # pip has to fetch what it installs

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
    done(folder, "venv/bin/pip", "install", "-q", f"{wheel}[hub]", "pytest")
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
    assert files <= held
    rest = held - files
    suffixes = {Path(name).suffix for name in rest if name.startswith("alephscript/")}
    assert suffixes == {".py", ".typed"}
    assert {name.split("/")[0].split("-")[0] for name in held} == {"alephscript"}


def test_a_project_that_it_makes_passes_its_test_at_once(programs: Path, tmp_path: Path) -> None:
    """In memory and on a hub, with nothing installed but the wheel and pytest."""
    done(tmp_path, str(programs / "alephscript"), "new", "door-bell")
    for option in ("--mesh=memory", "--mesh=real"):
        said = done(tmp_path / "door-bell", str(programs / "pytest"), "-q", "-W", "error", option)
        assert "2 passed" in said


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
            await page.see("#members", "mesh page")
            assert await page.problems() == []
    finally:
        hub.kill()
        await hub.communicate()
