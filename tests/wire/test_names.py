"""What travels, and what text becomes as a value."""

import pytest

from kproxy.wire.names import ALLOW_UPSTREAM, SPELLINGS, forwardable

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

OURS = (b"via", b"1.1 kproxy")

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade http2-settings".split()
)
"""They speak about one connection and end with it (RFC 9110 section 7.6.1)."""

PRIVATE = [
    b"authorization", b"x-api-key", b"api-key", b"cookie", b"host", b"content-length",
    b"content-type", b"accept-encoding", b"user-agent", b"x-forwarded-for", b"idempotency-key",
    b"openai-organization", b"openai-project", b"x-request-id", b"x-kairosroute-cost",
    b"x-stainless-lang", *sorted(HOP_BY_HOP),
]  # fmt: skip


@pytest.mark.parametrize("name", PRIVATE)
def test_what_is_not_allowed_stays_here(name):
    assert forwardable([(name, b"1"), (b"openai-beta", b"t")]) == [(b"openai-beta", b"t"), OURS]


def test_where_nothing_is_allowed_nothing_travels():
    assert forwardable([(b"host", b"a"), (b"connection", b"traceparent")]) == [OURS]


def test_allowed_fields_keep_order_and_repetition():
    fields = [(b"openai-beta", b"a"), (b"x", b"1"), (b"openai-beta", b"c")]
    assert forwardable(fields) == [fields[0], fields[2], OURS]


def test_a_trace_context_travels_as_it_is():
    fields = [(b"tracestate", b"a=1"), (b"openai-beta", b"c"), (b"traceparent", PARENT)]
    assert sorted(forwardable(fields)) == sorted([*fields, OURS])


@pytest.mark.parametrize("parent", [b"t", PARENT[:-1], PARENT.upper()])
def test_an_invalid_one_does_not(parent):
    fields = [(b"tracestate", b"a=1"), (b"openai-beta", b"c"), (b"traceparent", parent)]
    assert forwardable(fields) == [(b"openai-beta", b"c"), OURS]


def test_a_field_named_in_connection_stays_here():
    fields = [
        (b"traceparent", PARENT),
        (b"connection", b"close, OpenAI-Beta"),
        (b"tracestate", b"b=1"),
        (b"connection", b" tracestate"),
        (b"openai-beta", b"c"),
    ]
    assert forwardable(fields) == [(b"traceparent", PARENT), OURS]
    assert forwardable([*fields, (b"connection", b"traceparent")]) == [OURS]


def test_a_via_goes_on_unless_it_is_of_the_connection():
    fields = [(b"via", b"1.0 a"), (b"via", b"2 b")]
    whole = [(b"via", b"1.0 gateway, 2 gateway, 2 kproxy")]
    assert forwardable(fields, b"2") == whole
    assert forwardable([*fields, (b"connection", b"Via")]) == [OURS]


def test_nothing_allowed_ends_with_the_connection():
    assert not ALLOW_UPSTREAM & HOP_BY_HOP


def test_spellings_are_known_in_three_forms():
    assert SPELLINGS[b"Content-Length"] == b"content-length"
    assert SPELLINGS[b"content-length"] == b"content-length"
    assert SPELLINGS[b"X-Stainless-OS"] == SPELLINGS[b"X-Stainless-Os"] == b"x-stainless-os"
    assert all(low == spelling.lower() for spelling, low in SPELLINGS.items())
