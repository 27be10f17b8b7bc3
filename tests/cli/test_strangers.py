"""What strangers call themselves and say, on a terminal: shown, not obeyed, in any encoding."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self
from unittest import mock

import attrs
import pytest
from hypothesis import example as case, given, settings, strategies as st

from alephscript import CapabilityStats, Event, MemberInfo, MemberStats, Offer, RequestError, Survey
from alephscript.cli import asking, main, parser, showing, top, watching
from alephscript.cli.examples import example
from alephscript.cli.options import CliError
from alephscript.errors import error_from_answer
from alephscript.hub import Hub
from alephscript.protocol import events
from alephscript.protocol.text import printable
from tests.cli.test_commands import run
from tests.support.peers import Raw, raw_peer
from tests.support.properties import examples
from tests.support.strangers import JSON, OBEYED, ODD_SCHEMAS, SCHEMAS, TEXTS

ENCODINGS = ["utf-8", "ascii", "cp1252"]
COMMANDS = [
    *(["state"], ["state", "--json"], ["capabilities"], ["capabilities", "--json"]),
    *(["top", "--once"], ["watch", "R", "--count", "2"], ["watch", "R", "--json", "--count", "2"]),
    *(["watch", "*", "--count", "2"], ["say", "R", "SAID"]),
    *(["request", "C"], ["request", "FAIL"], ["request", "C", "--stream"]),
]


@attrs.frozen
class Stranger:
    """A client of a mesh that says anything."""

    name: str
    data: Any
    schema: Any

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def server_state(self) -> Mapping[str, Any]:
        """Answer as a hub does."""
        room = {
            "roomId": self.name,
            "masters": [self.name],
            "epoch": 1,
            "features": [self.name],
            "miembros": [{"name": self.name}],
        }
        miembros = [{"usuario": self.name, "sesiones": ["", self.name]}]
        return {"rooms": [room], "miembros": miembros}

    async def discover(self, *, room: str | None = None) -> Sequence[Offer]:
        """Offer one capability; of its schema no more is known than that it is an object."""
        schema = self.schema if isinstance(self.schema, dict) else {"enum": [self.schema]}
        return [
            Offer(room or self.name, self.name, (self.name,), "single", 1, self.name, schema, {})
        ]

    async def survey(self, topic: str, **_: Any) -> Survey:
        """Answer for a member, and for one that is missing."""
        if topic == "info":
            info = MemberInfo(self.name, self.name, self.name, (self.name,), self.name, 0)
            return Survey({self.name: info}, (self.name,))
        stats = CapabilityStats(1, {self.name: 1}, 0, 0, last_error=self.name)
        member = MemberStats(self.name, self.name, {self.name: stats})
        return Survey({self.name: member}, (self.name,))

    async def say(self, *_: Any) -> int:
        """Say that nobody has heard it."""
        return 0

    async def subscribe(self, room: str, **_: Any) -> None:
        """Be in a room."""

    def events(self, *_: Any) -> Any:
        """Say the same event for ever."""

        class Said:
            def __aiter__(self) -> Said:
                return self

            async def __anext__(said) -> Event[Any]:  # noqa: N805
                return Event(self.name, self.name, self.data, self.name)

            def close(self) -> None:
                pass

        return Said()

    async def request(self, capability: str, *_: Any, **__: Any) -> Any:
        """Answer, or fail."""
        if capability == "FAIL":
            answer = {
                "success": False,
                "code": self.name,
                "error": self.name,
                "details": [self.name],
            }
            raise error_from_answer(answer)
        return self.data

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Answer in one part."""
        yield self.data


def printed(stranger: Stranger, command: Sequence[str], encoding: str) -> tuple[int, str, str]:
    """What a command prints of a stranger, and its exit code."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with (
        contextlib.ExitStack() as stack,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for module in (asking, showing, top, watching):
            stack.enter_context(mock.patch.object(module, "client", return_value=stranger))
        code = main(command)
        out.flush()
        err.flush()
    texts = [stream.buffer.getvalue().decode(encoding) for stream in (out, err)]
    return code, texts[0], texts[1]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@given(TEXTS, JSON, ODD_SCHEMAS, st.sampled_from(ENCODINGS))
@settings(max_examples=examples(100))
def test_any_text_is_printed_and_obeyed_by_nobody(
    command: list[str], name: str, data: Any, schema: Any, encoding: str
) -> None:
    """By every command, as every name, and in what was said."""
    code, out, err = printed(Stranger(name, data, schema), command, encoding)
    assert OBEYED.search((out + err).replace("\n", "")) is None
    if command[:2] == ["request", "FAIL"]:
        assert out == ""
        assert code != 0
        assert err.endswith("]\n")
        assert err.count("\n") == 1
        return
    if "a lone surrogate, which has no UTF-8" in err:  # of a schema; no hub passes such on
        assert (code, out, err.count("\n")) == (3, "", 1)
        return
    assert code == 0
    if command[0] == "watch":
        assert out.count("\n") == 2
    if command[0] == "say":
        assert out == "0 heard it\n"
    if "--json" in command or command[0] == "request":
        json.loads(out.splitlines()[0])


@pytest.mark.parametrize("name", SCHEMAS)
def test_any_schema_has_a_short_example(name: str) -> None:
    """However it grows."""
    assert len(json.dumps(example(SCHEMAS[name]))) < 30_000


@case("", "", {}, "--")
@case("", "R", {}, "--")
@given(TEXTS, TEXTS, ODD_SCHEMAS, st.sampled_from(["", "-", "--url=http://evil.example/", "--"]))
@settings(max_examples=examples(200))
def test_a_line_to_copy_is_one_command_that_asks(
    capability: str, room: str, schema: Any, prefix: str
) -> None:
    """And that asks this capability in this room, at the hub that one has named."""
    offer = Offer(prefix + room, prefix + capability, (), "single", 1, request=schema)
    line = showing._call(offer)  # what the table shows
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = list(lexer)
    assert words == shlex.split(line)
    assert words.pop(0) == "alephscript"
    options = parser().parse_args(words)
    assert options.url == parser().parse_args(["state"]).url
    names = (printable(offer.capability), printable(offer.room))
    assert (events.capability_name(options.capability), options.room) == names
    assert json.loads(options.payload) == example(schema)


@pytest.fixture
async def hub() -> Any:
    """A hub."""
    async with Hub(port=0) as hub:
        yield hub


async def declare(peer: Raw, room: str, **described: Any) -> None:
    """Master a room."""
    declared = {"room": room, "features": ["C"], "descriptions": {"C": described}}
    assert (await peer.ask("MAKE_MASTER", declared))["success"]


@pytest.mark.anyio
@pytest.mark.parametrize("room", ["[/boom]", "[link=http://evil.example]click[/link]", ":smile:"])
async def test_markup_is_shown_as_it_is(hub: Hub, room: str) -> None:
    """In every table."""
    async with raw_peer(hub) as peer:
        await declare(peer, room, summary=room)
        for command in ("state", "capabilities"):
            ended = await run(command, url=hub.url)
            assert (ended.code, ended.err) == (0, "")
            assert room in ended.out


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
async def test_names_that_the_output_has_not_are_escaped(hub: Hub, encoding: str) -> None:
    """And are the same names to whoever reads JSON."""
    room = "Sala-é🦤"
    async with raw_peer(hub) as peer:
        await peer.ask("CLIENT_REGISTER", {"usuario": "Ñandú🦤"})
        await declare(peer, room, summary=room)
        for command in (["state"], ["capabilities"], ["state", "--json"], ["--help"]):
            ended = await run(*command, url=hub.url, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
            assert ended.code == 0, ended.err
            if command[-1] == "--json":
                assert json.loads(ended.out)["rooms"][0]["roomId"] == room


@pytest.mark.anyio
async def test_a_line_to_copy_runs_nothing_else(hub: Hub, tmp_path: Any) -> None:
    """In a shell."""
    one, two = tmp_path / "one", tmp_path / "two"
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [f"' ; touch {two} ; '"]}},
        "required": ["a"],
    }
    async with raw_peer(hub) as peer:
        await declare(peer, f"R; touch {one} #", request=schema)
        ended = await run("capabilities", url=hub.url)
    lines = [line for line in ended.out.splitlines() if "alephscript request" in line]
    [line] = [line[line.index("alephscript request") :] for line in lines]
    shell = await asyncio.create_subprocess_exec("sh", "-c", line.replace("alephscript", "true"))
    await shell.wait()
    assert not one.exists()
    assert not two.exists()


def test_errors_are_one_line() -> None:
    """Also those that no stranger has a part in."""
    for error in (RequestError("a\nb\x1b"), CliError("a\u2028b")):
        with mock.patch.object(asking, "client", mock.Mock(side_effect=error)):
            err = io.StringIO()
            with contextlib.redirect_stderr(err):
                assert main(["request", "X"]) != 0
            assert OBEYED.search(err.getvalue().rstrip("\n")) is None
