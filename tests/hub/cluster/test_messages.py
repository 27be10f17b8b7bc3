"""What hubs send each other goes in few messages, keeps its order, and is read by older hubs."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st
from redis import Redis

from alephscript import AlephScriptClient, capability
from alephscript.hub import Hub
from alephscript.hub.cluster import cluster
from alephscript.hub.cluster.commands import Command, CommandQueue
from alephscript.hub.cluster.frames import (
    MALFORMED,
    find_sender,
    has_kinds,
    make_hub_name,
    read_message,
    read_one_by_one,
    reads_kinds,
    reads_messages,
    write_frames_head,
    write_head,
    write_item,
    write_single,
)
from alephscript.hub.cluster.opening import open_connection
from alephscript.hub.cluster.resp import Commands, RedisConnection, Refused
from alephscript.mesh.frames import Lost, read_frames

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

HEAD = write_head("me")
STEPS = st.lists(st.sampled_from(["hub x", "hub y", "room r", "room s", "command"]), max_size=40)


def nothing(_: Any, __: Any) -> None:
    """Nobody was there."""


def put(queue: CommandQueue, step: str, number: int) -> None:
    """Let something wait."""
    kind, _, name = step.partition(" ")
    if kind == "hub":
        queue.put_frame(name, HEAD, write_item([number]))
    elif kind == "room":
        queue.put_announcement(name.encode(), HEAD, write_item([number]))
    else:
        queue.put(("EVALSHA", number), None)


def numbers(command: Command) -> list[int]:
    """What is in a command."""
    words = command.words
    if words[0] == "EVALSHA":
        return [words[1]]
    hub, items = read_message(words[2])
    assert hub == "me"
    return [json.loads(bytes(item))[0] for item in items]


@given(STEPS)
def test_only_what_is_for_different_hubs_changes_its_order(steps: list[str]) -> None:
    """Else a hub could hear an answer before what was said before it, or a loss before a claim."""
    queue = CommandQueue(nothing)
    for number, step in enumerate(steps):
        put(queue, step, number)
    sent = [number for command in queue.take() for number in numbers(command)]
    assert sorted(sent) == list(range(len(steps)))
    for hub in ("x", "y"):
        seen = [number for number in sent if steps[number] != f"hub {hub}"]
        assert seen == sorted(seen)


def test_what_is_for_one_place_is_one_message() -> None:
    """For each hub, however they take turns; for a room as long as nothing comes between."""
    queue = CommandQueue(nothing)
    for number in range(100):
        put(queue, f"hub {'xy'[number % 2]}", number)
    assert [len(numbers(each)) for each in queue.take()] == [50, 50]
    for number in range(100):
        put(queue, "room r", number)
    for number in range(4):
        put(queue, f"room {'rs'[number % 2]}", number)
    assert [len(numbers(each)) for each in queue.take()] == [101, 1, 1, 1]
    assert queue.take() == []


def test_a_message_that_was_taken_takes_no_more() -> None:
    """And one that is large."""
    queue = CommandQueue(nothing)
    put(queue, "hub x", 1)
    assert len(queue.take()) == 1
    for _ in range(5):
        queue.put_frame("x", HEAD, b"[" + b"1" * 60_000 + b"]")
    assert len(queue.take()) == 3


def test_frames_of_two_namespaces_keep_their_order() -> None:
    """In messages of their own, since a message is of one."""
    queue = CommandQueue(nothing)
    other = write_head("me")
    for number, head in enumerate((HEAD, HEAD, other, HEAD, HEAD)):
        queue.put_frame("x", head, write_item([number]))
    assert [numbers(each) for each in queue.take()] == [[0, 1], [2], [3, 4]]


def test_a_frame_that_has_to_come_back_does_if_nobody_took_its_message() -> None:
    """Each of them, and the registry is told, which looks after that hub."""
    told: list[Any] = []
    queue = CommandQueue(lambda listeners, frames: told.append((listeners, list(frames))))
    for name in ("one", "two"):
        queue.put_frame("x", HEAD, b"[1]", name)
    queue.put_frame("x", HEAD, b"[1]")
    (message,) = queue.take()
    assert message.done is not None
    message.done(1)
    assert told == []
    message.done(0)
    error = ConnectionError()
    message.done(error)
    assert told == [(0, ["one", "two"]), (error, ["one", "two"])]


def test_a_message_is_read_in_all_forms() -> None:
    """Of several, and of one, as hubs before wrote it; and of one namespace."""
    item = write_item(["/runtime", "lost", 1, "s"])
    for data, count in (
        (HEAD + item + b"]]", 1),
        (HEAD + item + b"," + item + b"]]", 2),
        (HEAD + b"]]", 0),
        (write_single("me", item), 1),
    ):
        hub, items = read_message(data)
        assert (hub, len(items)) == ("me", count)
        for each in items:
            assert json.loads(bytes(each)) == ["/runtime", "lost", 1, "s"]
    assert json.loads(write_single("me", item)) == ["me", "/runtime", "lost", 1, "s"]
    message = write_frames_head("me", "/runtime") + write_item(["lost", 1, "s"]) + b"]]"
    assert has_kinds(message)
    assert not has_kinds(HEAD)
    hub, namespace, (only,) = read_one_by_one(message)
    assert (hub, namespace, json.loads(bytes(only))) == ("me", "/runtime", ["lost", 1, "s"])
    assert read_frames(message) == (("me", "/runtime"), [Lost(1, "s")])
    assert {find_sender(each) for each in (message, HEAD, data)} == {"me"}


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_message_or_none(data: bytes) -> None:
    """Nothing else is raised."""
    for each in (data, HEAD + data, HEAD + data + b"]]"):
        for read in (read_message, read_one_by_one, read_frames):
            with suppress(*MALFORMED):
                read(each)


def test_a_hub_is_known_by_its_name() -> None:
    """Hubs before had hexadecimal digits alone."""
    for reads in (reads_messages, reads_kinds):
        assert reads(make_hub_name())
        assert not any(reads(secrets.token_hex(6)) for _ in range(1000))
    assert not any(reads_kinds(f"m{secrets.token_hex(6)}") for _ in range(1000))


# With a Redis


class Bot(AlephScriptClient):
    """Answers, and tells the room."""

    rooms = ("R",)

    @capability("X")
    async def x(self, number: int) -> dict[str, Any]:
        """Say it again."""
        await self.broadcast("HAPPENED", number)
        return {"number": number}


@asynccontextmanager
async def wiretap(server: Any, url: str) -> AsyncIterator[Callable[[], list[tuple[str, bytes]]]]:
    """Gives what is published, but for notices."""
    database = url.rpartition("/")[2]
    with Redis(port=server.port) as reader:
        channels = reader.pubsub(ignore_subscribe_messages=True)
        channels.psubscribe(f"alephscript:{database}:to:*", f"alephscript:{database}:in:*")

        def read() -> list[tuple[str, bytes]]:
            found = []
            for _ in range(10):  # where nothing is told there is no message, either
                while (message := channels.get_message(timeout=0.02)) is not None:
                    found.append((message["channel"].decode(), message["data"]))
            return found

        yield read
        channels.close()


@pytest.mark.peers
async def test_many_frames_of_a_turn_are_few_messages(shared_redis: Any) -> None:
    """And everything is answered, and heard in its order."""
    url = shared_redis.url()
    async with (
        Hub(port=0, redis=url) as one,
        Hub(port=0, redis=url) as two,
        Bot(two.url),
        AlephScriptClient(one.url) as asker,
        wiretap(shared_redis, url) as read,
    ):
        await asker.subscribe("R")
        heard = asker.events("R", "HAPPENED")
        answers = await asyncio.gather(*(asker.request("X", n) for n in range(200)))
        assert [each["number"] for each in answers] == list(range(200))
        assert [(await anext(heard)).data for _ in range(200)] == list(range(200))
        asks = [data for channel, data in read() if b'"ask"' in data]
        assert sum(data.count(b'"ask"') for data in asks) == 200
        assert len(asks) <= 40


@pytest.mark.peers
@pytest.mark.parametrize("older", ["one", "two"])
@pytest.mark.parametrize("mark", ["", "m"])
async def test_hubs_of_before_are_written_to_as_they_read(
    shared_redis: Any, monkeypatch: pytest.MonkeyPatch, older: str, mark: str
) -> None:
    """In requests, answers and events, whichever of the two it is; and they are understood."""
    url = shared_redis.url()
    names = {"one": make_hub_name(), "two": make_hub_name()}
    names[older] = mark + secrets.token_hex(6)
    given = iter(names.values())
    monkeypatch.setattr(cluster, "make_hub_name", lambda: next(given))
    async with (
        Hub(port=0, redis=url) as one,
        Hub(port=0, redis=url) as two,
        Bot(two.url),
        AlephScriptClient(one.url) as asker,
        wiretap(shared_redis, url) as read,
    ):
        await asker.subscribe("R")
        heard = asker.events("R", "HAPPENED")
        answers = await asyncio.gather(*(asker.request("X", n) for n in range(20)))
        assert [each["number"] for each in answers] == list(range(20))
        assert [(await anext(heard)).data for _ in range(20)] == list(range(20))
        for_it = (f":to:{names[older]}", ":in:/runtime\nR")
        read_by_it = [
            json.loads(data)
            for channel, data in read()
            if channel.endswith(for_it) and not data.startswith(f'["{names[older]}"'.encode())
        ]
        assert not any(isinstance(message[0], list) for message in read_by_it)
        if mark:
            items = [each for message in read_by_it for each in message[1]]
            assert len(items) >= 20
            assert all(each[0] in {"/runtime", "HAPPENED"} for each in items)
        else:
            assert len(read_by_it) >= 20
            assert not any(isinstance(message[1], list) for message in read_by_it)


@pytest.mark.peers
async def test_nonsense_in_a_message_costs_the_rest_of_it_nothing(
    shared_redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor the next one."""
    url = shared_redis.url()
    database = url.rpartition("/")[2]
    prefix = f"alephscript:{database}"
    async with Hub(port=0, redis=url) as hub, AlephScriptClient(hub.url) as client:
        await client.subscribe("R")
        heard = client.events("R")
        assert hub._cluster is not None
        with Redis(port=shared_redis.port) as writer:
            channels = writer.pubsub(ignore_subscribe_messages=True)
            channels.subscribe(f"{prefix}:to:zz")
            for message in (
                '["zz",[["/runtime","lost",1],[],["/runtime","survey",7]]]',
                '["zz",[5]]',
                '[["zz","/runtime"],[["lost",1],[],5,["nothing"],["survey",8]]]',
                '[["zz","/nowhere"],[["lost",1,"s"]]]',
                '[["zz","/nowhere"],[5]]',
                '[["zz",5],[]]',
            ):
                writer.publish(f"{prefix}:to:{hub._cluster.hub}", message)
            for said in ('["E",1,"s"],["disconnect",2,"s"],[],["E",3,"s"]', "5", '["E",4,"s"]'):
                writer.publish(f"{prefix}:in:/runtime\nR", f'["zz",[{said}]]')
            assert [(await anext(heard)).data for _ in range(3)] == [1, 3, 4]
            answers = b""
            for _ in range(50):
                if b'"census",8' not in answers and (each := channels.get_message(timeout=0.1)):
                    answers += each["data"]
            assert b'"census",7' in answers
            assert b'"census",8' in answers
            assert hub._engine.refusals["hub_garbage"] == 13
            channels.close()
        assert hub._engine.why_not_ready is None
    caplog.clear()


# A connection


@pytest.mark.peers
async def test_redis_py_opens_a_connection_that_others_can_use(shared_redis: Any) -> None:
    """Its writer is no public name of redis-py: a release that has none shows here."""
    writer = await open_connection(shared_redis.url(), 1.0)
    connection = Commands(lambda command, reply: command.done and command.done(reply), writer)
    connection.resume()
    number = int(shared_redis.url().rpartition("/")[2])
    assert await connection.execute([("PING",), ("SELECT", number)]) == [b"PONG", b"OK"]
    connection.fail(ConnectionError("enough"))
    await asyncio.sleep(0)


@asynccontextmanager
async def fake_redis(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
) -> AsyncIterator[asyncio.StreamWriter]:
    """Gives the writer of a connection to something that is no Redis."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield writer
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)


async def test_values_come_whole_however_they_are_cut() -> None:
    """Byte by byte."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nbc\r\n:7\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await reader.read()
        writer.close()

    values = asyncio.Queue[Any]()
    async with asyncio.timeout(10), fake_redis(serve) as writer:
        connection = RedisConnection(values.put_nowait, writer)
        await asyncio.sleep(0.01)
        assert values.empty()
        connection.resume()
        assert [await values.get() for _ in range(2)] == [[b"message", b"a", b"bc"], 7]
        connection.fail(ConnectionError("enough"))
        with pytest.raises(ConnectionError, match="enough"):
            await connection.until_ended()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", ConnectionError),
        (b"-ERR no\r\n", Refused),
        (b"hello\r\n", Exception),
        (b":1\r\n", ValueError),
    ],
    ids=["end", "refusal", "garbage", "a taker that fails"],
)
async def test_a_connection_that_is_of_no_use_says_why(said: bytes, error: type[Exception]) -> None:
    """To whoever waits for a result, and for its end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    def fail(command: Command, reply: Any) -> None:
        raise ValueError(command, reply)

    async with asyncio.timeout(10), fake_redis(serve) as writer:
        connection = Commands(fail, writer)
        connection.resume()
        with pytest.raises(error):
            await connection.execute([("PING",)])
        with pytest.raises(error):
            await connection.until_ended()
        connection.write(("PING",))  # in vain, and no error


async def test_a_redis_that_is_silent_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while; one that answers is not, however long nothing is asked."""
    monkeypatch.setattr("alephscript.hub.cluster.resp._PATIENCE", 0.05)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"PING\r\n")
            writer.write(b"+PONG\r\n")
        await reader.read()
        writer.close()

    async with asyncio.timeout(10), fake_redis(serve) as writer:
        connection = Commands(lambda command, reply: command.done and command.done(reply), writer)
        connection.resume()
        for _ in range(2):
            assert await connection.execute([("PING",)]) == [b"PONG"]
            await asyncio.sleep(0.12)
        assert not connection.ended.done()
        with pytest.raises(TimeoutError):
            await connection.execute([("PING",)])


async def test_much_that_comes_at_once_is_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others on the loop are served meanwhile; nothing is lost, and nothing is out of order."""
    monkeypatch.setattr("alephscript.hub.cluster.resp.TURN_SECONDS", 0.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(b":%d\r\n" % n for n in range(5000)))
        await reader.read()
        writer.close()

    taken: list[int] = []
    is_whole = asyncio.Event()

    def take(value: int) -> None:
        taken.append(value)
        if value == 4999:
            is_whole.set()

    async with asyncio.timeout(20), fake_redis(serve) as writer:
        connection = RedisConnection(take, writer)
        connection.resume()
        turns = 0
        while not is_whole.is_set():
            turns += 1
            await asyncio.sleep(0)
        assert taken == list(range(5000))
        assert turns > 100
