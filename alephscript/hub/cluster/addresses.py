"""How the address of a registry is written where people read it: without what opens it.

May go in: which parts of an address may be shown. May not: what an address means (`redis`).
"""

from __future__ import annotations

import re

__all__ = ["show_address"]


def show_address(url: str) -> str | None:
    """Write an address without user, password and query.

    Returns:
        None for an address of another form: a password with a slash in it, for example, would show
        up as the path.
    """
    match = _ADDRESS.fullmatch(url)
    return None if match is None else f"{match['scheme']}://{match['place']}"


_ADDRESS = re.compile(
    r"(?P<scheme>rediss?)://(?:[^/?#]*@)?"
    r"(?P<place>(?:[\w.-]*|\[[\da-fA-F:.]+\])(?::\d+)?(?:/\d*)?)(?:\?[^@]*)?"
)
