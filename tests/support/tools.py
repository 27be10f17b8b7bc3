"""Programs that others wrote and tests need: found, or the test is skipped by name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
"""The folder of the repository."""


def lacking(wanted: str) -> NoReturn:
    """Skip a test that needs a tool that is not there; in CI that is a failure."""
    if os.environ.get("ALEPHSCRIPT_REQUIRE_TOOLS"):
        pytest.fail(f"this run must skip nothing, and lacks {wanted}")
    pytest.skip(f"needs {wanted}")


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
    lacking("Node 20" if not found else f"`npm ci` in {' and '.join(missing)}")


@pytest.fixture(scope="session")
def nginx() -> str:
    """An nginx; missing, a test is skipped, in CI it fails."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    return found or lacking("nginx (apt-get install nginx-light)")


@pytest.fixture(scope="session")
def browser() -> str:
    """Chromium, and what drives it; missing, a test is skipped, in CI it fails."""
    found = shutil.which("chromium")
    if found and (ROOT / "tests/node/browser/node_modules").is_dir():
        return found
    lacking("Chromium (apt-get install chromium) and `npm ci` in tests/node/browser")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return folder
