"""The AsyncAPI document says what the classes do, and the official parser agrees."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from alephscript import AlephScriptClient, AlephScriptError, RequestFor, capability, observe
from alephscript.asyncapi import breaking_changes, document, dump, load
from alephscript.cli import main
from examples.persefon_bot import PersefonBot
from tests.support.properties import examples
from tests.support.strangers import JSON, ODD_SCHEMAS, SCHEMAS as STRANGE_SCHEMAS
from tests.support.tools import ROOT

KEPT = ROOT / "docs" / "asyncapi.yaml"
RENEW = (
    "alephscript asyncapi examples.persefon_bot:PersefonBot --title 'AAIA mesh' "
    "-o docs/asyncapi.yaml"
)


@attrs.frozen
class Inner:
    """Held by others."""

    mood: str


@attrs.frozen
class Greeting:
    """What is answered."""

    text: str
    inner: Inner
    extra: int | None = None


@attrs.frozen
class Greet(RequestFor[Greeting], capability="GREET"):
    """What is asked."""

    who: str
    how_often: int = 1


@attrs.frozen
class Greeted:
    """Somebody was greeted."""

    who: str


class Greeter(AlephScriptClient):
    """Greets.

    At length.
    """

    rooms = ("LOBBY", *observe("STREET"))
    says = {"GREETED": Greeted}  # noqa: RUF012

    @capability(timeout=2, idempotent=True)
    async def greet(self, request: Greet) -> Greeting:
        """Greet somebody."""
        return Greeting(request.who, Inner("good"))

    @capability("COUNT")
    async def count(self, to: int) -> AsyncIterator[Inner]:
        """Count."""
        yield Inner(str(to))


@pytest.fixture
def made() -> dict[str, Any]:
    """The greeter's document."""
    return document(Greeter, title="Greetings", host="example.org:1")


def of(made: dict[str, Any], reference: dict[str, str]) -> Any:
    """What a reference refers to."""
    found: Any = made
    for step in reference["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_a_capability_is_an_operation_with_its_reply(made: dict[str, Any]) -> None:
    """Its payloads are the contracts', by their wire keys."""
    operation = made["operations"]["GREET"]
    assert (operation["action"], operation["summary"]) == ("receive", "Greet somebody.")
    assert operation["x-alephscript"] == {"timeoutMs": 2000, "idempotent": True}
    [asked] = operation["messages"]
    payload = of(made, of(made, asked)["payload"])
    assert (list(payload["properties"]), payload["required"]) == (["who", "howOften"], ["who"])
    answered, failed = (of(made, each) for each in operation["reply"]["messages"])
    success, reply = of(made, answered["payload"])["allOf"]
    assert success["required"] == ["success"]
    inner = of(made, of(made, reply)["properties"]["inner"])
    assert inner["properties"] == {"mood": {"title": "Mood", "type": "string"}}
    assert set(of(made, failed["payload"])["required"]) == {"success", "error", "code"}


def test_rooms_are_channels_with_what_is_said_in_them(made: dict[str, Any]) -> None:
    """Those that are only observed, too, but nothing is offered there."""
    assert set(made["channels"]) == {"hub", "LOBBY", "STREET"}
    assert made["channels"]["STREET"]["messages"] == {}
    assert made["channels"]["LOBBY"]["x-socketio"]["room"] == "LOBBY"
    said = made["operations"]["say_GREETED"]
    assert said["action"] == "send"
    assert of(made, said["messages"][0])["summary"] == "Somebody was greeted."


def test_the_document_says_whose_it_is_and_where(made: dict[str, Any]) -> None:
    """As the seed's does."""
    assert made["asyncapi"] == "3.0.0"
    assert made["info"]["title"] == "Greetings"
    assert made["info"]["description"] == "Greets."
    server = {"host": "example.org:1", "protocol": "socketio", "pathname": "/runtime"}
    assert made["servers"] == {"production": server}


def test_every_reference_leads_somewhere(made: dict[str, Any]) -> None:
    """In the greeter's document and in the bot's."""

    def references(part: Any) -> list[dict[str, str]]:
        if isinstance(part, dict):
            own = [part] if "$ref" in part else []
            return own + [each for value in part.values() for each in references(value)]
        return (
            [each for item in part for each in references(item)] if isinstance(part, list) else []
        )

    for whole in (made, document(PersefonBot)):
        for reference in references(whole):
            assert of(whole, reference)


def test_yaml_and_back_is_the_same(made: dict[str, Any]) -> None:
    """Without anchors; and what is no document is said to be none."""
    assert load(dump(made)) == made
    assert "&id" not in dump(made)
    for wrong in ("[1", "- 1", "{}"):
        with pytest.raises(AlephScriptError):
            load(wrong)


def changed(made: dict[str, Any], *path: str, to: Any = None) -> dict[str, Any]:
    """The document with something else at a path, or without it."""
    other = copy.deepcopy(made)
    part = other
    for step in path[:-1]:
        part = part[step]
    if to is None:
        del part[path[-1]]
    else:
        part[path[-1]] = to
    return other


SCHEMAS = ("components", "schemas")


@pytest.mark.parametrize(
    ("path", "to", "says"),
    [
        (("operations", "GREET"), None, "GREET is gone"),
        (("channels", "STREET"), None, "the room STREET is gone"),
        (("channels", "LOBBY", "messages", "GREETED"), None, "LOBBY has no GREETED any more"),
        ((*SCHEMAS, "Greet", "required"), ["who", "howOften"], "GET_GREET asks for howOften"),
        ((*SCHEMAS, "Greeting", "properties", "text"), None, "SET_GREET has no text any more"),
        ((*SCHEMAS, "Greeting", "required"), ["inner"], "SET_GREET may lack text"),
        (
            (*SCHEMAS, "Inner", "properties", "mood", "type"),
            "integer",
            "SET_GREET.inner.mood is integer, was string",
        ),
        ((*SCHEMAS, "Greeted", "properties", "who"), None, "GREETED has no who any more"),
    ],
)
def test_what_breaks_others_is_named(
    made: dict[str, Any], path: tuple[str, ...], to: Any, says: str
) -> None:
    """Gone, asked for in addition, no longer answered, of another type."""
    assert says in breaking_changes(made, changed(made, *path, to=to))


def test_what_breaks_nobody_is_not_named(made: dict[str, Any]) -> None:
    """Nothing at all, a further operation, a further field of an answer, one asked for less."""
    more = changed(made, "operations", "NEW", to=made["operations"]["GREET"])
    more = changed(more, *SCHEMAS, "Greeting", "properties", "new", to={"type": "string"})
    more = changed(more, *SCHEMAS, "Greet", "required", to=[])
    assert breaking_changes(made, made) == breaking_changes(made, more) == []


def test_values_that_come_and_go_break_whom_they_surprise() -> None:
    """An answer may be something new; a question may no longer be."""

    def with_moods(channel_message: str, *moods: str) -> dict[str, Any]:
        payload = {"type": "string", "enum": list(moods)}
        message = {channel_message: {"payload": payload}}
        return {"operations": {}, "channels": {"R": {"messages": message}}}

    assert breaking_changes(with_moods("SAID", "a"), with_moods("SAID", "a", "b")) == [
        "SAID may be b, too"
    ]
    assert breaking_changes(with_moods("SAID", "a", "b"), with_moods("SAID", "a")) == []
    assert breaking_changes(with_moods("GET_X", "a", "b"), with_moods("GET_X", "a")) == [
        "GET_X does not take b any more"
    ]
    assert breaking_changes(with_moods("GET_X", "a"), with_moods("GET_X", "a", "b")) == []


def test_a_schema_that_contains_itself_is_compared(made: dict[str, Any]) -> None:
    """In its fields, its items and its parts, however far it goes; a change in it is named once."""
    tree = {"$ref": "#/components/schemas/Tree"}
    fields = {"name": {"type": "string"}, "left": tree, "right": tree}
    whole = {"type": "object", "properties": fields, "allOf": [tree], "items": tree}
    old = changed(made, *SCHEMAS, "Tree", to=whole)
    old = changed(old, *SCHEMAS, "Greeting", "properties", "tree", to=tree)
    new = changed(old, *SCHEMAS, "Tree", "properties", "name", "type", to="integer")
    assert breaking_changes(old, old) == []
    assert breaking_changes(old, new) == ["SET_GREET.tree.name is integer, was string"]


@given(ODD_SCHEMAS, ODD_SCHEMAS, JSON, st.sampled_from(["channel", "messages", "message", "all"]))
@settings(max_examples=examples(300))
def test_any_two_documents_are_compared(old: Any, new: Any, odd: Any, where: str) -> None:
    """A foreign document says nothing where it is of another shape; a reference has to lead."""

    def make(schema: Any) -> dict[str, Any]:
        message = odd if where == "message" else {"payload": schema}
        messages = odd if where == "messages" else {"GET_X": message, "SAID": message}
        channel = odd if where == "channel" else {"messages": messages}
        definitions = schema if isinstance(schema, dict) else {}
        made = {"channels": {"R": channel}, "operations": odd, "$defs": definitions}
        return {"channels": odd} if where == "all" else made

    pairs = ((old, new), (old, old), (new, old))
    for before, after in pairs:
        with contextlib.suppress(AlephScriptError):
            assert all(
                isinstance(each, str) for each in breaking_changes(make(before), make(after))
            )


@pytest.mark.parametrize("name", STRANGE_SCHEMAS)
def test_any_schema_is_compared_in_no_time(name: str) -> None:
    """However it grows; those of strangers that the page and the command line draw, too."""
    schema = STRANGE_SCHEMAS[name]
    messages = {"GET_X": {"payload": schema}}
    made = {"channels": {"R": {"messages": messages}}, "$defs": schema.get("$defs")}
    with contextlib.suppress(AlephScriptError):
        assert breaking_changes(made, copy.deepcopy(made)) == []


def test_the_kept_document_is_the_codes() -> None:
    """It is generated; the assertion names the command that renews it."""
    assert load(KEPT.read_text()) == document(PersefonBot, title="AAIA mesh"), RENEW


def test_everything_in_the_seed_is_in_it() -> None:
    """Rooms, events, fields and enumerations; what is invalid there stands as x-socketio here."""
    kept = load(KEPT.read_text())
    assert kept["servers"]["production"]["host"] == "localhost:3010"
    room = kept["channels"]["AAIA_ROOM"]
    assert room["x-socketio"]["room"] == "AAIA_ROOM"
    for event, fields in {
        "FIA_STEP": {"sessionId", "fiaIndex", "eferencia", "timestamp"},
        "PERCEPTO": {"sessionId", "percepto", "processedBy", "timestamp"},
        "SESSION_CREATED": {"sessionId", "appId", "timestamp"},
        "SESSION_DESTROYED": {"sessionId", "timestamp"},
    }.items():
        payload = of(kept, room["messages"][event]["payload"])
        assert fields <= payload["properties"].keys()
    schemas = kept["components"]["schemas"]
    assert set(schemas["RunState"]["enum"]) == {"PLAY", "PAUSE", "STOP", "PLAY_STEP"}
    assert set(schemas["TipoEferencia"]["enum"]) >= {"accion", "dato", "evento", "estado", "noop"}
    assert set(schemas["TipoPercepto"]["enum"]) >= {"sensor", "evento", "comando"}
    threads = kept["channels"]["ENGINE_THREADS_ROOM"]["messages"]["SET_LIST_OF_THREADS"]
    answer = of(kept, threads["payload"])
    assert "threads" in of(kept, answer["allOf"][1])["properties"]


def test_the_official_parser_finds_no_fault(node: str) -> None:
    """Neither in the kept document nor in the greeter's."""
    for text in (KEPT.read_text(), dump(document(Greeter))):
        done = subprocess.run(
            [node, ROOT / "tests/node/asyncapi/validate.mjs"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        )
        said = json.loads(done.stdout)
        assert said["parsed"]
        # It would like to be told 3.1.0, which changes nothing that is used here.
        assert {each["code"] for each in said["diagnostics"]} <= {"asyncapi-latest-version"}
        assert "GREET" in said["operations"] or "AAIA_STEP_FIA" in said["operations"]


def test_a_generator_of_typescript_names_every_type(node: str, tmp_path: Path) -> None:
    """And the compiler takes all of them, at its strictest."""
    folder = ROOT / "tests/node/asyncapi"
    made = subprocess.run(
        [node, folder / "models.mjs", KEPT],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout
    assert "AnonymousSchema" not in made
    assert "export interface StepFia" in made
    (tmp_path / "models.ts").write_text(made)
    options = {"strict": True, "noEmit": True, "target": "es2022", "types": []}
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    compiled = subprocess.run(
        [node, folder / "node_modules/typescript/bin/tsc", "-p", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert compiled.returncode == 0, compiled.stdout


def test_the_command_writes_compares_and_says_what_breaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an exit code for CI."""
    file = tmp_path / "asyncapi.yaml"
    bot = "examples.persefon_bot:PersefonBot"
    assert main(["asyncapi", bot, "--title", "AAIA mesh", "-o", str(file)]) == 0
    assert file.read_text() == KEPT.read_text()
    assert main(["asyncapi", bot, "--diff", str(file)]) == 0
    assert main(["asyncapi", "examples.watch_aaia_room:Watcher", "--diff", str(file)]) == 1
    printed = capsys.readouterr()
    assert "AAIA_STEP_FIA is gone" in printed.out.splitlines()
    assert "breaking changes against" in printed.err
    assert main(["asyncapi", bot, "--diff", os.devnull]) == 1
