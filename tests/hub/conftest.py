"""A hub, stock python-socketio peers, a raw peer that misbehaves."""

from __future__ import annotations

from tests.support.peers import errors_logged, hub, join, raw

__all__ = ["errors_logged", "hub", "join", "raw"]
