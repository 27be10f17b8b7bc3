"""Whose requests a hub takes, by their headers; and who somebody is, by its `Access`.

Knows no connection: what is made of the answers is the session's affair, or a page's.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alephscript.diagnostics.redaction import redacted
from alephscript.mesh.access import Access, Handshake, Identity, Refusal

__all__ = ["Admit", "admission", "identify"]

logger = logging.getLogger("alephscript.hub")

Admit = Callable[[Mapping[str, str]], str | None]
"""Why a request is not taken, by its headers (lower-case names); None if it is."""


def admission(origins: Sequence[str] | str, hosts: Sequence[str] | None) -> Admit:
    """Whose requests are taken: of no browser, of the hub's own pages, of pages of ``origins``.

    Args:
        origins: Further origins; ``"*"`` for all.
        hosts: The names that the hub goes by, without a port; None for any. A hub that asks nobody
            who they are has to look, since a page of anywhere can give its own name this
            machine's address (DNS rebinding).

    Returns:
        Tells why a request with those headers (lower-case names) is not taken; None if it is.
    """
    allowed = {origins} if isinstance(origins, str) else set(origins)
    known = None if hosts is None else {host.lower() for host in hosts}

    def admit(headers: Mapping[str, str]) -> str | None:
        # Proxies' headers are not asked: anybody can send them.
        origin, host = headers.get("origin"), headers.get("host")
        if known is not None and host is not None and _without_port(host) not in known:
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


async def identify(access: Access, auth: Any, handshake: Handshake) -> Identity | Refusal:
    """Ask who somebody is; whatever goes wrong is a refusal.

    Args:
        access: Who is asked.
        auth: What was said, any JSON; None if nothing was.
        handshake: How it came. Into ``/admin`` comes only who may see the whole hub.
    """
    if handshake.namespace != "/admin":
        return await _asked(access, auth, handshake)
    if isinstance(auth, dict):
        # The Admin UI asks for a user's name and password, and knows no tokens.
        auth = {"token": auth.get("password"), "user": auth.get("username"), **auth}
    verdict = await _asked(access, auth, handshake)
    if isinstance(verdict, Identity) and verdict.is_admin:
        return verdict
    return Refusal("invalid credentials")  # the words that have it ask for them again


async def _asked(access: Access, auth: Any, handshake: Handshake) -> Identity | Refusal:
    try:
        said = access.authenticate(auth, handshake)
        return await said if inspect.isawaitable(said) else said
    except Exception as exc:
        asked = type(access).__name__
        logger.error(
            "%s.authenticate failed; nobody is let in",
            asked,
            exc_info=redacted(exc),
            extra={"access": asked, "namespace": handshake.namespace},
        )
        return Refusal()
