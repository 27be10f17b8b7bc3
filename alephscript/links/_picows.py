"""The link over picows, a C extension ([fast] extra): it shakes hands and reads frames."""

from __future__ import annotations

import logging

import picows
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from alephscript.links.websocket import MAX_BYTES, WebSocketLink, WebSocketTransport

__all__ = ["PicowsTransport"]

_TEXT = WSMsgType.TEXT

_quiet = logging.getLogger("alephscript.picows")
_quiet.setLevel(logging.CRITICAL)


class PicowsTransport(WebSocketTransport):
    """Makes websocket links by picows; see `WebSocketTransport`."""

    async def _open(self, link: WebSocketLink, timeout: float) -> None:
        try:
            await picows.ws_connect(
                lambda: _Listener(link),
                self._target,
                ssl_context=self._tls,
                websocket_handshake_timeout=timeout,
                max_frame_size=MAX_BYTES,
                logger_name=_quiet,
            )
        except picows.WSError as exc:
            raise ConnectionError(str(exc)) from exc
        if not link.is_open:
            # picows says nothing when the peer hangs up before the handshake is through.
            raise ConnectionResetError("the hub hung up during the handshake")


class _Listener(WSListener):  # type: ignore[misc]
    def __init__(self, link: WebSocketLink) -> None:
        self._link = link
        self._take = link.take
        self._parts: list[bytes] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._link.opened(transport.underlying_transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002 - picows' signature
        kind = frame.msg_type
        if kind is _TEXT and frame.fin:
            self._take(frame.get_payload_as_bytes())
        elif kind is _TEXT or (kind is WSMsgType.CONTINUATION and self._parts):
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self._take(message)
        elif kind is WSMsgType.CLOSE:
            self._link.hang_up()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' signature
        self._link.ended()
