"""What travels, and what text becomes as a value."""

import pytest

from kproxy.wire.names import ALLOW_UPSTREAM, SPELLINGS, forwardable

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
    assert forwardable([(name, b"1"), (b"traceparent", b"t")]) == [(b"traceparent", b"t")]


def test_where_nothing_is_allowed_nothing_travels():
    assert forwardable([(b"host", b"a"), (b"connection", b"traceparent")]) == []


def test_allowed_fields_keep_order_and_repetition():
    fields = [(b"tracestate", b"a"), (b"x", b"1"), (b"traceparent", b"b"), (b"tracestate", b"c")]
    assert forwardable(fields) == [fields[0], fields[2], fields[3]]


def test_a_field_named_in_connection_stays_here():
    fields = [
        (b"traceparent", b"a"),
        (b"connection", b"close, TraceParent"),
        (b"tracestate", b"b"),
        (b"connection", b" openai-beta"),
        (b"openai-beta", b"c"),
    ]
    assert forwardable(fields) == [(b"tracestate", b"b")]


def test_nothing_allowed_ends_with_the_connection():
    assert not ALLOW_UPSTREAM & HOP_BY_HOP


def test_spellings_are_known_in_three_forms():
    assert SPELLINGS[b"Content-Length"] == b"content-length"
    assert SPELLINGS[b"content-length"] == b"content-length"
    assert SPELLINGS[b"X-Stainless-OS"] == SPELLINGS[b"X-Stainless-Os"] == b"x-stainless-os"
    assert all(low == spelling.lower() for spelling, low in SPELLINGS.items())
