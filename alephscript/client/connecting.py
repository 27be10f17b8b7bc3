"""One attempt at a session: the client's transport and credentials, and what fails about them.

May go in: what such an attempt takes. May not: when to try, and when again (`lifecycle`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from alephscript.client.arguments import names_of, unfit
from alephscript.client.declaring import Mastery
from alephscript.client.session import DeliveryHandler, HubSession
from alephscript.diagnostics.redaction import ends_program, redacted
from alephscript.errors import AlephScriptError, ConnectionRefused, ContractError, RequestError
from alephscript.links import transport_to
from alephscript.links.address import HubAddress, check_namespace, parse_address
from alephscript.links.transport import Transport
from alephscript.protocol.events import Position
from alephscript.protocol.json import write_json

__all__ = ["Auth", "Connector"]

logger = logging.getLogger("alephscript.client")

Auth = Mapping[str, Any] | Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]
"""The handshake's ``auth``, or what gives it at each attempt."""


class Connector:
    """Opens sessions with one hub; the arguments are those of `AlephScriptClient`.

    Args:
        hub: The hub's address, or what makes links to it.
        transports: ``websocket``, ``polling`` or both, where ``hub`` is an address.
        tls: What an ``https`` hub's certificate is checked with.
        namespace: The hub's namespace.
        auth: The handshake's ``auth``, or a function that gives it.
        timeout: Seconds that ``auth`` may take, and after that connecting and registering.
        acknowledges: Whether the hub acknowledges; None finds out.
        watch: Wraps a transport whose packets are to be shown.

    Raises:
        ContractError: An argument is not what it has to be.
    """

    def __init__(
        self,
        hub: str | Transport,
        *,
        transports: tuple[str, ...],
        tls: ssl.SSLContext | None,
        namespace: str,
        auth: Auth | None,
        timeout: float,
        acknowledges: bool | None,
        watch: Callable[[Transport], Transport],
    ) -> None:
        check_namespace(namespace)
        if isinstance(hub, str) or not callable(getattr(hub, "connect", None)):
            self._hub: HubAddress | Transport = parse_address(hub, namespace)
        else:
            self._hub = hub
        kinds = names_of(transports) or ()
        if isinstance(self._hub, HubAddress) and not (kinds and {*kinds} <= _TRANSPORTS):
            raise unfit(_WHERE, "transports", 'a tuple of "websocket", "polling" or both')
        self._transports = kinds
        if isinstance(auth, Mapping):
            _check_auth(auth)
        elif auth is not None and not callable(auth):
            raise unfit(_WHERE, "auth", "a mapping, or a function that gives one")
        self._tls = tls
        self._namespace = namespace
        self._auth = auth
        self._timeout = timeout
        self._acknowledges = acknowledges
        self._watch = watch

    async def open_session(
        self,
        handler: DeliveryHandler,
        positions: dict[str, Position],
        *,
        registration: Mapping[str, Any],
        rooms: Sequence[str],
        masters: Mapping[str, Mastery],
        displaced: Collection[str] = (),
    ) -> HubSession:
        """Open a session: connected, registered, in its rooms, their master; see `HubSession.open`.

        Raises:
            ConnectionRefused: There is no hub, it refused, or something of the client's own failed.
            RequestError: The hub refused a room.
        """
        transport = self._watch(self._transport())
        session = HubSession(handler, positions)
        auth = await self._credentials(registration["usuario"])
        try:
            await session.open(
                transport,
                namespace=self._namespace,
                auth=auth,
                registration=registration,
                rooms=rooms,
                masters=masters,
                displaced=displaced,
                timeout=self._timeout,
                acknowledges=self._acknowledges,
            )
        except (AlephScriptError, asyncio.CancelledError):
            raise
        except BaseException as exc:
            if ends_program(exc):
                raise
            logger.error(
                "the transport of %s failed",
                registration["usuario"],
                exc_info=redacted(exc),
                extra={"usuario": registration["usuario"], "namespace": self._namespace},
            )
            raise ConnectionRefused(str(self._hub), f"the transport failed: {exc!r}") from exc
        return session

    def _transport(self) -> Transport:
        if isinstance(self._hub, HubAddress):
            return transport_to(self._hub.url, self._transports, self._tls)
        return self._hub

    async def _credentials(self, usuario: str) -> Mapping[str, Any] | None:
        try:
            async with asyncio.timeout(self._timeout):
                if self._auth is None or isinstance(self._auth, Mapping):
                    return self._auth
                given = self._auth()
                auth = dict((await given if inspect.isawaitable(given) else given) or {})
        except TimeoutError as exc:
            reason = f"the auth provider said nothing for {self._timeout:g} s"
            raise ConnectionRefused(str(self._hub), reason) from exc
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            if ends_program(exc):
                raise
            logger.error(
                "the auth provider of %s failed",
                usuario,
                exc_info=redacted(exc),
                extra={"usuario": usuario, "namespace": self._namespace},
            )
            raise ConnectionRefused(str(self._hub), "the auth provider failed") from exc
        try:
            _check_auth(auth)
        except ContractError as error:
            raise ConnectionRefused(str(self._hub), str(error), fatal=True) from None
        return auth


_WHERE = "AlephScriptClient"
_TRANSPORTS = {"websocket", "polling"}


def _check_auth(auth: Mapping[str, Any]) -> None:
    """Refuse credentials that cannot be sent, and quote none.

    Raises:
        ContractError: A value, or its name, has no JSON form.
    """
    for name, value in auth.items():
        try:
            write_json({name: value})
        except RequestError:
            shown = name if str(name).isprintable() else "a name"
            raise unfit(
                _WHERE, "auth", f"{shown} has no JSON form, being a {type(value).__qualname__}"
            ) from None
