"""One attempt at a session: the client's transport and credentials, and what fails about them.

May go in: what such an attempt takes. May not: when to try, and when again (`lifecycle`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from alephscript.client.arguments import names_of, unfit
from alephscript.client.credentials import Auth, choose_auth, read_auth
from alephscript.client.declaring import Mastery
from alephscript.client.dialects import LONG_SILENCE, SILENCE
from alephscript.client.session import DeliveryHandler, HubSession
from alephscript.diagnostics.redaction import as_logged, ends_program
from alephscript.errors import AlephScriptError, ConnectionRefused, ContractError
from alephscript.links import transport_to
from alephscript.links.address import HubAddress, check_namespace, parse_address
from alephscript.links.transport import Transport
from alephscript.protocol.events import NAMESPACES, Position
from alephscript.protocol.names import find_near

__all__ = ["Connector"]

logger = logging.getLogger("alephscript.client")


class Connector:
    """Opens sessions with one hub; the arguments are those of `AlephScriptClient`.

    Args:
        hub: The hub's address, or what makes links to it.
        transports: ``websocket``, ``polling`` or both, where ``hub`` is an address.
        tls: What an ``https`` hub's certificate is checked with.
        namespace: The hub's namespace.
        auth: The handshake's ``auth``, or a function that gives it.
        token: The token alone, in place of ``auth``.
        timeout: Seconds that ``auth`` may take, and after that connecting and registering.
        acknowledges: Whether the hub acknowledges; None finds out.
        watch: Wraps a transport whose packets are to be shown.
        redact: Whether the log may not have the texts of exceptions.

    Attributes:
        address: The hub's address and namespace, as people write them.

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
        token: str | None,
        timeout: float,
        acknowledges: bool | None,
        watch: Callable[[Transport], Transport],
        redact: bool,
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
        # An address of another transport is the only thing that may be missing.
        where = self._hub if isinstance(self._hub, HubAddress) else getattr(hub, "url", "memory")
        self.address = f"{where}{namespace.rstrip('/')}"
        self._auth = choose_auth(auth, token)
        self._redact = redact
        self._tls = tls
        self._namespace = namespace
        self._timeout = timeout
        self._acknowledges = acknowledges
        self._watch = watch
        self._session: HubSession | None = None  # the last one
        self._silence = SILENCE

    async def open_session(
        self,
        handler: DeliveryHandler,
        positions: dict[str, Position],
        *,
        registration: Mapping[str, Any],
        rooms: Mapping[str, bool],
        masters: Mapping[str, Mastery],
        displaced: Collection[str] = (),
    ) -> HubSession:
        """Open a session: connected, registered, in its rooms, their master; see `HubSession.open`.

        Raises:
            ConnectionRefused: There is no hub, it refused, or something of the client's own failed.
            RequestError: The hub refused a room.
        """
        transport = self._watch(self._transport([*masters, *rooms]))
        acknowledges = self._acknowledges
        if self._session is not None and self._session.has_acknowledged:
            self._silence = LONG_SILENCE
            # Silence is a dead link's first of all; of a stock hub if the next link is silent, too.
            acknowledges = True
        session = self._session = HubSession(handler, positions, redacts=self._redact)
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
                acknowledges=acknowledges,
                silence=self._silence,
            )
        except ConnectionRefused as error:
            if session.has_acknowledged and self._silence < LONG_SILENCE:
                # The hub is slow, which was found out just now (decision 0013).
                return await self.open_session(
                    handler,
                    positions,
                    registration=registration,
                    rooms=rooms,
                    masters=masters,
                    displaced=displaced,
                )
            raise _with_advice(error, self._namespace) from error.__cause__
        except (AlephScriptError, asyncio.CancelledError):
            raise
        except BaseException as exc:
            if ends_program(exc):
                raise
            logger.error(
                "the transport of %s failed",
                registration["usuario"],
                exc_info=as_logged(exc, redact=self._redact),
                extra={"usuario": registration["usuario"], "namespace": self._namespace},
            )
            raise ConnectionRefused(str(self._hub), f"the transport failed: {exc!r}") from exc
        return session

    def _transport(self, rooms: Sequence[str]) -> Transport:
        if isinstance(self._hub, HubAddress):
            hub = self._hub.near(rooms[0]) if rooms else self._hub
            return transport_to(hub.url, self._transports, self._tls)
        return self._hub

    async def _credentials(self, usuario: str) -> Mapping[str, Any] | None:
        try:
            async with asyncio.timeout(self._timeout):
                if not callable(self._auth):
                    return self._auth
                given = self._auth()
                if inspect.isawaitable(given):
                    given = await given
        except TimeoutError as exc:
            reason = f"the auth provider said nothing for {self._timeout:g} s"
            raise ConnectionRefused(self.address, reason, _SEE_AUTH) from exc
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            if ends_program(exc):
                raise
            logger.error(
                "the auth provider of %s failed",
                usuario,
                exc_info=as_logged(exc, redact=self._redact),
                extra={"usuario": usuario, "namespace": self._namespace},
            )
            reason = f"the auth provider failed ({type(exc).__name__})"
            raise ConnectionRefused(self.address, reason, "the log says where") from exc
        try:
            return read_auth(given)
        except ContractError as error:
            reason = f"the auth provider gave what cannot be sent: {error.problems[0]['message']}"
            raise ConnectionRefused(self.address, reason, _SEE_AUTH, fatal=True) from None


_WHERE = "AlephScriptClient"
_SEE_AUTH = "look at what is given as auth="
_TRANSPORTS = {"websocket", "polling"}


def _with_advice(error: ConnectionRefused, namespace: str) -> ConnectionRefused:
    """Name the namespaces that a hub has, where the one that was asked for is none of them."""
    if not error.fatal or error.reason != "Invalid namespace":
        return error
    near = find_near(namespace, NAMESPACES)
    advice = f"did you mean {near[0]}?" if near else f"a hub has {' and '.join(NAMESPACES)}"
    return ConnectionRefused(
        error.url, f"{namespace} is none of its namespaces", advice, fatal=True
    )
