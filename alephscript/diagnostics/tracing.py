"""Spans of OpenTelemetry for requests, from asker to hub to master.

One trace follows a request: a CLIENT span at the asker, a SERVER span at each hub on the way, and a
SERVER span around the method that answers. The last one is current there, so that what the method
asks belongs to it. The spans are joined by W3C trace context in the request's meta.

Whether there is anything to trace is decided where a client or a hub is made: `trace_client` and
`hub.tracing.trace_hub` give None unless a tracer provider has been set up by then.

Spans tell capability, room and error code; never payloads, sentences of errors or names of peers.

May go in: what client and hub share, and what a client traces. May not: what a hub traces.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from alephscript.errors import Cancelled, RequestError
from alephscript.protocol import events

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, Tracer

__all__ = ["SpanMaker", "Tracing", "fail", "find_tracer", "trace_client"]

_SYSTEM = {
    "rpc.system": "alephscript",
    "rpc.system.name": "alephscript",  # the same in newer conventions
}
_LONGEST_CODE = 64
"""Characters of an error's code in a span: peers make up codes of their own."""


class SpanMaker:
    """The part that client and hub share: spans are begun, and joined to others.

    Args:
        tracer: Makes the spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation import tracecontext

        self._context = context
        self._trace = trace
        self._tracer = tracer
        self._propagator = tracecontext.TraceContextTextMapPropagator()

    def _begin(self, event: str, kind: SpanKind, parent: Context, room: str | None) -> Span:
        name = events.capability_name(event)
        attributes = {**_SYSTEM, "rpc.method": name}
        if room:
            attributes["alephscript.room"] = room
        return self._tracer.start_span(name, parent, kind, attributes)

    def _find_parent(self, meta: Mapping[str, Any]) -> Context:
        """Return the span that a request comes from, not one that happens to be current here."""
        carrier = {key: meta[key] for key in events.TRACE_CONTEXT if isinstance(meta.get(key), str)}
        return self._propagator.extract(carrier, self._context.Context())

    def _write_context(self, span: Span) -> dict[str, str]:
        """Return what a meta has to hold, for further spans to be of the same trace."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        return carrier


class Tracing(SpanMaker):
    """The spans of a client: one for each request that it makes or answers."""

    @contextlib.contextmanager
    def asking(self, event: str, room: str | None) -> Iterator[Mapping[str, str]]:
        """Trace a request that is asked here, from question to answer.

        Args:
            event: ``GET_`` and the capability.
            room: The room that is named, None if the hub is to choose.

        Yields:
            What the request's meta has to hold, for further spans to be of the same trace.
        """
        # Not made the current one: a stream is left and entered again with each part.
        span = self._begin(event, self._trace.SpanKind.CLIENT, self._context.get_current(), room)
        try:
            yield self._write_context(span)
        except BaseException as exc:
            fail(span, self._trace, _code_of(exc))
            raise
        finally:
            span.end()

    @contextlib.contextmanager
    def serving(
        self, event: str, room: str, trace: Mapping[str, Any]
    ) -> Iterator[Callable[[str], None]]:
        """Trace a request that is answered here; its span is the current one meanwhile.

        Args:
            event: ``GET_`` and the capability.
            room: The room that was asked.
            trace: The trace that the request belongs to, from its meta.

        Yields:
            A function to be called with the error's code if the request fails.
        """
        parent = self._find_parent(trace)
        span = self._begin(event, self._trace.SpanKind.SERVER, parent, room)
        report = functools.partial(fail, span, self._trace)
        token = self._context.attach(self._trace.set_span_in_context(span, parent))
        try:
            yield report
        except BaseException as exc:
            report(_code_of(exc))
            raise
        finally:
            self._context.detach(token)
            span.end()


def trace_client() -> Tracing | None:
    """Make what traces a client; None if no tracer provider has been set up."""
    tracer = find_tracer()
    return None if tracer is None else Tracing(tracer)


def find_tracer() -> Tracer | None:
    """Find the tracer of the provider that was set up, if there is one."""
    if "opentelemetry.trace" not in sys.modules:
        return None  # nobody can have set up a provider; importing it takes 75 ms
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return provider.get_tracer("alephscript")


def fail(span: Span, trace: Any, code: str) -> None:
    """Mark a span as failed with an error's code."""
    span.set_attribute("error.type", code[:_LONGEST_CODE])
    span.set_status(trace.StatusCode.ERROR)


def _code_of(exc: BaseException) -> str:
    if isinstance(exc, RequestError):
        return exc.code
    if isinstance(exc, asyncio.CancelledError | GeneratorExit):
        return Cancelled.code
    return type(exc).__qualname__
