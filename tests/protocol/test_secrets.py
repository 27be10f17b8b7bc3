"""What a registration carries beside its name is shown without what looks like a secret."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from alephscript.protocol import events
from alephscript.protocol.secrets import without_secrets

HIDDEN = "hunter2"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"

SECRET_NAMES = [
    *("token", "Token", "tokens", "accessToken", "access_token", "access-token", "ACCESS_TOKEN"),
    *("authToken", "authtoken", "token_value", "refreshToken", "idToken", "x-api-token"),
    *("secret", "clientSecret", "client_secret", "secretKey", "secreto", "sharedsecret"),
    *("password", "passwd", "pass", "pwd", "userPassword", "user_name_password", "contraseña"),
    *("clave", "passphrase", "pin", "apiKey", "apikey", "api_key", "API_KEY", "X-Api-Key", "key"),
    *("privateKey", "accessKey", "auth", "authorization", "Authorization", "bearer", "jwt"),
    *("cookie", "setCookie", "credentials", "credential", "signature"),
]

HARMLESS_NAMES = [
    *("type", "features", "peerCard", "name", "author", "authors", "authentication", "tokenizer"),
    *("tokenType", "maxTokens", "max_tokens", "tokenCount", "publicKey", "keyboard", "monkey"),
    *("compass", "passenger", "pinned", "spin", "secretary", "keyId", "version", "protocol", "bot"),
]

SECRET_TEXTS = [
    JWT,
    f"Bearer {JWT}",
    "bearer 0123456789abcdef",
    "Basic YW5hOmh1bnRlcjI=",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
    "sk-proj-0123456789abcdefghij",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "AKIAIOSFODNN7EXAMPLE",
    "redis://:hunter2@127.0.0.1:6379/0",
    "https://ana:hunter2@hub.example/path",
    "https://hub.example/?room=R&token=hunter2",
]

HARMLESS_TEXTS = [
    *("", "Bearer", "a bearer of news", "basic logic", "sk-short", "http://hub.example:3010/path"),
    *("https://hub.example/?room=R", "mailto:ana@hub.example", "12:30 @ the mesh", "ey", "AKIA"),
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_field_that_is_called_a_secret_is_not_shown(name: str) -> None:
    """However it is written, and whatever is in it."""
    for value in (HIDDEN, 1234, [HIDDEN], {"a": HIDDEN}):
        assert without_secrets({name: value, "a": 1}) == {"a": 1}
        assert without_secrets([{"b": {name: value}}]) == [{"b": {}}]
    assert without_secrets({name: True}) == {name: True}  # it only says that there is one


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_a_field_that_only_sounds_like_one_stays(name: str) -> None:
    """Peers read what others say of themselves."""
    assert without_secrets({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_a_text_that_has_the_form_of_a_secret_is_not_shown(text: str) -> None:
    """Whatever its field is called."""
    assert without_secrets({"note": text, "notes": [text, "a"]}) == {"notes": ["a"]}


@pytest.mark.parametrize("text", HARMLESS_TEXTS)
def test_any_other_text_stays(text: str) -> None:
    """As it was written."""
    assert without_secrets({"note": text}) == {"note": text}


def test_a_registration_is_kept_without_secrets() -> None:
    """As a peer of upstream's newer packages describes itself, with what it connects by."""
    card = {"id": "bot", "token": HIDDEN, "capabilities": ["x"], "auth": {"token": HIDDEN}}
    said = {"usuario": "u", "type": "bot", "features": ["GET_X"], "peerCard": card, "pass": HIDDEN}
    registration = events.parse_registration(said)
    assert HIDDEN not in str(registration)
    assert registration.extras == {
        "type": "bot",
        "features": ["GET_X"],
        "peerCard": {"id": "bot", "capabilities": ["x"]},
    }


LEAVES = st.sampled_from([HIDDEN, 1, None, True]) | st.text(max_size=3)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*SECRET_NAMES, *HARMLESS_NAMES]) | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
)


@given(TREES)
def test_nothing_below_a_secret_name_is_left(tree: Any) -> None:
    """At any depth; and what is left is left as it was, so that doing it again changes nothing."""
    shown = without_secrets(tree)
    assert without_secrets(shown) == shown

    def check(value: Any) -> None:
        if isinstance(value, dict):
            for name, each in value.items():
                assert name not in SECRET_NAMES or each is None or isinstance(each, bool)
                check(each)
        elif isinstance(value, list):
            for each in value:
                check(each)

    check(shown)
