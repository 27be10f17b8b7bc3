"""A FIA thinks with a model: its tools are the mesh's, its parts are streamed, danger asks back."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
import pytest
from pydantic_ai import ModelMessage, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    Request,
    RequestFor,
    aaia,
    capability,
)
from alephscript.aaia import Eferencia, RunState, TipoEferencia
from alephscript.testing import InMemoryMesh
from examples.aaia_runtime import conexionista
from examples.aaia_runtime.conexionista import make_model
from examples.aaia_runtime.thoughts import Approval, Approve, ThinkFIA, Thought, TipoThought
from examples.persefon_bot import PersefonBot, make_bot
from examples.thinking_bot import ThinkingBot
from tests.support.models import Call, ModelServer, Script, scripted

pytestmark = pytest.mark.anyio


@attrs.frozen
class Reading:
    """How warm a room is."""

    celsius: float


@attrs.frozen
class Measure(RequestFor[Reading], capability="MEASURE"):
    """How warm is a room?"""

    where: str


class House(AlephScriptClient):
    """A master that a model may use: one that changes nothing, one that does, one that asks."""

    rooms = ("HOUSE",)

    def __init__(self, hub: InMemoryMesh) -> None:
        super().__init__(hub)
        self.burnt: list[Any] = []
        self.is_measuring = asyncio.Event()
        self.go_on = asyncio.Event()

    @capability(read_only=True)
    async def measure(self, request: Measure) -> Reading:
        """How warm is a room?"""
        return Reading(21.5)

    @capability("BURN", destructive=True)
    async def burn(self, request: Request[dict[str, Any]]) -> dict[str, bool]:
        """Burn something."""
        self.burnt.append(request.payload)
        return {"burnt": True}

    @capability("PHONE")
    async def phone(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Phone somebody, and ask for the number."""
        return {"dialled": await request.ask("NUMBER", {"of": "Ana"})}

    @capability("WAIT")
    async def wait(self, request: Request[dict[str, Any]]) -> None:
        """Take a while."""
        self.is_measuring.set()
        await self.go_on.wait()


@pytest.fixture
async def mesh() -> AsyncIterator[InMemoryMesh]:
    """A mesh without sockets."""
    async with InMemoryMesh() as mesh:
        yield mesh


@pytest.fixture
async def house(mesh: InMemoryMesh) -> AsyncIterator[House]:
    """The other master."""
    async with House(mesh) as house:
        yield house


@pytest.fixture
async def client(mesh: InMemoryMesh, house: House) -> AsyncIterator[AlephScriptClient]:
    """Whoever asks."""
    async with AlephScriptClient(mesh, usuario="ana", timeout=20) as client:
        yield client


async def told(client: AlephScriptClient, text: str, session_id: str = "") -> str:
    """A session, a fresh one unless it is named, in which a text was perceived."""
    if not session_id:
        opened = await client.request(aaia.CreateSession("demo-conexionista"))
        session_id = opened.session_id
    percepto = aaia.Percepto(tipo=aaia.TipoPercepto.EVENTO, payload={"texto": text})
    await client.request(aaia.SendPercepto(session_id, percepto))
    return session_id


async def thought(
    mesh: InMemoryMesh, client: AlephScriptClient, *turns: Sequence[str | Call], **options: Any
) -> tuple[Eferencia, Script]:
    """What one step of a model that says these turns puts out."""
    script = Script(turns)
    async with ThinkingBot(mesh, model=scripted(script)):
        step = aaia.StepFIA(await told(client, "hello"), 0)
        return (await client.request(step, **options)).eferencia, script


async def test_a_step_asks_the_model_about_what_was_perceived(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """The answer is in the eferencia; a step that nothing reached asks nobody."""
    script = Script([["Hello ", "Ana."], ["As I said."]])
    async with ThinkingBot(mesh, model=scripted(script)):
        session_id = await told(client, "say hello")
        first = (await client.request(aaia.StepFIA(session_id, 0))).eferencia
        assert (first.tipo, first.payload["respuesta"]) == (TipoEferencia.DATO, "Hello Ana.")
        assert first.payload["meta"]["modelo"] == "scripted"
        assert "say hello" in script.told[0]
        idle = (await client.request(aaia.StepFIA(session_id, 0))).eferencia
        assert (idle.tipo, len(script.told)) == (TipoEferencia.NOOP, 1)
        await told(client, "and again", session_id)
        second = (await client.request(aaia.StepFIA(session_id, 0))).eferencia
        assert (second.payload["respuesta"], second.payload["exito"]) == ("As I said.", True)


async def test_the_tools_are_what_the_others_of_the_mesh_offer(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """And what the bot itself offers, as far as that changes nothing: no step waits for itself."""
    eferencia, script = await thought(
        mesh, client, ["Let me see.", Call("MEASURE", {"where": "kitchen"})], ["It is 21.5."]
    )
    assert {"MEASURE", "BURN", "PHONE", "AAIA_QUERY_MUNDO"} <= set(script.tools[0])
    assert not {"AAIA_STEP_FIA", "AAIA_THINK_FIA", "AAIA_DESTROY_SESSION"} & set(script.tools[0])
    assert '{"celsius": 21.5}' in script.told[1]
    assert eferencia.payload["respuesta"] == "It is 21.5."
    used = {"room": "HOUSE", "capability": "MEASURE", "resultado": "done"}
    assert eferencia.payload["acciones"] == [{"tipo": "herramienta", "payload": used}]


async def test_a_step_is_streamed_part_by_part(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """Text as it comes, tools and their results, and the step in the end."""
    script = Script([["Let ", "me see.", Call("MEASURE", {"where": "kitchen"})], ["21.5."]])
    async with ThinkingBot(mesh, model=scripted(script)):
        session_id = await told(client, "how warm is it?")
        parts = [part async for part in client.stream(ThinkFIA(session_id, 0))]
        assert parts[:-1] == [
            Thought(TipoThought.TEXTO, "Let "),
            Thought(TipoThought.TEXTO, "me see."),
            Thought(TipoThought.HERRAMIENTA, tool="MEASURE", payload={"where": "kitchen"}),
            Thought(TipoThought.RESULTADO, '{"celsius": 21.5}', tool="MEASURE"),
            Thought(TipoThought.TEXTO, "21.5."),
        ]
        assert parts[-1].paso is not None
        assert parts[-1].paso.eferencia.payload["respuesta"] == "21.5."
        plain = (await client.request(aaia.CreateSession("demo-logica"))).session_id
        (only,) = [part async for part in client.stream(ThinkFIA(plain, 0))]
        assert only.paso is not None


@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("by", ["request", "stream", "task"])
async def test_a_dangerous_tool_asks_back_first(
    mesh: InMemoryMesh, client: AlephScriptClient, house: House, by: str, *, yes: bool
) -> None:
    """A no means that the tool is not used, and that the model is told so."""
    script = Script([[Call("BURN", {"what": "letters"})], ["So be it."]])
    asked: list[Approve] = []

    def approve(question: Approve) -> Approval:
        asked.append(question)
        return Approval(yes=yes)

    async with ThinkingBot(mesh, model=scripted(script), modelo={"pulso": 1}):
        session_id = await told(client, "burn the letters")
        if by == "request":
            await client.request(aaia.StepFIA(session_id, 0), on_ask=approve)
        elif by == "stream":
            async for _ in client.stream(ThinkFIA(session_id, 0), on_ask=approve):
                pass
        else:
            task = await client.submit(aaia.PlayFIA(session_id, 0), timeout=60)
            async for status in task.updates():
                if status.state == "asking":
                    assert status.question is not None
                    asked.append(Approve(**status.question["payload"]))
                    await task.answer(Approval(yes=yes))
                    break
            async for status in task.updates():
                if status.progress is not None and len(script.told) == 2:
                    break
    (question,) = asked
    assert (question.room, question.tool) == ("HOUSE", "BURN")
    assert question.payload == {"what": "letters"}
    assert house.burnt == ([{"what": "letters"}] if yes else [])
    assert ("burnt" if yes else "refused") in script.told[1]


async def test_a_dangerous_tool_that_nobody_allows_is_not_used(
    mesh: InMemoryMesh, client: AlephScriptClient, house: House
) -> None:
    """An asker without on_ask cannot be asked; the step goes on, and the model knows."""
    eferencia, script = await thought(mesh, client, [Call("BURN", {})], ["Then not."])
    assert "no_answerer" in script.told[1]
    assert "was not used" in script.told[1]
    assert house.burnt == []
    assert eferencia.payload["acciones"][0]["payload"]["resultado"] == "no_answerer"
    assert eferencia.payload["exito"] is True


async def test_what_a_tool_asks_back_is_asked_of_the_asker(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """Through the FIA, which does not know the answer."""
    _, script = await thought(
        mesh, client, [Call("PHONE", {})], ["Done."], on_ask=lambda question: {"number": "123"}
    )
    assert '"number": "123"' in script.told[1]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (Call("MEASURE", {"where": 7}), "invalid_payload"),
        (Call("MEASURE", {}), "invalid_payload"),
        (Call("MEASURE", "[1,"), "json_invalid"),
        (Call("MEASURE", '{"where": NaN}'), "invalid_payload"),
        (Call("MEASURE", {"where": "x" * 30_000}), "invalid_payload"),
        (Call("NOPE", {}), "Unknown tool"),
    ],
)
async def test_a_model_that_uses_a_tool_wrongly_is_told_so(
    mesh: InMemoryMesh, client: AlephScriptClient, call: Call, reason: str
) -> None:
    """As text, and goes on."""
    eferencia, script = await thought(mesh, client, [call], ["I see."])
    assert reason in script.told[1]
    assert eferencia.payload["respuesta"] == "I see."


async def test_a_model_is_bounded(
    mesh: InMemoryMesh, client: AlephScriptClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By questions, tools and output; the step ends, says why, and the FIA can go on."""
    measure = Call("MEASURE", {"where": "kitchen"})
    for turns, reason in (
        ([[measure]] * 20, "12 questions"),
        ([[measure] * 25], "24 tools"),
        ([["x" * 999] * 100], "more than 50000 characters"),
        ([[Call("MEASURE", {"where": "x" * 60_000})]], "more than 50000 characters"),
    ):
        eferencia, _ = await thought(mesh, client, *turns)
        assert eferencia.tipo is TipoEferencia.EVENTO
        assert reason in eferencia.payload["errores"][0]
    monkeypatch.setattr(conexionista, "MAX_SECONDS", 1.0)  # it has asked by then
    eferencia, _ = await thought(mesh, client, [Call("WAIT", {})])
    assert "longer than 1 s" in eferencia.payload["errores"][0]
    assert eferencia.payload["acciones"][0]["payload"]["resultado"] == "cancelled"


async def test_a_fia_that_asks_itself_by_way_of_others_is_ended_by_the_hub(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """Each step in a step is one of sixteen requests inside each other; the model is told so."""
    made: list[str] = []
    results: list[str] = []

    async def reflect(
        messages: list[ModelMessage], _: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        part = messages[-1].parts[-1]
        if isinstance(part, ToolReturnPart):
            results.append(str(part.content))
            yield "enough"
        else:
            yield {0: DeltaToolCall("REFLECT", "{}", tool_call_id="c")}

    class Mirror(AlephScriptClient):
        rooms = ("MIRROR",)

        @capability("REFLECT")
        async def reflect(self, request: Request[dict[str, Any]]) -> aaia.StepResult:
            """Have another FIA think."""
            made.append(await told(self, "think about yourself"))
            return await self.request(aaia.StepFIA(made[-1], 0))

    model = FunctionModel(stream_function=reflect)
    async with Mirror(mesh), ThinkingBot(mesh, model=model):
        step = aaia.StepFIA(await told(client, "think about yourself"), 0)
        last = (await client.request(step)).eferencia
    assert last.payload["respuesta"] == "enough"
    assert len(made) == 8
    assert "inside each other" in results[0]


@pytest.mark.parametrize("how", ["stop", "leave", "destroy"])
async def test_a_thought_can_be_stopped(
    mesh: InMemoryMesh, client: AlephScriptClient, house: House, how: str
) -> None:
    """By a STOP, by the asker who waits no more, and with the session; the tool is cancelled."""
    script = Script([[Call("WAIT", {})], ["Well."]])
    async with ThinkingBot(mesh, model=scripted(script)):
        session_id = await told(client, "wait")
        step = asyncio.create_task(client.request(aaia.StepFIA(session_id, 0)))
        await house.is_measuring.wait()
        if how == "leave":
            step.cancel()
            await asyncio.wait([step])
            await told(client, "now", session_id)  # whose turn comes when the step has ended
        else:
            end: Any = aaia.StopFIA(session_id, 0)
            await client.request(aaia.DestroySession(session_id) if how == "destroy" else end)
            with pytest.raises(CapabilityError):
                await step
        if how != "destroy":
            (fia,) = (await client.request(aaia.ListFIAs(session_id))).fias
            assert fia.run_state is (RunState.STOP if how == "stop" else RunState.PAUSE)
            assert (await client.request(aaia.GetEferencia(session_id, 0))).eferencia is None


async def test_a_reader_that_leaves_ends_the_step(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """Nobody pays for what nobody reads."""
    script = Script([["one ", "two ", "three "]])
    async with ThinkingBot(mesh, model=scripted(script)):
        session_id = await told(client, "count")
        async for part in client.stream(ThinkFIA(session_id, 0)):
            assert part.texto == "one "
            break
        await told(client, "again", session_id)
        assert (await client.request(aaia.ListFIAs(session_id))).fias[0].run_state is RunState.PAUSE


async def test_what_was_said_is_known_after_a_restart(
    mesh: InMemoryMesh, client: AlephScriptClient, tmp_path: Any
) -> None:
    """To the model, which is told of the earlier steps; with all that the tools have said."""
    first = Script([[Call("MEASURE", {"where": "attic"})], ["Warm."]])
    async with ThinkingBot(mesh, model=scripted(first), data=tmp_path):
        session_id = await told(client, "is it warm?")
        await client.request(aaia.StepFIA(session_id, 0))
    script = Script([["I have said that."]])
    async with ModelServer(script).serve() as server:
        model = make_model("m", server.url)
        async with ThinkingBot(mesh, model=model, data=tmp_path):
            await told(client, "is it still?", session_id)
            step = await client.request(aaia.StepFIA(session_id, 0))
        assert (step.cycles, step.eferencia.payload["respuesta"]) == (2, "I have said that.")
        said = [each["role"] for each in server.asked[0]["messages"]]
        assert said == ["system", "user", "assistant", "tool", "assistant", "user"]


class TestCommand:
    """What the options of ``python -m examples.persefon_bot`` mean."""

    def options(self, **given: Any) -> argparse.Namespace:
        """Options as they are parsed."""
        none: dict[str, Any] = {"url": "http://127.0.0.1:9", "data": None, "model": None}
        return argparse.Namespace(**{**none, "model_url": None, **given})

    def test_a_model_makes_a_bot_that_thinks(self) -> None:
        """Of any name, at any address; the bot of the seed without."""
        url = "http://127.0.0.1:9/v1"
        assert isinstance(make_bot(self.options(model="m", model_url=url)), ThinkingBot)
        assert isinstance(make_bot(self.options(model="test")), ThinkingBot)
        assert type(make_bot(self.options())) is PersefonBot

    def test_a_model_of_nowhere_says_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """OpenAI's own needs a key."""
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(SystemExit, match="OPENAI_API_KEY"):
            make_bot(self.options(model="gpt"))

    def test_an_extra_that_is_missing_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the line that installs it."""
        for name in ("examples.thinking_bot", "examples.aaia_runtime.conexionista"):
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "pydantic_ai", None)
        with pytest.raises(SystemExit, match=r"pip install 'alephscript\[examples,llm\]'"):
            make_bot(self.options(model="m"))


class TestServer:
    """A model behind an address."""

    async def test_any_server_of_chat_completions_will_do(
        self, mesh: InMemoryMesh, client: AlephScriptClient
    ) -> None:
        """Streamed, with tools: what it is asked is what the protocol has."""
        script = Script([["Let me ", "see.", Call("MEASURE", {"where": "hall"})], ["21.5", "."]])
        async with ModelServer(script).serve() as server:
            model = make_model("small", server.url)
            async with ThinkingBot(mesh, model=model):
                session_id = await told(client, "how warm is the hall?")
                parts = [part async for part in client.stream(ThinkFIA(session_id, 0))]
            texts = [each.texto for each in parts if each.tipo is TipoThought.TEXTO]
            assert texts == ["Let me ", "see.", "21.5", "."]
            assert parts[-1].paso is not None
            assert parts[-1].paso.eferencia.payload["meta"]["tokens"] == 30
            asked, again = server.asked
            assert asked["model"] == "small"
            tools = {each["function"]["name"]: each["function"] for each in asked["tools"]}
            schema = tools["MEASURE"]["parameters"]
            assert schema["properties"]["where"]["type"] == "string"
            assert again["messages"][-1]["content"] == '{"celsius": 21.5}'

    @pytest.mark.parametrize(
        "status", [401, *[pytest.param(each, marks=pytest.mark.slow) for each in (429, 500)]]
    )
    async def test_a_server_that_refuses_is_named_by_its_status(
        self, mesh: InMemoryMesh, client: AlephScriptClient, status: int
    ) -> None:
        """And not by its words, which are for the log."""
        server = ModelServer(Script([]))
        server.status = status
        async with server.serve(), ThinkingBot(mesh, model=make_model("m", server.url)):
            step = aaia.StepFIA(await told(client, "hello"), 0)
            errors = (await client.request(step)).eferencia.payload["errores"]
        assert errors == [f"the model's server answers {status}"]

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda _: b"data: {not json\n\n",
            lambda _: b'data: {"choices": 7}\n\n',
            lambda chunk: chunk.replace(b"hello", b"\\ud800"),
            lambda chunk: chunk.replace(b'_tokens": 10', b'_tokens": -1' + b"0" * 30),
            lambda _: b"",
        ],
    )
    async def test_a_server_that_speaks_nonsense_costs_that_step_alone(
        self, mesh: InMemoryMesh, client: AlephScriptClient, spoil: Any
    ) -> None:
        """The step ends, whatever comes; the session goes on."""
        server = ModelServer(Script([["hello"], ["hello"], ["hello"], ["hello"]]))
        server.spoil = spoil
        async with server.serve(), ThinkingBot(mesh, model=make_model("m", server.url)):
            session_id = await told(client, "hello")
            step = await client.request(aaia.StepFIA(session_id, 0))
            assert isinstance(step.eferencia.payload["respuesta"], str)
            assert (await client.request(aaia.StepFIA(session_id, 0))).cycles == 2

    @pytest.mark.slow  # it is asked three times
    async def test_a_server_that_is_not_there_is_said(
        self, mesh: InMemoryMesh, client: AlephScriptClient, port: int
    ) -> None:
        """Within the step."""
        model = make_model("m", f"http://127.0.0.1:{port}/v1")
        async with ThinkingBot(mesh, model=model):
            step = aaia.StepFIA(await told(client, "hello"), 0)
            errors = (await client.request(step)).eferencia.payload["errores"]
        assert errors == ["the model's server gives no answer that can be used"]

    async def test_the_model_without_weights_needs_no_server(
        self, mesh: InMemoryMesh, client: AlephScriptClient
    ) -> None:
        """To try all of it."""
        async with ThinkingBot(mesh, model=make_model("test")):
            step = aaia.StepFIA(await told(client, "hello"), 0)
            assert (await client.request(step)).eferencia.payload["exito"] is True
