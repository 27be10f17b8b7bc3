"""Members about themselves: asking them all, and answering for oneself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from alephscript import contracts
from alephscript.client.discovery import MemberInfo, MemberStats, Survey
from alephscript.client.session import Call, HubSession
from alephscript.errors import RequestError, UnknownEvent, error_from_answer
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.json import write_json

__all__ = ["What", "info", "read", "survey"]

What = Literal["ping", "info", "stats"]

_CONTRACTS: Mapping[str, Any] = {"ping": dict, "info": MemberInfo, "stats": MemberStats}


async def survey(session: HubSession, what: What, room: str | None, timeout: float) -> Survey:
    """Ask every member of a room, or of the mesh, at once; those that fail are missing.

    Raises:
        RequestError: The hub does not say who there is.
    """
    found = await read(session, HubEvent.GET_MEMBERS, {"room": room} if room else {}, timeout)
    members = {each["id"]: each["name"] for each in found["members"]}
    event, data = f"GET_MEMBER_{what.upper()}", b"{}"
    questions = [Call(event, data, timeout=timeout, meta={"member": member}) for member in members]
    answers = await asyncio.gather(*map(session.ask, questions), return_exceptions=True)
    told: dict[str, Any] = {}
    missing: list[str] = []
    for name, answer in zip(members.values(), answers, strict=True):
        if isinstance(answer, BaseException):
            if not isinstance(answer, RequestError):
                raise answer
            missing.append(name)
        elif events.is_failure(answer):
            missing.append(name)
        else:
            told[name] = contracts.structure(_fields(answer), _CONTRACTS[what])
    return Survey(told, tuple(missing))


async def read(
    session: HubSession, event: str, wanted: Mapping[str, Any], timeout: float
) -> dict[str, Any]:
    """What a hub of this package tells about its mesh.

    Raises:
        UnknownEvent: It is a stock hub.
        RequestError: It does not tell.
    """
    if not session.speaks_meta:
        raise UnknownEvent("this hub does not say who offers what; one of alephscript does")
    answer = await session.ask(Call(event, write_json(dict(wanted)), timeout=timeout))
    if events.is_failure(answer):
        raise error_from_answer(answer)
    return _fields(answer)


def info(
    usuario: str, sesion: str, capabilities: Mapping[str, Any], summary: str, uptime: float
) -> MemberInfo:
    """What a member is; ``uptime`` in seconds."""
    import importlib.metadata  # a tenth of the time that importing the package takes

    return MemberInfo(
        usuario=usuario,
        sesion=sesion,
        version=importlib.metadata.version("alephscript"),
        capabilities=tuple(capabilities),
        summary=summary,
        uptime_ms=round(uptime * 1000),
    )


def _fields(answer: Answer) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "success"}
