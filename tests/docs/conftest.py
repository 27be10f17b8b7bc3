"""What following a page needs."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def port() -> int:
    """A free one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: int = server.getsockname()[1]
        return found


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Pages that show how to turn the log up or down do it to this process."""
    loggers = [logging.getLogger(), logging.getLogger("alephscript")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
