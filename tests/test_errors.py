"""Errors say whose fault it was, and nothing that must not be said."""

import inspect

import pytest

from kproxy import errors
from kproxy.errors import (
    BrokenStream,
    Exhausted,
    Fault,
    FaultKind,
    KproxyError,
    Rejected,
    refusal_in,
    rejected_field,
)


def test_every_error_is_ours_and_public() -> None:
    classes = {
        name
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, Exception)
    }
    assert classes <= set(errors.__all__)
    assert all(issubclass(getattr(errors, name), KproxyError) for name in classes)


def test_a_field_error_names_the_field() -> None:
    error = rejected_field("temperature", "too hot")
    assert (error.status, error.code, error.param) == (400, "invalid_request_error", "temperature")
    assert error.close is False
    assert str(error) == "too hot"
    assert repr(error) == "<Rejected 400 invalid_request_error: too hot>"


def test_exhaustion_tells_each_fault_in_order() -> None:
    late = Fault(FaultKind.FIRST_TOKEN_TIMEOUT, "no first token in time")
    busy = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429, retry_after=7.0)
    error = Exhausted((("a/m", late), ("b/m", busy)))
    assert str(error) == "a/m: no first token in time; b/m: HTTP 429"
    assert error.faults == (("a/m", late), ("b/m", busy))


def test_a_broken_stream_keeps_its_fault() -> None:
    fault = Fault(FaultKind.CLOSED_EARLY, "the stream was cut")
    assert BrokenStream(fault).fault is fault
    assert str(BrokenStream(fault)) == "the stream was cut"
    assert repr(fault) == "<Fault closed_early: the stream was cut>"


@pytest.mark.parametrize("kind", FaultKind)
def test_kinds_are_spelt_as_metric_labels(kind: FaultKind) -> None:
    assert kind.value == kind.name.lower()


def test_a_rejection_carries_its_fields() -> None:
    error = Rejected(405, "method_not_allowed", "Use POST here.", close=True)
    error.headers = ((b"allow", b"POST"),)
    assert error.close
    assert error.param is None
    assert error.type is None


def test_the_refusal_in_what_a_nursery_raises() -> None:
    refused = Rejected(400, "x", "no")
    assert refusal_in(refused) is refused
    assert refusal_in(ExceptionGroup("", [ExceptionGroup("", [refused])])) is refused
    assert refusal_in(ValueError()) is None
    assert refusal_in(ExceptionGroup("", [refused, ValueError()])) is None, "a bug is not hidden"
