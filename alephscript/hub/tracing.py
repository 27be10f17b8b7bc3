"""Spans of OpenTelemetry for the requests that go through a hub: see `diagnostics.tracing`.

May go in: what a hub traces. May not: what a client does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from alephscript.diagnostics.tracing import Tracing, fail, find_tracer
from alephscript.errors import Closed
from alephscript.mesh.effects import Arm, Deliver, Effect, Ended, ToHub
from alephscript.mesh.requests import OK, Requests
from alephscript.protocol import events

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

__all__ = ["HubTracing", "of_hub"]


class HubTracing(Tracing):
    """What a hub traces, of one namespace: each request from question to answer.

    Args:
        tracer: Makes the spans.
        requests: The open ones.
    """

    def __init__(self, tracer: Tracer, requests: Requests) -> None:
        super().__init__(tracer)
        self._requests = requests
        self._spans: dict[int, Span] = {}

    def follow(self, effect: Effect) -> Effect:
        """See an effect that is about to be carried out.

        Returns:
            The same; where it asks somebody who reads it, with the hub's span in the meta.
        """
        if isinstance(effect, Ended):
            self._ended(effect)
            return effect
        if not isinstance(effect, Deliver | Arm | ToHub):
            return effect
        request = self._requests.get(effect.request)
        if request is None or request.event in events.MEMBER_EVENTS:
            return effect
        span = self._spans.get(request.number)
        if span is None:
            above = self._above(request.meta.extras)
            span = self._begin(request.event, self._trace.SpanKind.SERVER, above, request.room)
            self._spans[request.number] = span
        elif request.room:
            span.set_attribute("alephscript.room", request.room)  # it has waited for one
        if isinstance(effect, Deliver) and len(effect.args) > 1:
            question, meta = effect.args
            return msgspec.structs.replace(effect, args=(question, {**meta, **self._joining(span)}))
        if isinstance(effect, ToHub):
            *asked, about = effect.frame
            extras = {**about["extras"], **self._joining(span)}
            return msgspec.structs.replace(effect, frame=(*asked, {**about, "extras": extras}))
        return effect

    def close(self) -> None:
        """End what is open."""
        for number in list(self._spans):
            self._ended(Ended(number, None, Closed.code))

    def _ended(self, effect: Ended) -> None:
        span = self._spans.pop(effect.request, None)
        if span is not None:
            if effect.code != OK:
                fail(span, self._trace, effect.code)
            span.end()


def of_hub(requests: Requests) -> HubTracing | None:
    """What a hub traces, None if nobody wants to know."""
    tracer = find_tracer()
    return None if tracer is None else HubTracing(tracer, requests)
