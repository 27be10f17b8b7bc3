"""Who is at a hub, as that hub says it to the others.

May go in: the description of a peer for other hubs, and reading one. May not: who is asked (`hub`),
what is told to an asker (`reports`). Pure: no socket, no clock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from alephscript.errors import InvalidPayload, RequestError
from alephscript.mesh.dialects import Dialects
from alephscript.mesh.peers import Peer
from alephscript.protocol import events
from alephscript.protocol.json import read_value

__all__ = ["Censuses", "count_peers", "read_census", "take_census"]

Censuses = Iterable[tuple[str, Sequence[Mapping[str, Any]]]]
"""Each hub's name, and its census."""

_MOST_BYTES = 4_000_000
"""Bytes that a hub says of its peers at once: Redis cuts off whoever has 32 MB to read."""


def take_census(peers: Iterable[Peer]) -> list[msgspec.Raw]:
    """Describe peers to another hub, as many as a frame has room for."""
    census, left = [], _MOST_BYTES
    for peer in peers:
        entry = _describe(peer)
        left -= len(entry)
        if left < 0:
            break
        census.append(msgspec.Raw(entry))
    return census


def read_census(value: Any) -> list[Mapping[str, Any]]:
    """Read a census of another hub; peers that are not described well are left out.

    Raises:
        InvalidPayload: The census is no list.
        PayloadTooLarge: The census is nested too deeply.
    """
    value = read_value(value)
    if not isinstance(value, list):
        raise InvalidPayload("a census that is no list")
    return [each for each in value if _is_described(each)]


def count_peers(censuses: Censuses, dialects: Dialects) -> list[Peer]:
    """Make peers of what other hubs say of theirs; those that cannot be are left out."""
    peers = []
    for hub, census in censuses:
        for each in census:
            with contextlib.suppress(RequestError):
                peers.append(_make_peer(hub, each, dialects))
    return peers


def _describe(peer: Peer) -> bytes:
    registration = peer.registration
    fields = {
        "sid": peer.sid,
        "name": peer.name,
        "rooms": list(peer.rooms),
        "masters": list(peer.mastered),
        "registration": registration
        and {
            **registration.extras,
            "usuario": registration.usuario,
            "sesion": registration.sesion,
        },
    }
    return msgspec.json.encode(fields)


def _make_peer(hub: str, fields: Mapping[str, Any], dialects: Dialects) -> Peer:
    sid = fields["sid"]
    peer = Peer(sid, sid, dialects.choose_remote(reads_meta=False), hub=hub)
    peer.rooms = dict.fromkeys(fields["rooms"])
    peer.mastered = dict.fromkeys(fields["masters"])
    if fields.get("registration") is not None:
        registration = events.parse_registration(fields["registration"])
        peer.register(registration, dialects.choose_remote(reads_meta=registration.is_native))
    if isinstance(fields.get("name"), str):
        peer.rename(fields["name"])  # its hub knows what is proven
    return peer


def _is_described(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("sid"), str)
        and all(
            isinstance(names := value.get(key), list) and all(isinstance(n, str) for n in names)
            for key in ("rooms", "masters")
        )
    )
