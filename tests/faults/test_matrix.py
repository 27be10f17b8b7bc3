"""The faults that a mesh must survive, each with its test.

Where a row is about what python-socketio's server does wrong, its test shows that this hub does
better.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from alephscript import AlephScriptClient, LinkLost, Overloaded, State, capability
from alephscript.hub import Hub, Limits
from alephscript.links._socketio import SocketIOTransport
from alephscript.testing import InMemoryMesh
from tests.support.lines import Line

pytestmark = pytest.mark.anyio

LineTo = Callable[[int], Awaitable[Line]]
TESTS = Path(__file__).parents[1]

MATRIX = {
    "a link is cut with 100 requests waiting": "client/test_cuts.py::"
    "test_a_hundred_requests_on_a_cut_link_end_at_once",
    "the hub is killed and comes back": "faults/test_kills.py::"
    "test_a_hub_killed_under_load_ends_every_request_and_all_come_back",
    "the hub is stopped, its sockets open": "faults/test_kills.py::"
    "test_a_stopped_hub_is_noticed_by_its_silence",
    "the hub is stopped with 20 MB on the way": "faults/test_matrix.py::"
    "test_a_stalled_line_is_noticed_although_much_waits_to_be_sent",
    "a port accepts and says nothing": "client/test_cuts.py::"
    "test_a_hub_that_falls_silent_before_it_lets_one_in_is_refused",
    "links are cut just after they were made, 200 times": "faults/test_matrix.py::"
    "test_links_cut_just_after_they_were_made_leave_no_zombie",
    "the hub hangs up right after accepting": "client/test_cuts.py::"
    "test_a_hub_that_hangs_up_at_once_is_not_pestered",
    "the hub takes its time to let one in": "faults/test_matrix.py::"
    "test_a_hub_that_takes_its_time_lets_one_in_also_the_second_time",
    "the provider of credentials fails once": "client/test_life.py::"
    "test_a_provider_that_fails_is_asked_again",
    "credentials are refused": "client/test_life.py::"
    "test_a_namespace_that_is_not_there_is_refused_for_good",
    "close comes during an attempt to reconnect, 100 times": "faults/test_matrix.py::"
    "test_closing_during_attempts_to_reconnect_ends_soon",
    "opening is cancelled and tried again": "client/test_life.py::test_opening_may_be_given_up",
    "a listener raises": "client/test_events.py::test_a_raising_listener_costs_only_its_event",
    "a method raises": "client/test_answers.py::test_any_other_exception_is_an_incident",
    "a method is cancelled from within": "client/test_failures.py::"
    "test_a_capability_whose_own_waiting_was_cancelled_is_internal",
    "a master dies with requests in hand": "faults/test_kills.py::"
    "test_a_master_killed_twenty_times_under_load_loses_no_answer",
    "there is no master": "client/test_failures.py::test_a_name_that_nobody_offers_has_no_master",
    "two masters race": "dialects/test_stock_peers.py::"
    "test_what_a_displaced_master_was_asked_ends_at_once",
    "the asker times out": "client/test_failures.py::test_the_asker_s_time_ends_a_request",
    "the hub dies with a task that it has acknowledged": "faults/test_task_kills.py::"
    "test_what_was_acknowledged_as_submitted_is_never_lost",
    "the hub dies with a task in hand": "faults/test_task_kills.py::"
    "test_a_run_goes_on_without_its_hub_and_its_result_is_taken_afterwards",
    "the master dies with a task in hand": "faults/test_task_kills.py::"
    "test_a_task_that_must_not_run_twice_is_lost_with_its_master",
    "the master dies with an idempotent task in hand": "faults/test_task_kills.py::"
    "test_an_idempotent_task_goes_on_at_the_next_master_from_its_checkpoint",
    "the submitter of a task dies": "faults/test_task_kills.py::test_a_task_outlives_its_submitter",
    "hub and master of a task die": "faults/test_task_kills.py::"
    "test_hub_and_master_are_killed_together",
    "the deadline of a task passes while there is no hub": "faults/test_task_kills.py::"
    "test_a_deadline_is_the_tasks_also_over_a_restart",
    "the hub of tasks is stopped in peace": "faults/test_task_kills.py::"
    "test_a_hub_that_is_stopped_in_peace_leaves_its_tasks_as_they_are",
    "hub, master and submitter of 200 tasks are killed 20 times": "faults/test_task_storm.py::"
    "test_two_hundred_tasks_under_twenty_kills_all_end_and_none_that_must_not_ran_twice",
    "a hub of several dies with tasks": "faults/test_task_hubs.py::"
    "test_a_task_whose_hub_is_killed_goes_on_at_another_one",
    "the hub of a task's master dies": "faults/test_task_hubs.py::"
    "test_a_run_whose_masters_hub_is_killed_is_taken_when_the_master_is_back",
    "a hub is stopped until another has its tasks": "faults/test_task_hubs.py::"
    "test_a_stalled_hub_that_comes_back_finds_its_tasks_with_another",
    "the Redis of tasks dies": "faults/test_task_hubs.py::"
    "test_a_redis_that_is_killed_loses_no_task_if_it_writes_them_down",
    "hubs that share a Redis are killed 20 times under 200 tasks": "faults/test_task_storm.py::"
    "test_two_hundred_tasks_under_twenty_kills_all_end_on_two_hubs_that_share_a_redis",
    "the hub dies with a task's question, and again with its answer": "faults/test_task_kills.py::"
    "test_a_question_outlives_its_hub_and_is_answered_while_its_master_is_away",
    "the master dies with a task's question": "faults/test_task_kills.py::"
    "test_a_question_dies_with_its_master_and_is_asked_by_the_next",
    "the journal of tasks is removed under its hub": "hub/store/test_stores.py::"
    "test_a_file_that_is_removed_meanwhile_loses_no_task_that_has_not_ended",
    "the journal of tasks is of a later version": "hub/store/test_stores.py::"
    "test_a_file_of_a_later_version_is_left_as_it_is",
    "the disk gets full in the middle of runs": "faults/test_task_disk.py::"
    "test_a_full_disk_refuses_tasks_keeps_runs_waiting_and_lets_plain_requests_go_on",
    "the clock is set while tasks are kept": "hub/store/test_stores.py::"
    "test_a_clock_that_is_set_forgets_nothing",
    "the journal of tasks is damaged": "hub/store/test_stores.py::"
    "test_a_damaged_file_is_put_aside_and_a_fresh_one_begun",
    "the disk of the journal is full": "hub/store/test_stores.py::"
    "test_a_disk_that_is_full_refuses_new_tasks_and_keeps_the_others_waiting",
    "two hubs are given one folder": "hub/store/test_stores.py::"
    "test_a_second_journal_in_one_folder_is_refused",
    "the asker cancels": "client/test_promises.py::test_cancelling_the_asker_cancels_the_method",
    "a question is not answered": "client/test_asking_back.py::"
    "test_the_deadline_of_a_question_passes",
    "the asker cancels with a question open": "client/test_asking_back.py::"
    "test_an_asker_that_cancels_cancels_the_question_too",
    "the asker is lost with a question open": "client/test_asking_back.py::"
    "test_a_lost_asker_answers_nothing",
    "the master dies with a question open": "client/test_asking_back.py::"
    "test_a_lost_master_takes_its_questions_with_it",
    "a question leads back to who asks it": "client/test_asking_back.py::"
    "test_a_question_may_lead_back_to_the_master_that_asks",
    "nothing is heard of a request": "client/test_patience.py::"
    "test_silence_ends_a_request_and_its_method",
    "one asker asks for all that a master can do": "client/test_fairness.py::"
    "test_a_polite_asker_behind_two_hundred_requests_is_served_second",
    "the asker is lost": "client/test_promises.py::"
    "test_a_lost_asker_cancels_unless_it_is_to_be_finished",
    "acknowledgements are wrong, late or doubled": "mesh/test_mesh_properties.py::"
    "a_wrong_acknowledgement_comes",
    "acknowledgements have no argument, or several": "hub/test_bad_input.py::"
    "test_whatever_a_master_acknowledges_with_becomes_one_answer",
    "frames are no packets": "hub/test_bad_input.py::test_what_is_no_packet_ends_its_sender_only",
    "attachments never come": "hub/test_bad_input.py::"
    "test_binary_events_are_refused_with_an_answer",
    "clients send reserved events": "hub/test_bad_input.py::"
    "test_reserved_names_are_refused_and_disconnect_nobody",
    "payloads are NaN, deep, large or no text": "hub/test_bad_input.py::"
    "test_what_breaks_other_peers_reaches_none",
    "payloads are null, arrays, numbers": "hub/test_bad_input.py::"
    "test_any_payload_is_answered_once",
    "room names are empty, long, or a socket's id": "hub/test_bad_input.py::"
    "test_rooms_that_are_none_are_refused",
    "20,000 requests come at once": "faults/test_matrix.py::"
    "test_of_twenty_thousand_requests_no_more_run_than_may",
    "a reader stops": "hub/test_server.py::test_a_client_that_reads_too_slowly_is_cut_off",
    "a reader stops in a fast room": "faults/test_matrix.py::"
    "test_a_reader_that_stops_in_a_fast_room_costs_no_more_than_the_backlog",
    "500 sockets never join": "faults/test_matrix.py::test_sockets_that_never_join_are_closed",
    "a poller gets a burst": "hub/test_polling.py::test_several_messages_travel_in_one_body",
    "browsers come from elsewhere": "hub/test_polling.py::"
    "test_browsers_connect_from_welcome_origins_only",
    "SIGTERM comes under load": "faults/test_kills.py::"
    "test_sigterm_under_load_leaves_no_accepted_request_unanswered",
    "a thousand clients leave together": "faults/test_matrix.py::"
    "test_a_thousand_that_leave_together_leave_nothing",
    "a hundred come back together": "client/test_memory.py::"
    "test_attempts_are_spread_ever_wider_up_to_a_bound",
    "a script is interrupted": "client/test_life.py::test_run_ends_on_a_signal",
    "a client by HTTP hangs up": "hub/rest/test_asking.py::"
    "test_a_client_that_hangs_up_cancels_its_request",
    "a client by HTTP sends half a body": "hub/rest/test_bounds.py::"
    "test_a_body_that_does_not_come_is_not_waited_for",
    "a listener by HTTP stops reading": "hub/rest/test_listening.py::"
    "test_who_reads_too_slowly_is_cut_off",
    "a listener by HTTP comes back": "hub/rest/test_listening.py::"
    "test_who_comes_again_hears_what_it_has_missed",
    "a hub drains under askers by HTTP": "hub/rest/test_asking.py::"
    "test_a_hub_that_drains_says_when_to_come_again",
    "a hub closes under askers by HTTP": "hub/rest/test_asking.py::"
    "test_a_hub_that_closes_ends_what_is_open",
    "Redis is gone under askers by HTTP": "hub/cluster/test_asking_by_http.py::"
    "test_a_hub_that_is_adrift_says_so",
    "a hub acknowledges late": "dialects/test_core_in_memory.py::"
    "test_a_hub_that_was_slow_once_is_no_stock_hub",
    "anything, drawn by a seed": "faults/test_planted.py::"
    "test_without_a_planted_fault_the_laws_hold",
    "anything, for a while": "faults/test_soak.py::test_a_short_soak_holds",
}


@pytest.mark.parametrize("fault", MATRIX)
def test_each_fault_has_its_test(fault: str) -> None:
    """Whoever renames one finds out here."""
    file, _, name = MATRIX[fault].partition("::")
    tree = ast.parse((TESTS / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {each.name for each in ast.walk(tree) if isinstance(each, functions)}


def test_each_row_of_what_happens_to_a_request_has_its_test() -> None:
    """docs/explanation/requests.md links them."""
    page = (TESTS.parent / "docs" / "explanation" / "requests.md").read_text()
    rows = re.findall(r"\[`(test_\w+)(?:\.py)?`\]\(\.\./\.\./tests/([\w/]+\.py)\)", page)
    assert len(rows) > 15
    for name, file in rows:
        assert f"def {name}(" in (TESTS / file).read_text() or file.endswith(f"{name}.py")


def at_once() -> Any:
    """Delays between attempts to reconnect: hardly any."""
    while True:
        yield 0.01


class Clients:
    """How a client is linked to a hub."""

    @staticmethod
    def websocket(url: str, **options: Any) -> AlephScriptClient:
        """By our own link."""
        return AlephScriptClient(url, backoff=at_once, **options)

    @staticmethod
    def python_socketio(url: str, **options: Any) -> AlephScriptClient:
        """As for polling."""
        return AlephScriptClient(SocketIOTransport(url), backoff=at_once, **options)


Make = Callable[..., AlephScriptClient]


@pytest.fixture(params=["websocket", "python_socketio"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes clients of one kind of link."""
    made: Make = getattr(Clients, request.param)
    return made


@pytest.mark.parametrize("make", ["websocket"], indirect=True)
async def test_a_stalled_line_is_noticed_although_much_waits_to_be_sent(
    make: Make, line_to: LineTo
) -> None:
    """python-socketio's client never does: it waits for its own sending."""
    async with Hub(port=0, ping_interval=0.8, ping_timeout=0.8) as hub:
        line = await line_to(hub._port)
        async with make(line.url) as client:
            line.stall()
            for _ in range(25):
                await client.broadcast("MUCH", "x" * 900_000, room="R")
            waiting = asyncio.create_task(client.request("X", timeout=60, wait_for_master=True))
            async with asyncio.timeout(10):
                with pytest.raises(LinkLost):
                    await waiting
            line.cut()
            line.flow()
            async with asyncio.timeout(10):
                await client.ready()


async def test_links_cut_just_after_they_were_made_leave_no_zombie(
    make: Make, line_to: LineTo
) -> None:
    """200 links: afterwards the hub knows of one client, and it is served."""
    async with Hub(port=0) as hub:
        line = await line_to(hub._port)
        async with make(line.url) as client:
            async with asyncio.timeout(50):
                while line.accepted < 200:
                    await client.ready()
                    for _ in range(line.accepted % 5):
                        await asyncio.sleep(0)
                    line.cut()
                    await client._alephscript_life.until(State.RECONNECTING)
                await client.ready()
                while (await client.server_state())["clients"] != 1:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            assert client.state is State.READY
            assert len(hub._engine.connections) == 1


async def test_a_hub_that_takes_its_time_lets_one_in_also_the_second_time(
    make: Make, line_to: LineTo
) -> None:
    """python-socketio's client gives its second attempt a second."""
    async with Hub(port=0) as hub:
        line = await line_to(hub._port)

        async def later() -> None:
            line.stall()
            await asyncio.sleep(1.3)  # the fault itself: how long it takes
            line.flow()

        for _ in range(2):
            stalling = asyncio.create_task(later())
            await asyncio.sleep(0)
            client = make(line.url, acknowledges=True)
            async with asyncio.timeout(10), client:
                line.cut()
                await client._alephscript_life.until(State.RECONNECTING)
                await stalling
                stalling = asyncio.create_task(later())
                await client.ready()
                assert (await client.server_state())["clients"] >= 1
            await stalling


async def test_closing_during_attempts_to_reconnect_ends_soon(make: Make, line_to: LineTo) -> None:
    """Whatever the attempt is just about; nothing stays behind."""
    async with Hub(port=0) as hub:
        line = await line_to(hub._port)
        for number in range(50):
            client = make(line.url)
            await client.__aenter__()
            line.cut()
            await client._alephscript_life.until(State.RECONNECTING)
            for _ in range(number):
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await client.close()
            assert client.state is State.CLOSED
        line.cut()
        async with asyncio.timeout(5):
            while hub._engine.connections:  # noqa: ASYNC110 - it says nothing
                await asyncio.sleep(0.001)


class Bounded(AlephScriptClient):
    """Counts how many of its runs there are at once."""

    rooms = ("BOUNDED",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, max_in_flight=50, **kwargs)
        self.inside = 0
        self.most = 0

    @capability("WORK", queue=500)
    async def work(self) -> None:
        """Take two turns of the loop."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0)
        self.inside -= 1


async def test_of_twenty_thousand_requests_no_more_run_than_may() -> None:
    """The rest is refused at once, and each ends."""
    async with InMemoryMesh() as mesh, Bounded(mesh) as bot, AlephScriptClient(mesh) as client:
        asked = [client.request("WORK", timeout=30) for _ in range(20_000)]
        async with asyncio.timeout(50):
            ended = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in ended} == {dict, Overloaded}
        assert bot.most == 50
        assert sum(isinstance(each, dict) for each in ended) >= 550
        assert await client.request("WORK") == {}


async def test_a_reader_that_stops_in_a_fast_room_costs_no_more_than_the_backlog() -> None:
    """150 MB are said; whoever reads hears all of it, whoever does not is cut off."""
    async with Hub(port=0, limits=Limits(backlog_bytes=2_000_000)) as hub:
        url = f"ws{hub.url[4:]}/socket.io/?EIO=4&transport=websocket"
        async with (
            websockets.connect(url, max_size=None, max_queue=1) as idle,
            AlephScriptClient(hub.url) as speaker,
            AlephScriptClient(hub.url) as reader,
        ):
            await idle.send("40/runtime,")
            await idle.send('42/runtime,["CLIENT_SUSCRIBE",{"room":"FAST"}]')
            await reader.subscribe("FAST")
            events = reader.events("FAST", buffer=10)
            waiting = 0
            async with asyncio.timeout(50):
                for _ in range(150):
                    await speaker.broadcast("MUCH", "x" * 990_000, room="FAST")
                    await anext(events)
                    held = [
                        each._polling.size
                        for each in hub._engine.connections.values()
                        if each._polling is not None
                    ]
                    backlogs = [
                        each._websocket.backlog()
                        for each in hub._engine.connections.values()
                        if each._websocket is not None
                    ]
                    waiting = max(waiting, sum(held) + sum(backlogs))
                while len(hub._engine.connections) > 2:  # noqa: ASYNC110 - it says nothing
                    await asyncio.sleep(0.001)
            assert events.dropped == 0
            assert waiting < 3 * 2_000_000 + 1_000_000


async def test_sockets_that_never_join_are_closed() -> None:
    """All 500 of them; who joins in time stays."""
    async with (
        Hub(port=0, limits=Limits(join_seconds=0.5)) as hub,
        AlephScriptClient(hub.url) as client,
    ):
        url = f"ws{hub.url[4:]}/socket.io/?EIO=4&transport=websocket"
        idle = [await websockets.connect(url) for _ in range(500)]
        opened = json.loads((await idle[0].recv())[1:])
        assert opened["pingInterval"] > 0
        async with asyncio.timeout(20):
            for each in idle:
                await each.wait_closed()
        assert len(hub._engine.connections) == 1
        assert (await client.server_state())["clients"] == 1


async def test_a_thousand_that_leave_together_leave_nothing() -> None:
    """And the hub serves on while they do."""
    async with InMemoryMesh() as mesh, Bounded(mesh) as bot:
        crowd = [AlephScriptClient(mesh, usuario=f"c{number}") for number in range(1000)]
        await asyncio.gather(*(each.__aenter__() for each in crowd))
        await asyncio.gather(*(each.subscribe("CROWD") for each in crowd))
        assert (await bot.server_state())["clients"] == 1001
        leaving = asyncio.gather(*(each.close() for each in crowd))
        before = time.monotonic()
        assert await bot.request("WORK", timeout=10) == {}
        assert time.monotonic() - before < 10
        await leaving
        state = await bot.server_state()
        assert (state["clients"], [room["roomId"] for room in state["rooms"]]) == (1, ["BOUNDED"])
