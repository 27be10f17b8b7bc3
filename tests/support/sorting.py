"""Sorts tests by folder into the minute's loop and the rest, for more processes than cores.

The loop is what `python -m pytest` runs when no path is named. A folder, a file or a test that is
named runs whole, and `python -m pytest tests` runs everything.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

from tests.support.tools import PROGRAMS, ROOT

LOOP: Final = "not peers and not slow"

SLOW: Final = {
    "tests/benchmarks": "measures programs side by side",
    "tests/cli": "starts commands",
    "tests/client/test_strange_lives.py": "starts programs and sends them signals",
    "tests/docs": "builds the site and follows its pages",
    "tests/faults": "kills processes under load",
    "tests/hub/test_floods.py": "sends more than a hub takes",
    "tests/links/test_strange_hubs.py": "waits for hubs that say nothing",
    "tests/test_wheel.py": "builds the wheel and installs it",
    "tests/typing": "runs type checkers",
}
"""Folders and files whose tests take seconds each, and by what."""

REPEATING: Final = (
    "tests/faults/test_log_reading.py",
    "tests/faults/test_planted.py",
    "tests/hub/cluster/test_scale.py",
    "tests/hub/test_fuzz.py",
    "tests/mesh/test_mesh_properties.py",
)
"""Folders and files whose tests go a thousand times through lines that others go through, too.

Their lines are not counted, which would take twice the time.
"""


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """Add processes to those of the cores, as tests wait for others for a third of their time.

    Each process takes seconds to list the tests, which counts in the loop.
    """
    cores = yield
    return cores + (1 if is_loop(config) else 2)


@functools.cache  # thousands of tests are in hundreds of files
def is_in(path: Path, places: tuple[str, ...]) -> bool:
    """Whether a file or folder is one of these, or in one of these folders."""
    return any(path.is_relative_to(ROOT / place) for place in places)


def is_loop(config: pytest.Config) -> bool:
    """Whether neither paths nor marks are named."""
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.markexpr


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the loop, unless paths or marks are named. Workers are given what was chosen."""
    if is_loop(config):
        config.option.markexpr = LOOP


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing for the loop of which no test is in it."""
    is_left_out = config.option.markexpr == LOOP and is_in(collection_path, tuple(SLOW))
    return is_left_out or None


@pytest.hookimpl(tryfirst=True)  # before marks select
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and by the programs that their fixtures look for; order them.

    Raises:
        UsageError: An id holds an object's address, which differs from process to process.
    """
    slow = tuple(SLOW)
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"give the parameters of {item.nodeid} names, by ids=")
        if is_in(item.path, slow):
            item.add_marker(pytest.mark.slow)
        if is_in(item.path, REPEATING):
            item.add_marker("no_cover")
        if PROGRAMS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.peers)
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)  # lest one worker has a long file at the end
