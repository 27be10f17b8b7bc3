"""Capabilities that somebody else describes, rather than the types of a method.

May go in: making such a capability. May not: who describes it (`doors`,
`bridge`), what a decorated method declares (`declaring`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from alephscript.client.declaring import Capability
from alephscript.protocol import events

__all__ = ["describe_capability"]


@attrs.frozen
class _Described(Capability):
    """A capability with its description as it stands on the wire."""

    described: Mapping[str, Any] = attrs.field(factory=dict)

    def description(self) -> dict[str, Any]:
        return dict(self.described)


def describe_capability(
    name: str,
    method: str,
    described: Mapping[str, Any],
    *,
    rooms: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    streams: bool = False,
) -> Capability:
    """Make a capability of a method that takes a `Request` of any JSON and returns any JSON.

    Args:
        name: The capability's name.
        method: Name of the method; what a call returns may be an async generator of parts.
        described: What its master tells the hub of it; see `Capability.description`.
        rooms: Rooms that it is offered in; empty means the first room that is mastered.
        aliases: Further names under which it answers.
        streams: Whether the method is a generator.
    """
    return _Described(
        name=events.capability_name(name),
        attribute=method,
        rooms=rooms,
        aliases=aliases,
        timeout=None,
        announce=False,
        idempotent=described.get("idempotent", False),
        on_asker_lost="cancel",
        max_in_flight=None,
        queue=1024,
        streams=streams,
        payload=None,
        reply=None,
        wants_request=True,
        takes_payload=True,
        blocking=False,
        wrapped=True,
        described=described,
    )
