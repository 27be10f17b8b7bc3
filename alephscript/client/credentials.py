"""Credentials that a client connects with, in each of the forms that callers give them in.

May go in: what ``auth`` and ``token`` may be, and what is refused of it, quoting nothing. May not:
when credentials are asked for (`connecting`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from alephscript.client.arguments import unfit
from alephscript.client.environment import TOKEN, default_auth
from alephscript.errors import RequestError
from alephscript.protocol.json import write_json
from alephscript.protocol.text import write_type

__all__ = ["Auth", "choose_auth", "read_auth"]

_Given = Mapping[str, Any] | str | None

Auth = Mapping[str, Any] | str | Callable[[], _Given | Awaitable[_Given]]
"""The handshake's ``auth``, or a token alone, or what gives either at each attempt."""

_WHERE = "AlephScriptClient"
_ADVICE = 'a token, {"token": …}, or a function that gives one of these'


def choose_auth(auth: Any, token: Any) -> Mapping[str, Any] | Callable[[], Any] | None:
    """Choose what a client connects with: what it was given, else the environment's token.

    Args:
        auth: The client's argument, None if there is none.
        token: The client's argument, None if there is none.

    Raises:
        ContractError: Both are given, or one is not what it has to be.
    """
    if token is not None:
        if auth is not None:
            raise unfit(_WHERE, "token", "give token= or auth=, and not both")
        if not isinstance(token, str) or not token:
            raise unfit(_WHERE, "token", f"a text that is not empty, {_and_not(token)}")
        return read_auth(token)
    if auth is None:
        return default_auth()
    return auth if callable(auth) else read_auth(auth)


def read_auth(given: Any) -> dict[str, Any] | None:
    """Read credentials that are there: as they were given, or as a function gave them.

    Raises:
        ContractError: They are no credentials, or a value, or its name, has no JSON form.
    """
    if given is None:
        return None
    if isinstance(given, str) and given:
        given = {"token": given}
    if not isinstance(given, Mapping):
        raise unfit(_WHERE, "auth", f"{_ADVICE}, {_and_not(given)}; or set {TOKEN}")
    for name, value in given.items():
        try:
            write_json({name: value})
        except RequestError:
            shown = name if str(name).isprintable() else "a name"
            raise unfit(
                _WHERE, "auth", f"{shown} has no JSON form, being {write_type(value)}"
            ) from None
    return dict(given)


def _and_not(value: Any) -> str:
    """Say what a value is, without quoting it."""
    return f"and not {'an empty text' if value == '' else write_type(value)}"
