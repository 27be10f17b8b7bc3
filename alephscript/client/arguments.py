"""Arguments that callers give: what is no number of seconds, no count and no list of names.

Without a look at them NaN, an infinity or a text would be met later, by a timer or a loop, when
something has been sent or kept already.

May go in: checks of arguments, and the error that names one. May not: payloads (`contracts`), names
that hubs know (`protocol.events`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from alephscript.errors import ContractError, InvalidPayload
from alephscript.protocol.positions import Position, write_since
from alephscript.protocol.text import write_type

__all__ = [
    "check_count",
    "check_position",
    "check_seconds",
    "check_since",
    "check_text",
    "is_count",
    "is_number",
    "names_of",
    "unfit",
]


def unfit(where: str, name: str, message: str) -> ContractError:
    """Make the error that says which argument of what does not fit, and why."""
    return ContractError(where, [{"path": name, "message": message}])


def is_number(value: Any) -> bool:
    """Return whether a value is a number: finite, no truth value, no text."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -math.inf < value < math.inf
    )


def is_count(value: Any, least: int) -> bool:
    """Return whether a value is a whole number of at least so many."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_seconds(where: str, name: str, value: Any) -> None:
    """Refuse what is neither None nor a number of seconds.

    Raises:
        ContractError: The value is none of these.
    """
    if value is not None and not is_number(value):
        raise unfit(where, name, f"a number of seconds, or None, and not {_brief(value)}")


def check_count(where: str, name: str, value: Any, least: int) -> None:
    """Refuse what is no count.

    Raises:
        ContractError: The value is no whole number, or less than the least.
    """
    if not is_count(value, least):
        raise unfit(where, name, f"a whole number, {least} or more, and not {_brief(value)}")


def check_text(where: str, name: str, value: Any) -> None:
    """Refuse what is neither None nor a text.

    Raises:
        ContractError: The value is none of these.
    """
    if value is not None and not isinstance(value, str):
        raise unfit(where, name, f"a text, and not {write_type(value)}")


def check_since(where: str, since: Any) -> str:
    """Return since when somebody wants to hear what was said, as hubs read it.

    Raises:
        ContractError: The value is no duration, no time and no position.
    """
    try:
        return write_since(since)
    except InvalidPayload:
        expected = 'a duration such as "10m", a datetime or its ISO text, or a Position'
        # A text is as good as shown: no secret is a time.
        given = repr(since[:40]) if isinstance(since, str) else _brief(since)
        raise unfit(where, "since", f"{expected}, and not {given}") from None


def check_position(where: str, since: Any) -> None:
    """Refuse what is no position.

    Raises:
        ContractError: The value is none.
    """
    if not isinstance(since, Position):
        ways = "events(room, since=…) takes more"
        raise unfit(where, "since", f"a Position, and not {write_type(since)}; {ways}")


def names_of(value: Any) -> tuple[str, ...] | None:
    """Return the names in a sequence; None if the value is a text, a mapping, or has others."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return None
    names = tuple(value)
    return names if all(isinstance(each, str) and each for each in names) else None


def _brief(value: Any) -> str:
    """Show a number as it is, and of anything else its type alone: it may be a secret."""
    return repr(value) if isinstance(value, int | float) else write_type(value)
