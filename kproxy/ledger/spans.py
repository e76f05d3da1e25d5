"""A recorded request that is over in, its spans as frozen values out.

One span of kind SERVER is the caller's request, by the conventions for HTTP; below it stands one of
kind CLIENT for each attempt at a provider, by those for generative AI. Nothing of what was said is
in them, and nothing secret: not the client's address, nor its user agent, nor a path as a caller
wrote it. What a caller or a provider chooses is cut to a length.

What is an error: of a request, that kproxy or every provider failed it; a refusal is the caller's.
Of an attempt, that the provider failed or refused it. An attempt that another one overtook, or
whose caller left, is none.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from kproxy.ledger import semconv
from kproxy.ledger.trace import Asked, Parameters, Trace
from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.schema.receipt import Classification, Decision, Execution
from kproxy.wire.tracecontext import TraceContext

__all__ = [
    "CLIENT",
    "LENGTH",
    "REASONS",
    "SERVER",
    "Accounted",
    "Served",
    "Span",
    "Value",
    "spans_of",
]

SERVER, CLIENT = "server", "client"

LENGTH = 128
"""Characters of what somebody else chooses. Who has it wait for its span cuts it to this, too."""

REASONS = 16
"""Of one answer; it has up to 128 choices."""

SERVER_ERROR, CLIENT_ERROR = 500, 400

Value = str | bool | int | float | tuple[str, ...]


class Span(msgspec.Struct, frozen=True):
    """`parent_id` is empty where there is none; `is_remote`: it is of another process. Times are
    nanoseconds since 1970."""

    trace_id: str
    span_id: str
    parent_id: str
    state: str
    name: str
    kind: str
    start: int
    end: int
    attributes: Mapping[str, Value]
    is_error: bool = False
    is_remote: bool = False


class Accounted(msgspec.Struct, frozen=True):
    """What a receipt says of a request, but for its candidates: they take kilobytes."""

    receipt_id: str
    asked: str
    classification: Classification | None
    decision: Decision
    execution: Execution


class Served(msgspec.Struct, frozen=True):
    """A request that is over. `arrived`: Unix seconds; `seconds`: how long it took.

    `path` is empty where a caller may have chosen it, `scheme` where it is not known, `refused`
    without a code. `is_whole`: what the caller got is no torso.
    """

    arrived: float
    seconds: float
    method: str
    route: str
    path: str
    status: int
    request_id: str
    ending: Ending
    is_whole: bool = True
    scheme: str = ""
    version: str = "1.1"
    refused: str = ""
    account_id: str = ""
    key_id: str = ""
    accounted: Accounted | None = None


def spans_of(trace: Trace, served: Served, *, older: bool = False) -> tuple[Span, ...]:
    """The request's own span, and one for each attempt, in the order in which they began.

    `older`: attributes that the conventions have renamed stand there under both names.
    """
    made = [_request_span(trace, served)]
    strategy = "" if served.accounted is None else served.accounted.decision.strategy
    before: list[AttemptOutcome] = []
    for asked in sorted(trace.attempts, key=_began):
        made.append(_attempt_span(trace, served, asked, why(before, asked.outcome, strategy)))
        before.append(asked.outcome)
    return tuple(map(_with_older, made)) if older else tuple(made)


def why(before: Sequence[AttemptOutcome], one: AttemptOutcome, strategy: str) -> str:
    """Why an attempt was made, after those that began `before` it.

    `plan`: the first. `hedge`, `race`, `compare`: beside others, by the request's strategy. Then by
    what the one before came to: `retry` (the same route again), `fallback` (another), `rescue`
    (it broke while the caller read it), `follow_up` (a tool's round, or JSON asked for again).
    """
    if not before:
        return "plan"
    last = before[-1]
    if any(other.ended > one.started for other in before):
        return strategy if strategy in ("race", "compare") else "hedge"
    if last.ending is Ending.COMPLETE:
        return "follow_up"
    if last.first_token is not None:
        return "rescue"
    return "retry" if (last.provider, last.model) == (one.provider, one.model) else "fallback"


def _request_span(trace: Trace, served: Served) -> Span:
    given, context = trace.given, trace.context
    error = _failure(served)
    facts: dict[str, Value | None] = {
        semconv.HTTP_METHOD: served.method,
        semconv.HTTP_ROUTE: served.route,
        semconv.HTTP_STATUS: served.status or None,
        semconv.URL_PATH: served.path or None,
        semconv.URL_SCHEME: served.scheme or None,
        semconv.PROTOCOL_VERSION: served.version,
        semconv.ERROR_TYPE: error,
        semconv.REQUEST_ID: served.request_id,
        semconv.ENDING: served.ending.value,
        semconv.ERROR_CODE: served.refused or None,
        semconv.ACCOUNT: served.account_id or None,
        semconv.KEY: served.key_id or None,
        semconv.ATTEMPTS: len(trace.attempts),
    }
    if served.accounted is not None:
        facts |= _accounted(served.accounted)
    return Span(
        trace_id=context.trace_id,
        span_id=context.span_id,
        parent_id="" if given is None else given.span_id,
        state=_state(context),
        name=f"{served.method} {served.route}",
        kind=SERVER,
        start=_nanoseconds(served, 0.0),
        end=_nanoseconds(served, served.seconds),
        attributes=_known(facts),
        is_error=error is not None,
        is_remote=given is not None,
    )


def _failure(served: Served) -> str | None:
    """What class of error a request ended by; None: by none, or by one that is the caller's."""
    if served.status >= SERVER_ERROR:
        return served.refused or str(served.status)
    is_torso = not served.is_whole and served.ending is not Ending.REJECTED
    return (served.refused or served.ending.value) if is_torso else None


def _accounted(told: Accounted) -> dict[str, Value | None]:
    kind, done = told.classification, told.execution
    return {
        semconv.RECEIPT: told.receipt_id,
        semconv.ASKED_MODEL: told.asked[:LENGTH],
        semconv.STRATEGY: told.decision.strategy,
        semconv.DIAL: told.decision.dial,
        semconv.CATEGORY: None if kind is None else kind.category,
        semconv.COST: _usd(done.cost),
        semconv.SAVINGS: None if done.cost is None else _usd(done.savings),
    }


def _attempt_span(trace: Trace, served: Served, asked: Asked, why: str) -> Span:
    outcome, model = asked.outcome, asked.model[:LENGTH]
    error = _error(asked)
    facts: dict[str, Value | None] = {
        semconv.OPERATION: semconv.CHAT,
        semconv.PROVIDER: semconv.provider_name(outcome.provider),
        semconv.REQUEST_MODEL: model,
        semconv.SERVER_ADDRESS: asked.address,
        semconv.SERVER_PORT: asked.port,
        semconv.HTTP_STATUS: asked.status or None,
        semconv.ERROR_TYPE: error,
        semconv.MODEL: outcome.model[:LENGTH],
        semconv.ENDING: outcome.ending.value,
        semconv.WHY: why,
        semconv.SHOWN: asked.shown,
        semconv.COST: _usd(outcome.cost),
        semconv.OWN_KEY: outcome.own_key or None,
        **_parameters(trace.parameters),
        **_answer(asked),
        **_usage(outcome.usage),
    }
    return Span(
        trace_id=trace.context.trace_id,
        span_id=asked.span_id,
        parent_id=trace.context.span_id,
        state=_state(trace.context),
        name=f"{semconv.CHAT} {model}",
        kind=CLIENT,
        start=_nanoseconds(served, outcome.started),
        end=_nanoseconds(served, outcome.ended),
        attributes=_known(facts),
        is_error=error is not None,
    )


def _error(asked: Asked) -> str | None:
    """What class of error an attempt ended by; None: by none, or by none of the provider's."""
    outcome = asked.outcome
    if outcome.ending is Ending.FAULT:
        return outcome.fault
    if outcome.ending is Ending.REJECTED and asked.status >= CLIENT_ERROR:
        return str(asked.status)
    return "internal_error" if outcome.ending is Ending.ERROR else None


def _parameters(given: Parameters | None) -> dict[str, Value | None]:
    if given is None:
        return {}
    return {
        semconv.REQUEST_STREAM: given.stream or None,
        semconv.REQUEST_CHOICES: given.choices if given.choices != 1 else None,
        semconv.REQUEST_MAX_TOKENS: given.max_tokens,
        semconv.REQUEST_TEMPERATURE: given.temperature,
        semconv.OUTPUT_TYPE: "json" if given.json else None,
    }


def _answer(asked: Asked) -> dict[str, Value | None]:
    outcome = asked.outcome
    first, connected = outcome.first_token, asked.connected
    reasons = tuple(reason[:LENGTH] for reason in asked.reasons[:REASONS])
    return {
        semconv.RESPONSE_MODEL: None if asked.answered is None else asked.answered[:LENGTH],
        semconv.FINISH_REASONS: reasons or None,
        semconv.FIRST_CHUNK: None if first is None else first - outcome.started,
        semconv.CONNECTED: None if connected is None else connected - outcome.started,
    }


def _usage(usage: Usage | None) -> dict[str, Value | None]:
    if usage is None:
        return {}
    return {
        semconv.INPUT_TOKENS: usage.prompt_tokens,
        semconv.OUTPUT_TOKENS: usage.completion_tokens,
        semconv.CACHE_READ_TOKENS: usage.cached_tokens or None,
        semconv.CACHE_WRITE_TOKENS: usage.cache_write_tokens or None,
        semconv.REASONING_TOKENS: usage.reasoning_tokens or None,
        semconv.ESTIMATED: usage.estimated,
    }


def _known(facts: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in facts.items() if value is not None}


def _with_older(span: Span) -> Span:
    old = _renamed(span.attributes.items())
    return msgspec.structs.replace(span, attributes={**span.attributes, **old})


def _renamed(attributes: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    return {semconv.OLDER[name]: value for name, value in attributes if name in semconv.OLDER}


def _state(context: TraceContext) -> str:
    return context.state.decode("ascii")


def _nanoseconds(served: Served, after: float) -> int:
    return round(served.arrived * 1e9) + round(after * 1e9)


def _usd(amount: int | None) -> float | None:
    return None if amount is None else amount / 1e9


def _began(asked: Asked) -> float:
    return asked.outcome.started
