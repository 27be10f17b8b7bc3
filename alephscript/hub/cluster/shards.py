"""The nodes of a Redis Cluster, among which the channels of rooms are spread (sharded publish).

A room's channel belongs to a slot, and a slot to a node: what is said in a room goes to that node
alone, and from there to the hubs that subscribed (decision 0055). Slots may move, and nodes may be
lost: this hub asks again which node has which slot, and subscribes there; what is said meanwhile
waits. Nothing of that sets a hub adrift: only the node of the registry can.

May go in: which node has a channel, connections to nodes. May not: the registry (`redis`), what is
said (`frames`), who waits for a subscription (`subscriptions`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import hiredis

from alephscript.hub.cluster.commands import Command, CommandQueue, Sign
from alephscript.hub.cluster.opening import Place, open_connection, slot_of
from alephscript.hub.cluster.pace import Pace
from alephscript.hub.cluster.resp import Commands, RedisConnection, Refused
from alephscript.hub.cluster.signing import Freshness

__all__ = ["Shards", "Slots", "find_place", "find_slots"]

logger = logging.getLogger("alephscript.hub.redis")

_AGAIN_SECONDS = 0.1
"""After how long a node is tried again, and the slots are asked for again."""

_ELSEWHERE = ("MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN")
"""What a node says of what is not, or not yet, its own."""

Slots = Sequence[tuple[int, int, Place]]
"""First and last slot, and the node that has them."""

Take = Callable[[bytes, bytes, Freshness], None]
"""Gets a channel, a message and the stamps that came by the same way."""


async def find_slots(url: str, timeout: float, places: Iterable[Place] = ()) -> Slots | None:
    """Ask a node which one has which slots.

    Args:
        url: The address of the cluster: of any of its nodes.
        timeout: Seconds that each step may take.
        places: Other nodes to ask if that one is away.

    Returns:
        None for a Redis that is no cluster.

    Raises:
        OSError: No node can be reached.
    """
    last: Exception = ConnectionError("no node can be reached")
    for place in (None, *places):
        try:
            writer = await open_connection(url, timeout, place)
        except OSError as exc:
            last = exc
            continue
        commands = Commands(lambda command, reply: command.done and command.done(reply), writer)
        commands.resume()
        try:
            async with asyncio.timeout(timeout):
                (reply,) = await commands.execute([("CLUSTER", "SLOTS")])
            if reply:
                return _read_slots(reply, place or _place_of(writer))
            last = ConnectionError("the cluster serves no slots")
        except Refused as exc:
            if "cluster support disabled" in str(exc) or place is None:
                return None
            last = ConnectionError(str(exc))
        except (OSError, TimeoutError) as exc:
            last = exc
        finally:
            commands.fail(ConnectionError("closed"))
    raise last


def _read_slots(reply: Iterable[Any], asked: Place) -> Slots:
    # A node that knows no name of its own means the one that it was reached by.
    return [
        (first, last, ((primary[0] or b"").decode() or asked[0], primary[1]))
        for first, last, primary, *_ in reply
    ]


def _place_of(writer: asyncio.StreamWriter) -> Place:
    host, port, *_ = writer.get_extra_info("peername")
    return host, port


def find_place(slots: Slots, name: bytes) -> Place | None:
    """Find the node that has a key or a channel; None if there is none at the moment."""
    slot = slot_of(name)
    return next((place for first, last, place in slots if first <= slot <= last), None)


class _NodeCommands(Commands):
    """A connection for commands, of which some belong to another node by now."""

    def __init__(
        self,
        answered: Callable[[Command, Any], None],
        moved: Callable[[Command], None],
        writer: asyncio.StreamWriter,
    ) -> None:
        super().__init__(answered, writer)
        self._moved = moved

    def _answer(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_ELSEWHERE):
            command = self.awaited.popleft()
            self.bytes -= command.size
            self._moved(command)
        else:
            super()._answer(reply)


class _Node:
    """A node, and what waits for it.

    Attributes:
        channels: The channels that it was asked for.
    """

    def __init__(self, sign: Sign | None) -> None:
        self.queue = CommandQueue(lambda *_: None, sign)
        self.queue.publish = "SPUBLISH"
        self.seen = Freshness()
        self.channels: dict[bytes, None] = {}
        self.commands: Commands | None = None
        self.reader: RedisConnection | None = None
        self.flush: asyncio.Handle | None = None

    @property
    def is_up(self) -> bool:
        """Whether both connections stand."""
        links = (self.commands, self.reader)
        return all(each is not None and not each.ended.done() for each in links)

    def hang_up(self) -> None:
        """End both connections; what waits to be said stays."""
        for each in (self.commands, self.reader):
            if each is not None:
                each.fail(ConnectionError("closed"))
        self.commands = self.reader = None
        self.channels.clear()


class Shards:
    """The channels of rooms in a Redis Cluster.

    Args:
        url: The address of the cluster.
        timeout: Seconds that each step of connecting may take.
        wanted: Tells the channels that this hub subscribes to.
        take: Gets each message.
        confirm: Told of each subscription that counts from now on.
        sign: Signs messages; None leaves them as they are.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        wanted: Callable[[], Iterable[bytes]],
        take: Take,
        confirm: Callable[[bytes], None],
        sign: Sign | None,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._wanted = wanted
        self._take = take
        self._confirm = confirm
        self._sign = sign
        self._slots: Slots = ()
        self._nodes: dict[Place, _Node] = {}
        self._stale = asyncio.Event()
        self._told = Pace()

    @property
    def places(self) -> Sequence[Place]:
        """The nodes that had slots when somebody last said so; one of them may know more."""
        return list(dict.fromkeys(place for *_, place in self._slots))

    async def open(self, slots: Slots) -> None:
        """Connect to the nodes that can be reached, and subscribe; the rest comes by itself."""
        await self._follow(slots)

    def close(self) -> None:
        """Hang up everywhere."""
        for node in self._nodes.values():
            node.hang_up()
        self._nodes.clear()

    def say(self, channel: bytes, head: bytes, data: bytes) -> None:
        """Send what is said in a room; what the room's node cannot take waits, within bounds."""
        place = find_place(self._slots, channel)
        node = None if place is None else self._nodes.get(place)
        if node is None:
            self._stale.set()
        elif not node.queue.is_full:
            node.queue.put_announcement(channel, head, data)
            self._flush_soon(node)

    def catch_up(self) -> None:
        """Subscribe to what is not heard yet: nobody has asked, or its node is another one now."""
        self.subscribe([each for each in self._wanted() if not self._is_heard(each)])

    def subscribe(self, channels: Iterable[bytes]) -> None:
        """Subscribe to channels, each at its node."""
        for node, theirs in self._by_node(channels).items():
            node.channels.update(dict.fromkeys(theirs))
            assert node.reader is not None
            for channel in theirs:  # one each: those of one command have to be of one slot
                node.reader.write(("SSUBSCRIBE", channel))

    def unsubscribe(self, channels: Iterable[bytes]) -> None:
        """Unsubscribe from channels."""
        for node, theirs in self._by_node(channels).items():
            assert node.reader is not None
            for channel in theirs:
                node.channels.pop(channel, None)
                node.reader.write(("SUNSUBSCRIBE", channel))

    async def keep(self) -> None:
        """Follow the slots where they go, until cancelled."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                slots = await find_slots(self._url, self._timeout, self.places)
                await self._follow(slots or ())
            except (OSError, TimeoutError, Refused) as exc:
                self._complain(exc)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _follow(self, slots: Slots) -> None:
        """Be connected to the nodes that have slots, and subscribe to what is not heard yet."""
        self._slots = slots
        places = {place for *_, place in slots}
        for place in set(self._nodes) - places:
            self._leave(self._nodes.pop(place))
        for place in places:
            node = self._nodes.setdefault(place, _Node(self._sign))
            if not node.is_up:
                try:
                    await self._connect(node, place)
                except (OSError, TimeoutError) as exc:
                    self._complain(exc)
                    self._stale.set()
        self.catch_up()
        for node in self._nodes.values():
            self._flush_soon(node)

    def _leave(self, node: _Node) -> None:
        """Hang up on a node that has no slot any more; what waited for it goes elsewhere."""
        node.hang_up()
        for command in node.queue.take_all():
            self._say_again(command)

    async def _connect(self, node: _Node, place: Place) -> None:
        node.hang_up()
        writer = await open_connection(self._url, self._timeout, place)
        node.commands = _NodeCommands(
            lambda command, reply: self._answered(node, command, reply), self._moved, writer
        )
        writer = await open_connection(self._url, self._timeout, place)
        node.reader = RedisConnection(lambda value: self._hear(node, value), writer)
        for each in (node.commands, node.reader):
            each.ended.add_done_callback(lambda _: self._stale.set())
            each.resume()

    def _is_heard(self, channel: bytes) -> bool:
        """Whether the node that has a channel was asked for it."""
        place = find_place(self._slots, channel)
        node = None if place is None else self._nodes.get(place)
        return node is not None and channel in node.channels

    def _by_node(self, channels: Iterable[bytes]) -> Mapping[_Node, list[bytes]]:
        """Sort channels by their nodes, without those whose node is away."""
        found: dict[_Node, list[bytes]] = {}
        for channel in channels:
            place = find_place(self._slots, channel)
            node = None if place is None else self._nodes.get(place)
            if node is not None and node.is_up:
                found.setdefault(node, []).append(channel)
            else:
                self._stale.set()
                self._confirm(channel)  # nothing else could be promised to who waits
        return found

    def _hear(self, node: _Node, value: Any) -> None:
        if isinstance(value, hiredis.ReplyError):
            node.channels.clear()  # of which one is elsewhere: all are asked for again
            self._stale.set()
            return
        kind, channel, data = value
        if kind == b"smessage":
            self._take(channel, data, node.seen)
        elif kind == b"ssubscribe":
            self._confirm(channel)
        elif kind == b"sunsubscribe" and node.channels.pop(channel, self) is not self:
            self._stale.set()  # its slot has left the node

    def _moved(self, command: Command) -> None:
        self._stale.set()
        asyncio.get_running_loop().call_later(_AGAIN_SECONDS * 2, self._say_again, command)

    def _say_again(self, command: Command) -> None:
        """Put a message to the node that has its channel by now."""
        place = find_place(self._slots, command.channel)
        node = None if place is None else self._nodes.get(place)
        if node is not None and not node.queue.is_full:
            node.queue.put_again(command)
            self._flush_soon(node)

    def _flush_soon(self, node: _Node) -> None:
        if node.flush is None:
            node.flush = asyncio.get_running_loop().call_soon(self._send, node)

    def _send(self, node: _Node) -> None:
        node.flush = None
        if node.commands is None or not node.is_up:
            self._stale.set()
            return
        batch = node.queue.take(len(node.commands.awaited), node.commands.bytes)
        if batch:
            node.commands.send(batch)

    def _answered(self, node: _Node, command: Command, reply: Any) -> None:
        if command.done is not None:
            command.done(reply)
        if node.queue:
            self._flush_soon(node)

    def _complain(self, exc: BaseException) -> None:
        if self._told.is_due():
            reason = str(exc) or type(exc).__name__
            logger.warning(
                "a node of the Redis cluster is away: %s; rooms on it wait",
                reason,
                extra={"reason": reason},
            )
