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

from alephscript.diagnostics.redaction import redacted
from alephscript.mesh.access import Access, Handshake, Identity, Refusal
from alephscript.protocol.text import has_controls

__all__ = ["Admit", "identify", "make_admission"]

logger = logging.getLogger("alephscript.hub")

Admit = Callable[[Mapping[str, str]], str | None]
"""Says why a request is not taken, by its headers (lower-case names); None if it is taken."""


def make_admission(
    origins: Sequence[str] | str, hosts: Sequence[str] | None, *, is_private: bool = True
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
    """
    allowed = {origins} if isinstance(origins, str) else set(origins)
    known = None if hosts is None else {host.lower() for host in hosts}

    def admit(headers: Mapping[str, str]) -> str | None:
        # Headers of proxies say nothing: anybody can send them.
        origin, host = headers.get("origin"), headers.get("host")
        if known is not None and host is not None:
            name = _without_port(host)
            is_own = name in known or (
                not is_private and (_is_address(name) or (origin is None and "." not in name))
            )
            if not is_own:
                return "this hub goes by another name; allowed_hosts (--allowed-host) adds one"
        if (
            origin is None
            or "*" in allowed
            or origin in allowed
            or (host is not None and origin in (f"http://{host}", f"https://{host}"))
        ):
            return None
        return "not from that origin; cors_origins (--cors-origin) adds one"

    return admit


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
