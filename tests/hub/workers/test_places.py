"""Which worker a socket belongs to is read from the first line of what it asks."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from alephscript.hub.workers.places import Place, find_place, mark_of

WORKERS = st.integers(1, 64)


def ask(query: str) -> bytes:
    """The head of a request with a query."""
    return f"GET /socket.io/?EIO=4&{query} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


@given(workers=WORKERS, data=st.data())
def test_a_session_belongs_to_the_worker_that_opened_it(workers: int, data: st.DataObject) -> None:
    """Whatever its room: no other worker knows it."""
    worker = data.draw(st.integers(0, workers - 1))
    head = ask(f"transport=polling&sid={mark_of(worker)}abc-_.1&room=R")
    assert find_place(head, workers) == Place(worker, is_needed=True)


@given(workers=WORKERS, room=st.text(min_size=1))
def test_members_of_a_room_belong_together(workers: int, room: str) -> None:
    """Whoever asks, in whatever order of its query."""
    try:
        name = quote(room, safe="")
    except UnicodeEncodeError:
        return  # half a character is no room's name
    one, other = ask(f"transport=websocket&room={name}"), ask(f"room={name}&transport=websocket")
    found = find_place(one, workers)
    assert found is not None
    assert not found.is_needed
    assert 0 <= found.worker < workers
    assert find_place(other, workers) == found


def test_rooms_are_spread_over_the_workers() -> None:
    """None of four workers is without one of forty rooms."""
    found = {find_place(ask(f"room=ROOM_{number}"), 4) for number in range(40)}
    assert len(found) == 4


@given(head=st.binary(max_size=200), workers=WORKERS)
def test_any_bytes_have_a_place_or_none(head: bytes, workers: int) -> None:
    """No stranger's first bytes break a worker."""
    found = find_place(head, workers)
    assert found is None or 0 <= found.worker < workers


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET /socket.io/?EIO=4&sid=1.a HTTP/1.1",  # not whole
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a handshake of TLS
        b"GET / HTTP/1.1\r\n\r\n",
        ask("transport=polling"),
        ask("sid=7.abc"),  # of a worker that there is not
        ask("sid=.abc"),
        ask("sid=abc"),
        ask("sid=-1.abc"),
        ask("sid=99999999999999999999.abc"),
        ask("sid=%C2%B2.abc"),  # a digit for Unicode only
        b"GET /socket.io/?sid=\xff.a HTTP/1.1\r\n",
        b"GET /mesh?room=R HTTP/1.1\r\n",
    ],
)
def test_others_belong_nowhere(head: bytes) -> None:
    """They stay with the worker that accepted them."""
    assert find_place(head, 4) is None
