"""All connections of a hub: opening and closing them, their heartbeat, and when they write.

May go in: what concerns several connections, or the time that passes for them. May not: what one
client sends (`connection`), how a client joins a namespace (`joining`), what the mesh decides
(`carrier`), or sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from alephscript.errors import RequestError
from alephscript.hub.backlogs import Backlogs, Halves
from alephscript.hub.carrier import Carrier
from alephscript.hub.connection import Connection, Host
from alephscript.hub.joining import Entrance
from alephscript.hub.namespace import Namespace
from alephscript.hub.refusals import RefusalLog
from alephscript.hub.store.logs import Log, MemoryLog
from alephscript.hub.store.memory import MemoryStore
from alephscript.hub.store.store import SharedStore, Store, Values
from alephscript.hub.turns import Turns
from alephscript.mesh.access import Access, Handshake
from alephscript.mesh.limits import DEFAULT_LIMITS, Limits
from alephscript.mesh.mesh import Mesh
from alephscript.mesh.records import Record
from alephscript.protocol import packets
from alephscript.protocol.packets import Kind

__all__ = ["Engine"]


class Engine:
    """All connections of a hub.

    Args:
        meshes: The meshes, by namespace.
        ping_interval: Seconds between heartbeats.
        ping_timeout: Seconds that a client may take to answer a heartbeat.
        limits: How much one client may take of the hub.
        access: The rule for who may come in; None lets in everybody.

    Attributes:
        refusals: How often something was refused, by what was wrong.
        visitors: How each asker by HTTP is ended, with a reason, by its socket id
            (`alephscript.hub.rest.visitor`).
        carriers: The meshes at work, by namespace.
        namespaces: The carriers, and all else that can be joined.
        entrance: The way into the namespaces.
        make_connection: Makes a connection: the class, or what shows the packets besides.
        dirty: See `alephscript.hub.connection.Host`.
        outbox: Called once by `flush`: sends what waits for other hubs.
        is_reading: Whether a websocket's messages are being handed over just now. The caller who
            sets this calls `flush` after the last of them, which spares the loop a turn.
        id_mark: How the ids of this hub's sessions begin, where others serve the same port.
        instance: Names this hub as long as it runs, for readers of its counts.
        turns: Whose input is not all handled.
        backlogs: See `alephscript.hub.connection.Host`.
        halves: Messages of all clients that are not whole yet.
        store: The journal of tasks, of all namespaces.
        values: Where retained values are kept, so that they outlive the hub; None if they do not.
        log: The log of rooms, of all namespaces.
        is_opening: Whether there is a journal that other hubs share and that is not open yet.
        find_obstacle: Tells why no clients should be sent here just now, None if they may come.
    """

    def __init__(
        self,
        meshes: Mapping[str, Mesh],
        *,
        ping_interval: float,
        ping_timeout: float,
        limits: Limits = DEFAULT_LIMITS,
        access: Access | None = None,
    ) -> None:
        self.limits = limits
        self.access = access
        self.refusals: Counter[str] = Counter()
        self.make_connection: Callable[[Host, str, Handshake | None], Connection] = Connection
        self.find_obstacle: Callable[[], str | None] = lambda: None
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.connections: dict[str, Connection] = {}
        self.visitors: dict[str, Callable[[str], None]] = {}
        self.meshes = meshes
        self.carriers = {namespace: Carrier(mesh) for namespace, mesh in meshes.items()}
        self.namespaces: dict[str, Namespace] = {**self.carriers}
        self.use_store(MemoryStore())
        self.is_opening = False
        self.values: Values | None = None
        self.use_log(MemoryLog())
        self.refusal_log = RefusalLog()
        self.entrance = Entrance(self.namespaces, access, self.refusals, self.refusal_log)
        self.is_reading = False
        self.id_mark = ""
        self.instance = secrets.token_hex(8)
        self.turns = Turns()
        self.backlogs = Backlogs(4 * limits.backlog_bytes)
        self.halves = Halves(8 * limits.message_bytes, limits.join_seconds)
        self._began = time.monotonic()
        self.dirty: list[Connection] = []
        self.outbox: Callable[[], None] | None = None
        # The heartbeat is one timer for all: three queues in order of time, looked at now and then.
        # By connection, so that one that ends leaves them at once, and frees all that it held.
        self._heart: asyncio.TimerHandle | None = None
        self._to_ping: OrderedDict[Connection, float] = OrderedDict()
        self._to_hear: OrderedDict[Connection, float] = OrderedDict()
        self._to_join: OrderedDict[Connection, float] = OrderedDict()

    @property
    def is_full(self) -> bool:
        """Whether no further client is taken."""
        return self.clients >= self.limits.connections

    @property
    def clients(self) -> int:
        """How many clients there are, those by HTTP included."""
        return len(self.connections) + len(self.visitors)

    @property
    def is_draining(self) -> bool:
        """Whether open requests may end, and nothing new is taken."""
        return any(mesh.requests.closing for mesh in self.meshes.values())

    @property
    def in_flight(self) -> int:
        """How many requests wait for an answer, of those that end with this hub."""
        requests = sum(len(mesh.requests) for mesh in self.meshes.values())
        if not self.store.outlives_hub:
            return requests
        return requests - sum(mesh.tasks.at_masters for mesh in self.meshes.values())

    @property
    def why_not_ready(self) -> str | None:
        """Why no clients should be sent here just now; None if they may come."""
        if self.is_draining:
            return "draining"
        return "full" if self.is_full else self.find_obstacle()

    def open(
        self, handshake: Handshake | None = None, *, upgrades: tuple[str, ...] = ()
    ) -> Connection:
        """Open a connection, its handshake waiting to be sent.

        Args:
            handshake: How the connection came about; needed only where there is an `Access`.
            upgrades: The transports that the client may change to.
        """
        connection = self.make_connection(self, self.id_mark + secrets.token_urlsafe(15), handshake)
        self.connections[connection.id] = connection
        connection.send(
            packets.open_packet(
                connection.id,
                upgrades=upgrades,
                ping_interval=self.ping_interval,
                ping_timeout=self.ping_timeout,
                max_bytes=self.limits.message_bytes,
            )
        )
        loop = asyncio.get_running_loop()
        self._to_ping[connection] = loop.time() + self.ping_interval
        self._to_join[connection] = loop.time() + self.limits.join_seconds
        if self._heart is None:
            self._heart = loop.call_later(self._beat_seconds(), self._beat)
        return connection

    def close(self) -> None:
        """Close every connection; clients see a transport that went, and come again."""
        for carrier in self.carriers.values():
            carrier.keeper.close()  # before their masters go, which is not the end of tasks
        if self._heart is not None:
            self._heart.cancel()
            self._heart = None
        for end in list(self.visitors.values()):  # first: no master is lost to them
            end("the hub is closing")
        for connection in list(self.connections.values()):
            connection.close("the hub is closing")
        for namespace in self.namespaces.values():
            namespace.close()
        self.entrance.close()
        self._to_ping.clear()
        self._to_hear.clear()
        self._to_join.clear()

    def use_store(self, store: Store) -> None:
        """Keep tasks in a journal; before it is opened."""
        self.store = store
        for carrier in self.carriers.values():
            carrier.keeper.store = store

    def use_values(self, values: Values) -> None:
        """Keep retained values in a file; before it is opened."""
        self.values = values
        for carrier in self.carriers.values():
            carrier.keep_values(values)

    def use_log(self, log: Log) -> None:
        """Keep what is said in rooms in a log; before it is opened."""
        self.log = log
        for carrier in self.carriers.values():
            carrier.scribe.use(log)

    async def open_store(self) -> None:
        """Open the journal of tasks, and go on with those that had not ended; and all else.

        Raises:
            StoreUnavailable: One of them cannot be opened.
        """
        async with contextlib.AsyncExitStack() as opened:
            records = await self.store.open()
            opened.push_async_callback(self.store.close)
            if self.values is not None:
                values = await self.values.open()
                opened.push_async_callback(self.values.close)
                for namespace, room, event, value in values:
                    if namespace in self.meshes:
                        self.meshes[namespace].speech.retained.put(room, event, value)
            await self.log.open()
            opened.pop_all()
        self.is_opening = False
        for carrier in self.carriers.values():
            carrier.keeper.load(records)

    def take_tasks(self, hubs: Collection[str], failed: Callable[[], None]) -> None:
        """Take over the tasks that none of these hubs works on, where hubs share a journal.

        Args:
            hubs: The hubs that there are.
            failed: Called if the journal cannot say just now which tasks these are.
        """
        if not isinstance(self.store, SharedStore):
            return

        def taken(records: Sequence[Record], error: RequestError | None) -> None:
            if error is not None:
                failed()
            for carrier in self.carriers.values():
                carrier.keeper.load(records)

        self.store.take_lost(hubs, taken)

    def share_store(self, store: SharedStore, hub: str) -> None:
        """Keep tasks in a journal that other hubs share; before it is opened."""
        store.hub = hub
        store.notice, store.deaf = self._notice, self._catch_up
        self.use_store(store)
        self.is_opening = True

    def _notice(self, namespace: str, id: str, hub: str) -> None:
        carrier = self.carriers.get(namespace)
        if carrier is not None:
            carrier.keeper.notice(id, hub)

    def _catch_up(self) -> None:
        for carrier in self.carriers.values():
            carrier.keeper.catch_up()

    async def close_store(self) -> None:
        """Close the journal of tasks, which keeps them as they stand, and that of values."""
        for carrier in self.carriers.values():
            carrier.keeper.close()
        await self.log.close()
        if self.values is not None:
            await self.values.close()
        await self.store.close()
        self.is_opening = isinstance(self.store, SharedStore)  # if the hub is opened again

    @property
    def trouble(self) -> str | None:
        """What is wrong with what this hub keeps on a disk; None if nothing is."""
        values = None if self.values is None else self.values.trouble
        return self.store.trouble or values or self.log.trouble

    def take_requests(self, *, take: bool) -> None:
        """Take requests from now on, or refuse them; those that are open may end."""
        for mesh in self.meshes.values():
            mesh.requests.closing = not take

    def add_namespace(self, name: str, namespace: Namespace) -> None:
        """Serve a further namespace."""
        self.namespaces[name] = namespace

    def about(self) -> dict[str, Any]:
        """Describe the hub itself, as plain data."""
        return {
            "version": importlib.metadata.version("alephscript"),
            "uptime": time.monotonic() - self._began,
            "clients": len(self.connections),
        }

    def snapshot(self) -> dict[str, Any]:
        """Describe what is going on, as plain data: see docs/reference/hub.md, "GET /mesh"."""
        return {
            "hub": self.about()
            | {"refusals": dict(self.refusals), "journal": self.trouble or "ok"},
            "namespaces": {
                namespace: {
                    "clients": carrier.mesh.clients,
                    "in_flight": len(carrier.mesh.requests),
                    "late_answers": carrier.mesh.late_answers,
                    "dropped": carrier.mesh.drops.snapshot(),
                    "capabilities": carrier.meter.snapshot(),
                    "tasks": {
                        "now": carrier.mesh.tasks.count(),
                        "ended": [
                            {"state": state, "code": code, "count": count}
                            for (state, code), count in carrier.mesh.tasks.ended.items()
                        ],
                    },
                }
                for namespace, carrier in self.carriers.items()
            },
        }

    # The host of a connection

    def flush(self) -> None:
        """Send what waits to be sent: one write a connection for all that was read."""
        dirty, self.dirty = self.dirty, []
        for connection in dirty:
            connection.flush()
        outbox = self.outbox
        if outbox is not None:
            self.outbox = None
            outbox()

    def control(
        self, connection: Connection, kind: Kind, namespace: str, ack: int | None, payload: bytes
    ) -> None:
        """Handle a packet that is no event and no acknowledgement, or of a stranger there."""
        self.entrance.control(connection, kind, namespace, ack, payload)

    def forget(self, connection: Connection) -> None:
        """Keep nothing of a connection that has ended."""
        self.connections.pop(connection.id, None)
        for queue in (self._to_ping, self._to_hear, self._to_join):
            queue.pop(connection, None)
        self.entrance.leave_all(connection)

    # Heartbeat

    def _beat_seconds(self) -> float:
        """Return the seconds between two looks at the queues: short beside each of the bounds."""
        return min(1.0, self.ping_interval / 4, self.ping_timeout / 4, self.limits.join_seconds / 4)

    def _beat(self) -> None:
        """Ping the clients whose turn it is, and end those that did not answer or never joined."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection, pinged_at in _pop_until(self._to_hear, now - self.ping_timeout):
            if connection.heard_at < pinged_at:
                self.refusals["ping_timeout"] += 1
                connection.close("the client does not answer its ping")
        for connection, _ in _pop_until(self._to_join, now):
            if not connection.sids:
                self.refusals["join_seconds"] += 1
                connection.close("the client joins no namespace")
        for connection, _ in _pop_until(self._to_ping, now):
            connection.send(packets.PING)
            # The ping before counts as long as it is not answered.
            if connection.heard_at >= self._to_hear.get(connection, 0.0):
                self._to_hear.pop(connection, None)
                self._to_hear[connection] = now
            self._to_ping[connection] = now + self.ping_interval
        for carrier in self.carriers.values():
            carrier.measurements.take(now, len(carrier.mesh.requests))
            carrier.journal.rest(now)
        self._heart = (
            loop.call_later(self._beat_seconds(), self._beat) if self.connections else None
        )


def _pop_until(
    queue: OrderedDict[Connection, float], now: float
) -> Iterator[tuple[Connection, float]]:
    """Take out of a queue, in order, what had its time until now; meanwhile others may leave it."""
    while queue:
        connection, at = next(iter(queue.items()))
        if at > now:
            return
        del queue[connection]
        yield connection, at
