"""Names on both sides of a door: of the offers of a mesh, of the capabilities that a server has.

May go in: rules about which name stands for what. May not: when something comes or goes.

Pure: no socket, no clock.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

from alephscript.client.discovery import Offer
from alephscript.errors import RequestError
from alephscript.protocol import events

__all__ = ["free_names", "is_name", "name_offers"]

_LONGEST_NAME = 64
"""Models' clients take no more, although MCP allows 128 characters."""
_DIGEST = re.compile(r"-[0-9a-f]{32}\Z")


def name_offers(
    offers: Iterable[Offer], taken: Collection[str], preferred: Callable[[Offer], str]
) -> dict[tuple[str, str], str]:
    """Name each offer: by its capability, with its room where others are called so.

    A name that two offers could have is nobody's, so that none can take the name of another. The
    names depend on the offers alone, not on their order.

    Args:
        offers: All offers, those included that have gone and whose names stay theirs.
        taken: Other names.
        preferred: The name that an offer would have if there were no others.

    Returns:
        The names, by room and capability: 1 to 64 letters, digits, ``_`` and ``-``.
    """
    candidates: dict[tuple[str, str], tuple[str, str]] = {}
    for offer in offers:
        name = preferred(offer)
        candidates[offer.room, offer.capability] = _plain(name), _plain(f"{offer.room}_{name}")
    users = Counter(name for names in candidates.values() for name in {*names})
    users.update(list(taken))
    return {
        key: next(
            (name for name in names if users[name] == 1 and not _DIGEST.search(name)),
            f"{names[0][:31]}-{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}",
        )
        for key, names in candidates.items()
    }


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:_LONGEST_NAME] or "_"


def free_names(name: str, taken: Collection[str]) -> list[str]:
    """Return the names that a server's tool or skill can have as a capability, the best one first.

    Args:
        name: Its name at the server.
        taken: Names of capabilities, and their aliases, without ``GET_``.

    Returns:
        The name in upper case and the name itself, without those that are taken or that no
        capability can have.
    """
    return [each for each in dict.fromkeys((name.upper(), name)) if _is_free(each, taken)]


def _is_free(name: str, taken: Collection[str]) -> bool:
    if not is_name(name):
        return False
    return (
        events.request_event(name) not in events.ANSWERED_BY_HUB
        and events.capability_name(name) not in taken
    )


def is_name(name: Any) -> bool:
    """Whether something can be asked by a name."""
    try:
        return isinstance(name, str) and bool(events.capability_name(events.request_event(name)))
    except RequestError:
        return False
