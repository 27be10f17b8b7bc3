"""Programs that others wrote and tests need: a test whose program is missing is skipped by name."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROGRAMS: Final = frozenset({"browser", "nginx", "node", "redis_program"})
"""The fixtures that look for a program which pip does not bring."""

ROOT = Path(__file__).parents[2]
"""The folder of the repository."""


def skip_for_lack_of(tool: str) -> NoReturn:
    """Skip a test whose tool is missing; in CI, where nothing may be skipped, fail."""
    if os.environ.get("ALEPHSCRIPT_REQUIRE_TOOLS"):
        pytest.fail(f"this run must skip nothing, and lacks {tool}")
    pytest.skip(f"needs {tool}")


@pytest.fixture(scope="session")
def node() -> str:
    """Find Node, with the packages that peers need, or skip the test; in CI, fail."""
    program = shutil.which("node")
    missing = [
        folder
        for folder in ("tests/node", "tests/node/asyncapi", "examples/js")
        if not (ROOT / folder / "node_modules").is_dir()
    ]
    if program and not missing:
        return program
    skip_for_lack_of("Node 20" if not program else f"`npm ci` in {' and '.join(missing)}")


@pytest.fixture(scope="session")
def nginx() -> str:
    """Find nginx, or skip the test; in CI, fail."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    return program or skip_for_lack_of("nginx (apt-get install nginx-light)")


@pytest.fixture(scope="session")
def browser() -> str:
    """Find Chromium, with the package that drives it, or skip the test; in CI, fail."""
    program = shutil.which("chromium")
    if program and (ROOT / "tests/node/browser/node_modules").is_dir():
        return program
    skip_for_lack_of("Chromium (apt-get install chromium) and `npm ci` in tests/node/browser")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for this machine, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder
