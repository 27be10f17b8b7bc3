"""A blocking client, for scripts: the same names, without ``await``.

::

    from alephscript.sync import AlephScriptClient

    with AlephScriptClient(usuario="me") as client:
        print(client.request("AAIA_GET_APPS", timeout=5))

A blocking client runs the asynchronous one on an event loop in a thread of its own, and may be used
by several threads at once. It asks and listens; a class that offers capabilities is asynchronous,
since it has to answer while nobody waits. So nobody masters, drains or runs for ever here.

May go in: methods of `alephscript.AlephScriptClient` that make sense in code that blocks, each
handed to the loop. May not: doing anything that the asynchronous client does. Over 500 lines, a
third of them signatures that type checkers need.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future, InvalidStateError
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, overload

import anyio
from anyio.from_thread import BlockingPortal

from alephscript.client.arguments import check_seconds
from alephscript.client.client import AlephScriptClient as _Client
from alephscript.client.discovery import Member, Offer, Survey
from alephscript.client.environment import DEFAULT_HUB
from alephscript.client.lifecycle import State
from alephscript.client.messages import Event, Progress
from alephscript.client.streams import EventStream
from alephscript.client.surveying import Topic
from alephscript.client.tasks import Task as _Task, TaskState, TaskStatus
from alephscript.contracts import RequestFor
from alephscript.errors import StateError
from alephscript.protocol.events import Position

__all__ = ["AlephScriptClient", "Events", "Task"]

T = TypeVar("T")
R = TypeVar("R")

_CLOSE_SECONDS = 10.0
"""The time that `close` waits for the loop, then for its thread: a stalled hub keeps nobody."""


class AlephScriptClient:
    """A member of a mesh, for code that may block.

    Use it in ``with``, or `open` and `close` it. Ctrl-C while a call waits cancels what was asked,
    at the master too.

    Args:
        hub: The hub's address; by default as `alephscript.AlephScriptClient` has it.
        options: Those of `alephscript.AlephScriptClient`.

    Raises:
        ContractError: An argument is not what it has to be.
    """

    def __init__(self, hub: str = DEFAULT_HUB, **options: Any) -> None:
        _Client(hub, **options)  # refuses what cannot be meant, here and not later
        self._hub = hub
        self._options = options
        self._portal: BlockingPortal | None = None
        self._client: _Client | None = None
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    if not TYPE_CHECKING:  # type checkers say by themselves that there is no `async with`

        async def __aenter__(self) -> NoReturn:
            raise StateError(
                "this client blocks: `with`; code that awaits takes "
                "`async with alephscript.AlephScriptClient(…)`"
            )

        async def __aexit__(self, *exc_info: object) -> None:
            """Stand beside `__aenter__`, which `async with` looks for second."""

    def open(self) -> None:
        """Connect and register; with ``wait=False`` return at once.

        Raises:
            ConnectionRefused: There is no hub, or it refused the client.
            StateError: The client is open already, or this thread runs an event loop.
        """
        _refuse_on_a_loop()
        self._check_process()
        if self._portal is not None:
            raise StateError("this client is open already")
        self._process = os.getpid()
        started: Future[BlockingPortal] = Future()
        # A daemon: a client that was forgotten must not keep the interpreter from ending.
        self._thread = threading.Thread(target=_run, args=(started,), daemon=True)
        self._thread.start()
        self._portal = started.result()
        try:
            self._client = self._wait(self._open_client)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the mesh; calls that wait in other threads end. Closing twice is no error."""
        self._check_process()
        portal, self._portal = self._portal, None
        client, self._client = self._client, None
        if portal is None or self._thread is None:
            return
        with contextlib.suppress(RuntimeError):
            if client is not None:
                portal.start_task_soon(client.close).result(_CLOSE_SECONDS)
            portal.start_task_soon(portal.stop, True)  # noqa: FBT003 - what is left is cancelled
        self._thread.join(_CLOSE_SECONDS)

    def ready(self) -> None:
        """Wait until the client is registered and in its rooms, also after its link was lost."""
        self._wait(self._present().ready)

    @property
    def state(self) -> State:
        """The state of the client's life."""
        return self._present().state

    @overload
    def request(
        self,
        request: RequestFor[R],
        /,
        *,
        room: str | None = None,
        timeout: float | None = ...,
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
    ) -> R: ...
    @overload
    def request(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = ...,
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
        reply: type[R],
    ) -> R: ...
    @overload
    def request(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = ...,
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
    ) -> dict[str, Any]: ...
    def request(self, request: Any, payload: Any = None, /, **options: Any) -> Any:
        """Ask a capability and wait for its answer; see `alephscript.AlephScriptClient.request`.

        ``on_progress`` is called in the client's own thread, a plain ``on_ask`` in one of its own.
        """
        client = self._present()
        arguments = (request,) if payload is None else (request, payload)
        return self._wait(lambda: client.request(*arguments, **options))

    @overload
    def stream(
        self,
        request: RequestFor[R],
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
    ) -> Generator[R]: ...
    @overload
    def stream(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
        reply: type[R],
    ) -> Generator[R]: ...
    @overload
    def stream(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
    ) -> Generator[Any]: ...
    def stream(self, request: Any, payload: Any = None, /, **options: Any) -> Generator[Any]:
        """Ask a capability that answers in parts; leaving the loop cancels it."""
        client = self._present()
        arguments = (request,) if payload is None else (request, payload)
        yield from self._iterate(lambda: client.stream(*arguments, **options))

    @overload
    def submit(
        self,
        request: RequestFor[T],
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Task[T]: ...
    @overload
    def submit(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Task[dict[str, Any]]: ...
    def submit(self, request: Any, payload: Any = None, /, **options: Any) -> Task[Any]:
        """Hand a request over to the hub; see `alephscript.AlephScriptClient.submit`."""
        client = self._present()
        arguments = (request,) if payload is None else (request, payload)
        return Task(self, self._wait(lambda: client.submit(*arguments, **options)))

    def task(self, id: str) -> Task[dict[str, Any]]:
        """Return a task by its id; whether there is such a task shows when it is asked."""
        return Task(self, self._present().task(id))

    def tasks(self, room: str | None = None, state: TaskState | None = None) -> list[TaskStatus]:
        """List the tasks that this client may use; see `alephscript.AlephScriptClient.tasks`."""
        client = self._present()
        return self._wait(lambda: client.tasks(room, state))

    def _iterate(self, begin: Callable[[], AsyncIterator[T]]) -> Generator[T]:
        """Iterate over what an asynchronous iterator gives, which ends when nobody reads on."""
        send, receive = anyio.create_memory_object_stream[T](0)

        async def pump() -> None:
            # In one task from beginning to end, as the generator wants it.
            with send:
                async for part in begin():
                    await send.send(part)

        pumping: Future[None] = Future()
        try:
            self._begin(pump, pumping)
            while True:
                try:
                    part = self._wait(receive.receive)
                except anyio.EndOfStream:
                    pumping.result()  # raises what the request ended with
                    return
                yield part
        finally:
            pumping.cancel()
            receive.close()

    def events(
        self,
        room: str | None = None,
        *names: str,
        since: str | dt.datetime | Position | None = None,
        buffer: int = 1024,
    ) -> Events:
        """Return what is said from now on, or since a time, in a room, or in all; see `Events`."""
        client = self._present()

        async def make() -> EventStream:  # on the loop, to which a stream belongs
            return client.events(room, *names, since=since, buffer=buffer)

        return Events(self, self._wait(make))

    def subscribe(
        self, room: str, *, since: Position | None = None, presence: bool = False
    ) -> None:
        """Be in a room; see `alephscript.AlephScriptClient.subscribe`."""
        client = self._present()
        self._wait(lambda: client.subscribe(room, since=since, presence=presence))

    def position(self, room: str) -> Position | None:
        """Return how far a room was heard, for `subscribe`; None without a history."""
        return self._present().position(room)

    def unsubscribe(self, room: str) -> None:
        """Leave a room."""
        client = self._present()
        self._wait(lambda: client.unsubscribe(room))

    def broadcast(
        self,
        event: str,
        data: Any = None,
        *,
        room: str | None = None,
        retain: bool = False,
        confirm: bool = False,
    ) -> Position | None:
        """Say something in a room; see `alephscript.AlephScriptClient.broadcast`."""
        client = self._present()
        return self._wait(
            lambda: client.broadcast(event, data, room=room, retain=retain, confirm=confirm)
        )

    def register(self, usuario: str, sesion: str | None = None, **extras: Any) -> None:
        """Register under another name; see `alephscript.AlephScriptClient.register`."""
        client = self._present()
        self._wait(lambda: client.register(usuario, sesion, **extras))

    def server_state(self) -> dict[str, Any]:
        """Ask the hub which members are where, and which of them master what."""
        client = self._present()
        return self._wait(client.server_state)

    def discover(self, *, room: str | None = None, capability: str | None = None) -> list[Offer]:
        """Ask the hub which capabilities are offered; see `Offer`."""
        client = self._present()
        return self._wait(lambda: client.discover(room=room, capability=capability))

    def members(self, room: str) -> list[Member]:
        """Ask the hub who is in a room; see `alephscript.AlephScriptClient.members`."""
        client = self._present()
        return self._wait(lambda: client.members(room))

    def survey(
        self, topic: Topic = "info", *, room: str | None = None, timeout: float = 2.0
    ) -> Survey:
        """Ask members what they are, or how they do; see `alephscript.AlephScriptClient.survey`."""
        client = self._present()
        return self._wait(lambda: client.survey(topic, room=room, timeout=timeout))

    async def _open_client(self) -> _Client:
        return await _Client(self._hub, **self._options).__aenter__()

    def _check_process(self) -> None:
        """Refuse a forked child: the thread that runs the client is in its parent alone."""
        if self._portal is not None and self._process != os.getpid():
            raise StateError(
                "this client was opened before the process was forked, and is its parent's; open "
                "one here"
            )

    def _present(self) -> _Client:
        self._check_process()
        if self._client is None:
            raise StateError("this client is not open; use `with AlephScriptClient(…) as client`")
        return self._client

    def _portal_now(self) -> BlockingPortal:
        _refuse_on_a_loop()
        self._check_process()
        if self._portal is None:
            raise StateError("this client is closed")
        return self._portal

    def _begin(self, act: Callable[[], Coroutine[Any, Any, T]], end: Future[T]) -> None:
        """Begin a coroutine on the loop; cancelling its future cancels it."""
        portal = self._portal_now()
        try:
            portal.start_task_soon(_settle, act, end)
        except RuntimeError as exc:  # another thread closed it just now
            raise StateError("this client is closed") from exc

    def _wait(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the loop, and wait for it; an interrupt cancels it."""
        # Made beforehand: Ctrl-C may come when it has been begun and before anybody waits for it.
        end: Future[T] = Future()
        try:
            self._begin(act, end)
            return end.result()
        except BaseException:
            end.cancel()
            raise


class Events:
    """Events as they come: ``for event in client.events("AAIA_ROOM")``. For one reader."""

    def __init__(self, client: AlephScriptClient, stream: EventStream) -> None:
        self._client = client
        self._stream = stream

    def __iter__(self) -> Iterator[Event[Any]]:
        while (event := self.next()) is not None:
            yield event

    def next(self, timeout: float | None = None) -> Event[Any] | None:
        """Wait for the next event; None says that the client was closed.

        Args:
            timeout: Seconds to wait, None for as long as it takes.

        Raises:
            TimeoutError: No event came in time.
            ContractError: The timeout is no number.
        """
        check_seconds("next", "timeout", timeout)

        async def one() -> Event[Any] | None:
            async with asyncio.timeout(timeout):
                return await anext(self._stream, None)

        return self._client._wait(one)  # noqa: SLF001 - of one module

    def close(self) -> None:
        """Take no more events."""

        async def close() -> None:
            self._stream.close()

        self._client._wait(close)  # noqa: SLF001 - of one module


def _run(started: Future[BlockingPortal]) -> None:
    async def serve() -> None:
        async with BlockingPortal() as portal:
            started.set_result(portal)
            await portal.sleep_until_stopped()

    anyio.run(serve)


async def _settle(act: Callable[[], Coroutine[Any, Any, T]], end: Future[T]) -> None:
    """Run a coroutine, and pass its end to another thread, and that thread's giving up to it."""
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:

        def cancel(ended: Future[T]) -> None:
            if ended.cancelled():
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(scope.cancel)

        end.add_done_callback(cancel)
        with contextlib.suppress(InvalidStateError):  # cancelled in the moment in which it ended
            try:
                end.set_result(await act())
            except Exception as exc:  # noqa: BLE001 - raised where it is waited for
                end.set_exception(exc)
            except BaseException:
                end.cancel()
                raise


class Task(Generic[R]):
    """A task at the hub, for code that may block; see `alephscript.Task`.

    Attributes:
        id: Its id. Whoever may ask the capability may use it.
    """

    def __init__(self, client: AlephScriptClient, task: _Task[R]) -> None:
        self.id = task.id
        self._client = client
        self._task = task

    def __repr__(self) -> str:
        return repr(self._task)

    def result(self, timeout: float | None = None) -> R:
        """Wait until the task has ended; see `alephscript.Task.result`."""
        return self._client._wait(lambda: self._task.result(timeout))  # noqa: SLF001 - its half

    def status(self) -> TaskStatus:
        """Ask how the task is."""
        return self._client._wait(self._task.status)  # noqa: SLF001 - its half

    def updates(self) -> Generator[TaskStatus]:
        """Iterate over how the task is now, and each change of that, until it has ended."""
        return self._client._iterate(self._task.updates)  # noqa: SLF001 - its half

    def cancel(self) -> TaskStatus:
        """Cancel the task, and return how it is then."""
        return self._client._wait(self._task.cancel)  # noqa: SLF001 - its half

    def answer(self, answer: Any) -> TaskStatus:
        """Answer what the task's method asks."""
        return self._client._wait(lambda: self._task.answer(answer))  # noqa: SLF001 - its half


def _refuse_on_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise StateError(
        "this thread runs an event loop, which a blocking client would stop; use "
        "`async with alephscript.AlephScriptClient(…)` and `await` (notebooks can)"
    )
