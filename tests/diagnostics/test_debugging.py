"""What is asked for is shown, line by line; what is not costs nothing, and secrets stay secrets."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from alephscript import (
    AlephScriptClient,
    AlephScriptError,
    ConnectionRefused,
    ContractError,
    InvalidPayload,
)
from alephscript.diagnostics.debugging import TOPICS, VARIABLE, UnknownTopic
from alephscript.hub import Hub, Identity
from alephscript.hub.carrier import Carrier
from alephscript.hub.connection import Connection
from alephscript.hub.debugging import find_inputs
from alephscript.mesh.federation import Federation
from alephscript.mesh.mesh import Mesh
from alephscript.testing import InMemoryMesh

PROGRAM = """
import asyncio, sys
from alephscript import AlephScriptClient, capability
from alephscript.hub import SharedToken
from alephscript.hub import Hub

class Greeter(AlephScriptClient):
    rooms = ("LOBBY",)

    @capability("GREET")
    async def greet(self, payload: dict[str, str]) -> dict[str, str]:
        return {"text": "hello " + payload["who"]}

async def main():
    options = {"sesion": "1", "auth": {"token": "the-token"}, "transports": tuple(sys.argv[1:])}
    async with Hub(port=0, access=SharedToken("the-token")) as hub:
        async with Greeter(hub.url, **options):
            async with AlephScriptClient(hub.url, usuario="me", **options) as client:
                print(await client.request("GREET", {"who": "Ada"}, timeout=5))

asyncio.run(main())
"""

WIRE = re.compile(
    r"(?P<at>\d\d:\d\d:\d\d\.\d{6}) wire    (?P<local>\S+) (?P<arrow>[←→]) (?P<peer>\S+) "
    r"(?P<event>\S+)(?: #(?P<ack>\d+))?(?: (?P<size>\d+) B(?: (?P<payload>\S.*))?)?"
)
ROUTING = re.compile(r"\d\d:\d\d:\d\d\.\d{6} routing /runtime (?P<arrow>[←→]) (?P<told>.+)")
END = re.compile(r"\d\d:\d\d:\d\d\.\d{6} wire    (?P<local>\S+) ✗ (?P<peer>\S+) (?P<reason>.+)")


class Packet(NamedTuple):
    """One, as a line shows it; the hub's address is ``hub``."""

    local: str
    arrow: str
    peer: str
    event: str
    ack: str | None


def shown(debug: str | None, *transports: str) -> list[str]:
    """The lines that a mesh prints to stderr in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if debug is not None:
        environment[VARIABLE] = debug
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(transports or ("websocket",))],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert done.stdout == "{'text': 'hello Ada'}\n"
    # A client logs a slow beginning, as it is meant to.
    return [line for line in done.stderr.splitlines() if " waits for its hub at " not in line]


def packets(lines: list[str]) -> list[Mapping[str, Any]]:
    """Those lines that show one, taken apart; each line shows one, an end, or a decision."""
    for line in lines:
        assert WIRE.fullmatch(line) or END.fullmatch(line) or ROUTING.fullmatch(line), line
    return [found.groupdict() for line in lines if (found := WIRE.fullmatch(line))]


def seen_by(name: str, found: list[Mapping[str, Any]]) -> list[Packet]:
    """What one end saw."""
    return [
        Packet(
            each["local"],
            each["arrow"],
            "hub" if each["peer"].startswith("127.0.0.1:") else each["peer"],
            each["event"],
            each["ack"],
        )
        for each in found
        if each["local"] == name
    ]


@pytest.mark.slow
@pytest.mark.parametrize("transports", [("websocket",), ("polling", "websocket")])
def test_a_client_shows_each_packet_of_its_link(transports: tuple[str, ...]) -> None:
    """Over our own websocket and over python-socketio alike, from the handshake to the end."""
    lines = shown("wire", *transports)
    assert seen_by("me1", packets(lines)) == [
        ("me1", "→", "hub", "CONNECT", None),
        ("me1", "←", "hub", "CONNECT", None),
        ("me1", "→", "hub", "CLIENT_REGISTER", "1"),
        ("me1", "←", "hub", "ACK", "1"),
        ("me1", "→", "hub", "GET_GREET", "2"),
        ("me1", "←", "hub", "ACK", "2"),
    ]
    ends = [found for line in lines if (found := END.fullmatch(line))]
    assert [(end["local"], end["reason"]) for end in ends if end["local"] != "hub"] == [
        ("me1", "closed"),
        ("Greeter1", "closed"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("transports", [("websocket",), ("polling", "websocket")])
def test_a_hub_shows_what_each_client_shows_with_the_arrows_turned(
    transports: tuple[str, ...],
) -> None:
    """By name, once it has registered; nothing is missing, nothing is there twice."""
    found = packets(shown("wire", *transports))
    hubs = seen_by("hub", found)
    for name in ("me1", "Greeter1"):
        turned = {"→": "←", "←": "→"}
        theirs = [(turned[each.arrow], each.event, each.ack) for each in seen_by(name, found)]
        registered = theirs.index(("←", "CLIENT_REGISTER", "1")) + 1
        known = [(each.arrow, each.event, each.ack) for each in hubs if each.peer == name]
        # One that says goodbye is known until then; python-socketio may leave without.
        assert known in (theirs[registered:], [*theirs[registered:], ("←", "DISCONNECT", None)])
    unknown = [(each.arrow, each.event) for each in hubs if each.peer not in ("me1", "Greeter1")]
    assert unknown == [("←", "CONNECT"), ("→", "CONNECT"), ("←", "CLIENT_REGISTER")] * 2


@pytest.mark.slow
def test_payloads_are_shown_only_where_that_is_asked_for() -> None:
    """Else their size alone, which is the size of what would be shown."""
    sizes = [each["size"] for each in packets(shown("wire"))]
    assert "Ada" not in "".join(shown("wire,routing"))
    found = packets(shown("wire,payloads"))
    for each in found:
        if each["size"] is not None:
            assert len(each["payload"].encode()) == int(each["size"])
    assert [each["size"] for each in found] == sizes
    questions = [each["payload"] for each in found if each["event"] == "GET_GREET"]
    assert questions[0] == '["GET_GREET",{"who":"Ada"},{"timeoutMs":5000}]'
    assert len(questions) == 4


@pytest.mark.slow
@pytest.mark.parametrize("transports", [("websocket",), ("polling", "websocket")])
def test_what_a_client_proves_itself_with_is_never_shown(transports: tuple[str, ...]) -> None:
    """Not by those who send it, not by those who read it, whatever is asked for."""
    lines = shown("wire,routing,payloads", *transports)
    assert "Ada" in "".join(lines)
    assert "the-token" not in "".join(lines)


def test_a_hub_shows_what_it_decides() -> None:
    """Each input, and below it what comes of it."""
    told = [found for line in shown("routing") if (found := ROUTING.fullmatch(line))]
    story = [f"{each['arrow']} {each['told']}" for each in told]
    begin = story.index("← received me1 GET_GREET … ack 2")
    assert story[begin : begin + 5] == [
        "← received me1 GET_GREET … ack 2",
        "→ Deliver Greeter1 GET_GREET … request 1 5 s",
        "← acknowledged Greeter1 request 1 …",
        "→ Ended request 1 GREET ok",
        "→ Acknowledge me1 ack 2 …",
    ]
    assert story[-2:] == ["← disconnected me1 disconnected", "← disconnected Greeter1 disconnected"]


@pytest.mark.slow
def test_nothing_is_shown_and_nothing_is_wrapped_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What carries packets is what it would be if there were nothing to show."""
    assert shown(None) == []
    assert shown("") == []
    monkeypatch.delenv(VARIABLE, raising=False)
    mesh = Mesh()
    assert Carrier(mesh).mesh is mesh
    transport = InMemoryMesh()
    assert AlephScriptClient(transport)._alephscript_connector._watch(transport) is transport
    engine = Hub(port=0)._engine
    assert engine.make_connection is Connection


@pytest.mark.parametrize(
    ("debug", "says"),
    [("wire,wier,rooms", "rooms, wier"), ("payloads", "name wire or routing")],
)
@pytest.mark.parametrize("make", [AlephScriptClient, Hub, InMemoryMesh])
def test_a_topic_that_there_is_not_is_refused_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, make: type, debug: str, says: str
) -> None:
    """By whatever would have shown it, when it is made."""
    monkeypatch.setenv(VARIABLE, debug)
    with pytest.raises(UnknownTopic, match=says) as caught:
        make()
    assert isinstance(caught.value, AlephScriptError)
    if says == "rooms, wier":
        assert str(caught.value).endswith("topics are wire, routing, payloads")


@pytest.mark.slow
def test_a_command_shows_what_its_option_asks_for() -> None:
    """As the environment would; a topic that there is not ends it."""
    command = str(Path(sys.executable).with_name("alephscript"))
    state = ["state", "--json", "--url", "http://127.0.0.1:9"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *arguments], capture_output=True, text=True, check=False, timeout=50
        )

    shows = run("--debug", "wire", *state)
    assert shows.returncode == 9
    assert re.search(r" wire    cli[0-9a-f]{8} → 127\.0\.0\.1:9 CONNECT\n", shows.stderr)
    assert re.search(r" wire    cli[0-9a-f]{8} ✗ 127\.0\.0\.1:9 .*\n", shows.stderr)
    refused = run("--debug", "wires", *state)
    assert refused.returncode == 1
    known = ", ".join(TOPICS)
    assert (
        refused.stderr
        == f"alephscript: there is nothing to debug named wires; topics are {known}\n"
    )


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Mesh:
    """What a hub's carrier works with while decisions are shown; me1 is there."""
    monkeypatch.setenv(VARIABLE, "routing")
    mesh = Carrier(Mesh()).mesh
    mesh.connected("sid", "abcdefghijkl", Identity(suggested="somebody else"))
    mesh.received("sid", "CLIENT_REGISTER", [{"usuario": "me", "sesion": "1"}], 1)
    return mesh


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed about decisions, without the times."""
    lines = capsys.readouterr().err.splitlines()
    return [line.partition(" routing ")[2] for line in lines]


def test_whoever_has_no_name_yet_is_shown_by_its_connection(
    watched: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until it registers; who it proved to be is not shown."""
    capsys.readouterr()
    watched.disconnected("sid")
    watched.connected("sid", "abcdefghijkl", Identity(suggested="somebody else"))
    watched.received("sid", "CLIENT_REGISTER", [{"usuario": "me", "sesion": "1"}], 1)
    assert told(capsys)[1:] == [
        "/runtime ← connected abcdefgh",
        "/runtime ← received abcdefgh CLIENT_REGISTER … ack 1",
        "/runtime → Acknowledge me1 ack 1 …",
    ]


def test_every_kind_of_input_is_shown(watched: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    """Deadlines and what cannot be read as well; what is done by another input is none."""
    watched.received("sid", "MAKE_MASTER", [{"room": "R", "features": ["X"]}], 2)
    watched.received("sid", "GET_X", [{}], 3)
    told(capsys)
    watched.expired(1)
    watched.acknowledged("sid", 1, [{}])
    watched.refused("sid", 0, InvalidPayload("a payload's words"))
    watched.received("sid", "NO_SUCH_EVENT", [], 5)
    watched.disconnected("sid")
    assert told(capsys) == [
        "/runtime ← expired request 1",
        "/runtime → Ended request 1 X deadline_exceeded",
        "/runtime → Acknowledge me1 ack 3 …",
        "/runtime ← acknowledged me1 request 1 …",
        "/runtime ← refused me1 ack 0 invalid_payload",
        "/runtime → Acknowledge me1 ack 0 …",
        "/runtime ← received me1 NO_SUCH_EVENT ack 5",
        "/runtime → Acknowledge me1 ack 5 …",
        "/runtime ← disconnected me1",
    ]


def test_an_input_is_a_public_method_that_returns_effects() -> None:
    """Whatever it is called: nothing has to be listed for it to be shown."""
    inputs = {"connected", "received", "acknowledged", "expired", "disconnected", "refused"}
    inputs |= {"resumed", "idled"}
    assert find_inputs(Mesh) == inputs
    assert {"received", "heard", "hub_gone", "undelivered"} <= find_inputs(Federation)
    assert not {"prefix", "is_waiting", "census"} & find_inputs(Federation)


def test_what_other_hubs_say_is_an_input_too(
    watched: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what is to be said to them an effect."""
    other = Mesh()
    federation = Carrier(other).mesh.federate("one")
    other.connected("sid", "engine-id")
    other.received("sid", "CLIENT_REGISTER", [{"usuario": "me", "sesion": "1"}])
    told(capsys)
    other.received("sid", "CLIENT_SUSCRIBE", [{"room": "R"}])
    federation.heard("R", "NEWS", {"n": 1}, "you2")
    federation.take("two", "Cancel", (7, "sid", "cancelled"))
    federation.hub_gone("two")
    assert told(capsys) == [
        "/runtime ← heard R NEWS … you2",
        "/runtime → Emit me1 NEWS …",
        "/runtime ← take two Cancel …",
        "/runtime ← hub_gone two",
    ]


def test_peers_do_not_choose_what_a_terminal_does(
    watched: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in events are shown, not obeyed; endless names end."""
    watched.received("sid", "a\x1b[2J\n")
    watched.received("sid", "N" * 4000)
    first, *_, last = [line for line in told(capsys) if "received" in line]
    assert first.endswith(r" a\u001b[2J\u000a")
    assert last.endswith(f" {'N' * 128}")


class Terminal(io.StringIO):
    """A stderr that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "arrow"),
    [
        ({"TERM": "xterm"}, "\x1b[32m←\x1b[0m"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "←"),
        ({"TERM": "dumb"}, "←"),
    ],
)
def test_a_terminal_shows_directions_in_colour_unless_told_not_to(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arrow: str
) -> None:
    """As NO_COLOR has it; what is no terminal was shown above."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {VARIABLE: "routing", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    Carrier(Mesh()).mesh.connected("sid", "abcdefghijkl")
    assert f"/runtime {arrow} connected abcdefgh\n" in terminal.getvalue()


@pytest.mark.anyio
async def test_an_attempt_to_connect_shows_how_it_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing of a password in the address."""
    monkeypatch.setenv(VARIABLE, "wire,payloads")
    with pytest.raises(ContractError) as refused:
        AlephScriptClient("http://user:password@127.0.0.1:9")
    assert "password@" not in str(refused.value)
    client = AlephScriptClient("http://127.0.0.1:9", usuario="me", sesion="1")
    with pytest.raises(ConnectionRefused):
        async with client:
            raise AssertionError
    connect, end = capsys.readouterr().err.splitlines()
    assert connect.endswith(" wire    me1 → 127.0.0.1:9 CONNECT")
    assert " wire    me1 ✗ 127.0.0.1:9 " in end
    assert "password" not in connect + end


@pytest.mark.anyio
async def test_a_mesh_in_memory_shows_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A test can be looked into."""
    monkeypatch.setenv(VARIABLE, "wire,routing")
    async with InMemoryMesh() as mesh, AlephScriptClient(mesh, usuario="me", sesion="1") as client:
        await client.subscribe("R")
        mesh.cut()
    lines = capsys.readouterr().err.splitlines()
    assert [each["event"] for each in packets(lines)] == [
        "CONNECT",
        "CONNECT",
        "CLIENT_REGISTER",
        "ACK",
        "CLIENT_SUSCRIBE",
        "SUSCRIBE_OK",
        "room_joined",
        "ACK",
    ]
    assert lines[-2].endswith(" routing /runtime ← disconnected me1 link_lost")
    assert lines[-1].endswith(" wire    me1 ✗ memory the connection to the hub ended")


def test_a_mesh_goes_on_when_nobody_reads_what_is_shown() -> None:
    """A pipe that is closed costs the lines, not the answers."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "websocket"],
            env={**os.environ, VARIABLE: "wire,routing"},
            stdout=subprocess.PIPE,
            stderr=writer,
            text=True,
            check=False,
            timeout=50,
        )
    finally:
        os.close(writer)
    assert done.stdout == "{'text': 'hello Ada'}\n"
