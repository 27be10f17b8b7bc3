"""A hub on a disk that is full, until SIGUSR1 makes room: ``… full_hub BYTES [options]``.

No file of the process grows beyond BYTES before that, as the system tells whoever writes.
"""

from __future__ import annotations

import resource
import runpy
import signal
import sys


def main(size: int) -> None:
    """Be a hub."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    signal.signal(
        signal.SIGUSR1, lambda *_: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    )
    sys.argv = ["alephscript", "hub", *sys.argv[2:]]
    runpy.run_module("alephscript", run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]))
