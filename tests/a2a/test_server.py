"""A mesh as A2A agents, seen by the SDK's own client, of both bindings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx
import pytest
from a2a.client import ClientCallContext
from a2a.client.card_resolver import parse_agent_card
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    InvalidParamsError,
    ListTasksRequest,
    Part,
    PushNotificationNotSupportedError,
    SendMessageConfiguration,
    SubscribeToTaskRequest,
    TaskNotCancelableError,
    TaskNotFoundError,
    TaskPushNotificationConfig,
    TaskState,
    UnsupportedOperationError,
)
from a2a.utils.errors import A2AError

from alephscript import AlephScriptClient, CapabilityError, Request, RequestFor, capability
from alephscript.a2a import guard
from alephscript.a2a.parts import PROGRESS, value_of
from alephscript.hub import Access, Handshake, Hub, Identity, Refusal
from alephscript.testing import InMemoryMesh
from tests.support.a2a_peers import (
    agents_of,
    client_of,
    failure_of,
    heard,
    message,
    results_of,
    task_of,
)
from tests.support.mcp_peers import Slow
from tests.support.meshes import at_once

pytestmark = pytest.mark.anyio

CARD = "/.well-known/agent-card.json"
BINDINGS = ("JSONRPC", "HTTP+JSON")


@attrs.frozen
class Sum:
    """Numbers to be added."""

    numbers: list[int]


class Odd(AlephScriptClient):
    """Takes and gives all kinds of things."""

    rooms = ("ODD",)

    @capability("ADD", read_only=True)
    async def add(self, numbers: list[int]) -> int:
        """Add numbers."""
        return sum(numbers)

    @capability("TYPED")
    async def typed(self, request: Sum) -> Sum:
        """Give back what was given."""
        return request

    @capability("SAY")
    async def say(self, text: str) -> str:
        """Say a text."""
        return f"you said {text}"

    @capability("COUNT")
    async def count(self, to: int) -> AsyncIterator[dict[str, int]]:
        """Count."""
        for number in range(to):
            yield {"number": number}

    @capability("FAIL")
    async def fail(self, request: dict[str, Any] | None) -> None:
        """Fail."""
        raise CapabilityError("not_mine", "there is nothing", [{"asked": request}])

    @capability("BIG")
    async def big(self) -> dict[str, int]:
        """Give a number that no double holds."""
        return {"big": 2**60 + 1}


@attrs.frozen
class Approve(RequestFor[bool], capability="APPROVE"):
    """May it be done?"""

    what: str


class Postman(AlephScriptClient):
    """Asks back."""

    rooms = ("POST",)

    @capability("SEND")
    async def send(self, request: Request[dict[str, str]]) -> dict[str, Any]:
        """Send something, if that may be done."""
        try:
            return {"sent": await request.ask(Approve(request.payload["to"]))}
        except CapabilityError as error:
            return {"refused": error.code}


class Other(AlephScriptClient):
    """Offers a capability of the same name in another room."""

    rooms = ("OTHER/ROOM",)

    @capability("ADD")
    async def add(self, request: dict[str, Any]) -> dict[str, Any]:
        """Add nothing."""
        return {"added": 0}


class ByToken(Access):
    """Lets each token into a room of its own."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:
        """Find the rooms of a token."""
        rooms = {"odd-secret": {"ODD", "*"}, "other-secret": {"OTHER/ROOM", "*"}}
        mine = rooms.get(str((auth or {}).get("token")))
        return Refusal() if mine is None else Identity(rooms=frozenset(mine))


async def card_at(url: str, token: str | None = None) -> AgentCard:
    """The card of an agent."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers) as http:
        response = await http.get(url.rstrip("/") + CARD)
        response.raise_for_status()
        return parse_agent_card(response.json())


def ids_of(card: AgentCard) -> set[str]:
    """Ids of its skills."""
    return {each.id for each in card.skills}


async def until(url: str, skill: str, *, is_there: bool = True) -> None:
    """Look at a card until it has a skill, or has it no more."""
    async with asyncio.timeout(10):
        while (skill in ids_of(await card_at(url))) is not is_there:
            pass


async def test_each_room_is_an_agent_and_so_is_the_mesh(mesh: InMemoryMesh) -> None:
    """Which an index lists; a skill has its capability's words, and its schema."""
    async with Odd(mesh), Other(mesh), agents_of(mesh) as url:
        whole = await card_at(url)
        assert {"ODD_ADD", "OTHER_ROOM_ADD", "TYPED"} <= ids_of(whole)
        async with httpx.AsyncClient() as http:
            index = (await http.get(url)).json()
        assert index["count"] == 3
        rooms = {each["room"]: each for each in index["agents"]}
        assert rooms[None]["skills"] == [each.id for each in whole.skills]
        odd, other = await card_at(rooms["ODD"]["url"]), await card_at(rooms["OTHER/ROOM"]["url"])
        assert ids_of(other) == {"ADD"}
        assert ids_of(odd) == {"ADD", "TYPED", "SAY", "COUNT", "FAIL", "BIG"}
        assert (odd.name, odd.skills[0].name) == ("ODD", "ADD")
        said = odd.skills[0].description
        assert said.startswith("Add numbers.")
        assert '{"type":"array","items":{"type":"integer"}}' in said
        params = odd.capabilities.extensions[0].params
        assert params["skills"]["ADD"]["request"]["items"]["type"] == "integer"
        assert params["skills"]["COUNT"]["streams"] is True


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_message_is_a_request_and_its_answer_an_artifact(
    mesh: InMemoryMesh, binding: str, *, streaming: bool
) -> None:
    """Whichever way it names its skill."""
    options = {"supported_protocol_bindings": [binding], "streaming": streaming}
    async with Odd(mesh), agents_of(mesh) as url, client_of(f"{url}/rooms/ODD", **options) as asker:
        for request in (
            message([1, 2], skill="ADD"),
            message({"skill": "ADD", "payload": [1, 2]}),
            message({"capability": "ADD", "room": "ODD", "payload": [1, 2]}),
            message("ADD [1, 2]"),
            message('{"skill": "ADD", "payload": [1, 2]}'),
            message("Please add these:", [1, 2], skill="ADD"),
        ):
            last = (await heard(asker, request))[-1]
            if not streaming:
                assert results_of(last.task) == [3]
            else:
                assert last.status_update.status.state == TaskState.TASK_STATE_COMPLETED
                task = await asker.get_task(GetTaskRequest(id=last.status_update.task_id))
                assert results_of(task) == [3]


RESULTS: list[tuple[str, Any, list[Any]]] = [
    ("TYPED", {"numbers": [1]}, [{"numbers": [1]}]),
    ("TYPED", '{"numbers": [1]}', [{"numbers": [1]}]),
    ("SAY", "hello", ["you said hello"]),
    ("SAY", "17", ["you said 17"]),
    ("COUNT", 3, [{"number": 0}, {"number": 1}, {"number": 2}]),
    ("COUNT", 0, []),
    ("BIG", {}, [{"big": 2**60 + 1}]),
]


async def test_answers_come_through_as_they_are(mesh: InMemoryMesh) -> None:
    """Texts as texts, data as data, and as text where a double would change it."""
    async with Odd(mesh), agents_of(mesh) as url, client_of(url, streaming=False) as client:
        for skill, payload, result in RESULTS:
            task = await task_of(client, message(payload, skill=skill))
            assert results_of(task) == result
            # A client that takes texts only gets texts.
            configuration = SendMessageConfiguration(accepted_output_modes=["text/plain"])
            request = message(payload, skill=skill, configuration=configuration)
            task = await task_of(client, request)
            assert results_of(task) == result
            parts = [part for artifact in task.artifacts for part in artifact.parts]
            assert all(part.WhichOneof("content") == "text" for part in parts)


async def test_failures_have_codes_and_words(mesh: InMemoryMesh) -> None:
    """Of a capability, and of a payload."""
    async with Odd(mesh), agents_of(mesh) as url, client_of(url, streaming=False) as client:
        code, text = failure_of(await task_of(client, message({"a": 1}, skill="FAIL")))
        assert code == "not_mine"
        assert text == 'not_mine: there is nothing [{"asked":{"a":1}}]'
        code, text = failure_of(await task_of(client, message({"numbers": "x"}, skill="TYPED")))
        assert code == "invalid_payload"
        assert "numbers" in text


UNFIT = [
    (message("hello"), 'metadata {"skill": "ID"}'),
    (message({"a": 1}), "skills are ADD, TYPED, SAY"),
    (message([1], skill="ADX"), "did you mean ADD?"),
    (message("three and four", skill="TYPED"), "TYPED takes JSON"),
    (message(Part(url="http://x"), skill="TYPED"), "no files"),
    (message([1], [2], skill="TYPED"), "one data part"),
]


async def test_a_message_that_cannot_be_a_request_says_what_to_write(mesh: InMemoryMesh) -> None:
    """In the error that a client shows."""
    async with Odd(mesh), agents_of(mesh) as url, client_of(url) as client:
        for request, told in UNFIT:
            with pytest.raises(A2AError) as error:
                await heard(client, request)
            assert told in str(error.value)


async def test_progress_is_status_and_parts_of_streams_are_artifacts(mesh: InMemoryMesh) -> None:
    """In order, as they come; cancelling cancels at the master."""
    async with (
        Odd(mesh),
        Slow(mesh) as slow,
        agents_of(mesh) as url,
        client_of(url) as client,
    ):
        events = await heard(client, message(3, skill="COUNT"))
        told = [each.WhichOneof("payload") for each in events]
        updates = ["artifact_update"] * 3
        assert told == ["task", "status_update", *updates, "status_update"]
        chunks = [each.artifact_update for each in events[2:5]]
        assert [value_of(each.artifact.parts[0])["number"] for each in chunks] == [0, 1, 2]
        assert [each.append for each in chunks] == [False, True, True]

        fractions: list[Any] = []
        words: list[Any] = []
        state = TaskState.TASK_STATE_UNSPECIFIED
        async for event in client.send_message(message({}, skill="WAIT_LONG")):
            status = event.status_update.status
            state = status.state
            for part in status.message.parts if state == TaskState.TASK_STATE_WORKING else ():
                value = value_of(part)
                (words if isinstance(value, str) else fractions).append(value)
            if {PROGRESS: 0.75} in fractions and not slow.stopped.is_set():
                task_id = event.status_update.task_id
                cancelled = await client.cancel_task(CancelTaskRequest(id=task_id))
                assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
                await slow.stopped.wait()
        # Those that were reported before anybody listened are told as one.
        reported = range(4 - len(words), 4)
        assert words == [f"{each} of 4" for each in reported]
        assert fractions == [{PROGRESS: each / 4} for each in reported]
        assert state == TaskState.TASK_STATE_CANCELED
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(CancelTaskRequest(id=task_id))


@pytest.mark.parametrize("binding", BINDINGS)
async def test_tasks_can_be_got_listed_and_subscribed_to(mesh: InMemoryMesh, binding: str) -> None:
    """While they are known, by whoever asked."""
    options = {"supported_protocol_bindings": [binding]}
    async with (
        Odd(mesh),
        Slow(mesh) as slow,
        agents_of(mesh) as url,
        client_of(url, **options) as client,
    ):
        configuration = SendMessageConfiguration(return_immediately=True)
        async with client_of(url, streaming=False) as polling:
            asked = message({}, skill="WAIT_LONG", configuration=configuration)
            task = await task_of(polling, asked)
            assert task.status.state < TaskState.TASK_STATE_COMPLETED
            done = await task_of(polling, message([1], skill="ADD"))
        await slow.running.wait()
        assert (await client.get_task(GetTaskRequest(id=task.id))).id == task.id
        page = await client.list_tasks(ListTasksRequest(page_size=1))
        assert (page.total_size, len(page.tasks)) == (2, 1)
        rest = await client.list_tasks(ListTasksRequest(page_token=page.next_page_token))
        assert {page.tasks[0].id, rest.tasks[0].id} == {task.id, done.id}
        assert not rest.next_page_token
        ended = ListTasksRequest(status=TaskState.TASK_STATE_COMPLETED, include_artifacts=True)
        assert results_of((await client.list_tasks(ended)).tasks[0]) == [1]
        following = client.subscribe(SubscribeToTaskRequest(id=task.id))
        assert (await anext(following)).task.id == task.id
        await client.cancel_task(CancelTaskRequest(id=task.id))
        states = [each.status_update.status.state async for each in following]
        assert states[-1] == TaskState.TASK_STATE_CANCELED
        with pytest.raises(UnsupportedOperationError, match="over"):
            await anext(client.subscribe(SubscribeToTaskRequest(id=task.id)))
        with pytest.raises(TaskNotFoundError):
            await client.get_task(GetTaskRequest(id="none"))
        more = message([1], skill="ADD")
        more.message.task_id = done.id
        with pytest.raises(UnsupportedOperationError, match="leave taskId out"):
            await heard(client, more)


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_task_that_asks_back_goes_on_with_the_answer(
    mesh: InMemoryMesh, *, streaming: bool
) -> None:
    """In a message that names the task; an answer that is none is asked for again."""
    async with Postman(mesh), agents_of(mesh) as url, client_of(url, streaming=streaming) as client:
        last = (await heard(client, message({"to": "Ana"}, skill="SEND")))[-1]
        task_id = last.task.id or last.status_update.task_id
        status = last.task.status if last.task.id else last.status_update.status
        for told in ("May it be done?", "APPROVE takes JSON"):
            assert status.state == TaskState.TASK_STATE_INPUT_REQUIRED
            text, about = status.message.parts
            assert told in text.text
            asked = value_of(about)
            assert (asked["question"], asked["payload"]) == ("APPROVE", {"what": "Ana"})
            assert asked["reply"] == {"type": "boolean"}
            answer = message("maybe" if told.startswith("May") else True)
            answer.message.task_id = task_id
            last = (await heard(client, answer))[-1]
            status = last.task.status if last.task.id else last.status_update.status
        task = await client.get_task(GetTaskRequest(id=task_id))
        assert results_of(task) == [{"sent": True}]
        assert len(task.history) == 3
        refusal = message({"code": "not_today", "message": "ask again tomorrow"})
        refusal.message.metadata.update({"refused": True})
        last = (await heard(client, message({"to": "Eva"}, skill="SEND")))[-1]
        refusal.message.task_id = last.task.id or last.status_update.task_id
        await heard(client, refusal)
        task = await client.get_task(GetTaskRequest(id=refusal.message.task_id))
        assert results_of(task) == [{"refused": "not_today"}]


async def test_a_task_belongs_to_the_agent_of_its_room(mesh: InMemoryMesh) -> None:
    """And to that of the whole mesh."""
    async with Odd(mesh), Other(mesh), agents_of(mesh) as url:
        async with client_of(f"{url}/rooms/ODD", streaming=False) as odd:
            task = await task_of(odd, message([1], skill="ADD"))
            assert (await odd.get_task(GetTaskRequest(id=task.id))).id == task.id
        async with client_of(f"{url}/rooms/OTHER%2FROOM", streaming=False) as other:
            with pytest.raises(TaskNotFoundError):
                await other.get_task(GetTaskRequest(id=task.id))
            assert (await other.list_tasks(ListTasksRequest())).total_size == 0


async def test_notifications_are_refused_in_the_words_of_the_protocol(mesh: InMemoryMesh) -> None:
    """Set beside a message, or for a task."""
    push = TaskPushNotificationConfig(task_id="x", url="http://127.0.0.1:1/")
    async with Odd(mesh), agents_of(mesh) as url, client_of(url) as client:
        assert not (await card_at(url)).capabilities.push_notifications
        with pytest.raises(PushNotificationNotSupportedError, match="subscribe"):
            await client.create_task_push_notification_config(push)
        configuration = SendMessageConfiguration(task_push_notification_config=push)
        with pytest.raises(PushNotificationNotSupportedError):
            await heard(client, message([1], skill="ADD", configuration=configuration))


async def test_cards_change_when_masters_come_and_go(mesh: InMemoryMesh) -> None:
    """And a hub that is down is said."""
    async with agents_of(mesh) as url, client_of(url) as client:
        async with Odd(mesh, backoff=at_once):
            await until(url, "ADD")
            async with Other(mesh):
                await until(url, "OTHER_ROOM_ADD")
            await until(url, "OTHER_ROOM_ADD", is_there=False)
            await mesh.kill()
            await until(url, "TYPED", is_there=False)
            with pytest.raises(Exception, match="not_connected: there is no hub"):
                await heard(client, message({"numbers": []}, skill="TYPED"))
            await mesh.restart()
            await until(url, "TYPED")
        await until(url, "TYPED", is_there=False)
        with pytest.raises(InvalidParamsError, match="no skills at the moment"):
            await heard(client, message({"numbers": []}, skill="TYPED"))


async def test_a_body_that_does_not_come_is_not_waited_for(
    mesh: InMemoryMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that breaks off; others are served meanwhile."""
    monkeypatch.setattr(guard, "_MOST_SECONDS", 0.3)
    async with Odd(mesh), agents_of(mesh) as url, httpx.AsyncClient() as http:
        where = urlsplit(url)
        head = (
            f"POST /message:send HTTP/1.1\r\nHost: {where.netloc}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        slow = [await asyncio.open_connection(where.hostname, where.port) for _ in range(2)]
        for _, writer in slow:
            writer.write(head.encode())
        slow[1][1].close()
        assert (await http.post(f"{url}/message:send", json=BODY)).status_code == 200
        assert b"408" in await slow[0][0].readline()
        for _, writer in slow:
            writer.close()


async def test_a_card_that_is_known_is_not_sent_again(mesh: InMemoryMesh) -> None:
    """Until it is another one."""
    async with agents_of(mesh) as url, httpx.AsyncClient() as http:
        async with Odd(mesh):
            await until(url, "ADD")
            tag = (await http.get(url + CARD)).headers["ETag"]
            assert (await http.get(url + CARD, headers={"If-None-Match": tag})).status_code == 304
        await until(url, "ADD", is_there=False)
        assert (await http.get(url + CARD, headers={"If-None-Match": tag})).status_code == 200
        assert (await http.get(f"{url}/rooms/NONE{CARD}")).status_code == 404


async def test_clients_of_the_version_before_are_served(mesh: InMemoryMesh) -> None:
    """With its methods, its card, and its errors."""
    said = {"messageId": "1", "role": "user", "parts": [{"kind": "text", "text": "ADD [1,2]"}]}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": said}}
    async with Odd(mesh), agents_of(mesh) as url, httpx.AsyncClient() as http:
        card = (await http.get(url + CARD)).json()
        assert (card["protocolVersion"], card["preferredTransport"]) == ("0.3", "JSONRPC")
        result = (await http.post(card["url"], json=asked)).json()["result"]
        assert (result["kind"], result["status"]["state"]) == ("task", "completed")
        assert result["artifacts"][0]["parts"][0]["data"] in (3, {"value": 3})
        said["parts"] = [{"kind": "text", "text": "hello"}]
        error = (await http.post(url, json=asked)).json()["error"]
        assert error["code"] == -32602
        assert "This agent's skills are" in error["message"]


async def test_the_bearer_of_a_request_is_its_token_in_the_mesh() -> None:
    """Whoever has none sees no skills, and asks nothing; whoever has one sees what is theirs."""
    async with Hub(port=0, access=ByToken()) as hub:
        bots = Odd(hub.url, token="odd-secret"), Other(hub.url, token="other-secret")
        async with bots[0], bots[1], agents_of(hub.url, token="odd-secret") as url:
            public = await card_at(url)
            assert not public.skills
            assert public.capabilities.extended_agent_card
            assert public.security_schemes["bearer"].http_auth_security_scheme.scheme == "bearer"
            assert "ADD" in ids_of(await card_at(url, "odd-secret"))
            assert ids_of(await card_at(url, "other-secret")) == {"ADD"}
            async with client_of(url, streaming=False) as client:

                def bearer(token: str) -> ClientCallContext:
                    headers = {"Authorization": f"Bearer {token}"}
                    return ClientCallContext(service_parameters=headers)

                for context in (None, bearer("wrong")):
                    with pytest.raises(Exception, match="401"):
                        await heard(client, message([1], skill="ADD"), context)
                odd, other = bearer("odd-secret"), bearer("other-secret")
                task = await task_of(client, message([1, 2], skill="ADD"), odd)
                assert results_of(task) == [3]
                answered = await task_of(client, message({}, skill="ADD"), other)
                assert results_of(answered) == [{"added": 0}]
                with pytest.raises(TaskNotFoundError):
                    await client.get_task(GetTaskRequest(id=task.id), context=other)
                extended = await client.get_extended_agent_card(
                    GetExtendedAgentCardRequest(), context=odd
                )
                assert "TYPED" in ids_of(extended)


BODY = {"message": {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "ADD [1]"}]}}


HEADERS = [
    ({"Origin": "http://evil.example"}, 403),
    ({"Host": "evil.example"}, 403),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": ""}, 415),
    ({}, 200),
]


async def test_pages_of_strangers_cannot_ask(mesh: InMemoryMesh) -> None:
    """By their origin, by a name that they gave this machine, or without saying that it is JSON."""
    async with Odd(mesh), agents_of(mesh) as url, httpx.AsyncClient() as http:
        for headers, status in HEADERS:
            response = await http.post(f"{url}/message:send", json=BODY, headers=headers)
            assert response.status_code == status
            assert status == 200 or response.json()["error"]


BODIES = [
    (b"x" * 4_000_001, 413),
    (b'{"message":' + b"[" * 100_000, 400),
    (b"\xff", 400),
    (b"{", 400),
    (b"[]", 400),
    (b"{}", 400),
    (b'{"message": 5}', 400),
    (b'{"message": {"messageId": "1", "role": "ROLE_USER", "parts": [{"data": NaN}]}}', 400),
    (b'{"message": {"messageId": "1", "role": "ROLE_USER", "parts": []}}', 400),
]


async def test_bodies_that_are_none_are_refused(mesh: InMemoryMesh) -> None:
    """With a status and a sentence; the next one is served."""
    json = {"Content-Type": "application/json"}
    async with Odd(mesh), agents_of(mesh) as url, httpx.AsyncClient() as http:
        for body, status in BODIES:
            response = await http.post(f"{url}/message:send", content=body, headers=json)
            assert response.status_code == status
            assert response.json()["error"]
            if len(body) < 1000 and body[:1] != b"\xff":
                rpc = b'{"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": %b}' % body
                assert "error" in (await http.post(url, content=rpc, headers=json)).json()
            response = await http.post(f"{url}/message:send", json=BODY)
            assert response.status_code == 200
