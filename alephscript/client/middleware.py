"""Middleware: functions around each request that a client serves.

May go in: what a middleware is, and in which order several of them are called. May not: calling the
method inside (`worker`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from alephscript.client.messages import Request

__all__ = ["CallNext", "Middleware", "wrap"]

CallNext = Callable[[Request[Any]], Awaitable[Any]]
"""The rest of the way to a capability: takes the request, gives its result, or raises."""

Middleware = Callable[[Request[Any], CallNext], Awaitable[Any]]
"""A function around served requests: takes a request and what is further inside."""


def wrap(middleware: Sequence[Middleware], handler: CallNext) -> CallNext:
    """Put middleware around a handler, the first outermost."""
    for each in reversed(middleware):
        handler = functools.partial(_call, each, handler)
    return handler


def _call(middleware: Middleware, inside: CallNext, request: Request[Any]) -> Awaitable[Any]:
    return middleware(request, inside)
