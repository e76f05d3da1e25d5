"""Which trace contexts travel: the specification's own grammar, value by value."""

import pytest

from kproxy.wire.tracecontext import LONGEST, MEMBERS, TraceContext, read_trace, write_trace

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
GOOD = b"00-%b-%b-01" % (TRACE, SPAN)


def parent(*values: bytes) -> TraceContext | None:
    return read_trace([(b"traceparent", value) for value in values])


def state(*values: bytes) -> bytes:
    fields = [(b"tracestate", value) for value in values]
    found = read_trace([(b"traceparent", GOOD), *fields])
    assert found is not None, "a bad tracestate does not spoil its traceparent"
    return found.state


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        b"00-%b-%b-00" % (TRACE, SPAN),
        b"00-%b-%b-ff" % (TRACE, SPAN),  # flags that nobody knows yet
        b"cc-%b-%b-01" % (TRACE, SPAN),  # a later version
        b"cc-%b-%b-01-what-the-future-will-be" % (TRACE, SPAN),
    ],
)
def test_a_good_parent_travels_as_it_is(value: bytes) -> None:
    found = parent(value)
    assert found is not None
    assert found.fields() == [(b"traceparent", value)]
    assert found.trace_id == TRACE.decode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-01" % (TRACE[:-1], SPAN),
        b"00-%b-%b-01" % (TRACE, SPAN + b"0"),
        b"00-%b-%b-1" % (TRACE, SPAN),
        b"00-%b-%b-01-more" % (TRACE, SPAN),  # of version 00
        b"cc-%b-%b-01more" % (TRACE, SPAN),
        b"ff-%b-%b-01" % (TRACE, SPAN),
        b"0-%b-%b-01" % (TRACE, SPAN),
        b"00_%b_%b_01" % (TRACE, SPAN),
        b" " + GOOD,
        GOOD + b"\n",
        GOOD + b", " + GOOD,
    ],
)
def test_a_bad_parent_is_dropped_with_its_state(value: bytes) -> None:
    assert read_trace([(b"traceparent", value), (b"tracestate", b"a=1")]) is None


def test_there_is_one_parent_or_none() -> None:
    assert parent() is None
    assert parent(GOOD, GOOD) is None
    assert read_trace([(b"tracestate", b"a=1")]) is None


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ([b"congo=t61rcWkgMzE"], b"congo=t61rcWkgMzE"),
        ([b"rojo=00f067aa0ba902b7, congo=t61"], b"rojo=00f067aa0ba902b7, congo=t61"),
        ([b"rojo=1", b"congo=2"], b"rojo=1,congo=2"),  # several fields are one list
        ([b"a=1,,b=2"], b"a=1,,b=2"),
        ([b"1tenant@sys=x y"], b"1tenant@sys=x y"),
        ([b"a_-*/=!~"], b"a_-*/=!~"),
    ],
)
def test_a_good_state(given: list[bytes], passed: bytes) -> None:
    assert state(*given) == passed


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ,",
        b"a",
        b"a=",
        b"A=1",
        b"1a=1",
        b"a=1=2",
        b"a =1",
        b"a=1;b\t=2",
        b"a=\xc3\xa9",
        b"a=1,a=2",
        b"a@=1",
        b"a@b@c=1",
        b"a" * 257 + b"=1",
        b"a=" + b"1" * 257,
    ],
)
def test_a_bad_state_is_dropped_alone(value: bytes) -> None:
    assert state(value) == b""


def test_at_the_limits_and_one_past_them() -> None:
    members = [b"k%d=1" % number for number in range(MEMBERS + 1)]
    assert state(b",".join(members[:-1])) == b",".join(members[:-1])
    assert state(b",".join(members)) == b""
    long = b",".join(b"k%d=" % number + b"v" * 256 for number in range(15))
    assert state(long + b"," * (LONGEST - len(long))) != b""
    assert state(long + b"," * (LONGEST - len(long) + 1)) == b""


def test_a_context_is_written_and_read_again() -> None:
    written = write_trace(TRACE.decode(), SPAN.decode(), 3, b"a=1")
    found = read_trace(written.fields())
    assert found == written == TraceContext(b"00-%b-%b-03" % (TRACE, SPAN), b"a=1")
    assert (found.trace_id, found.span_id, found.flags) == (TRACE.decode(), SPAN.decode(), 3)


def test_flags_without_a_meaning_are_none() -> None:
    found = parent(b"00-%b-%b-fd" % (TRACE, SPAN))
    assert found is not None
    assert found.flags == 1
