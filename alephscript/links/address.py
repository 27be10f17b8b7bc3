"""A hub's address, as people write it: one reading of it for every kind of link.

``http://127.0.0.1:3010``, without a scheme, with the namespace at its end as the hub prints it,
with the prefix under which a proxy or an application has the hub (``https://example.org/mesh``),
with a query. The namespace is the last part, where it stands: ``/runtime`` is no prefix,
``/mesh/runtime`` is the prefix ``/mesh``. What ends in ``/socket.io`` is that place itself, and all
before is the prefix. What cannot be meant for a hub is refused here, before anything is looked up
or sent, and no refusal quotes what it refuses: an address may hold a password.

May go in: reading addresses and namespaces. May not: opening anything.

Pure: no socket, no clock.
"""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

from alephscript.errors import ContractError
from alephscript.protocol.text import write_type

__all__ = ["HubAddress", "check_namespace", "parse_address"]

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}
"""Schemes of a hub, and whether each is encrypted."""

_HOST = re.compile(r"[A-Za-z0-9._-]+")
_SOCKETIO = "/socket.io"
_LONGEST = 2048
_LONGEST_NAMESPACE = 256


class HubAddress(msgspec.Struct, frozen=True):
    """Where a hub is.

    Attributes:
        secure: Whether the connection is encrypted.
        netloc: Host, and port if one is given, in ASCII.
        path: The prefix in front of ``/socket.io/``, empty or ``/mesh``.
        query: The query, without its question mark; it may hold secrets.
    """

    secure: bool
    netloc: str
    path: str = ""
    query: str = ""

    def __str__(self) -> str:
        """Write the address as it may be shown and logged, without its query."""
        return f"{'https' if self.secure else 'http'}://{self.netloc}{self.path}"

    @property
    def url(self) -> str:
        """The whole address, to be read again."""
        return f"{self}?{self.query}" if self.query else str(self)

    def near(self, room: str) -> HubAddress:
        """Return the address with a room in its query.

        Several workers of a hub bring members of a room together by it; other hubs ignore it.
        """
        query = f"{self.query}&" if self.query else ""
        query += f"room={quote(room, safe='')}"
        near = HubAddress(self.secure, self.netloc, self.path, query)
        return near if len(near.url) <= _LONGEST else self

    def endpoint(self, transport: Literal["websocket", "polling"]) -> str:
        """Return the URL at which Engine.IO is spoken over a transport."""
        scheme = ("ws" if transport == "websocket" else "http") + ("s" if self.secure else "")
        query = f"{self.query}&" if self.query else ""
        return f"{scheme}://{self.netloc}{self.path}{_SOCKETIO}/?{query}EIO=4&transport={transport}"


def parse_address(text: Any, namespace: str = "") -> HubAddress:
    """Read a hub's address.

    Args:
        text: The address.
        namespace: The namespace that will be joined, which may stand at the address's end.

    Raises:
        ContractError: The text is no address of a hub.
    """
    if not isinstance(text, str):
        raise _refusal("hub", f"an address is a text, and not {write_type(text)}")
    if not text or len(text) > _LONGEST:
        raise _refusal("hub", f"an address has 1 to {_LONGEST} characters")
    if not text.isprintable() or " " in text or "\\" in text:
        raise _refusal("hub", "an address has no blanks, backslashes and control characters")
    parts = _split(text)
    if "@" in parts.netloc:
        raise _refusal("hub", "no user and password belong there; give credentials as auth=")
    if parts.scheme not in _SECURE:
        raise _refusal("hub", f"its scheme is one of {', '.join(_SECURE)}")
    if parts.fragment or not (parts.path + parts.query).isascii():
        raise _refusal("hub", "its path and query are ASCII, percent-encoded, and nothing follows")
    path = parts.path.rstrip("/")
    if namespace.strip("/"):
        path = path.removesuffix(namespace.rstrip("/"))
    path = path.removesuffix(_SOCKETIO).rstrip("/")
    return HubAddress(_SECURE[parts.scheme], _netloc(parts), path, parts.query)


def check_namespace(namespace: Any) -> None:
    """Refuse what cannot be the name of a Socket.IO namespace.

    Raises:
        ContractError: The namespace is no text, has no slash at its beginning, is too long, or has
            characters that end it on the wire.
    """
    if not isinstance(namespace, str) or not namespace.startswith("/"):
        raise _refusal("namespace", 'a namespace begins with a slash, as "/runtime"')
    if len(namespace) > _LONGEST_NAMESPACE:
        raise _refusal("namespace", f"a namespace has {_LONGEST_NAMESPACE} characters at most")
    if not namespace.isprintable() or any(each in namespace for each in ",?# "):
        raise _refusal("namespace", "a namespace has no comma, ?, #, blank or control character")


def _split(text: str) -> SplitResult:
    """Take an address apart, which may be without a scheme.

    Raises:
        ContractError: It has half of an IPv6 address, or the like.
    """
    if text.startswith("//"):
        text = f"http:{text}"
    elif "://" not in text:
        text = f"http://{text}"
    try:
        return urlsplit(text)
    except ValueError:  # its text quotes the address
        raise _refusal("hub", _NO_HOST) from None


def _netloc(parts: SplitResult) -> str:
    """Return host and port in ASCII.

    Raises:
        ContractError: There is no host, or no such port.
    """
    try:
        host, port = parts.hostname or "", parts.port
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        raise _refusal("hub", _NO_HOST) from None
    is_host = ":" in host or (_HOST.fullmatch(host) and not host.isdecimal())
    # A number alone is a port without its host, and `http:` a scheme without its slashes.
    if not is_host or port == 0 or parts.netloc.endswith(":"):
        raise _refusal("hub", _NO_HOST)
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


_NO_HOST = "its host or port cannot be one; write it as http://127.0.0.1:3010"


def _refusal(name: str, message: str) -> ContractError:
    return ContractError("AlephScriptClient", [{"path": name, "message": message}])
