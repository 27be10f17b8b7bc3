"""A hub on each websocket library, stock python-socketio peers, a raw peer that misbehaves."""

from __future__ import annotations

from tests.support.peers import errors_logged, hub, join, library, raw

__all__ = ["errors_logged", "hub", "join", "library", "raw"]
