"""Addresses as people write them: understood the same way by every link, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from alephscript import AlephScriptClient, ConnectionRefused, ContractError
from alephscript.links._socketio import SocketIOTransport, _Engine
from alephscript.links.address import HubAddress, check_namespace, parse_address
from alephscript.links.websocket import WebSocketTransport
from alephscript.sync import AlephScriptClient as BlockingClient
from alephscript.testing import InMemoryMesh

PLAIN = HubAddress(secure=False, netloc="127.0.0.1:3010")
SECRET = "s3cret"

UNDERSTOOD = {
    "http://127.0.0.1:3010": PLAIN,
    "http://127.0.0.1:3010/": PLAIN,
    "HTTP://127.0.0.1:3010": PLAIN,
    "ws://127.0.0.1:3010": PLAIN,
    "127.0.0.1:3010": PLAIN,
    "//127.0.0.1:3010": PLAIN,
    "http://127.0.0.1:3010/runtime": PLAIN,
    "http://127.0.0.1:3010/runtime/": PLAIN,
    "127.0.0.1:3010/runtime": PLAIN,
    "http://127.0.0.1:3010/socket.io/": PLAIN,
    "http://127.0.0.1:3010?": PLAIN,
    "localhost": HubAddress(secure=False, netloc="localhost"),
    "localhost:3010/runtime": HubAddress(secure=False, netloc="localhost:3010"),
    "my_hub:3010": HubAddress(secure=False, netloc="my_hub:3010"),
    "https://example.org": HubAddress(secure=True, netloc="example.org"),
    "wss://example.org:8443/mesh": HubAddress(secure=True, netloc="example.org:8443", path="/mesh"),
    "https://example.org/mesh/runtime": HubAddress(secure=True, netloc="example.org", path="/mesh"),
    "https://example.org/mesh/socket.io": HubAddress(
        secure=True, netloc="example.org", path="/mesh"
    ),
    "http://h/mesh": HubAddress(secure=False, netloc="h", path="/mesh"),
    "http://h/mesh/": HubAddress(secure=False, netloc="h", path="/mesh"),
    "http://h/deep/er/runtime": HubAddress(secure=False, netloc="h", path="/deep/er"),
    "http://h/mesh/socket.io/": HubAddress(secure=False, netloc="h", path="/mesh"),
    "http://h/mesh/socket.io/runtime": HubAddress(secure=False, netloc="h", path="/mesh"),
    "http://h/runtime/socket.io": HubAddress(secure=False, netloc="h", path="/runtime"),
    "http://h/runtime/runtime": HubAddress(secure=False, netloc="h", path="/runtime"),
    "http://h/myruntime": HubAddress(secure=False, netloc="h", path="/myruntime"),
    "http://h/base?key=1": HubAddress(secure=False, netloc="h", path="/base", query="key=1"),
    "http://h/runtime?key=1": HubAddress(secure=False, netloc="h", query="key=1"),
    "http://[::1]:3010/runtime": HubAddress(secure=False, netloc="[::1]:3010"),
    "http://münchen.example": HubAddress(secure=False, netloc="xn--mnchen-3ya.example"),
}

REFUSED: list[Any] = [
    *(None, 5, b"http://127.0.0.1", ["http://127.0.0.1"], {}, object(), True),
    *("", " ", "/", "/runtime", "http://", "http:///runtime", ":3010", "http://:3010", "::1"),
    *("ftp://127.0.0.1", "file:///etc/passwd", "redis://127.0.0.1", "mailto:me@example.org"),
    *(
        "3010",
        "0",
        "http:127.0.0.1:3010",
        "http:/127.0.0.1:3010",
        "localhost:",
        "http://3010/runtime",
    ),
    *("http://127.0.0.1:port", "http://127.0.0.1:99999", "http://127.0.0.1:0", "http://h:-1"),
    *(" http://127.0.0.1", "http://127.0.0.1\n", "http://127.0.0.1/a b", "http://h\r\nX: y"),
    *("http://[::1", "http://a..b\\@evil", "http://h/\u00e4", "http://h?\u00e4", "http://h\x00"),
    *("http://h/#top", "http://\ud800", "http://h,i", "http://" + "a" * 5000, "http://\u202eh"),
    *("http://" + "ä" * 70 + ".example", "http://..", "http://a<b>c")[:1],
    *(f"http://me:{SECRET}@127.0.0.1:3010", f"me:{SECRET}@127.0.0.1", f"http://{SECRET}@h"),
    f"ftp://me:{SECRET}@h",
    f"http://h:{SECRET}",
    f"http://h/?token={SECRET}\n",
]


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_what_people_write_is_understood(text: str) -> None:
    """As one address, which can be read again."""
    address = parse_address(text, "/runtime")
    assert address == UNDERSTOOD[text]
    assert parse_address(address.url) == address


@pytest.mark.parametrize("text", REFUSED)
@pytest.mark.parametrize("cls", [AlephScriptClient, BlockingClient])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_what_cannot_be_meant_is_refused_by_the_constructor(
    text: Any, cls: Any, transport: str
) -> None:
    """By name, and without quoting it."""
    with pytest.raises(ContractError, match="hub") as raised:
        cls(text, transports=(transport,))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("3010", "write it as http://127.0.0.1:3010"),
        ("http://[::1", "write it as http://127.0.0.1:3010"),
        (f"http://me:{SECRET}@127.0.0.1:3010", "give credentials as auth="),
        ("ftp://127.0.0.1", "its scheme is one of http, ws, https, wss"),
    ],
)
def test_a_refusal_says_what_to_write(text: str, advice: str) -> None:
    """Instead."""
    with pytest.raises(ContractError, match=advice):
        parse_address(text)


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_every_link_asks_at_the_same_place(text: str) -> None:
    """But for the transport's name."""
    url = parse_address(text, "/runtime").url
    websocket = WebSocketTransport(url)
    polling = SocketIOTransport(url, transports=("polling",))
    asked = _Engine()._get_engineio_url(polling._address.url, "socket.io", "polling")
    assert websocket.url == polling.url
    assert (
        websocket._websocket_url.replace("ws", "http", 1).replace("=websocket", "=polling") == asked
    )


def test_a_query_is_sent_and_not_shown() -> None:
    """It may hold a token."""
    address = parse_address(f"http://h/base?token={SECRET}")
    assert SECRET in address.endpoint("websocket")
    assert SECRET in address.endpoint("polling")
    assert SECRET not in f"{address} {WebSocketTransport(address.url).url}"


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """With one kind of error, and what is understood has no control character in it."""
    for each in (text, f"http://{text}", f"http://h/{text}", f"h:{text}"):
        try:
            address = parse_address(each, "/runtime")
        except ContractError:
            continue
        assert address.endpoint("websocket").isascii()
        assert address.endpoint("polling").isprintable()
        assert parse_address(address.url) == address


NO_NAMESPACES: list[Any] = [
    *(None, 5, b"/runtime", "", "runtime", ["/runtime"]),
    *("/a,b", "/a?b", "/a#b", "/a b", "/\n", "/\ud800", "/" + "a" * 300),
]


@pytest.mark.parametrize("namespace", NO_NAMESPACES)
def test_a_namespace_is_refused_that_cannot_be_one(namespace: Any) -> None:
    """By every transport's constructor, in memory too."""
    with pytest.raises(ContractError, match="namespace"):
        check_namespace(namespace)
    hubs: list[Any] = ["http://127.0.0.1:3010", InMemoryMesh()]
    for hub in hubs:
        with pytest.raises(ContractError, match="namespace"):
            AlephScriptClient(hub, namespace=namespace)


@pytest.mark.parametrize("namespace", ["/", "/runtime", "/runtime/x", "/ñ"])
def test_a_namespace_that_can_be_one(namespace: str) -> None:
    """With whatever is printable."""
    check_namespace(namespace)


@pytest.mark.parametrize(
    "transports", ["websocket", (), None, 5, ("carrier pigeon",), {"polling": 1}, [b"polling"]]
)
def test_transports_are_a_sequence_of_names(transports: Any) -> None:
    """A text would be as many as it has letters."""
    with pytest.raises(ContractError, match="transports"):
        AlephScriptClient(transports=transports)


@pytest.mark.parametrize(
    "value", [SECRET.encode(), {SECRET}, SECRET + "\ud800", float("nan"), object(), {"a": b"x"}]
)
def test_a_token_that_cannot_be_sent_is_named_at_once(value: Any) -> None:
    """By its key and its type, not by its value."""
    with pytest.raises(ContractError, match="auth: token") as raised:
        AlephScriptClient(auth={"token": value})
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("auth", ["", SECRET.encode(), 5, ["token", SECRET]])
def test_credentials_are_a_token_or_a_mapping(auth: Any) -> None:
    """Or a token, or what gives one of these; the refusal says so."""
    with pytest.raises(ContractError, match="auth: a token, ") as raised:
        AlephScriptClient(auth=auth)
    assert SECRET not in str(raised.value)


@pytest.mark.anyio
@pytest.mark.parametrize("value", [SECRET.encode(), {SECRET}, SECRET + "\ud800"])
async def test_a_provider_of_such_a_token_ends_the_client(value: Any) -> None:
    """Instead of being asked for ever."""
    async with InMemoryMesh() as mesh:
        client = AlephScriptClient(mesh, auth=lambda: {"token": value}, retry_open=True)
        with pytest.raises(ConnectionRefused, match="token has no JSON form") as raised:
            await client.__aenter__()
        assert raised.value.fatal
        assert SECRET not in str(raised.value)
