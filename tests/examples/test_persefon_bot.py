"""PersefonBot answers the seed's 14 capabilities and tells the room what it did."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    InvalidPayload,
    RequestError,
    State,
    aaia,
    contracts,
)
from alephscript.aaia import AAIA_ROOM, RunState
from alephscript.testing import HubMesh

pytestmark = pytest.mark.anyio

SEED_FEATURES = [
    "AAIA_GET_APPS",
    "AAIA_CREATE_SESSION",
    "AAIA_LIST_SESSIONS",
    "AAIA_DESTROY_SESSION",
    "AAIA_LIST_FIAS",
    "AAIA_START_FIA",
    "AAIA_STOP_FIA",
    "AAIA_STEP_FIA",
    "AAIA_PLAY_FIA",
    "AAIA_PAUSE_FIA",
    "AAIA_SEND_PERCEPTO",
    "AAIA_GET_EFERENCIA",
    "AAIA_QUERY_MUNDO",
]


async def open_session(client: AlephScriptClient, app_id: str = "demo-logica") -> str:
    """A fresh session's id."""
    return (await client.request(aaia.CreateSession(app_id=app_id))).session_id


def query(text: str) -> aaia.Percepto:
    """A percepto that asks the logic FIA."""
    return aaia.Percepto(tipo=aaia.TipoPercepto.COMANDO, payload={"query": text})


async def test_masters_the_three_rooms_with_the_seeds_features(client: AlephScriptClient) -> None:
    """AAIA_ROOM has the 13 capabilities, both thread rooms the fourteenth."""
    state = await client.server_state()
    rooms = {room["roomId"]: room for room in state["rooms"]}
    assert sorted(rooms["AAIA_ROOM"]["features"]) == sorted(SEED_FEATURES)
    assert rooms["ENGINE_THREADS_ROOM"]["features"] == ["GET_LIST_OF_THREADS"]
    assert rooms["ENGINE_THREADS"]["features"] == ["GET_LIST_OF_THREADS"]
    assert all(room["master"].startswith("PersefonBot") for room in rooms.values())


async def test_the_seeds_flow_with_everything_that_the_room_is_told(
    hub: HubMesh, client: AlephScriptClient
) -> None:
    """Create, percepto, step, eferencia, mundo, destroy: answers, and events in order."""
    async with hub.observer(AAIA_ROOM) as room:
        apps = await client.request(aaia.GetApps())
        assert {"demo-logica", "demo-sbr", "demo-situada", "demo-hibrida"} <= {
            app.id for app in apps.apps
        }
        assert apps.count == len(apps.apps)
        told = await room.expect("SET_AAIA_GET_APPS", within=5)
        assert len(told.data["apps"]) == apps.count

        opened = await client.request(aaia.CreateSession(app_id="demo-logica"))
        session_id = opened.session_id
        assert opened.session.session_id == session_id == str(uuid.UUID(session_id))
        assert (opened.app_id, opened.fias_count) == ("demo-logica", len(opened.session.fias))
        created: dict[str, Any] = {"session_id": session_id, "app_id": "demo-logica"}
        await room.expect("SESSION_CREATED", **created, within=5)

        sent = await client.request(
            aaia.SendPercepto(session_id=session_id, percepto=query("p(X,Y)"))
        )
        assert sent.processed_by == [0]
        await room.expect("PERCEPTO", session_id=session_id, within=5)
        await room.expect("MUNDO_STATE", session_id=session_id, within=5)

        step = await client.request(aaia.StepFIA(session_id=session_id, fia_index=0))
        assert step.cycles == 1
        assert step.eferencia.payload["meta"]["numSoluciones"] == 3
        eferencia = contracts.unstructure(step.eferencia)
        stepped = {"eferencia": eferencia, "run_state": step.run_state}
        await room.expect("FIA_STEP", session_id=session_id, **stepped, within=5)
        await room.expect("EFERENCIA", session_id=session_id, fia_index=0, within=5)
        await room.expect("MUNDO_STATE", session_id=session_id, within=5)

        last = await client.request(aaia.GetEferencia(session_id=session_id, fia_index=0))
        assert last.eferencia == step.eferencia
        mundo = await client.request(aaia.QueryMundo(session_id=session_id, query="modelo.ciclo"))
        assert mundo.result == mundo.mundo.modelo["ciclo"] == 2

        gone = await client.request(aaia.DestroySession(session_id=session_id))
        assert gone.session_id == session_id
        await room.expect("SESSION_DESTROYED", session_id=session_id, within=5)
        assert [event.name for event in room.seen] == [
            "SET_AAIA_GET_APPS",
            "SESSION_CREATED",
            "PERCEPTO",
            "MUNDO_STATE",
            "FIA_STEP",
            "EFERENCIA",
            "MUNDO_STATE",
            "SESSION_DESTROYED",
        ]


async def test_runs_a_fia_by_the_pulse_until_it_is_paused_and_stopped(
    hub: HubMesh, client: AlephScriptClient
) -> None:
    """PLAY steps by itself, PAUSE holds, STOP ends: each says the state before and after."""
    session_id = await open_session(client, "demo-situada")
    async with hub.observer(AAIA_ROOM) as observer:
        played = await client.request(aaia.PlayFIA(session_id=session_id, fia_index=0))
        assert played.new_state is RunState.PLAY
        await observer.expect("FIA_STEP", session_id=session_id, run_state="PLAY", within=5)
    paused = await client.request(aaia.PauseFIA(session_id=session_id, fia_index=0))
    assert (paused.previous_state, paused.new_state) == (RunState.PLAY, RunState.PAUSE)
    started = await client.request(aaia.StartFIA(session_id=session_id, fia_index=0))
    assert (started.previous_state, started.new_state) == (RunState.PAUSE, RunState.PLAY)
    stopped = await client.request(aaia.StopFIA(session_id=session_id, fia_index=0))
    assert (stopped.previous_state, stopped.new_state) == (RunState.PLAY, RunState.STOP)
    fias = await client.request(aaia.ListFIAs(session_id=session_id))
    assert fias.fias[0].run_state is RunState.STOP


async def test_sessions_do_not_see_each_other(client: AlephScriptClient) -> None:
    """What happens in one session leaves the other as it was."""
    first, second = await open_session(client), await open_session(client)
    await client.request(aaia.SendPercepto(session_id=first, percepto=query("p(a,a)")))
    await client.request(aaia.StepFIA(session_id=first, fia_index=0))
    untouched = await client.request(aaia.GetEferencia(session_id=second, fia_index=0))
    assert untouched.eferencia is None
    sessions = await client.request(aaia.ListSessions())
    assert {each.session_id for each in sessions.sessions} == {first, second}


@pytest.mark.parametrize("room", [None, "ENGINE_THREADS_ROOM", "ENGINE_THREADS"])
async def test_lists_threads_for_members_and_strangers_of_either_room(
    client: AlephScriptClient, room: str | None
) -> None:
    """The seed's client asks without being in the room; upstream's room has another name."""
    await open_session(client, "demo-hibrida")
    threads = (await client.request(aaia.GetListOfThreads(), room=room)).threads
    assert [thread.index for thread in threads] == [0, 1]
    assert all(thread.mundo for thread in threads)


@pytest.mark.parametrize("capability", ["AAIA_APPS", "AAIA_SESSIONS"])
async def test_answers_to_the_names_that_upstream_asks_by(
    client: AlephScriptClient, capability: str
) -> None:
    """The aliases answer like the names they stand for."""
    assert "count" in await client.request(capability, room=AAIA_ROOM)


SESSION_CAPABILITIES = [name for name in SEED_FEATURES if name.endswith(("_FIA", "FIAS", "MUNDO"))]


@pytest.mark.parametrize("capability", SESSION_CAPABILITIES)
async def test_an_unknown_session_is_an_error_of_its_own(
    client: AlephScriptClient, capability: str
) -> None:
    """Every capability about a session says session_not_found."""
    with pytest.raises(CapabilityError) as caught:
        await client.request(capability, {"sessionId": "nobody", "fiaIndex": 0})
    assert caught.value.code == "session_not_found"


@pytest.mark.parametrize("index", [-1, 1, 10**9])
async def test_an_index_out_of_range_names_the_range(client: AlephScriptClient, index: int) -> None:
    """A FIA that is not there is fia_not_found."""
    session_id = await open_session(client)
    with pytest.raises(CapabilityError) as caught:
        await client.request("AAIA_STEP_FIA", {"sessionId": session_id, "fiaIndex": index})
    assert caught.value.code == "fia_not_found"


@pytest.mark.parametrize(
    "capability", sorted(set(SEED_FEATURES) - {"AAIA_GET_APPS", "AAIA_LIST_SESSIONS"})
)
@pytest.mark.parametrize(
    "payload", [None, [], "text", 7, {}, {"sessionId": None, "fiaIndex": True}, {"appId": 3}]
)
async def test_a_payload_that_does_not_fit_is_refused_with_its_problems(
    client: AlephScriptClient, capability: str, payload: Any
) -> None:
    """Nothing that a peer may send reaches the runtime unchecked."""
    with pytest.raises(InvalidPayload) as caught:
        await client.request(capability, payload)
    assert caught.value.details
    assert all({"path", "message"} == set(problem) for problem in caught.value.details)


async def test_an_unknown_app_is_named_as_the_seed_names_it(client: AlephScriptClient) -> None:
    """The sentence is part of what upstream's clients show."""
    with pytest.raises(RequestError, match="App not found: nope") as caught:
        await client.request(aaia.CreateSession(app_id="nope"))
    assert caught.value.code == "app_not_found"


async def test_keeps_its_sessions_when_the_hub_is_replaced(
    hub: HubMesh, client: AlephScriptClient
) -> None:
    """Sessions live in the bot: on the next hub they are there again."""
    session_id = await open_session(client)
    states = client.states()
    assert await anext(states) is State.READY
    await hub.kill()
    async with asyncio.timeout(20):
        assert await anext(states) is State.RECONNECTING
        await hub.restart()
        assert await anext(states) is State.READY
        sessions = await client.request(aaia.ListSessions(), room=AAIA_ROOM, wait_for_master=True)
    assert [each.session_id for each in sessions.sessions] == [session_id]


def test_the_command_serves_until_it_is_terminated() -> None:
    """``python -m examples.persefon_bot --url URL`` waits for a hub and ends cleanly."""
    with subprocess.Popen(
        [sys.executable, "-m", "examples.persefon_bot", "--url", "http://127.0.0.1:9"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.terminate()
        _, complaints = process.communicate(timeout=20)
    assert "Traceback" not in complaints
