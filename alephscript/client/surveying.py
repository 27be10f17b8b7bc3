"""Members about themselves: asking them all, and answering for oneself.

May go in: GET_MEMBERS and the GET_MEMBER_ events, from both ends. May not: capabilities
(`serving`), what a mesh says of its rooms (`client`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from alephscript import contracts
from alephscript.client.calls import Call
from alephscript.client.declaring import Declarations
from alephscript.client.discovery import MemberInfo, MemberStats, Survey
from alephscript.client.serving import Service
from alephscript.client.session import HubSession
from alephscript.errors import ContractError, RequestError
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["SelfDescription", "Topic", "survey"]

Topic = Literal["ping", "info", "stats"]

_CONTRACTS: Mapping[str, Any] = {"ping": dict, "info": MemberInfo, "stats": MemberStats}


@attrs.frozen
class _Member:
    """A member, as GET_MEMBERS is answered."""

    id: str
    name: str


async def survey(session: HubSession, topic: Topic, room: str | None, timeout: float) -> Survey:
    """Ask every member of a room, or of the mesh, at once; those that fail are missing.

    Raises:
        UnknownEvent: The hub is no native one: it does not say which members there are.
        RequestError: The hub does not tell.
        ContractError: The hub answers in another shape.
    """
    query = {"room": room} if room else {}
    reply = await session.dialect.ask_about_mesh(HubEvent.GET_MEMBERS, query, timeout)
    members = contracts.structure(reply.get("members"), list[_Member])
    event, data = f"GET_MEMBER_{topic.upper()}", b"{}"
    calls = [Call(event, data, timeout=timeout, meta={"member": each.id}) for each in members]
    outcomes = await asyncio.gather(*map(session.ask, calls), return_exceptions=True)
    answers: dict[str, Any] = {}
    missing: list[str] = []
    for member, outcome in zip(members, outcomes, strict=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, RequestError):
            raise outcome
        if isinstance(outcome, BaseException) or events.is_failure(outcome):
            missing.append(member.name)
            continue
        del outcome["success"]
        try:
            answers[member.name] = contracts.structure(outcome, _CONTRACTS[topic])
        except ContractError:  # one stranger spoils no survey
            missing.append(member.name)
    return Survey(answers, tuple(missing))


class SelfDescription:
    """A member's answers about itself.

    Args:
        declarations: What its class offers.
        summary: The first paragraph of its class's docstring.
        service: Its capabilities at work.
    """

    def __init__(self, declarations: Declarations, *, summary: str, service: Service) -> None:
        self._declarations = declarations
        self._summary = summary
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()

    def answer(self, event: str, registration: Mapping[str, Any]) -> bytes:
        """Write the answer to one of `alephscript.protocol.events.MEMBER_EVENTS`.

        Args:
            event: The event.
            registration: What the member registered with.
        """
        usuario, sesion = registration["usuario"], registration["sesion"]
        fields: Mapping[str, Any] = {}
        if event == "GET_MEMBER_INFO":
            fields = contracts.unstructure(self._info(usuario, sesion))
        elif event == "GET_MEMBER_STATS":
            fields = contracts.unstructure(MemberStats(usuario, sesion, self._service.stats()))
        return contracts.write({"success": True, **fields})

    def _info(self, usuario: str, sesion: str) -> MemberInfo:
        import importlib.metadata  # a tenth of the time that importing the package takes

        return MemberInfo(
            usuario=usuario,
            sesion=sesion,
            version=importlib.metadata.version("alephscript"),
            capabilities=tuple(self._declarations.capabilities),
            summary=self._summary,
            uptime_ms=round((self._loop.time() - self._opened_at) * 1000),
        )
