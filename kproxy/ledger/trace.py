"""A caller's trace context in; the request's own place in that trace out, and its attempts'.

A request that is recorded gets a span id of its own under the caller's, and each attempt one under
that: the provider is told the attempt's, so that what it records nests inside. Whether a request is
recorded is decided once, when it begins, as OpenTelemetry's samplers do: a caller that has decided
is followed, unless the operator says otherwise; of the rest the share is taken by the trace's id,
so that everybody with the same share records the same traces.

A request that is not recorded has its caller's context passed on as it came. Where it brought none,
the provider is told one that says "not sampled", so that it starts no trace of its own.
"""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from kproxy.outcome import AttemptOutcome
from kproxy.wire.events import Headers
from kproxy.wire.tracecontext import (
    SAMPLED,
    TRACEPARENT,
    TRACESTATE,
    TraceContext,
    write_trace,
)

__all__ = ["Asked", "Parameters", "Sampler", "Trace", "begin_trace"]

TRACE_BYTES, SPAN_BYTES = 16, 8

WHOLE = 1 << 64
"""What the last eight bytes of a trace's id are a number below; they are the random ones."""

Draw = Callable[[int], str]
"""So many random bytes, as hexadecimal digits."""


class Sampler(msgspec.Struct, frozen=True):
    """Which requests are recorded. `follow`: what a caller has decided holds."""

    ratio: float = 1.0
    follow: bool = True

    def takes(self, trace_id: str, given: TraceContext | None) -> bool:
        """Whether this request is recorded."""
        if given is not None and self.follow:
            return bool(given.flags & SAMPLED)
        return int(trace_id[16:], 16) < round(self.ratio * WHOLE)


class Parameters(msgspec.Struct, frozen=True):
    """What a caller asked of the model, without a word of it."""

    stream: bool
    choices: int | None
    max_tokens: int | None
    temperature: float | None
    json: bool


class Asked(msgspec.Struct, frozen=True):
    """An attempt that has ended, beyond its outcome. Times are seconds after the arrival.

    `model`: what the provider calls it; `answered` what it said that it was. `status`: of HTTP, 0:
    none came. `shown`: the caller has got words of it.
    """

    span_id: str
    outcome: AttemptOutcome
    model: str
    address: str
    port: int
    shown: bool = False
    status: int = 0
    connected: float | None = None
    answered: str | None = None
    reasons: tuple[str, ...] = ()


class Trace(msgspec.Struct, frozen=True):
    """One request's place in its trace, and what it has come to so far.

    `given`: what the caller said; `context`: our own span; `attempts`: in the order in which they
    have ended.
    """

    context: TraceContext
    given: TraceContext | None
    draw: Draw
    sampled: bool
    attempts: tuple[Asked, ...] = ()
    parameters: Parameters | None = None

    def __repr__(self) -> str:
        state = "recorded" if self.sampled else "not recorded"
        return f"<Trace {self.trace_id} {state}, {len(self.attempts)} attempts>"

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return self.context.trace_id

    def asking(self, parameters: Parameters) -> "Trace":
        """The same, once it is known what is asked of the model."""
        return replace(self, parameters=parameters)

    def after(self, asked: Asked) -> "Trace":
        """The same, once one more attempt has ended."""
        return replace(self, attempts=(*self.attempts, asked))

    def ask(self, passed: Headers) -> tuple[str, Headers]:
        """A span id for one more attempt, and what the provider is told of `passed`, the fields
        that may go there. No id: the attempt is not recorded."""
        if self.sampled:
            span_id = self.draw(SPAN_BYTES)
            context = write_trace(self.trace_id, span_id, self.context.flags, self.context.state)
        elif self.given is None:
            span_id, context = "", self.context
        else:
            return "", passed
        others = [field for field in passed if field[0] not in (TRACEPARENT, TRACESTATE)]
        return span_id, [*others, *context.fields()]


def begin_trace(given: TraceContext | None, sampler: Sampler, draw: Draw) -> Trace:
    """The place of a request that came with that context, None: with none."""
    if given is None:
        trace_id, flags, state = draw(TRACE_BYTES), 0, b""
    else:
        trace_id, flags, state = given.trace_id, given.flags & ~SAMPLED, given.state
    sampled = sampler.takes(trace_id, given)
    if sampled:
        flags |= SAMPLED
    context = write_trace(trace_id, draw(SPAN_BYTES), flags, state)
    return Trace(context, given, draw, sampled)
