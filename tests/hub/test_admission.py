"""Whose requests a hub takes, by `Origin` and `Host`; what it refuses is logged once."""

from __future__ import annotations

import pytest

from alephscript.hub.admission import is_loopback, make_admission

LOCAL = ("localhost", "127.0.0.1", "::1")


def is_taken(
    origin: str, host: str | None, *, is_on_loopback: bool = True, hosts: object = LOCAL
) -> bool:
    """Whether a page may connect to a hub without further origins."""
    admit = make_admission((), hosts, is_on_loopback=is_on_loopback)  # type: ignore[arg-type]
    headers = {"origin": origin} if host is None else {"origin": origin, "host": host}
    return admit(headers) is None


@pytest.mark.parametrize("host", ["127.0.0.1:3010", "localhost:3010", "[::1]:3010", "LOCALHOST:80"])
@pytest.mark.parametrize(
    ("origin", "is_local"),
    [
        ("http://localhost:4200", True),
        ("http://127.0.0.1:4200", True),
        ("https://localhost:4200", True),
        ("http://[::1]:4200", True),
        ("http://127.8.9.1", True),
        ("http://localhost", True),
        ("http://LOCALHOST:4200", True),
        ("http://localhost.evil.example:4200", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://127.0.0.1:3010.evil.example", False),
        ("http://evil.example", False),
        ("http://evil.example:80@localhost", False),
        ("http://localhost@evil.example", False),
        ("http://localhost:4200/path", False),
        ("http://localhost:4200?", False),
        ("http://localhost:port", False),
        ("http://localhost:99999", False),
        ("http://10.0.0.1:4200", False),
        ("http://128.0.0.1", False),
        ("http://0x7f.1", False),
        ("http://[::2]", False),
        ("http://[::1", False),
        ("file://localhost", False),
        ("ftp://localhost", False),
        ("chrome-extension://localhost", False),
        ("null", False),
        ("", False),
    ],
)
def test_pages_of_this_machine_may_connect_to_a_hub_on_loopback(
    origin: str, host: str, *, is_local: bool
) -> None:
    """Only by a name that nobody else can give."""
    assert is_taken(origin, host) is is_local
    assert is_taken(origin, None) is is_local


@pytest.mark.parametrize("host", ["hub.example:3010", "10.0.0.1:3010", "0.0.0.0:3010"])
def test_beyond_loopback_they_may_not(host: str) -> None:
    """Neither where the hub listens elsewhere, nor where it is called by another name."""
    assert not is_taken("http://localhost:4200", host, is_on_loopback=False, hosts=None)
    assert not is_taken("http://localhost:4200", host, hosts=None)
    assert not is_taken("http://localhost:4200", "127.0.0.1:3010", is_on_loopback=False)


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("http://hub.example", "hub.example", True),
        ("http://hub.example", "hub.example:80", True),
        ("http://hub.example:80", "hub.example", True),
        ("https://hub.example", "hub.example:443", True),
        ("https://hub.example", "hub.example", True),
        ("http://hub.example:3010", "hub.example:3010", True),
        ("http://HUB.example:3010", "hub.EXAMPLE:3010", True),
        ("http://hub.example", "hub.example:443", False),
        ("https://hub.example", "hub.example:80", False),
        ("http://hub.example:3011", "hub.example:3010", False),
        ("http://hub.example", "hub.example:3010", False),
        ("http://hub.example.evil.example", "hub.example", False),
        ("http://evil.example", "hub.example@evil.example", False),
        ("http://evil.example", "hub.example:80@evil.example", False),
    ],
)
def test_a_usual_port_may_be_left_out(origin: str, host: str, *, is_own: bool) -> None:
    """By the page, by the request, by both."""
    assert is_taken(origin, host, is_on_loopback=False, hosts=None) is is_own


def test_what_is_refused_is_logged_once_with_what_lets_it_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each origin, each host, up to a bound, in one line whatever they hold."""
    admit = make_admission((), LOCAL, is_on_loopback=True)
    for _ in range(3):
        assert admit({"origin": "http://elsewhere.example", "host": "127.0.0.1"}) is not None
        assert admit({"origin": "http://a\nCRITICAL b", "host": "127.0.0.1"}) is not None
        assert admit({"host": "rebound.example:3010"}) is not None
    said = [each.getMessage() for each in caplog.records]
    assert len(said) == 3
    assert "'http://elsewhere.example'" in said[0]
    assert "--cors-origin" in said[0]
    assert "\n" not in said[1]
    assert "--allowed-host" in said[2]
    for number in range(200):
        admit({"origin": f"http://{number}.example", "host": "127.0.0.1"})
    assert len(caplog.records) == 100
    admit({"origin": "http://" + "x" * 9000, "host": "127.0.0.1"})
    assert all(len(each.getMessage()) < 400 for each in caplog.records)


def test_a_name_is_loopback_by_itself() -> None:
    """Not by what it might resolve to."""
    assert [is_loopback(each) for each in ("localhost", "127.0.0.1", "::1", "127.255.0.1")] == [
        True
    ] * 4
    assert not any(map(is_loopback, ("localhost.", "0.0.0.0", "::", "127.1", "", "my-host")))
