"""The hub and the stock peers of the hub's tests, for every dialect."""

from __future__ import annotations

from tests.support.peers import errors_logged, hub, join, raw

__all__ = ["errors_logged", "hub", "join", "raw"]
