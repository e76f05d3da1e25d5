"""Every error has its answer: status, code and family, found by walking `errors.py`."""

import inspect
import json
from typing import Any

import pytest

from kproxy import errors
from kproxy.downstream.respond import TYPES, Answer, error_event, to_answer
from kproxy.errors import (
    BrokenStream,
    DeadlineExceeded,
    Exhausted,
    Fault,
    FaultKind,
    KproxyError,
    NotCarried,
    Rejected,
    Withheld,
)
from kproxy.wire.events import ProtocolError

RESET = Fault(FaultKind.RESET, "the connection broke")

# (error, status, code, type); one row or more for each class of errors.py.
TABLE = [
    (Rejected(400, "invalid_request_error", "no"), 400, "invalid_request_error", None),
    (Rejected(401, "invalid_api_key", "no"), 401, "invalid_api_key", "authentication_error"),
    (Rejected(402, "cost_guardrail_exceeded", "no"), 402, "cost_guardrail_exceeded", None),
    (Rejected(403, "PLUGIN_REQUIRES_PAID", "no"), 403, "PLUGIN_REQUIRES_PAID", "permission_error"),
    (Rejected(429, "rate_limit_exceeded", "no"), 429, "rate_limit_exceeded", "rate_limit_error"),
    (Rejected(418, "teapot", "no"), 418, "teapot", "invalid_request_error"),
    (NotCarried("n", "no"), 400, "unsupported_parameter", "invalid_request_error"),
    (Withheld("no"), 400, "content_blocked", "invalid_request_error"),
    (Exhausted((("acme/m", RESET),)), 503, "all_models_unavailable", "service_unavailable_error"),
    (DeadlineExceeded(), 504, "deadline_exceeded", "upstream_error"),
    (RESET, 503, "upstream_error", "service_unavailable_error"),
    (BrokenStream(RESET), 503, "upstream_error", "service_unavailable_error"),
    (ProtocolError(400, "no"), 400, "invalid_request_error", "invalid_request_error"),
    (ProtocolError(408, "no"), 408, "request_timeout", "invalid_request_error"),
    (ProtocolError(413, "no"), 413, "request_too_large", "request_too_large"),
    (ProtocolError(414, "no"), 414, "uri_too_long", "invalid_request_error"),
    (ProtocolError(417, "no"), 417, "invalid_request_error", "invalid_request_error"),
    (ProtocolError(431, "no"), 431, "headers_too_large", "invalid_request_error"),
    (ProtocolError(501, "no"), 501, "invalid_request_error", "invalid_request_error"),
    (ProtocolError(505, "no"), 505, "invalid_request_error", "invalid_request_error"),
    (KeyError("secret"), 500, "internal_error", "api_error"),
    (KproxyError("secret"), 500, "internal_error", "api_error"),
]


def body_of(answer: Answer) -> dict[str, Any]:
    """The error object, its shape checked (contract section 4)."""
    assert answer.headers[0] == (b"content-type", b"application/json")
    whole = json.loads(answer.body)
    assert list(whole) == ["error"]
    error: dict[str, Any] = whole["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["message"]
    return error


@pytest.mark.parametrize(("error", "status", "code", "family"), TABLE)
def test_the_answer_to_an_error(
    error: Exception, status: int, code: str, family: str | None
) -> None:
    answer = to_answer(error)
    body = body_of(answer)
    assert (answer.status, body["code"]) == (status, code)
    assert body["type"] == (family or TYPES[status])
    assert "secret" not in body["message"]


def test_every_class_has_a_row_and_none_but_our_own_faults_are_500() -> None:
    raised = {
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, KproxyError) and cls is not KproxyError  # "never raised itself"
    }
    assert raised <= {type(error) for error, *_ in TABLE}
    ours = {type(error) for error, status, *_ in TABLE if status == 500}
    assert ours.isdisjoint(raised)


def test_only_broken_framing_ends_the_connection() -> None:
    for error, *_ in TABLE:
        assert to_answer(error).close == isinstance(error, ProtocolError)
    assert to_answer(Rejected(413, "request_too_large", "no", close=True)).close


def test_what_a_rejection_carries_goes_into_the_answer() -> None:
    error = Rejected(405, "method_not_allowed", "Use GET here.", param="method")
    error.headers = ((b"allow", b"GET"),)
    error.type = "chosen"
    answer = to_answer(error)
    assert (b"allow", b"GET") in answer.headers
    assert body_of(answer) == {
        "message": "Use GET here.",
        "type": "chosen",
        "param": "method",
        "code": "method_not_allowed",
    }


def test_exhausted_names_its_faults_and_the_shortest_wait() -> None:
    faults = (
        ("acme/m", Fault(FaultKind.RATE_LIMITED, "rate limited", retry_after=7.2)),
        ("other/m", Fault(FaultKind.RATE_LIMITED, "rate limited", retry_after=30)),
        ("third/m", RESET),
    )
    answer = to_answer(Exhausted(faults))
    assert answer.headers[1:] == [(b"retry-after", b"8")]
    message = body_of(answer)["message"]
    assert "acme/m: rate limited" in message
    assert "third/m: the connection broke" in message
    assert to_answer(Exhausted(faults[2:])).headers[1:] == []


def test_a_wait_is_never_below_a_second() -> None:
    now = Fault(FaultKind.RATE_LIMITED, "rate limited", retry_after=0.0)
    answer = to_answer(Exhausted((("acme/m", now),)))
    assert answer.headers[1:] == [(b"retry-after", b"1")]


@pytest.mark.parametrize("kind", FaultKind)
def test_every_kind_of_fault_can_be_told(kind: FaultKind) -> None:
    fault = Fault(kind, f"{kind.value} happened")
    for error in (fault, BrokenStream(fault), Exhausted((("acme/m", fault),))):
        assert f"{kind.value} happened" in body_of(to_answer(error))["message"]


@pytest.mark.parametrize("text", ["line\r\nend", "\x00", "\ud800", "\u2028", "data: [DONE]\n\n"])
def test_no_text_can_end_the_event_early(text: str) -> None:
    event = error_event(BrokenStream(Fault(FaultKind.BAD_BODY, text)))
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert not set(event[:-2]) & set(b"\r\n\x00")
    assert json.loads(event[6:])["error"]["code"] == "upstream_error"
