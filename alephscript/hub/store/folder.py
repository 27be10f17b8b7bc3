"""A hub's folder of data: made if there is none, and locked as long as a hub works on it.

May go in: the folder itself. May not: what is in it (a file each, beside this one).
"""

from __future__ import annotations

import os
from pathlib import Path

from alephscript.hub.store.store import StoreUnavailable

__all__ = ["Folder"]


class Folder:
    """A folder that one hub works on at a time.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folder if there is none, for nobody else to read, and lock it.

        Raises:
            StoreUnavailable: It cannot be made or written, or another hub works on it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise StoreUnavailable(
                f"cannot keep tasks in {self.path}: {exc.strerror}; choose another folder (--data)"
            ) from exc
        try:
            _take(lock)
        except OSError as exc:
            os.close(lock)
            raise StoreUnavailable(
                f"another hub works on {self.path}; stop that one, or choose another folder "
                "(--data). Several hubs share one mesh by --redis"
            ) from exc
        self._lock = lock

    def close(self) -> None:
        """Let another hub work on it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def _take(lock: int) -> None:
    """Lock an open file, or raise `OSError`; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        import msvcrt

        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
