"""A test that hangs costs its own time, and no other test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.thrift import unmeasured
from tests.support.tools import ROOT

pytestmark = pytest.mark.slow

PLANTED = '''
import asyncio, threading, time
import pytest

@pytest.fixture
async def held():
    """A fixture that the loop has to end."""
    yield

@pytest.mark.anyio
@pytest.mark.timeout(30)
async def test_that_is_well_before_and_has_all_imported(held):
    pass

@pytest.mark.anyio
async def test_a_coroutine(held):
    await asyncio.Event().wait()

@pytest.mark.anyio
async def test_a_coroutine_that_is_not_cancelled(held):
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

@pytest.mark.anyio
async def test_callbacks_that_keep_the_loop_busy(held):
    def again():
        time.sleep(0.01)
        loop.call_soon(again)

    loop = asyncio.get_running_loop()
    again()
    await asyncio.Event().wait()

@pytest.mark.anyio
async def test_a_thread(held):
    await asyncio.to_thread(time.sleep, 2)

def test_no_coroutine():
    threading.Event().wait()

@pytest.mark.anyio
@pytest.mark.timeout(30)
async def test_that_is_well(held):
    pass
'''


@pytest.mark.parametrize("processes", [0, 2])
def test_a_test_that_hangs_fails_by_its_name(tmp_path: Path, processes: int) -> None:
    """Whatever hangs, and those that come after it in the same process pass."""
    (tmp_path / "test_planted.py").write_text(PLANTED)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 0.3\n")
    plugins = ("-p", "no:alephscript", "-p", "tests.support.hangs", "-p", "no:cacheprovider")
    command = (sys.executable, "-m", "pytest", *plugins, "-q", f"-n{processes}", "--dist=loadfile")
    env = {**unmeasured(), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert "5 failed, 2 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "test_no_coroutine takes more than 0.3 s" in ran.stdout
    assert "test_planted.py:17 test_a_coroutine\n" in ran.stdout
