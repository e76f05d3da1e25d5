"""Golden cases: what a request came to, and the spans that say so."""

from typing import Any

import msgspec
import pytest

from kproxy.ledger.spans import LENGTH, Accounted, Served, Span, spans_of, why
from kproxy.ledger.trace import Asked, Parameters, Trace
from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.schema.receipt import Classification, Decision, Execution
from kproxy.wire.tracecontext import TraceContext, write_trace

TRACE, CALLER, OURS = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "a" * 16
GIVEN = TraceContext(f"00-{TRACE}-{CALLER}-01".encode(), b"vendor=1")
USAGE = Usage(1_000, 500, cached_tokens=100, reasoning_tokens=200)
SERVED = Served(
    arrived=1_000.0,
    seconds=2.5,
    method="POST",
    route="/v1/chat/completions",
    path="/api/v1/chat/completions",
    status=200,
    request_id="req_1",
    ending=Ending.COMPLETE,
    scheme="http",
    account_id="acct_1",
    key_id="key_1",
)
REQUEST = {
    "http.request.method": "POST",
    "http.route": "/v1/chat/completions",
    "http.response.status_code": 200,
    "url.path": "/api/v1/chat/completions",
    "url.scheme": "http",
    "network.protocol.version": "1.1",
    "kproxy.request_id": "req_1",
    "kproxy.ending": "complete",
    "kproxy.account_id": "acct_1",
    "kproxy.key_id": "key_1",
    "kproxy.attempts": 1,
    "kproxy.receipt_id": "rcpt_1",
    "kproxy.asked_model": "auto",
    "kproxy.strategy": "single",
    "kproxy.dial": "cheap",
    "kproxy.category": "code",
    "kproxy.cost_usd": 0.002,
    "kproxy.savings_usd": -0.001,
}
WHOLE = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "x_ai",
    "gen_ai.request.model": "grok-up",
    "gen_ai.response.model": "grok-1",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 500,
    "gen_ai.usage.cache_read.input_tokens": 100,
    "gen_ai.usage.reasoning.output_tokens": 200,
    "server.address": "api.test",
    "server.port": 443,
    "http.response.status_code": 200,
    "kproxy.model": "grok",
    "kproxy.ending": "complete",
    "kproxy.attempt.why": "plan",
    "kproxy.attempt.shown": True,
    "kproxy.attempt.connected_seconds": 0.25,
    "kproxy.cost_usd": 0.002,
    "kproxy.usage_estimated": False,
}


def accounted(strategy: str = "single", ending: Ending = Ending.COMPLETE) -> Accounted:
    return Accounted(
        "rcpt_1",
        "auto",
        Classification("code", 0.9),
        Decision("grok", "xai", strategy, ("xai/grok",), "cheap"),
        Execution(ending, 2_000_000, -1_000_000, 2.5, None, USAGE),
    )


def outcome(started: float = 0.5, ended: float = 2.0, **changes: Any) -> AttemptOutcome:
    told: dict[str, Any] = {
        "model": "grok",
        "provider": "xai",
        "first_token": None,
        "ending": Ending.COMPLETE,
        "usage": USAGE,
        "cost": 2_000_000,
    }
    return AttemptOutcome(started=started, ended=ended, **(told | changes))


def asked(number: int = 1, one: AttemptOutcome | None = None, **changes: Any) -> Asked:
    told: dict[str, Any] = {
        "shown": True,
        "status": 200,
        "answered": "grok-1",
        "reasons": ("stop",),
    }
    one = one or outcome()
    told |= {"model": "grok-up", "address": "api.test", "port": 443}
    told["connected"] = one.started + 0.25
    return Asked(f"{number:016x}", one, **(told | changes))


def traced(*attempts: Asked, given: TraceContext | None = GIVEN) -> Trace:
    state = b"" if given is None else given.state
    context = write_trace(TRACE, OURS, 1, state)
    return Trace(context, given, lambda size: "", True, attempts)


def served(strategy: str = "single", **changes: Any) -> Served:
    ending = changes.get("ending", Ending.COMPLETE)
    return msgspec.structs.replace(SERVED, accounted=accounted(strategy, ending), **changes)


def told(spans: tuple[Span, ...], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(span.attributes.get(name) for name in names) for span in spans[1:]]


def test_a_whole_answer() -> None:
    trace = traced(asked()).asking(Parameters(False, 1, None, None, False))
    request, attempt = spans_of(trace, served())
    assert request == Span(
        trace_id=TRACE,
        span_id=OURS,
        parent_id=CALLER,
        state="vendor=1",
        name="POST /v1/chat/completions",
        kind="server",
        start=1_000_000_000_000,
        end=1_002_500_000_000,
        attributes=REQUEST,
        is_remote=True,
    )
    assert attempt == Span(
        trace_id=TRACE,
        span_id=f"{1:016x}",
        parent_id=OURS,
        state="vendor=1",
        name="chat grok-up",
        kind="client",
        start=1_000_500_000_000,
        end=1_002_000_000_000,
        attributes=WHOLE,
    )


def test_a_stream_says_when_its_first_token_came_and_what_was_asked() -> None:
    trace = traced(asked(one=outcome(first_token=1.25)), given=None)
    trace = trace.asking(Parameters(True, 3, 50, 0.5, True))
    request, attempt = spans_of(trace, served())
    assert (request.parent_id, request.is_remote, request.state) == ("", False, "")
    assert attempt.attributes == WHOLE | {
        "gen_ai.request.stream": True,
        "gen_ai.request.choice.count": 3,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.output.type": "json",
        "gen_ai.response.time_to_first_chunk": 0.75,
    }


def test_a_fallback() -> None:
    failed = outcome(0.0, 1.0, ending=Ending.FAULT, fault="overloaded", usage=None, cost=0)
    second = outcome(1.0, model="m", provider="acme", own_key=True)
    spans = spans_of(traced(asked(1, failed, status=503), asked(2, second)), served())
    assert [span.is_error for span in spans] == [False, True, False]
    assert told(spans, "kproxy.attempt.why", "error.type", "http.response.status_code") == [
        ("plan", "overloaded", 503),
        ("fallback", None, 200),
    ]
    assert told(spans, "gen_ai.usage.input_tokens", "kproxy.own_key") == [
        (None, None),
        (1_000, True),
    ]


@pytest.mark.parametrize("strategy", ["hedge", "race"])
def test_an_attempt_that_was_overtaken_is_no_error(strategy: str) -> None:
    loser = outcome(0.0, 2.0, ending=Ending.SUPERSEDED, usage=Usage(1_000, 0, estimated=True))
    winner = outcome(1.0, 3.0, provider="acme", first_token=2.0)
    trace = traced(asked(1, loser, shown=False, status=0), asked(2, winner))  # the loser ends first
    spans = spans_of(trace, served(strategy))
    names = ("kproxy.ending", "kproxy.attempt.why", "kproxy.attempt.shown")
    assert told(spans, *names, "kproxy.usage_estimated") == [
        ("superseded", "plan", False, True),
        ("complete", strategy, True, False),
    ]
    assert not any(span.is_error for span in spans)


def test_a_failure_is_the_servers_error() -> None:
    failed = outcome(ending=Ending.FAULT, fault="reset", usage=None, cost=0)
    spans = spans_of(
        traced(asked(1, failed, status=0, connected=None, answered=None, reasons=())),
        served(status=503, refused="all_models_unavailable", ending=Ending.FAULT),
    )
    assert [span.is_error for span in spans] == [True, True]
    assert spans[0].attributes["error.type"] == "all_models_unavailable"
    assert spans[0].attributes["kproxy.error_code"] == "all_models_unavailable"
    assert spans[1].attributes["error.type"] == "reset"
    missing = {"kproxy.attempt.connected_seconds", "gen_ai.response.model",
               "gen_ai.response.finish_reasons", "http.response.status_code"}  # fmt: skip
    assert not missing & spans[1].attributes.keys()


def test_a_broken_stream_is_an_error_behind_a_200() -> None:
    broken = served(is_whole=False, refused="upstream_error", ending=Ending.FAULT)
    assert spans_of(traced(), broken)[0].attributes["error.type"] == "upstream_error"
    cut = served(is_whole=False, ending=Ending.CANCELLED)
    assert spans_of(traced(), cut)[0].attributes["error.type"] == "cancelled"


def test_a_caller_who_has_left_is_no_error() -> None:
    gone = outcome(ending=Ending.CANCELLED)
    spans = spans_of(traced(asked(1, gone)), served(status=0, ending=Ending.CANCELLED))
    assert not any(span.is_error for span in spans)
    assert spans[0].attributes["kproxy.ending"] == "cancelled"
    assert "http.response.status_code" not in spans[0].attributes


def test_a_refusal_is_the_callers_and_the_providers() -> None:
    refused = outcome(ending=Ending.REJECTED, usage=None, cost=0)
    told_400 = served(status=400, refused="invalid_request_error", ending=Ending.REJECTED)
    request, attempt = spans_of(traced(asked(1, refused, status=400)), told_400)
    assert (request.is_error, "error.type" in request.attributes) == (False, False)
    assert (attempt.is_error, attempt.attributes["error.type"]) == (True, "400")
    by_rule = spans_of(traced(asked(1, refused)), told_400)[1]
    assert not by_rule.is_error, "the provider had answered: a rule of ours kept it back"


def test_a_request_that_was_not_admitted_has_one_span() -> None:
    refused = msgspec.structs.replace(
        SERVED, status=401, refused="invalid_api_key", ending=Ending.REJECTED, path="",
        account_id="", key_id="", scheme="", version="2",
    )  # fmt: skip
    (span,) = spans_of(traced(), refused)
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 401,
        "network.protocol.version": "2",
        "kproxy.request_id": "req_1",
        "kproxy.ending": "rejected",
        "kproxy.error_code": "invalid_api_key",
        "kproxy.attempts": 0,
    }


def test_a_mistake_of_ours_and_a_price_that_nobody_knows() -> None:
    mistake = outcome(ending=Ending.ERROR, cost=None)
    unknown = accounted()
    unknown = msgspec.structs.replace(
        unknown, execution=msgspec.structs.replace(unknown.execution, cost=None)
    )
    over = msgspec.structs.replace(SERVED, status=500, accounted=unknown)
    request, attempt = spans_of(traced(asked(1, mistake)), over)
    assert attempt.attributes["error.type"] == "internal_error"
    assert request.attributes["error.type"] == "500"
    for span in (request, attempt):
        assert not {"kproxy.cost_usd", "kproxy.savings_usd"} & span.attributes.keys()


def test_renamed_attributes_stand_there_twice_for_who_asks() -> None:
    written = outcome(usage=Usage(10, 5, cache_write_tokens=4))
    attempt = spans_of(traced(asked(1, written)), served(), older=True)[1]
    assert attempt.attributes["gen_ai.system"] == "x_ai"
    assert attempt.attributes["gen_ai.provider.name"] == "x_ai"
    assert attempt.attributes["gen_ai.usage.cache_creation.input_tokens"] == 4
    assert attempt.attributes["gen_ai.usage.cache_write.input_tokens"] == 4


def test_what_others_choose_is_cut() -> None:
    long = "x" * 1_000
    one = asked(1, outcome(model=long), model=long, answered=long, reasons=(long,) * 100)
    over = msgspec.structs.replace(
        served(), accounted=msgspec.structs.replace(accounted(), asked=long)
    )
    for span in spans_of(traced(one), over):
        values = [v for value in span.attributes.values()
                  for v in (value if isinstance(value, tuple) else (value,))]  # fmt: skip
        assert max(len(value) for value in values if isinstance(value, str)) <= LENGTH
        assert len(span.name) <= LENGTH + 10
        assert len(values) < 60


FIRST = outcome(0.0, 1.0, ending=Ending.FAULT, fault="reset")


@pytest.mark.parametrize(
    ("before", "one", "strategy", "wanted"),
    [
        ([], FIRST, "single", "plan"),
        ([FIRST], outcome(1.0), "single", "retry"),
        ([FIRST], outcome(1.0, provider="acme"), "single", "fallback"),
        ([FIRST], outcome(0.5), "hedge", "hedge"),
        ([FIRST], outcome(0.5), "race", "race"),
        ([FIRST], outcome(0.5), "compare", "compare"),
        ([outcome(0.0, 1.0)], outcome(1.5), "single", "follow_up"),
        ([msgspec.structs.replace(FIRST, first_token=0.5)], outcome(1.0), "single", "rescue"),
    ],
)  # fmt: skip
def test_why_an_attempt_was_made(
    before: list[AttemptOutcome], one: AttemptOutcome, strategy: str, wanted: str
) -> None:
    assert why(before, one, strategy) == wanted
