"""The way of a socket from the worker that accepted it to the one that it belongs to.

May go in: passing on sockets. May not: which worker that is (`places`), who is alive (`pulse`).

The system spreads new sockets over the workers. A worker looks at the first bytes and leaves them
in the socket (``MSG_PEEK``), so that another one reads them as if the socket had come there. An
encrypted socket tells nothing and stays where it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

from alephscript.hub.workers.places import find_place
from alephscript.hub.workers.pulse import Pulse

__all__ = ["Siblings"]

_HEAD_BYTES = 4_096
"""As much of a request as is looked at; the line that matters comes first."""

_BUSY = 0.7
"""The share of a core from which on a worker is sent no member for the sake of its room."""


class Siblings:
    """The workers of a port, as one of them sees them.

    Args:
        folder: The folder of the workers, which is theirs alone.
        number: This worker's number.
        workers: How many there are.
        pulse: How busy each is.
    """

    def __init__(self, folder: Path, number: int, workers: int, pulse: Pulse) -> None:
        self._folder = folder
        self._number = number
        self._workers = workers
        self._pulse = pulse
        self._links: dict[int, socket.socket] = {}  # to the others
        self._receivers: dict[socket.socket, Callable[[], None]] = {}

    def open(self, take: Callable[[socket.socket], None]) -> None:
        """Take from now on what the others pass on.

        Args:
            take: Called with each such socket.
        """
        path = self._path(self._number)
        path.unlink(missing_ok=True)  # of a worker that had this number and was killed
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(self._workers)
        self._receive_from(listener, lambda: self._accept(listener, take))

    def close(self) -> None:
        """Take and pass on no more sockets."""
        for each in list(self._receivers):
            self._end(each)
        for link in self._links.values():
            link.close()
        self._links.clear()

    async def pass_on(self, client: socket.socket) -> bool:
        """Pass on a socket that belongs to another worker; say whether it was passed on.

        A socket that cannot be passed on stays: a session that is not known here is told so, and
        its client begins anew.
        """
        head = await _peek(client)
        place = find_place(head, self._workers)
        if place is None or place.worker == self._number:
            return False
        if not place.is_needed and self._pulse.load(place.worker) > _BUSY:
            return False
        return self._send(place.worker, client)

    def _send(self, worker: int, client: socket.socket) -> bool:
        for _ in range(2):  # anew, if that worker was started anew
            link = self._links.get(worker)
            try:
                if link is None:
                    link = self._links[worker] = self._connect(worker)
                socket.send_fds(link, [b"\0"], [client.fileno()])
            except OSError:
                if link is not None:
                    link.close()
                    self._links.pop(worker, None)
                continue
            client.close()
            return True
        return False

    def _connect(self, worker: int) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.setblocking(False)  # noqa: FBT003 - the standard library's
        try:
            link.connect(str(self._path(worker)))
        except OSError:
            link.close()
            raise
        return link

    def _path(self, worker: int) -> Path:
        return self._folder / str(worker)

    def _receive_from(self, source: socket.socket, receive: Callable[[], None]) -> None:
        source.setblocking(False)  # noqa: FBT003 - the standard library's
        self._receivers[source] = receive
        asyncio.get_running_loop().add_reader(source, receive)

    def _end(self, source: socket.socket) -> None:
        del self._receivers[source]
        asyncio.get_running_loop().remove_reader(source)
        source.close()

    def _accept(self, listener: socket.socket, take: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            link, _ = listener.accept()
            self._receive_from(link, lambda: self._receive(link, take))

    def _receive(self, link: socket.socket, take: Callable[[socket.socket], None]) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(link, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            client = socket.socket(fileno=descriptor)
            client.setblocking(False)  # noqa: FBT003 - the standard library's
            take(client)
        if not data:
            self._end(link)


async def _peek(client: socket.socket) -> bytes:
    """Wait for the first bytes of a socket, and leave them there."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(client, _set, readable)
    try:
        await readable
    finally:
        loop.remove_reader(client)
    try:
        return client.recv(_HEAD_BYTES, socket.MSG_PEEK)
    except OSError:
        return b""  # gone already: its protocol will see that


def _set(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)
