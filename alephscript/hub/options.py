"""What users set of a hub: read, or refused with what to change.

May go in: options that can be judged before anything is opened. May not: what they are good for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from alephscript.errors import AlephScriptError, InvalidPayload
from alephscript.hub.pages import find_admin_ui
from alephscript.mesh.retained import parse_rules
from alephscript.protocol.events import check_room_name
from alephscript.protocol.positions import parse_bytes, parse_duration

__all__ = [
    "HubError",
    "LogOptions",
    "check_numbers",
    "read_admin_ui",
    "read_keep",
    "read_log",
    "read_retain",
]


class HubError(AlephScriptError, OSError):
    """A hub cannot be started with these options; the message says which to change."""


@attrs.frozen
class LogOptions:
    """What is kept of what members say.

    Attributes:
        rooms: The rooms that have a log; ``*`` stands for all, and none means that there is none.
        seconds: How long the log keeps events.
        size: How many bytes of them; None for as many as is usual where they are kept.
    """

    rooms: Sequence[str]
    seconds: float
    size: int | None


def read_log(rooms: Sequence[str], keep: float | str, size: int | str | None) -> LogOptions:
    """Read which rooms have a log, how long it keeps events, and how many bytes of them.

    Raises:
        HubError: A room is none, ``keep`` is no duration, or ``size`` no size.
    """
    rooms = (rooms,) if isinstance(rooms, str) else tuple(rooms)
    try:
        for room in rooms:
            check_room_name(room)
    except InvalidPayload:
        raise HubError(f"log={room!r} (--log) is no room; write one's name, or *") from None
    seconds = parse_duration(keep) if isinstance(keep, str) else keep
    if seconds is None or not 0 < seconds < float("inf"):
        raise HubError(f"log_keep={keep!r} (--log-keep) is no duration; write 7d, 12h or 30m")
    count = parse_bytes(size) if isinstance(size, str) else size
    if size is not None and (count is None or count <= 0):
        raise HubError(f"log_bytes={size!r} (--log-bytes) is no size; write 1G, 200M or 500k")
    return LogOptions(rooms, seconds, count)


def read_retain(rules: Sequence[str]) -> Mapping[str, frozenset[str]]:
    """Read which events are retained whatever their senders want, by room.

    Raises:
        HubError: A rule is none.
    """
    try:
        return parse_rules((rules,) if isinstance(rules, str) else rules)
    except ValueError as exc:
        raise HubError(f"retain=… (--retain): {exc}") from None


def read_keep(seconds: float) -> float:
    """Read how long tasks that have ended are kept.

    Raises:
        HubError: They would not be kept at all.
    """
    if not seconds > 0:
        raise HubError(f"{seconds:g} s keep no task: keep_tasks (--keep-tasks) is more than 0")
    return seconds


def check_numbers(history: int, default_timeout: float, ping: tuple[float, float]) -> None:
    """Refuse numbers that a hub would meet later, with clients connected.

    Args:
        history: Events of each room that are kept.
        default_timeout: Seconds of a request.
        ping: Seconds between heartbeats, and for the answer to one.

    Raises:
        HubError: One of them is none, or too small.
    """
    if type(history) is not int or history < 0:
        raise HubError(f"history={history!r} (--history) is no number of events; 0 keeps none")
    for name, seconds in zip(
        ("default_timeout", "ping_interval", "ping_timeout"), (default_timeout, *ping), strict=True
    ):
        if type(seconds) not in {int, float} or not 0 < seconds < float("inf"):
            raise HubError(f"{name}={seconds!r} is no number of seconds over 0")


def read_admin_ui(folder: Path | str | None) -> Path | None:
    """Find the pages of the Admin UI, if there are to be any.

    Raises:
        HubError: The folder has none.
    """
    if folder is None:
        return None
    pages = find_admin_ui(Path(folder))
    if pages is None:
        raise HubError(
            f"{folder} holds no Admin UI; `npm install @socket.io/admin-ui` makes "
            "node_modules/@socket.io/admin-ui"
        )
    return pages
