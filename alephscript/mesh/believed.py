"""What an asker says of its request beside the question, as far as the hub believes it.

May go in: what a hub puts in place of what a peer claims. May not: how a meta is read (`meta`),
what becomes of the request (`requests`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alephscript.errors import Conflict
from alephscript.mesh.meta import RequestMeta, parse_number
from alephscript.mesh.peers import OpenRequest, Peer

__all__ = ["with_allowed_priority", "with_known_chain"]

_LONGEST_CHAIN = 16
"""Requests inside each other, before they are taken for a loop."""


def with_known_chain(peer: Peer, meta: RequestMeta) -> RequestMeta:
    """Put what the hub knows of a chain in place of what the asker says of it.

    An asker is believed which of the open requests that it serves has led to this one, and nothing
    else: a master starts a request at once that comes of one of its own (decision 0018). The hub of
    an asker elsewhere has done this already.

    Raises:
        Conflict: Too many requests stand inside each other.
    """
    if peer.hub:
        return meta
    extras = dict(meta.extras)
    claims = extras.pop("chain")
    parent = _find_parent(peer, claims)
    if parent is not None:
        chain = [*parent.meta.extras.get("chain", ()), str(parent.number)]
        if len(chain) > _LONGEST_CHAIN:
            raise Conflict(f"more than {_LONGEST_CHAIN} requests inside each other: a loop?")
        extras["chain"] = chain
    return msgspec.structs.replace(meta, extras=extras)


def with_allowed_priority(peer: Peer, meta: RequestMeta) -> RequestMeta:
    """Lower a priority to what an asker may have; the hub of an asker elsewhere has done so."""
    highest = 0 if peer.identity is None else peer.identity.highest_priority
    if peer.hub or meta.extras["priority"] <= highest:
        return meta
    return msgspec.structs.replace(meta, extras={**meta.extras, "priority": highest})


def _find_parent(peer: Peer, claims: Sequence[str]) -> OpenRequest | None:
    """Find the open request of a peer's that is the last of those that the peer names."""
    serving = peer.serving
    for claim in reversed(claims[-_LONGEST_CHAIN:]):
        number = parse_number(claim)
        if number is not None and number in serving:
            return serving[number]
    return None
