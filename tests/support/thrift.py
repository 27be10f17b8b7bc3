"""What the processes of a run need not pay for again: compiling, certificates, garbage.

Nothing of it changes what a test sees. A third of the loop's time went into these.
"""

from __future__ import annotations

import functools
import gc
import os
import ssl
import sys
from typing import Any

# Containers often forbid it, and then each of hundreds of processes compiles the package anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_make_context = ssl.create_default_context
_known_contexts = functools.cache(_make_context)


def _default_context(*purpose: Any, **authorities: Any) -> ssl.SSLContext:
    """Make a context of TLS; one of a client that is told no more than authorities once."""
    return (_make_context if purpose else _known_contexts)(*purpose, **authorities)


# Each client of HTTP reads all authorities that there are, though its hub has no TLS: 25 ms.
ssl.create_default_context = _default_context

gc.disable()  # until all tests are listed: hardly anything of that is garbage, and all is looked at


def unmeasured() -> dict[str, str]:
    """Return an environment for processes whose lines need no count, which takes twice the time."""
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays anyway: thousands of tests, looked at in each run."""
    gc.collect()
    gc.freeze()
    gc.enable()
