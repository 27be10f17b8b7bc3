"""Floods against a hub in a process of its own: ``python -m tests.faults.floods [NAME …]``.

Prints by how much the hub grew, and how long an honest request took at the most.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from alephscript import AlephScriptClient, capability
from alephscript.protocol.websocket import write_masked_text_frame
from tests.hub.test_lobby import GET_WEBSOCKET
from tests.support.processes import Process

MB = 1_000_000
_JOIN = b"40/runtime,"
_REGISTER = b'42/runtime,1["CLIENT_REGISTER",{"usuario":"x","protocol":"alephscript/1"}]'
_ENTER = b'42/runtime,2["CLIENT_SUSCRIBE",{"room":"R"}]'
_SECONDS = 1.5


@attrs.define
class Outcome:
    """What a flood did.

    Attributes:
        grown: Bytes by which the hub grew at the most.
        slowest: Seconds of the slowest honest request.
    """

    grown: int = 0
    slowest: float = 0.0


class Strangers:
    """Sockets of somebody of bad will, at one port, in a thread of their own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._sockets: list[socket.socket] = []

    def connect(self, *, reads: bool = True) -> socket.socket:
        """Open a socket, of which all is read that comes, or nothing."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=2)
        self._sockets.append(made)
        if reads:
            threading.Thread(target=_read, args=(made,), daemon=True).start()
        return made

    def join(self, *messages: bytes, reads: bool = True) -> socket.socket:
        """Open a websocket and say something; what follows the request may come with it."""
        made = self.connect(reads=reads)
        made.sendall(GET_WEBSOCKET)
        time.sleep(0.005)  # the request, which uvicorn reads, ends the segment
        made.sendall(b"".join(map(write_masked_text_frame, (_JOIN, *messages))))
        return made

    def poll(self) -> tuple[socket.socket, bytes]:
        """Open a polling session; return its socket and the request to post to it."""
        made = self.connect(reads=False)
        head = b"/socket.io/?EIO=4&transport=polling%b HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        made.sendall(b"GET " + head % b"" + b"\r\n")
        said = b""
        while b"}" not in said:
            said += made.recv(4_096)
        sid = said.partition(b'"sid":"')[2].partition(b'"')[0]
        return made, b"POST " + head % (b"&sid=" + sid)

    def push(self, to: socket.socket, piece: bytes) -> None:
        """Send a piece again and again for a while, as fast as it goes."""
        end = time.monotonic() + _SECONDS
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                to.sendall(piece)

    def close(self) -> None:
        """Hang up."""
        for each in self._sockets:
            each.close()


def _read(made: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            with contextlib.suppress(TimeoutError):
                if not made.recv(MB):
                    return


def _events(*texts: str) -> Callable[[Strangers], None]:
    """A flood of small events of one member."""
    piece = b"".join(write_masked_text_frame(b"42/runtime," + text.encode()) for text in texts)
    return lambda them: them.push(them.join(_REGISTER, _ENTER), piece * (10_000 // len(texts)))


def _room(them: Strangers) -> None:
    for _ in range(100):
        them.join(_ENTER)
    _events('["ROOM_MESSAGE",{"event":"E","room":"R"}]')(them)


def _unread(them: Strangers) -> None:
    for _ in range(60):
        them.join(_ENTER, reads=False)
    speaker = them.join(_REGISTER)
    said = b'42/runtime,["ROOM_MESSAGE",{"event":"E","room":"R","data":"%b"}]' % (b"x" * 20_000)
    them.push(speaker, write_masked_text_frame(said))


def _halves_of_frames(them: Strangers) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            them.join().sendall(write_masked_text_frame(b"4" + b"x" * 1_800_000)[:-1])


def _halves_of_messages(them: Strangers) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            them.join().sendall(b"\x01" + write_masked_text_frame(b"4" + b"x" * 1_800_000)[1:])


def _halves_of_bodies(them: Strangers) -> None:
    for _ in range(100):
        made, post = them.poll()
        with contextlib.suppress(OSError):
            made.sendall(post + b"Content-Length: 990000\r\n\r\n" + b"4" * 900_000)


def _bodies_of_events(them: Strangers) -> None:
    made, post = them.poll()
    threading.Thread(target=_read, args=(made,), daemon=True).start()
    body = b"\x1e".join(
        [_JOIN] + [b'42/runtime,["ROOM_MESSAGE",{"event":"E","room":"R"}]'] * 18_000
    )
    them.push(made, post + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def _bodies_in_chunks(them: Strangers) -> None:
    made, post = them.poll()
    with contextlib.suppress(OSError):
        made.sendall(post + b"Transfer-Encoding: chunked\r\n\r\n")
    them.push(made, b"1\r\n2\r\n" * 20_000)


def _large_registrations(them: Strangers) -> None:
    extras = b",".join([b"{}"] * 300_000)
    said = b'42/runtime,1["CLIENT_REGISTER",{"usuario":"x","y":[%b]}]' % extras
    them.push(them.join(), write_masked_text_frame(said))


def _requests_by_pages(them: Strangers) -> None:
    them.push(them.connect(), b"GET /mesh HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1_000)


def _heads(them: Strangers) -> None:
    for _ in range(500):
        them.connect(reads=False).sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 60_000)


FLOODS: dict[str, Callable[[Strangers], None]] = {
    "events": _events('["A"]'),
    "questions": _events('1["GET_A"]'),
    "asked and cancelled": _events(
        '7["GET_A",{},{"wait":true}]', '["CANCEL_REQUEST",{"request":7}]'
    ),
    "registrations": _events('1["CLIENT_REGISTER",{"usuario":"y"}]'),
    "in and out": _events(
        '1["CLIENT_SUSCRIBE",{"room":"Q"}]', '1["CLIENT_UNSUSCRIBE",{"room":"Q"}]'
    ),
    "states": _events('1["GET_SERVER_STATE"]'),
    "declarations": _events(
        *(f'1["MAKE_MASTER",{{"room":"r{number}","features":["A"]}}]' for number in range(900))
    ),
    "unreadable": _events('7["' + "x" * 200 + '"NaN]'),
    "names": _events(*(f'["N{number}",{{}}]' for number in range(5_000))),
    "a room of a hundred": _room,
    "a room that reads nothing": _unread,
    "halves of frames": _halves_of_frames,
    "halves of messages": _halves_of_messages,
    "halves of bodies": _halves_of_bodies,
    "bodies of events": _bodies_of_events,
    "bodies in chunks": _bodies_in_chunks,
    "large registrations": _large_registrations,
    "requests for pages": _requests_by_pages,
    "halves of heads": _heads,
}


class Quiet(AlephScriptClient):
    """An honest master."""

    rooms = ("QUIET",)

    @capability("QUIET")
    async def quiet(self) -> dict[str, bool]:
        """Answer."""
        return {"ok": True}


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def suffer(name: str) -> Outcome:
    """Flood a hub, and ask an honest question now and then until the strangers have gone."""
    hub, outcome = Process("-m", "alephscript", "hub", "--port", "0", ready=b"listening"), Outcome()
    await hub.start()
    try:
        async with Quiet(hub.url), AlephScriptClient(hub.url) as asker:
            await asker.request("QUIET", room="QUIET", timeout=30)
            before = _resident(hub.pid)
            port = urlsplit(hub.url).port
            assert port is not None
            them = Strangers(port)
            flooding = asyncio.create_task(asyncio.to_thread(FLOODS[name], them))
            is_last = False
            while not is_last:
                is_last = flooding.done()
                began = time.perf_counter()
                await asker.request("QUIET", room="QUIET", timeout=30)
                outcome.slowest = max(outcome.slowest, time.perf_counter() - began)
                outcome.grown = max(outcome.grown, _resident(hub.pid) - before)
                await asyncio.wait({flooding}, timeout=0.02)
            await flooding
            them.close()
            await asker.request("QUIET", room="QUIET", timeout=30)
    finally:
        await hub.end()
    return outcome


async def main() -> None:
    """Print what each flood does, or each of those that are named."""
    for name in sys.argv[1:] or FLOODS:
        outcome = await suffer(name)
        print(f"{name:28}{outcome.grown / MB:4.0f} MB {outcome.slowest:6.3f} s")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
