"""Whose requests a hub takes, by their headers; and who a client is, by the hub's `Access`.

May go in: questions about a request or a client. May not: what follows from the answer, which is
decided where the question is asked (`joining`, `http`, `sockets`).
"""

from __future__ import annotations

import inspect
import ipaddress
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from alephscript.diagnostics.redaction import redacted
from alephscript.mesh.access import Access, Handshake, Identity, Refusal
from alephscript.protocol.text import has_controls

__all__ = [
    "Admit",
    "identify",
    "is_loopback",
    "make_admission",
    "make_refusal_of_others",
]

logger = logging.getLogger("alephscript.hub")

Admit = Callable[[Mapping[str, str]], str | None]
"""Says why a request is not taken, by its headers (lower-case names); None if it is taken."""


_LONGEST_SHOWN = 200
"""Characters of a refused header that are logged."""

_MOST_REFUSED = 100
"""Origins and hosts whose refusal is logged, once each."""

_PORTS = {"http": 80, "https": 443}


def make_admission(
    origins: Sequence[str] | str,
    hosts: Sequence[str] | None,
    *,
    is_private: bool = True,
    is_on_loopback: bool = False,
) -> Admit:
    """Make the rule that takes requests of no browser, of the hub's own pages, and of ``origins``.

    Args:
        origins: Further origins; ``"*"`` for all.
        hosts: The names that the hub goes by, without a port; None for any. A hub without an
            `Access` has to look, since any website can give its own name this machine's address
            (DNS rebinding; decision 0029).
        is_private: Whether only programs on this machine can ask. Beyond, the machine has
            addresses that the hub need not know: any IP address is taken for its own, and from
            programs that are no browsers a name without a dot, which no website has.
        is_on_loopback: Whether the hub listens on loopback: pages that are served from there, by
            programs on the same machine, are taken, too.
    """
    allowed = {origins} if isinstance(origins, str) else set(origins)
    known = None if hosts is None else {host.lower() for host in hosts}
    refused: set[str] = set()

    def log_once(what: str, value: str, option: str) -> None:
        """Log what was refused, and how it is let in: who operates the hub sees no browser's."""
        if value not in refused and len(refused) < _MOST_REFUSED:
            refused.add(value)
            logger.warning(
                "refused a page: its %s is %r; %s adds one",
                what,
                value[:_LONGEST_SHOWN],
                option,
                extra={"header": what, "value": value[:_LONGEST_SHOWN]},
            )

    def admit(headers: Mapping[str, str]) -> str | None:
        # Headers of proxies say nothing: anybody can send them.
        origin, host = headers.get("origin"), headers.get("host")
        if known is not None and host is not None:
            name = _without_port(host)
            is_own = name in known or (
                not is_private and (_is_address(name) or (origin is None and "." not in name))
            )
            if not is_own:
                log_once("Host", host, "allowed_hosts (--allowed-host)")
                return "this hub goes by another name; allowed_hosts (--allowed-host) adds one"
        if (
            origin is None
            or "*" in allowed
            or origin in allowed
            or (host is not None and _is_own(origin, host))
            or (is_on_loopback and _is_local(origin, host))
        ):
            return None
        log_once("Origin", origin, "cors_origins (--cors-origin)")
        return "not from that origin; cors_origins (--cors-origin) adds one"

    return admit


def make_refusal_of_others() -> Admit:
    """Make the rule for requests of other machines, of which a mounted hub takes none.

    Where nobody has to prove who it is a hub of its own port listens on loopback only. A mounted
    hub does not know what its server listens on, and looks at who asks (decision 0044).
    """
    is_told = False

    def refuse(headers: Mapping[str, str]) -> str | None:
        nonlocal is_told
        if not is_told:
            is_told = True
            host = headers.get("host", "")[:_LONGEST_SHOWN]
            logger.warning(
                "refused a request of another machine to %r: this hub is mounted without a rule of "
                "access; pass access=SharedToken(…), or insecure=True if all may come",
                host,
                extra={"host": host},
            )
        return "this hub serves its own machine only; access=SharedToken(...) lets in others"

    return refuse


def _is_own(origin: str, host: str) -> bool:
    """Whether a page is of the same host and port as a request; usual ports may be left out."""
    if origin in (f"http://{host}", f"https://{host}"):
        return True
    parts = _split_origin(origin)
    if parts is None:
        return False
    scheme, name, port = parts
    asked = _split_origin(f"{scheme}://{host}")
    return asked is not None and asked[1:] == (name, port)


def _is_local(origin: str, host: str | None) -> bool:
    """Whether a page of this machine asks for this machine, both by a name that nobody can give."""
    parts = _split_origin(origin)
    return (
        parts is not None
        and is_loopback(parts[1])
        and (host is None or is_loopback(_without_port(host)))
    )


def _split_origin(origin: str) -> tuple[str, str, int] | None:
    """Split an origin into scheme, name and port; None if it is no origin of a web page."""
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return None
    name = url.hostname
    if (
        name is None
        or url.scheme not in _PORTS
        or origin.lower() != f"{url.scheme}://{url.netloc}".lower()
    ):
        return None
    if "@" in url.netloc:
        return None
    return url.scheme, name, _PORTS[url.scheme] if port is None else port


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, whoever asks."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).strip("[]").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def identify(access: Access, auth: Any, handshake: Handshake) -> Identity | Refusal:
    """Ask an `Access` who a client is; whatever goes wrong is a refusal.

    Args:
        access: The rule.
        auth: The handshake's ``auth``, any JSON; None if the client sent none.
        handshake: How the client connects. ``/admin`` takes only those that may see the whole hub.
    """
    if handshake.namespace != "/admin":
        return await _authenticate(access, auth, handshake)
    if isinstance(auth, dict):
        # The Admin UI asks for a user's name and password, and knows no tokens.
        auth = {"token": auth.get("password"), "user": auth.get("username"), **auth}
    verdict = await _authenticate(access, auth, handshake)
    if isinstance(verdict, Identity) and verdict.is_admin:
        return verdict
    return Refusal("invalid credentials")  # the words that make the Admin UI ask again


async def _authenticate(access: Access, auth: Any, handshake: Handshake) -> Identity | Refusal:
    try:
        verdict = access.authenticate(auth, handshake)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        # A proven name is shown before, and in place of, the one that is registered.
        is_fit = not (isinstance(verdict, Identity) and has_controls(verdict.usuario or ""))
    except Exception as exc:
        name = type(access).__name__
        logger.error(
            "%s.authenticate failed; nobody is let in",
            name,
            exc_info=redacted(exc),
            extra={"access": name, "namespace": handshake.namespace},
        )
        return Refusal()
    return verdict if is_fit else Refusal()
