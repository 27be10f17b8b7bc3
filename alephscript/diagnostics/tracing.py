"""Spans of OpenTelemetry for requests, asker to hub to master; alone imports it.

One trace follows a request: a CLIENT span at who asks, a SERVER span at each hub that it goes
through, a SERVER span around the method that answers, which is current there, so that what the
method asks belongs to it. They are joined by W3C trace context in the request's meta.

Whether there is anything to trace is decided where a client or a hub is made: `of_member` and
`of_hub` are None unless a tracer provider has been set up by then.

Spans tell capability, room and error code; never payloads, sentences of errors or who it was.
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

__all__ = ["Tracing", "fail", "find_tracer", "of_member"]

_SYSTEM = {
    "rpc.system": "alephscript",
    "rpc.system.name": "alephscript",  # what newer conventions call it
}
_LONGEST_CODE = 64
"""Characters of an error's code that are told: stock masters make up their own."""


class Tracing:
    """What a client traces.

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

    @contextlib.contextmanager
    def asking(self, event: str, room: str | None) -> Iterator[Mapping[str, str]]:
        """A request that is asked here, from question to answer.

        Args:
            event: ``GET_`` and the capability.
            room: The room that is named, None if it is left to the hub.

        Yields:
            What its meta has to say, for its other spans to be of the same trace.
        """
        # Not made the current one: a stream is left and entered again with each part.
        span = self._begin(event, self._trace.SpanKind.CLIENT, self._context.get_current(), room)
        try:
            yield self._joining(span)
        except BaseException as exc:
            fail(span, self._trace, _code_of(exc))
            raise
        finally:
            span.end()

    @contextlib.contextmanager
    def serving(
        self, event: str, room: str, trace: Mapping[str, Any]
    ) -> Iterator[Callable[[str], None]]:
        """A request that is answered here; its span is the current one meanwhile.

        Args:
            event: ``GET_`` and the capability.
            room: The room that was asked.
            trace: The trace that it belongs to, as the hub says it.

        Yields:
            To be called with the error's code if it fails.
        """
        above = self._above(trace)
        span = self._begin(event, self._trace.SpanKind.SERVER, above, room)
        report = functools.partial(fail, span, self._trace)
        token = self._context.attach(self._trace.set_span_in_context(span, above))
        try:
            yield report
        except BaseException as exc:
            report(_code_of(exc))
            raise
        finally:
            self._context.detach(token)
            span.end()

    def _begin(self, event: str, kind: SpanKind, above: Context, room: str | None) -> Span:
        name = events.capability_name(event)
        attributes = {**_SYSTEM, "rpc.method": name}
        if room:
            attributes["alephscript.room"] = room
        return self._tracer.start_span(name, above, kind, attributes)

    def _above(self, meta: Mapping[str, Any]) -> Context:
        """The span that a request comes from; nothing of what happens to be current here."""
        said = {key: meta[key] for key in events.TRACE_CONTEXT if isinstance(meta.get(key), str)}
        return self._propagator.extract(said, self._context.Context())

    def _joining(self, span: Span) -> dict[str, str]:
        said: dict[str, str] = {}
        self._propagator.inject(said, self._trace.set_span_in_context(span))
        return said


def of_member() -> Tracing | None:
    """What a client traces, None if nobody wants to know."""
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
