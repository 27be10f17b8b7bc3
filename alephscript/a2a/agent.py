"""One connection to an A2A agent: its card, what it is asked, and that it is gone.

May go in: one agent, from its card to its end. May not: when to try again, what a mesh is told
(`master`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from a2a.client import Client, ClientConfig, ClientFactory
from a2a.client.card_resolver import parse_agent_card
from a2a.types import (
    AgentCard,
    AgentInterface,
    CancelTaskRequest,
    GetTaskRequest,
    SendMessageRequest,
    StreamResponse,
    TaskNotFoundError,
)
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH, PROTOCOL_VERSION_1_0, VERSION_HEADER

from alephscript.a2a.foreign import Answer
from alephscript.a2a.guard import is_loopback
from alephscript.doors import upstream
from alephscript.errors import ConnectionRefused, RequestError
from alephscript.protocol.json import parse_json
from alephscript.protocol.text import printable

__all__ = ["Agent", "AgentUnreachable", "connect"]

_HEARTBEAT = 2.0
"""Seconds between two looks at the card, whether it is there, and another one."""
_CARD_SECONDS = 5.0
_CONNECT_SECONDS = 3.0
"""Fewer than for a card: an agent that cannot be connected to is gone, and not slow."""
_MOST_CARD_BYTES = 2_000_000
_MOST_ANSWER_BYTES = 16_000_000
"""Bytes of a response, or of one event of a stream."""
_CANCEL_SECONDS = 5.0
_FIRST_POLL, _LAST_POLL = 0.05, 0.5
"""Seconds between two looks at a task of an agent that does not stream."""
_BINDINGS = ["JSONRPC", "HTTP+JSON"]
_PORTS = {"http": 80, "https": 443}


class AgentUnreachable(ConnectionRefused):
    """An A2A agent could not be reached; ``url`` is its address."""

    def __str__(self) -> str:
        where = f"cannot connect to the A2A agent {self.url}"
        return f"{where}: {self.reason}; is its card at this address?"


class BadCard(Exception):
    """A card cannot be used; the text says why."""


class _TooLarge(httpx.DecodingError):
    """A response has more bytes than are read."""


class Agent(upstream.Upstream):
    """An agent that was there when its card was read.

    Attributes:
        card: Its card.
    """

    def __init__(self, http: httpx.AsyncClient, address: str) -> None:
        super().__init__()
        self.card = AgentCard()
        self._http = http
        self._url = card_address(address)
        self._address = address
        self._tag = ""
        self._client: Client | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def look(self) -> bool:
        """Read the card; return whether it is another one than before.

        Raises:
            BadCard: The card cannot be used.
            httpx.HTTPError: There is no card.
        """
        headers = {"If-None-Match": self._tag} if self._tag else {}
        async with asyncio.timeout(_CARD_SECONDS):
            response = await self._http.get(self._url, headers=headers)
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return False
        response.raise_for_status()
        if len(response.content) > _MOST_CARD_BYTES:
            raise BadCard(f"the card has more than {_MOST_CARD_BYTES} bytes")
        card = read_card(response.content, self._address)
        self._tag = response.headers.get("etag", "")
        if self._client is not None and card == self.card:
            return False
        config = ClientConfig(
            httpx_client=self._http,
            supported_protocol_bindings=_BINDINGS,
            polling=not card.capabilities.streaming,  # so that its task can be cancelled
        )
        try:
            self._client = ClientFactory(config).create(card)
        except Exception as error:  # noqa: BLE001 - of a stranger's card, whatever it is
            raise BadCard(f"the card cannot be used: {printable(str(error), 200)}") from None
        self.card = card
        return True

    async def changes(self) -> AsyncGenerator[None, None]:
        """Iterate over changes of the card, until the agent is gone."""
        while not self.gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT):
                    await self.gone.wait()
            if self.gone.is_set():
                return
            try:
                if await self.look():
                    yield
            except TimeoutError:
                pass  # an agent that is slow is there
            except (httpx.HTTPError, BadCard):
                self.gone.set()
                raise

    async def ask(self, request: SendMessageRequest, answer: Answer) -> AsyncGenerator[None, None]:
        """Ask, and iterate over changes of the answer, until it is over; leaving cancels the task.

        Raises:
            ConnectionError: The agent is gone; `ConnectionRefusedError` if it was before.
            A2AError: The agent refused.
            ValueError: The agent says what is no A2A.
        """
        said: asyncio.Queue[StreamResponse | Exception] = asyncio.Queue(1)
        seen = answer.shadow()
        pump = asyncio.create_task(self._pump(request, said, seen))
        has_ended = False
        try:
            while not answer.is_over:
                event = await self.work(said.get())
                if isinstance(event, Exception):
                    has_ended = True
                    raise event
                answer.take(event)
                yield
        finally:
            if has_ended or answer.is_over or self.gone.is_set():
                pump.cancel()
            else:
                answer.task_id = seen.task_id  # of an event, maybe, that went with its waiting
                self._end(self._abandon(pump, said, answer))

    async def _pump(
        self,
        request: SendMessageRequest,
        said: asyncio.Queue[StreamResponse | Exception],
        seen: Answer,
    ) -> None:
        """Put what the agent says into a queue, and last an exception if it did not answer."""
        try:
            await said.put(await self._hear(request, said, seen))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - of whatever a stranger has answered
            await said.put(error)

    async def _hear(
        self,
        request: SendMessageRequest,
        said: asyncio.Queue[StreamResponse | Exception],
        seen: Answer,
    ) -> Exception:
        """Put what the agent says into a queue, by its stream or by looking again and again.

        Returns:
            The reason why the agent says no more.
        """
        client = self._client
        assert client is not None
        try:
            stream = client.send_message(request)
            async with contextlib.aclosing(stream) as events:  # type: ignore[type-var]
                async for event in events:
                    seen.note(event)
                    await said.put(event)
        except Exception as error:
            if not is_of_network(error):
                raise
            if not seen.task_id:
                return self._lose(error)
        delay = _FIRST_POLL
        while seen.task_id and not seen.is_over:
            try:
                task = await client.get_task(GetTaskRequest(id=seen.task_id))
            except TaskNotFoundError:
                return ConnectionError("the agent was started again")
            except Exception as error:
                if is_of_network(error):
                    return self._lose(error)
                raise
            event = StreamResponse(task=task)
            seen.note(event)
            await said.put(event)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LAST_POLL)
        return ValueError("the agent has not answered")

    def _lose(self, error: Exception) -> ConnectionError:
        self.gone.set()
        if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
            return ConnectionRefusedError("the agent is not there")
        return ConnectionError("the agent is gone")

    async def _abandon(
        self,
        pump: asyncio.Task[None] | None,
        said: asyncio.Queue[StreamResponse | Exception],
        answer: Answer,
    ) -> None:
        """Cancel the agent's task, which may have no name yet."""
        assert self._client is not None
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                while not answer.task_id:
                    event = await said.get()
                    if isinstance(event, Exception):
                        return
                    answer.note(event)
                if not answer.is_over or answer.question() is not None:
                    await self._client.cancel_task(CancelTaskRequest(id=answer.task_id))
        except Exception:  # noqa: BLE001, S110 - nobody waits for it any more
            pass
        finally:
            if pump is not None:
                pump.cancel()

    def give_up(self, answer: Answer) -> None:
        """Cancel the agent's task, which waits for an answer."""
        nothing: asyncio.Queue[StreamResponse | Exception] = asyncio.Queue()
        self._end(self._abandon(None, nothing, answer))

    def _end(self, work: Coroutine[Any, Any, None]) -> None:
        ending = asyncio.create_task(work)
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Wait until what was left is cancelled at the agent."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=_CANCEL_SECONDS)


def is_of_network(error: Exception) -> bool:
    """Whether an error of the SDK's client says that the agent cannot be reached."""
    return isinstance(error.__cause__, httpx.TransportError)


@contextlib.asynccontextmanager
async def connect(address: str, headers: Mapping[str, str]) -> AsyncIterator[Agent]:
    """Connect to an agent: read its card.

    Raises:
        BadCard: The card cannot be used.
        httpx.HTTPError: There is no card.
    """
    async with httpx.AsyncClient(
        transport=_Bounded(limits=httpx.Limits(max_connections=None)),
        headers={
            "Accept-Encoding": "identity",
            **headers,
            VERSION_HEADER: PROTOCOL_VERSION_1_0,
        },
        timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        trust_env=False,
    ) as http:
        agent = Agent(http, address)
        try:
            await agent.look()
        except TimeoutError:
            raise BadCard(f"the card did not come within {_CARD_SECONDS:g} s") from None
        try:
            yield agent
        finally:
            await agent.close()


def card_address(address: str) -> str:
    """Return the address of the card of the agent at an address."""
    if urlsplit(address).path.endswith(".json"):
        return address
    return address.rstrip("/") + AGENT_CARD_WELL_KNOWN_PATH


def read_card(content: bytes, address: str) -> AgentCard:
    """Read a card, with those interfaces that can be asked.

    Args:
        content: Its JSON.
        address: The agent's address. A card that sends requests elsewhere is not believed.

    Raises:
        BadCard: It is no card, or names no such interface.
    """
    try:
        card = parse_agent_card(parse_json(content))
    except RequestError as error:
        raise BadCard(f"the card is {error.message}") from None
    except Exception as error:  # noqa: BLE001 - of a stranger's JSON, whatever it is
        raise BadCard(f"there is no card: {printable(str(error), 200)}") from None
    home = _origin(address)
    kept: list[AgentInterface] = []
    elsewhere = ""
    for each in card.supported_interfaces[:100]:
        if each.protocol_binding not in _BINDINGS:
            continue
        if _origin(each.url) == home:
            kept.append(each)
        else:
            elsewhere = elsewhere or each.url
    if not kept and elsewhere:
        raise BadCard(
            f"the card sends requests to {printable(elsewhere, 200)}, which is another host or "
            "port; give the address that the card names"
        )
    if not kept:
        raise BadCard(f"the card names no interface of {' or '.join(_BINDINGS)}")
    del card.supported_interfaces[:]
    card.supported_interfaces.extend(kept)
    return card


def _origin(url: str) -> tuple[str, str, int | None]:
    """Return what two addresses of one place share; names of this machine are one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", "", None
    if parts.scheme not in _PORTS:
        return "", "", None
    return parts.scheme, "localhost" if is_loopback(host) or host == "0.0.0.0" else host, port  # noqa: S104


class _Bounded(httpx.AsyncHTTPTransport):
    """HTTP whose responses, and events of streams, have no more bytes than are taken."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask, and count what comes."""
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise _TooLarge("the response is compressed, which was not asked for", request=request)
        is_stream = "text/event-stream" in response.headers.get("content-type", "")
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Counted(response.stream, is_stream=is_stream)
        return response


class _Counted(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, *, is_stream: bool) -> None:
        self._stream = stream
        self._is_stream = is_stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if self._is_stream and (at := _end_of_event(chunk)) >= 0:
                size = len(chunk) - at
            if size > _MOST_ANSWER_BYTES:
                raise _TooLarge(f"more than {_MOST_ANSWER_BYTES} bytes at once")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _end_of_event(chunk: bytes) -> int:
    return max(chunk.rfind(b"\n\n"), chunk.rfind(b"\r\n\r\n"))


def describe_failure(error: Exception) -> tuple[str, list[Any]]:
    """Say what an agent answered in place of a task: words, and details."""
    cause = error.__cause__
    if isinstance(cause, httpx.HTTPStatusError):
        return f"the agent answered with HTTP {cause.response.status_code}", []
    if isinstance(cause, _TooLarge):
        return str(cause), []
    data = getattr(error, "data", None)
    details = [data] if isinstance(data, dict) else []
    return printable(str(getattr(error, "message", "") or error), 1000), details
