"""RFC 9110 (semantics), requirement by requirement, as far as they bind a server: both engines.

What depends on the API's resources, and what goes on to a provider, is in
`tests/api/test_routes_rfc9110.py`. What binds a server and never arises here: validators (8.8),
negotiation (12), 206 and 416 (14, 15.3.7), redirections (15.4), 407 and 426 (15.5), PUT (9.3.4).

Not kept, knowingly: 7.4 has a server refuse an https target that came over a connection without a
certificate for it. kproxy stands behind gateways that end TLS, and cannot tell them from others.
"""

import pytest

from kproxy.wire.h1 import ENGINES
from tests.fakes.rules import Rule, Send, bare, cases, hold, refused, req, taken

POST = b"POST / HTTP/1.1"
GET = b"GET / HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 2"
EXPECT = b"Expect: 100-continue"
LAST = req(b"GET /last HTTP/1.1")
WAITING = req(POST, LENGTH, EXPECT)

FIELDS = [
    taken(
        "5.1", "names of fields are case-insensitive", "so they are",
        bare(GET, b"hOsT: a"), req(POST, b"CONTENT-length: 0"), took=None,
    ),
    taken(
        "5.1", "unknown fields are ignored", "so they are",
        req(GET, b"X-Unknown: a", b"X-Unknown: b", b"!#$%&'*+-.^_`|~: \xff \t x"),
    ),
    refused(
        "5.3", "nothing is carried out before the header section is whole", "nothing",
        req(POST, b"Content-Length: 0")[:-2], status=408,
    ),
    refused(
        "5.4", "fields larger than wished are a 4xx", "431: 16 KiB each, 32 KiB and 100 in all",
        req(GET, b"X: " + b"a" * 16_400), req(GET, *(b"X%d: %b" % (n,
        b"a" * 1000) for n in range(40))), req(GET, *(b"X%d: a" % n for n in range(101))),
        b"GET / HTTP/1.1\r\nX: " + b"a" * 42_000, status=431,
    ),
    refused(
        "5.5", "CR, LF and NUL in a value are refused, or become spaces",
        "refused, as is every control byte but tab",
        *(req(GET, b"X: a%cb" % byte) for byte in (*range(9), *range(10, 32), 127)),
        req(GET, b"X: \x00"), req(GET, b"Authorization: Bearer a\nX: b"),
    ),
    taken(
        "5.5", "bytes above 127 are opaque", "taken as they are",
        req(GET, b"X: " + bytes(range(128, 256))),
    ),
    Rule(
        "5.6.1", "empty members of a list are ignored", "in Connection and Expect",
        (req(GET, b"Connection: ,, ,close, ,") + LAST,), ends=True, took=(b"GET /",),
    ),
]  # fmt: skip

EXPECTATIONS = [
    taken(
        "10.1.1", "100 is sent to who waits for it, before the body", "once it is wanted",
        (WAITING, 1, b"hi"), (req(POST, CHUNKED, EXPECT), 1, b"2\r\nhi\r\n0\r\n\r\n"),
        took=b"POST / hi", seen=(100, 200),
    ),
    taken(
        "10.1.1", "100 is sent to who waits for it, before the body", "however it is spelled",
        (req(POST, LENGTH, b"Expect: ,100-CONTINUE, 100-continue"), 1, b"hi"), took=b"POST / hi",
        seen=(100, 200),
    ),
    taken(
        "10.1.1", "it may be left out where the body is there already", "it is",
        WAITING + b"hi", took=b"POST / hi",
    ),
    taken(
        "10.1.1", "and where there will be none", "it is",
        req(POST, EXPECT), req(POST, EXPECT, b"Content-Length: 0"), req(GET, EXPECT), took=None,
    ),
    taken(
        "10.1.1", "HTTP/1.0 expects nothing", "whatever it says",
        (req(b"POST / HTTP/1.0", LENGTH, EXPECT), 1, b"hi"),
        req(b"POST / HTTP/1.0", LENGTH, b"Expect: x") + b"hi", took=b"POST / hi", ends=True,
    ),
    refused(
        "10.1.1", "another expectation may be a 417", "it is",
        *(req(POST, LENGTH, b"Expect: " + one) + b"hi" for one in (b"x", b"100-continue, x",
        b"100-continue;a=b", b'"100-continue"', b"200-ok")),
        req(POST, LENGTH, EXPECT, b"Expect: x"), status=417,
    ),
    Rule(
        "10.1.1", "a final status may come instead of 100", "then the body is not waited for",
        (req(b"POST /unread HTTP/1.1", LENGTH, EXPECT),), (401,), ends=True,
        took=(b"POST /unread",),
    ),
    Rule(
        "10.1.1", "a final status may come instead of 100", "so for what is too large",
        (req(POST, b"Content-Length: 99999999", EXPECT),), (413,), ends=True, took=(b"POST /",),
    ),
]  # fmt: skip

CONTENT = [
    Rule(
        "9.3.2", "HEAD is answered like GET, without content", "streams too",
        (req(b"HEAD /ab HTTP/1.1") + LAST, req(b"HEAD /ab HTTP/1.1", b"X: y") + LAST), (200, 200),
        has=(b"content-length: 3\r\n",), lacks=(b"/ab",),
    ),
    Rule(
        "9.3.2", "HEAD is answered like GET, without content", "streams too",
        (req(b"HEAD /stream HTTP/1.1") + LAST,), (200, 200),
        has=(b"transfer-encoding: chunked\r\n",), lacks=(b"data: ",),
    ),
    Rule(
        "8.6", "a 204 has no length", "and no content",
        (req(b"GET /nothing HTTP/1.1"), req(b"POST /nothing HTTP/1.1", LENGTH, body=b"hi")),
        (204,), lacks=(b"content-length",),
    ),
    Rule(
        "8.4", "a content coding that is not acceptable may be a 415, which says what is",
        "none is",
        tuple(req(POST, LENGTH, b"Content-Encoding: " + one, body=b"hi") for one in (b"gzip",
        b"br", b"x", b"identity, gzip")), (415,), has=(b"accept-encoding: identity\r\n",),
    ),
    Rule(
        "8.4", "a content coding that is not acceptable may be a 415, which says what is",
        "and is not waited for",
        (req(POST, LENGTH, EXPECT, b"Content-Encoding: gzip"),), (415,), ends=True,
    ),
    taken(
        "8.4", "identity is no coding", "taken",
        req(POST, LENGTH, b"Content-Encoding: Identity", body=b"hi"), took=b"POST / hi",
    ),
    taken(
        "8.3", "a media type may be guessed from the content", "a body is what it is read as",
        req(POST, LENGTH, b"Content-Type: text/plain", body=b"hi"),
        req(POST, LENGTH, b"Content-Type: x", body=b"hi"), took=b"POST / hi",
    ),
    taken(
        "10.1.4", "TE may be ignored, and chunked is always acceptable", "ignored",
        req(GET, b"TE: trailers, gzip;q=0.5", b"Connection: TE"), req(GET, b"TE: chunked;q=0"),
        lacks=(b"trailer", b"gzip"),
    ),
    taken(
        "14.2", "Range may be ignored, by others than GET it must be", "ignored",
        req(GET, b"Range: bytes=0-0"), req(GET, b"Range: lines=1-2"),
        req(GET, b"Range: bytes=9-", b'If-Range: "x"'), lacks=(b"content-range", b"accept-ranges"),
    ),
    taken(
        "14.2", "Range may be ignored, by others than GET it must be", "ignored",
        req(POST, LENGTH, b"Range: bytes=0-0", body=b"hi"), took=b"POST / hi",
    ),
]  # fmt: skip

CONDITIONS = [
    Rule(
        "13.1.1", "If-Match fails where no entity tag matches", "none does: 412",
        (req(GET, b'If-Match: "x"'), req(GET, b'If-Match: "x", "y"'), req(GET, b"If-Match:"),
        req(GET, b"If-None-Match: *", b'If-Match: "x"')), (412,),
    ),
    taken(
        "13.1.1", "If-Match: * holds where something is there", "so it does",
        req(GET, b"If-Match: *"),
    ),
    Rule(
        "13.1.2", "If-None-Match: * fails where something is there", "304 to GET and HEAD",
        (req(GET, b"If-None-Match: *"), req(b"HEAD / HTTP/1.1", b"If-None-Match: *")), (304,),
        lacks=(b"content-",),
    ),
    taken(
        "13.1.2", "If-None-Match holds where no entity tag matches", "none does",
        req(GET, b'If-None-Match: "x"'), req(GET, b'If-None-Match: W/"x", "y"'),
    ),
    taken(
        "13.1.3", "dates are ignored where there is none to compare with", "ignored",
        req(GET, b"If-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT"),
        req(GET, b"If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"),
        req(GET, b"If-Modified-Since: x"),
    ),
    Rule(
        "13.2.1", "conditions are ignored where the answer is no 2xx anyway", "ignored",
        (req(b"GET /unread HTTP/1.1", b"If-None-Match: *"),
        req(b"GET /unread HTTP/1.1", b'If-Match: "x"')), (401,),
    ),
    taken(
        "13.2.1", "and by methods that neither read nor change what the target names",
        "a POST of ours is one",
        req(POST, LENGTH, b'If-Match: "x"', body=b"hi"), took=b"POST / hi",
    ),
]  # fmt: skip

CONNECTIONS = [
    taken(
        "7.8", "Upgrade may be ignored", "ignored",
        req(GET, b"Connection: Upgrade", b"Upgrade: websocket"),
        req(GET, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABk"), lacks=(b"upgrade", b" 101 "),
    ),
    taken(
        "7.8", "in HTTP/1.0 it must be", "ignored",
        req(b"GET / HTTP/1.0", b"Connection: Upgrade", b"Upgrade: h2c"), ends=True,
        lacks=(b"upgrade", b" 101 "),
    ),
    taken(
        "7.6.1", "fields that Connection names are about this connection", "nothing comes of them",
        req(GET, b"Connection: Host, X, Content-Length", b"X: y", b"Content-Length: 0"),
    ),
    taken(
        "6.5", "trailers never become header fields", "dropped",
        req(POST, CHUNKED, b"Trailer: Expect",
        body=b"2\r\nhi\r\n0\r\nExpect: x\r\nConnection: close\r\n\r\n"), took=b"POST / hi",
    ),
]  # fmt: skip

RULES = [*FIELDS, *EXPECTATIONS, *CONTENT, *CONDITIONS, *CONNECTIONS]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("rule", "send"), cases(RULES))
def test_rfc_9110(rule: Rule, send: Send, engine: str) -> None:
    hold(rule, send, engine)


ABSOLUTE = taken("7.2", "the authority of an absolute target replaces Host", "so it does",
req(b"GET http://b:80/ HTTP/1.1"))  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_the_authority_replaces_host(engine: str) -> None:
    handler = hold(ABSOLUTE, ABSOLUTE.sends[0], engine)
    assert [field for field in handler.exchanges[0].head.headers if field[0] == b"host"] == [
        (b"host", b"b:80")
    ]
