"""Things that the commands of doors to other protocols share.

May go in: what is alike in `a2a` and `mcp`. May not: either protocol.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from types import ModuleType

from alephscript.cli.options import CliError
from alephscript.cli.printing import complain
from alephscript.errors import ConnectionRefused

__all__ = ["import_door", "listening_on"]


def import_door(name: str) -> ModuleType:
    """Import a door to another protocol, which needs the protocol's SDK.

    Args:
        name: Its package, and the extra that brings the SDK.

    Raises:
        CliError: The extra is not installed.
    """
    try:
        return importlib.import_module(f"alephscript.{name}")
    except ModuleNotFoundError as exc:
        install = f"pip install 'alephscript[{name}]'"
        raise CliError(f"{name.upper()} needs its SDK: {install}") from exc


@contextlib.contextmanager
def listening_on(port: int, name: str) -> Iterator[Callable[[str], None]]:
    """Say where a door listens, or which port it cannot have.

    Args:
        port: The port that is wanted.
        name: The command.

    Raises:
        CliError: The port cannot be had.
    """
    try:
        yield lambda url: complain(f"alephscript {name} listening on {url}")
    except ConnectionRefused:
        raise  # an OSError, too
    except OSError as error:
        reason = error.strerror or str(error)
        raise CliError(f"cannot listen on port {port}: {reason}") from None
