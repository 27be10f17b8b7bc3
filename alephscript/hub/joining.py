"""How a client gets into the namespaces of a hub, and out of them.

May go in: CONNECT and DISCONNECT, what the hub's `Access` says to the first, and when that runs
out. May not: events (`connection`, `carrier`), or how an `Access` is asked (`admission`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from alephscript.errors import InvalidPayload, RequestError
from alephscript.hub.admission import identify
from alephscript.hub.connection import Connection
from alephscript.hub.namespace import Namespace
from alephscript.hub.refusals import RefusalLog
from alephscript.links.deadlines import Deadlines
from alephscript.mesh.access import Access, Handshake, Identity, Refusal
from alephscript.mesh.presence import Reason
from alephscript.protocol import packets
from alephscript.protocol.events import HubEvent, parse_room_message
from alephscript.protocol.json import parse_json, write_json
from alephscript.protocol.packets import Kind

__all__ = ["Entrance"]


class Entrance:
    """The way into the namespaces of a hub.

    Args:
        namespaces: All that can be joined, by name; more may be added later.
        access: The rule for who may come in; None lets in everybody.
        refusals: Counts who was not let in.
        log: Logs who was not let in.

    Attributes:
        sid_prefix: The text that socket ids begin with, where there are several hubs.
    """

    def __init__(
        self,
        namespaces: Mapping[str, Namespace],
        access: Access | None,
        refusals: Counter[str],
        log: RefusalLog,
    ) -> None:
        self.sid_prefix = ""
        self._namespaces = namespaces
        self._access = access
        self._refusals = refusals
        self._log = log
        self._decisions: dict[tuple[str, str], asyncio.Task[None]] = {}  # by client, namespace
        # Each identity has its own end: one that lasts longer, shown for another namespace, does
        # not prolong it.
        self._expiries: Deadlines[tuple[Connection, str]] = Deadlines(_expire)

    def control(
        self, connection: Connection, kind: Kind, namespace: str, ack: int | None, payload: bytes
    ) -> None:
        """Handle a packet that is no event and no acknowledgement, or of a stranger there."""
        sid = connection.sids.get(namespace)
        if sid is None:
            # A client that is not joined there gets no answer, as from stock hubs.
            if kind is Kind.CONNECT:
                self._connect(connection, namespace, payload)
            elif kind is Kind.DISCONNECT:
                self._withdraw((connection.id, namespace))
            elif kind is Kind.EVENT and namespace in self._namespaces:
                self._namespaces[namespace].dropped("", "not_joined")
            return
        joined = self._namespaces[namespace]
        if kind is Kind.DISCONNECT:
            del connection.sids[namespace]
            self._expiries.forget((connection, namespace))
            joined.left(sid, "disconnected")
        elif kind is Kind.BINARY_EVENT:
            joined.dropped(_event_name(payload), "binary")
            if ack is not None:
                error = InvalidPayload("binary payloads are not accepted; send JSON")
                joined.refused(sid, ack, error)
        elif kind is Kind.BINARY_ACK:
            # No success: the asker would take what is left of the answer for the whole.
            error = InvalidPayload("the answer has binary parts, which are not accepted")
            joined.acknowledged(sid, ack, write_json([error.answer()]))
        elif kind is Kind.CONNECT_ERROR:
            connection.close("a client sends no CONNECT_ERROR")

    def leave_all(self, connection: Connection) -> None:
        """Take a connection that has ended out of all namespaces."""
        reason: Reason = "disconnected" if connection.has_said_goodbye else "link_lost"
        for namespace, sid in connection.sids.items():
            self._expiries.forget((connection, namespace))
            self._namespaces[namespace].left(sid, reason)
        connection.sids.clear()

    def close(self) -> None:
        """End the decisions that are still open, and forget when identities expire."""
        for task in self._decisions.values():
            task.cancel()
        self._expiries.close()

    def _connect(self, connection: Connection, name: str, payload: bytes) -> None:
        namespace = self._namespaces.get(name)
        if namespace is None:
            self._refuse(connection, name, "Invalid namespace")
        elif self._access is None:
            self._join(connection, name, namespace, None)
        else:
            assert connection.handshake is not None  # always given where there is an `Access`
            handshake = attrs.evolve(connection.handshake, namespace=name)
            key = (connection.id, name)
            self._withdraw(key)  # the client has thought better of it, with other credentials
            decision = self._decide(connection, namespace, self._access, payload, handshake)
            task = self._decisions[key] = asyncio.get_running_loop().create_task(decision)
            task.add_done_callback(lambda _: self._forget_decision(key, task))

    def _withdraw(self, key: tuple[str, str]) -> None:
        """End a decision that is open, without a verdict; none open is no error."""
        task = self._decisions.pop(key, None)
        if task is not None:
            task.cancel()

    def _forget_decision(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._decisions.get(key) is task:
            del self._decisions[key]

    async def _decide(
        self,
        connection: Connection,
        namespace: Namespace,
        access: Access,
        payload: bytes,
        handshake: Handshake,
    ) -> None:
        """Let a client in, or not; a decision that takes too long ends with its connection."""
        try:
            auth: Any = parse_json(payload) if payload else None
        except RequestError:
            verdict: Identity | Refusal = Refusal()
        else:
            verdict = await identify(access, auth, handshake)
        name = handshake.namespace
        if connection.closed or self._decisions.get((connection.id, name)) is not (
            asyncio.current_task()
        ):
            return  # nobody waits for this any more, though the rule went on
        if isinstance(verdict, Refusal):
            self._refuse(connection, name, verdict.reason)
            self._refusals["unauthorized"] += 1
            if not connection.sids:
                connection.close_soon("it was not let in")
            return
        self._join(connection, name, namespace, verdict)
        if verdict.expires_at is not None:
            left = max(0.0, verdict.expires_at - time.time())
            self._expiries.set((connection, name), left)

    def _refuse(self, connection: Connection, namespace: str, reason: str) -> None:
        refusal = msgspec.json.encode({"message": reason})
        connection.send(packets.write_packet(Kind.CONNECT_ERROR, namespace, payload=refusal))
        address = connection.handshake.address if connection.handshake is not None else ""
        self._log.note(address, namespace, reason)

    def _join(
        self,
        connection: Connection,
        name: str,
        namespace: Namespace,
        identity: Identity | None,
    ) -> None:
        sid = connection.sids[name] = self.sid_prefix + secrets.token_urlsafe(15)
        accepted = msgspec.json.encode({"sid": sid})
        connection.send(packets.write_packet(Kind.CONNECT, name, payload=accepted))
        namespace.joined(sid, connection, identity)


def _event_name(payload: bytes) -> str:
    """Read which event somebody meant: of a ROOM_MESSAGE, the event inside; empty if none."""
    try:
        name, args = packets.split_event(payload)
        if name == HubEvent.ROOM_MESSAGE and args:
            name = parse_room_message(args[0]).event
    except RequestError:
        return ""
    return name if isinstance(name, str) else ""


def _expire(key: tuple[Connection, str]) -> None:
    connection, _ = key
    connection.close("its identity has expired")
