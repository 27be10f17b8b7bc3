"""What every test shares: asyncio is the only backend; Node peers where Node is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def anyio_backend() -> str:
    """The SDK runs on asyncio, because python-socketio does."""
    return "asyncio"


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the peers' packages; missing, a test is skipped, in CI it fails."""
    found = shutil.which("node")
    missing = [
        folder
        for folder in ("tests/node", "tests/node/asyncapi", "examples/js")
        if not (ROOT / folder / "node_modules").is_dir()
    ]
    if found and not missing:
        return found
    wanted = "Node 20" if not found else f"`npm ci` in {' and '.join(missing)}"
    if os.environ.get("ALEPHSCRIPT_REQUIRE_TOOLS"):
        pytest.fail(f"this run must skip nothing, and lacks {wanted}")
    pytest.skip(f"needs {wanted}")


@pytest.fixture(scope="session")
def browser() -> str:
    """Chromium, and what drives it; missing, a test is skipped, in CI it fails."""
    found = shutil.which("chromium")
    if found and (ROOT / "tests/node/browser/node_modules").is_dir():
        return found
    wanted = "Chromium (apt-get install chromium) and `npm ci` in tests/node/browser"
    if os.environ.get("ALEPHSCRIPT_REQUIRE_TOOLS"):
        pytest.fail(f"this run must skip nothing, and lacks {wanted}")
    pytest.skip(f"needs {wanted}")
