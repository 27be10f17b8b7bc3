"""Names as a person reads them: somebody in short, and the name that was meant by a misspelt one.

May go in: rules about names as text. May not: which names there are, and which of them somebody may
see. Pure: no socket, no clock.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

__all__ = ["did_you_mean", "find_near", "short_name"]

_SHORT = 8
"""Characters that are shown of a session made by a machine."""

_MADE = re.compile(r"[0-9a-f-]{16,}", re.IGNORECASE)
"""A session made by a machine; one that people chose may differ in its end only."""

_GLUED = re.compile(
    r"(.+?)"
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{8})",
    re.IGNORECASE | re.DOTALL,
)
"""A usuario with a session behind it, as clients make sessions up."""

_MOST_ALIKE = 64
"""Names that are compared with a misspelt one, of those that are about as long."""

_MOST_NAMES = 1024
"""Names that are looked at."""

_LONGEST = 64
"""Characters of names that are compared; nobody mistypes a longer one by hand."""

_PLACE = 3
"""Characters at the most of the place in which two near names differ."""


def short_name(usuario: str, sesion: str | None = None) -> str:
    """Write who somebody is, for a person to read: ``MyBot 3f2a9c1d``.

    Args:
        usuario: The name that the member registered; without ``sesion``, the name by which a mesh
            knows it, which is the two of them in one: what looks like a session at its end is told
            from the rest.
        sesion: Which instance of that name it is, if that is known by itself.

    Returns:
        The name, a blank and the session, of which eight characters are enough where a machine made
        it. Not escaped: see `printable`.
    """
    if sesion is None:
        glued = _GLUED.fullmatch(usuario)
        if glued is None:
            return usuario
        usuario, sesion = glued[1].rstrip(), glued[2]
    if _MADE.fullmatch(sesion):
        sesion = sesion[:_SHORT]
    return f"{usuario} {sesion}".strip()


def find_near(name: str, known: Iterable[str]) -> list[str]:
    """Find the names that may have been meant by one that is not known.

    Near is a name that differs in the case of its letters only, or in one place: letters left out,
    added, changed or exchanged. So much is decided in a time that hostile names cannot prolong.

    Args:
        name: The name that is not known.
        known: The names that are; the first thousand are looked at.

    Returns:
        At most three, the nearest first.
    """
    wanted = name.casefold()
    if len(name) > _LONGEST or len(wanted) > _LONGEST:
        return []
    about_as_long = (
        each
        for each in itertools.islice(known, _MOST_NAMES)
        if abs(len(each) - len(name)) <= _PLACE and each != name
    )
    ranked = []
    for each in itertools.islice(about_as_long, _MOST_ALIKE):
        place = _differing(wanted, each.casefold())
        if place is not None:
            ranked.append((place, each))
    return [each for _, each in sorted(ranked)[:3]]


def did_you_mean(near: Iterable[str]) -> str:
    """Write the question that ends a message about a name that is not known.

    Args:
        near: The names that may have been meant; see `find_near`.

    Returns:
        ``; did you mean GREET?``, or nothing if there is no such name.
    """
    near = list(near)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _differing(one: str, other: str) -> int | None:
    """Return the characters of the place in which two names differ, None if they are not near."""
    shorter, longer = sorted((one, other), key=len)
    most = len(shorter)
    begin = 0
    while begin < most and shorter[begin] == longer[begin]:
        begin += 1
    end = 0
    while end < most - begin and shorter[-1 - end] == longer[-1 - end]:
        end += 1
    place = len(longer) - begin - end
    if place > min(_PLACE, max(1, (len(longer) + 1) // 3)):
        return None
    return place if begin + end > 0 or place == 0 else None
