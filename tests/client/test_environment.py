"""Address and token of a client that is given none, and the forms that credentials may have."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from alephscript import DEFAULT_URL, AlephScriptClient, ConnectionRefused, ContractError
from alephscript.client.credentials import choose_auth, read_auth
from alephscript.client.environment import DEFAULT_HUB, choose_hub
from alephscript.hub import Hub, SharedToken
from alephscript.links.handshake import advise
from alephscript.sync import AlephScriptClient as BlockingClient

pytestmark = pytest.mark.anyio

SECRET = "s3cret"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the variables."""
    for name in ("ALEPHSCRIPT_URL", "ALEPHSCRIPT_TOKEN"):
        monkeypatch.delenv(name, raising=False)


async def test_a_client_is_of_the_mesh_that_its_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The asynchronous and the blocking one, as commands are."""
    async with Hub(port=0, access=SharedToken(SECRET)) as hub:
        monkeypatch.setenv("ALEPHSCRIPT_URL", hub.url)
        with pytest.raises(ConnectionRefused, match="unauthorized"):
            await AlephScriptClient().__aenter__()
        monkeypatch.setenv("ALEPHSCRIPT_TOKEN", SECRET)
        async with AlephScriptClient() as client:
            assert (await client.server_state())["clients"] == 1

        def block() -> int:
            with BlockingClient() as client:
                return int(client.server_state()["clients"])

        assert await asyncio.to_thread(block) == 1


async def test_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against both variables, and where it is the address by default."""
    monkeypatch.setenv("ALEPHSCRIPT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ALEPHSCRIPT_TOKEN", "wrong")
    async with Hub(port=0, access=SharedToken(SECRET)) as hub:
        async with AlephScriptClient(hub.url, token=SECRET):
            pass
        with pytest.raises(ConnectionRefused, match="unauthorized"):
            await AlephScriptClient(hub.url, auth={}).__aenter__()
    assert choose_hub("http://127.0.0.1:3010") == "http://127.0.0.1:3010"
    assert choose_hub(DEFAULT_HUB) == choose_hub(DEFAULT_URL) == "http://127.0.0.1:1"
    monkeypatch.setenv("ALEPHSCRIPT_URL", "")
    assert choose_hub(DEFAULT_HUB) == "http://127.0.0.1:3010"


async def _give() -> Any:
    return SECRET


@pytest.mark.parametrize(
    "options",
    [
        {"token": SECRET},
        {"auth": SECRET},
        {"auth": {"token": SECRET}},
        {"auth": lambda: SECRET},
        {"auth": lambda: {"token": SECRET}},
        {"auth": _give},
    ],
)
async def test_credentials_are_understood_in_each_form(options: dict[str, Any]) -> None:
    """A token is what nearly all hubs want."""
    async with (
        Hub(port=0, access=SharedToken(SECRET)) as hub,
        AlephScriptClient(hub.url, **options) as client,
    ):
        await client.ready()


@pytest.mark.parametrize(
    ("auth", "token", "sentence"),
    [
        (None, "", "token: a text that is not empty, and not an empty text"),
        (None, SECRET.encode(), "token: a text that is not empty, and not a bytes"),
        ({"token": SECRET}, SECRET, "token: give token= or auth=, and not both"),
        (None, SECRET + "\ud800", "auth: token has no JSON form"),
    ],
)
def test_what_is_no_token_is_refused_at_once(auth: Any, token: Any, sentence: str) -> None:
    """In a sentence that quotes nothing."""
    with pytest.raises(ContractError) as caught:
        choose_auth(auth, token)
    assert sentence in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("given", [5, [SECRET], SECRET.encode(), True])
async def test_a_provider_that_gives_anything_else_ends_its_client(given: Any) -> None:
    """With a sentence that says what to give, and no TypeError."""
    client = AlephScriptClient("http://127.0.0.1:1", auth=lambda: given, retry_open=True)
    with pytest.raises(ConnectionRefused) as caught:
        await client.__aenter__()
    assert caught.value.fatal
    assert "gave what cannot be sent: a token, " in str(caught.value)
    assert "is a hub running" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_nothing_is_given_where_nothing_is_wanted() -> None:
    """By a function, too."""
    assert choose_auth(None, None) is None
    assert read_auth(None) is None


@pytest.mark.parametrize(
    ("namespace", "advice"),
    [("/runtim", "did you mean /runtime?"), ("/Admin", "a hub has /runtime and /")],
)
async def test_a_namespace_that_a_hub_has_not_is_named(namespace: str, advice: str) -> None:
    """With the one that was meant."""
    async with Hub(port=0) as hub:
        with pytest.raises(ConnectionRefused) as caught:
            await AlephScriptClient(hub.url, namespace=namespace).__aenter__()
    assert str(caught.value).endswith(f"{namespace} is none of its namespaces; {advice}")
    assert caught.value.fatal


@pytest.mark.parametrize("transports", [("websocket",), ("polling",)])
@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/runtim", "did you mean /runtime?"),
        ("/admin", "there is no hub under the path /admin; a namespace is given as namespace="),
    ],
)
async def test_a_path_that_a_hub_has_not_is_no_question_whether_it_runs(
    path: str, advice: str, transports: tuple[str, ...]
) -> None:
    """Whoever has typed a namespace wrongly finds it."""
    async with Hub(port=0) as hub:
        with pytest.raises(ConnectionRefused) as caught:
            await AlephScriptClient(f"{hub.url}{path}", transports=transports).__aenter__()
    assert str(caught.value).endswith(f"; {advice}")


@pytest.mark.parametrize("transports", [("websocket",), ("polling",)])
async def test_https_to_a_hub_without_tls_says_so(transports: tuple[str, ...]) -> None:
    """And not that no hub runs there."""
    async with Hub(port=0) as hub:
        client = AlephScriptClient(hub.url.replace("http:", "https:"), transports=transports)
        with pytest.raises(ConnectionRefused, match="without TLS is there: try http://"):
            await client.__aenter__()


def test_a_certificate_that_nobody_knows_is_another_matter() -> None:
    """The hub speaks TLS."""
    error = ssl.SSLCertVerificationError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    assert "tls=" in advise(error)
    assert advise(OSError("no route")) == ""
