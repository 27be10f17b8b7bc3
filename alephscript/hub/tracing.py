"""Spans of OpenTelemetry for the requests that go through a hub: see `diagnostics.tracing`.

May go in: what a hub traces, following effects (decision 0025). May not: what a client traces, or
what the two share (`diagnostics.tracing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from alephscript.diagnostics.tracing import SpanMaker, fail, find_tracer
from alephscript.errors import Closed
from alephscript.mesh.effects import Arm, Deliver, Effect, Ended, ToHub
from alephscript.mesh.requests import OK, Requests
from alephscript.protocol import events

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

__all__ = ["HubTracing", "trace_hub"]


class HubTracing(SpanMaker):
    """The spans of one namespace of a hub: one for each request, from question to answer.

    Args:
        tracer: Makes the spans.
        requests: The open requests.
    """

    def __init__(self, tracer: Tracer, requests: Requests) -> None:
        super().__init__(tracer)
        self._requests = requests
        self._spans: dict[int, Span] = {}

    def follow(self, effect: Effect) -> Effect:
        """Begin or end the span of the request that an effect is about.

        Args:
            effect: The effect that is about to be carried out.

        Returns:
            The same effect; with the hub's span in the meta, if the addressee reads a meta.
        """
        if isinstance(effect, Ended):
            self._end(effect)
            return effect
        if not isinstance(effect, Deliver | Arm | ToHub):
            return effect
        request = self._requests.get(effect.request)
        if request is None or request.event in events.ASKED_OF_ONE:
            return effect
        span = self._spans.get(request.number)
        if span is None:
            parent = self._find_parent(request.meta.extras)
            span = self._begin(request.event, self._trace.SpanKind.SERVER, parent, request.room)
            self._spans[request.number] = span
        elif request.room:
            span.set_attribute("alephscript.room", request.room)  # unknown until a master came
        if isinstance(effect, Deliver) and len(effect.args) > 1:
            payload, meta = effect.args
            meta = {**meta, **self._write_context(span)}
            return msgspec.structs.replace(effect, args=(payload, meta))
        if isinstance(effect, ToHub):
            *fields, about = effect.frame
            extras = {**about.extras, **self._write_context(span)}
            about = msgspec.structs.replace(about, extras=extras)
            return msgspec.structs.replace(effect, frame=(*fields, about))
        return effect

    def close(self) -> None:
        """End the spans of requests that are still open."""
        for number in list(self._spans):
            self._end(Ended(number, None, Closed.code))

    def _end(self, effect: Ended) -> None:
        span = self._spans.pop(effect.request, None)
        if span is not None:
            if effect.code != OK:
                fail(span, self._trace, effect.code)
            span.end()


def trace_hub(requests: Requests) -> HubTracing | None:
    """Make what traces a hub; None if no tracer provider has been set up."""
    tracer = find_tracer()
    return None if tracer is None else HubTracing(tracer, requests)
