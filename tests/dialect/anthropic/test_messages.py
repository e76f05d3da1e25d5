"""The dialect as a whole: its address, its credentials, and whose fault an error is."""

import json
from typing import Any

import pytest

from kproxy.dialect.anthropic.messages import VERSION, Anthropic
from kproxy.errors import Fault, FaultKind, Rejected

DIALECT = Anthropic()


def problem(
    status: int, message: str = "no", kind: str = "invalid_request_error", **fields: str
) -> Any:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    given = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return DIALECT.read_error(status, given.get, json.dumps(body).encode())


def test_the_key_goes_in_a_field_of_its_own() -> None:
    assert DIALECT.path == "/messages"
    assert DIALECT.credentials("sk-ant-1") == [
        (b"x-api-key", b"sk-ant-1"),
        (b"anthropic-version", VERSION),
    ]
    assert DIALECT.credentials("") == [(b"anthropic-version", VERSION)]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, FaultKind.CREDENTIAL),
        (402, FaultKind.UNAVAILABLE),
        (403, FaultKind.CREDENTIAL),
        (404, FaultKind.NOT_FOUND),
        (408, FaultKind.UNAVAILABLE),
        (429, FaultKind.RATE_LIMITED),
        (500, FaultKind.UNAVAILABLE),
        (504, FaultKind.UNAVAILABLE),
        (529, FaultKind.UNAVAILABLE),
    ],
)
def test_faults(status: int, kind: FaultKind) -> None:
    fault = problem(status, kind="any", retry_after="7")
    assert isinstance(fault, Fault)
    assert fault.kind is kind
    if kind is not FaultKind.CREDENTIAL:
        assert fault.retry_after == 7


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("prompt is too long: 210000 tokens > 200000 maximum", "context_length_exceeded", None),
        (
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease",
            "context_length_exceeded",
            None,
        ),
        ("Output blocked by content filtering policy", "content_filter", None),
        ("max_tokens: must be at least 1", "invalid_request_error", "max_tokens"),
        ("messages.1.content.0: no", "invalid_request_error", "messages.1.content.0"),
        ("Something else: no", "invalid_request_error", None),
    ],
)
def test_refusals(message: str, code: str, param: str | None) -> None:
    refusal = problem(400, message)
    assert isinstance(refusal, Rejected)
    assert (refusal.status, refusal.code, refusal.param) == (400, code, param)
    assert refusal.message == message


def test_too_large_a_request_is_the_callers() -> None:
    refusal = problem(413, "Request exceeds the maximum size", "request_too_large")
    assert isinstance(refusal, Rejected)
    assert (refusal.status, refusal.code) == (413, "request_too_large")


def test_an_account_without_money_is_the_operators() -> None:
    fault = problem(400, "Your credit balance is too low to access the Anthropic API.")
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.CREDENTIAL


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":5}', b"\xff"])
def test_bodies_that_say_nothing(body: bytes) -> None:
    refusal = DIALECT.read_error(400, lambda _: None, body)
    assert isinstance(refusal, Rejected)
    assert refusal.code == "invalid_request_error"
