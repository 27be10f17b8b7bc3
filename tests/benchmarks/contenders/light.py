"""A Socket.IO connection that registers, stays and answers heartbeats, on a bare socket."""

from __future__ import annotations

from tests.benchmarks import work
from tests.benchmarks.contenders import Bystander, Options
from tests.support.herd import Member, arrive


class _Bystander:
    def __init__(self, member: Member) -> None:
        self._member = member

    async def join(self, room: str) -> None:
        await self._member.call("CLIENT_SUSCRIBE", {"room": room})

    async def master(self, room: str) -> None:
        await self._member.call("MAKE_MASTER", {"room": room, "features": ["NADA"]})

    async def leave(self) -> None:
        await self._member.leave()


async def bystander(port: int, options: Options) -> Bystander:
    """See `tests.benchmarks.contenders`."""
    return _Bystander(await arrive(work.HOST, port))
