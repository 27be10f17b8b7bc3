"""What a client finds out about its mesh, and calls there by the name of a method.

May go in: what a user calls for that, with its documentation. May not: what the answers look like
(`discovery`), how members are asked (`surveying`), how a method becomes a request (`proxy`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar, cast

from alephscript import contracts
from alephscript.client import surveying
from alephscript.client.arguments import check_seconds
from alephscript.client.asking import USE_CLIENT_TIMEOUT, UseClientTimeout
from alephscript.client.discovery import MasterChange, Member, Offer, Survey
from alephscript.client.proxy import Proxy, methods_of
from alephscript.client.speaking import Speaker
from alephscript.errors import error_from_answer
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["Explorer"]

T = TypeVar("T")


class Explorer(Speaker):
    """The part of a client that finds out who is there, and what is offered."""

    def proxy(
        self,
        cls: type[T],
        *,
        room: str | None = None,
        timeout: float | UseClientTimeout | None = USE_CLIENT_TIMEOUT,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
    ) -> T:
        """Return a master's methods, to be called as if the master were here.

        ::

            bot = client.proxy(PersefonBot)
            step = await bot.step_fia(StepFIA(session_id=sid, fia_index=0))  # a StepResult

        Args:
            cls: The master's class, or a Protocol with some of its methods; a method that takes a
                `Request` or is a plain ``def`` is better declared in a Protocol, by what it takes
                and gives from afar.
            room: The room to ask; by default one that offers the capability.
            timeout: Seconds to wait, as in `request`.
            on_ask: As in `request`.
            idle_timeout: As in `request`.
            priority: As in `request`.

        Raises:
            DeclarationError: The class offers nothing.
        """
        options: dict[str, Any] = {
            "room": room,
            "on_ask": on_ask,
            "idle_timeout": idle_timeout,
            "priority": priority,
        }
        if timeout is not USE_CLIENT_TIMEOUT:
            options["timeout"] = timeout
        return cast("T", Proxy(self, cls.__qualname__, methods_of(cls), options))

    async def server_state(self) -> dict[str, Any]:
        """Ask the hub which members are where, and which of them master what.

        Returns:
            The payload of SET_SERVER_STATE.

        Raises:
            RequestError: There was no answer, or a failed one.
        """
        dialect = self._alephscript_life.present_session().dialect
        answer = await dialect.server_state(self._alephscript_timeout or events.DEFAULT_TIMEOUT)
        if events.is_failure(answer):
            raise error_from_answer(answer)
        return {key: value for key, value in answer.items() if key != "success"}

    async def discover(
        self, *, room: str | None = None, capability: str | None = None
    ) -> list[Offer]:
        """Ask the hub which capabilities are offered, with the schemas of payloads and answers.

        Masters of other packages appear with the names that they declared.

        Args:
            room: Only this room.
            capability: Only this capability.

        Raises:
            UnknownEvent: The hub is none of this package, and does not say.
            ContractError: The hub answers in another shape.
        """
        name = None if capability is None else events.capability_name(capability)
        query = {"room": room, "capability": name}
        dialect, timeout = (
            self._alephscript_life.present_session().dialect,
            self._alephscript_timeout,
        )
        reply = await dialect.ask_about_mesh(
            HubEvent.GET_CAPABILITIES, query, timeout or events.DEFAULT_TIMEOUT
        )
        return contracts.structure(reply.get("offers"), list[Offer])

    async def watch_masters(self) -> AsyncIterator[MasterChange]:
        """Iterate over each change of a master, in any room, also across reconnections."""
        with contextlib.closing(self.events(None, HubEvent.MASTER_CHANGED)) as stream:
            if events.EVERY_ROOM not in self._alephscript_rooms:
                await self.subscribe(events.EVERY_ROOM)
            async for event in stream:
                yield contracts.structure(event.data, MasterChange)

    async def members(self, room: str) -> list[Member]:
        """Ask the hub who is in a room just now, at whichever hub; this client included if it is.

        Args:
            room: The room; the client need not be in it.

        Returns:
            The members by ``usuario`` and ``sesion``, those of other packages, too; as many as an
            answer of 500 kB has room for.

        Raises:
            PermissionDenied: The client may not be in the room.
            RequestError: The hub does not tell.
        """
        dialect = self._alephscript_life.present_session().dialect
        timeout = self._alephscript_timeout or events.DEFAULT_TIMEOUT
        members = await dialect.members(events.check_room_name(room), timeout)
        return contracts.structure(members, list[Member])

    async def survey(
        self, topic: surveying.Topic = "info", *, room: str | None = None, timeout: float = 2.0
    ) -> Survey:
        """Ask every member that is of this package what it is, or how it does, all at once.

        Args:
            topic: ``ping``; ``info``, a `MemberInfo` each; ``stats``, a `MemberStats` each.
            room: Only members of this room.
            timeout: Seconds after which members that have not answered are missing.

        Raises:
            UnknownEvent: The hub is none of this package, and does not say which members there are.
            ContractError: The timeout is no number, or the hub answers in another shape.
        """
        check_seconds("survey", "timeout", timeout)
        return await surveying.survey(
            self._alephscript_life.present_session(), topic, room, timeout
        )
