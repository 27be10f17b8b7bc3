"""What waits for all clients, and what is there of their messages, are bounded together."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st

from alephscript.hub import Hub, Limits
from alephscript.hub.backlogs import FREE, Backlogs, Halves
from alephscript.protocol.websocket import write_masked_text_frame
from tests.hub.test_lobby import GET_WEBSOCKET, opened
from tests.support.peers import raw_peer

pytestmark = pytest.mark.anyio


class Slow:
    """A client that reads nothing."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.is_cut = False

    def backlog(self) -> int:
        return self.size

    def cut_off(self) -> None:
        self.is_cut = True


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ([40_000, 30_000, 20_000], []),
        ([50_000, 30_000, 40_000], [50_000]),
        ([90_000, 90_000, 90_000], [90_000, 90_000]),
        ([FREE] * 100, []),
    ],
)
async def test_those_with_the_most_have_to_go(sizes: list[int], cut: list[int]) -> None:
    """As few as will do; small ones are not looked at."""
    backlogs, clients = Backlogs(100_000), [Slow(size) for size in sizes]
    for each in clients:
        backlogs.note(each)
    backlogs._look()
    assert [each.size for each in clients if each.is_cut] == cut


class Half:
    """A socket that brings a message in pieces."""

    def __init__(self) -> None:
        self.is_paused = self.is_ended = False

    def pause(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def end(self) -> None:
        self.is_ended = True


async def play(steps: list[tuple[int, int]]) -> None:
    """Let sockets bring pieces, and ends of messages where the size is 0."""
    halves, sockets = Halves(1_000, 3_600), [Half() for _ in range(6)]
    sizes = [0] * 6
    for number, more in steps:
        socket = sockets[number]
        if socket.is_ended or (socket.is_paused and more):
            continue
        if more:
            sizes[number] += more
            halves.keep(socket, sizes[number])
        if not more or socket.is_ended:
            sizes[number] = 0
            halves.release(socket)
            socket.is_paused = False
        assert halves._total == sum(sizes)
        assert halves._total <= 2_000
        paused = [each for each in sockets if each.is_paused]
        holding = [each for each, size in zip(sockets, sizes, strict=True) if size]
        assert len(paused) < max(len(holding), 1), "nobody goes on"
    if halves._clock is not None:
        halves._clock.cancel()


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 100, 300, 400])), max_size=60))
def test_of_those_who_bring_too_much_some_wait_and_one_goes_on(
    steps: list[tuple[int, int]],
) -> None:
    """Never more than twice the bound is kept."""
    asyncio.run(play(steps))


async def test_who_keeps_others_waiting_for_long_has_to_go() -> None:
    """The oldest of those that may go on."""
    halves, sockets = Halves(1_000, 3_600), [Half() for _ in range(3)]
    for each in sockets:
        halves.keep(each, 600)
    assert [each.is_paused for each in sockets] == [False, True, True]
    halves._end_oldest()
    assert [each.is_ended for each in sockets] == [True, False, False]
    halves.release(sockets[0])
    assert [each.is_paused for each in sockets] == [False, False, True]
    assert halves._clock is not None
    halves._clock.cancel()


async def test_large_messages_of_many_come_through_side_by_side() -> None:
    """They wait for each other where they have to, and all are taken."""
    async with (
        Hub(port=0, limits=Limits(message_bytes=100_000)) as hub,
        raw_peer(hub) as member,
        asyncio.timeout(20),
    ):
        await member.ask("CLIENT_SUSCRIBE", {"room": "R"})
        said = b'42/runtime,["ROOM_MESSAGE",{"event":"E","room":"R","data":"%b"}]' % (b"x" * 90_000)
        frame, writers = write_masked_text_frame(said), []
        for _ in range(15):
            reader, writer = await opened(hub)
            writer.write(GET_WEBSOCKET)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(write_masked_text_frame(b"40/runtime,") + frame[:-20_000])
            writers.append(writer)
        while len(hub._engine.halves._paused) < 3:  # noqa: ASYNC110 - the hub's own turn
            await asyncio.sleep(0)
        for writer in writers:
            writer.write(frame[-20_000:])
        for _ in writers:
            assert len(await member.recv()) > 90_000
        assert not hub._engine.halves._kept
        for writer in writers:
            writer.close()
