"""RFC 9112 (HTTP/1.1), requirement by requirement, as far as they bind a server: by both engines.

Left out is what binds clients and proxies alone. Of what a server may repair, kproxy repairs
nothing: whoever stands before it may have repaired it in another way (section 11.2).
"""

import pytest

from kproxy.wire.h1 import ENGINES
from tests.fakes.rules import Rule, Send, bare, cases, hold, refused, req, taken

POST = b"POST / HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 2"
LAST = req(b"GET /last HTTP/1.1")
BODY = b"2\r\nhi\r\n0\r\n\r\n"


def chunks(body: bytes, *fields: bytes) -> bytes:
    return req(POST, CHUNKED, *fields, body=body)


MESSAGES = [
    refused(
        "2.2", "a message is octets; a request line that is none is a 400", "refused at once",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", req("GÉT / HTTP/1.1".encode()),
        req(b"\xef\xbb\xbfGET / HTTP/1.1"),
    ),
    taken("2.2", "one empty line before a request is ignored", "one, not more", b"\r\n" + req()),
    refused(
        "2.2", "one empty line before a request is ignored", "a second is refused",
        b"\r\n\r\n" + req(),
    ),
    refused(
        "2.2", "a line may be ended by LF alone", "it is not: 400",
        req().replace(b"\r\n", b"\n"), req().replace(b"1.1\r\n", b"1.1\n"), req()[:-4] + b"\n\n",
        req()[:-4] + b"\r\n\n",
    ),
    refused(
        "2.2", "a bare CR is invalid, or becomes a space", "400",
        req(b"GET\r/ HTTP/1.1"), req(b"GET / HTTP/1.1\r"), req(b"GET / HTTP/1.1", b"X: a\rb"),
        req(b"GET / HTTP/1.1", b"X: \r"), req(b"GET / HTTP/1.1", b"X\r: a"),
    ),
    refused(
        "2.2", "white space before the first field is a reason to refuse", "400",
        req().replace(b"Host", b" Host"), req().replace(b"Host", b"\tHost"),
        req().replace(b"Host", b" \r\nHost"),
    ),
    refused(
        "2.3", "HTTP-version is case-sensitive, a digit, a dot and a digit", "400",
        *(req(b"GET / " + one) for one in (b"http/1.1", b"HTTP/1", b"HTTP/1.10", b"HTTP/01.1",
        b"HTTP 1.1", b"HTTP/1,1", b"HTTPS/1.1", b"HTTP/1.1x", b"HTTP/\xb9.1", b"")),
    ),
    refused(
        "2.3", "a server may refuse a major version with 505",
        "and a minor one that does not exist",
        req(b"GET / HTTP/2.0"), req(b"GET / HTTP/3.0"), req(b"GET / HTTP/0.9"),
        req(b"GET / HTTP/1.2"), req(b"PRI * HTTP/2.0"), status=505,
    ),
    taken(
        "2.3", "an HTTP/1.0 request is served, by an answer of our own version",
        "without chunks, and ended",
        bare(b"GET / HTTP/1.0"), req(b"GET / HTTP/1.0"), ends=True, has=(b"HTTP/1.1 200 OK\r\n",),
    ),
]  # fmt: skip

REQUEST_LINES = [
    refused(
        "3", "one space between its parts; white space elsewhere may be a reason to refuse", "400",
        *(req(one) for one in (b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 ", b"GET\t/ HTTP/1.1", b"GET\x0b/\x0cHTTP/1.1", b"GET /", b"GET")),
    ),
    refused(
        "3", "a target over the limit is a 414", "8 KiB",
        req(b"GET /" + b"a" * 8200 + b" HTTP/1.1"), b"GET /" + b"a" * 8200, status=414,
    ),
    refused(
        "3.1", "a method is a token", "400",
        *(req(one + b" / HTTP/1.1") for one in (b"G(T", b"G,T", b"G@T", b"G\x00T", b"G\x7fT",
        b"G\xe9T", b'"GET"', b"")),
    ),
    taken(
        "3.1", "methods are case-sensitive", "get is not GET, and reaches no GET",
        req(b"get / HTTP/1.1"), took=b"get /",
    ),
    refused(
        "3.2", "a request of HTTP/1.1 without Host is a 400", "400",
        bare(b"GET / HTTP/1.1"), bare(b"GET http://a/ HTTP/1.1"), bare(b"OPTIONS * HTTP/1.1"),
    ),
    refused(
        "3.2", "so is one with two", "400, also where they agree",
        bare(b"GET / HTTP/1.1", b"Host: a", b"Host: a"),
        bare(b"GET / HTTP/1.1", b"Host: a", b"hOsT: b"),
        bare(b"GET / HTTP/1.0", b"Host: a", b"Host: b"),
        bare(b"GET / HTTP/1.1", b"Host: a", b"X: y", b"Host:"),
    ),
    refused(
        "3.2", "so is one that is no host", "uri-host and port by the letter of RFC 3986",
        *(bare(b"GET / HTTP/1.1", b"Host: " + one) for one in (b"", b" ", b"a b", b"a, b",
        b"a,b c", b"a/b", b"a?b", b"a#b", b"a@b", b"user:pw@a", b"a\\b", b'"a"', b"<a>", b"a|b",
        b"{a}", b"a^b", b"a`b", b"a%", b"a%4", b"a%zz", b":80", b"a:b", b"a:80:90", b"a:-1",
        b"a:+1", b"a:65536", b"a:999999", b"a\xe9", b"http://a", b"[", b"[]", b"[::1", b"::1",
        b"[::1]x", b"[::1]:x", b"[:::1]", b"[1.2.3.4]", b"[12345::]", b"[fe80::1%25eth0]",
        b"[v1.a]")),
    ),
    taken(
        "3.2", "a valid Host is taken", "names, addresses, ports",
        *(bare(b"GET / HTTP/1.1", b"Host: " + one) for one in (b"a", b"A.example", b"a.", b"a_b",
        b"a:", b"a:0", b"a:80", b"a:65535", b"127.0.0.1", b"[::1]", b"[::1]:8080",
        b"[2001:DB8::1]", b"[::ffff:1.2.3.4]", b"%41")),
    ),
    taken(
        "3.2.1", "origin form", "path and query",
        req(b"GET /a/b;c=d?e=f&g=?/ HTTP/1.1"), took=b"GET /a/b;c=d?e=f&g=?/",
    ),
    refused(
        "3.2", "an invalid target is a 400, and never corrected", "each byte by RFC 3986",
        *(req(b"GET " + one + b" HTTP/1.1") for one in (b"a", b"/a b", b"/#", b"/a#b", b"/\x00",
        b"/\x7f", b"/\xc3\xa4", b'/"', b"/<", b"/>", b"/[", b"/]", b"/\\", b"/^", b"/`", b"/{",
        b"/|", b"/}", b"/%", b"/%4", b"/%zz", b"/?%", b"/?a[]=b", b"?a", b"//a b")),
    ),
    taken(
        "3.2.2", "absolute form must be taken", "and becomes origin form",
        req(b"GET http://b/c?d HTTP/1.1"), req(b"GET HTTP://b:80/c?d HTTP/1.1"),
        req(b"GET https://[::1]/c?d HTTP/1.1"), took=b"GET /c?d",
    ),
    refused(
        "3.2.2", "its authority is one, without user", "400",
        *(req(b"GET " + one + b" HTTP/1.1") for one in (b"http://", b"http:///a", b"http://:80/",
        b"http://u@b/", b"http://u:p@b/", b"http://b:x/", b"http://b/#c", b"http://b/{",
        b"http:/b", b"http:b", b"ftp://b/", b"b/c", b"http://b b/")),
    ),
    refused(
        "3.2.2", "Host must be valid beside it all the same", "400",
        bare(b"GET http://b/ HTTP/1.1", b"Host: a b"),
        bare(b"GET http://b/ HTTP/1.1", b"Host: b", b"Host: b"),
    ),
    refused(
        "3.2.3", "authority form is for CONNECT alone", "400",
        req(b"GET a:80 HTTP/1.1"), req(b"OPTIONS a:80 HTTP/1.1"),
    ),
    refused(
        "3.2.3", "CONNECT is answered by who tunnels", "kproxy does not, whatever the target: 501",
        req(b"CONNECT a:80 HTTP/1.1"), req(b"CONNECT a HTTP/1.1"), req(b"CONNECT / HTTP/1.1"),
        req(b"CONNECT a:0 HTTP/1.1"), req(b"CONNECT http://a/ HTTP/1.1"), status=501,
    ),
    taken(
        "3.2.4", "asterisk form is for OPTIONS", "taken",
        req(b"OPTIONS * HTTP/1.1"), req(b"OPTIONS http://b HTTP/1.1"), took=b"OPTIONS *",
    ),
    refused(
        "3.2.4", "and for nothing else", "400",
        req(b"GET * HTTP/1.1"), req(b"POST * HTTP/1.1"), req(b"OPTIONS ** HTTP/1.1"),
        req(b"OPTIONS *?a HTTP/1.1"),
    ),
]  # fmt: skip

FIELDS = [
    refused(
        "5.1", "white space before the colon must be refused with 400", "400",
        req(b"GET / HTTP/1.1", b"X : a"), req(b"GET / HTTP/1.1", b"X\t: a"),
        req(POST, b"Content-Length : 2", body=b"hi"),
        req(POST, b"Transfer-Encoding : chunked", body=BODY),
    ),
    taken(
        "5.1", "white space around a value is no part of it", "cut off",
        req(POST, b"Content-Length: \t 2 \t", body=b"hi"),
        req(POST, b"Content-Length:2", body=b"hi"), took=b"POST / hi",
    ),
    refused(
        "5.1", "a field's name is a token", "400",
        *(req(b"GET / HTTP/1.1", one) for one in (b"X", b": a", b"X y: a", b"X\x00: a",
        b"X\xe9: a", b"X(: a", b"X/: a", b'"X": a', b"X,: a", b"GET / HTTP/1.1")),
    ),
    refused(
        "5.2", "a folded line must be refused, or unfolded", "400",
        req(b"GET / HTTP/1.1", b"X: a", b" b"), req(b"GET / HTTP/1.1", b"X: a", b"\tb"),
        req(b"GET / HTTP/1.1", b"X: a", b" "), req(POST, b"X: a", b" Content-Length: 2",
        body=b"hi"),
    ),
]  # fmt: skip

BODIES = [
    taken(
        "6", "a body is there where Content-Length or Transfer-Encoding is", "by any method",
        req(b"GET / HTTP/1.1", LENGTH, body=b"hi"), took=b"GET / hi",
    ),
    taken(
        "6.3", "without both it is empty", "nothing is waited for",
        req(POST), bare(POST, b"Host: a", b"Content-Length: 0"), took=b"POST /",
    ),
    refused(
        "6.1", "Content-Length beside Transfer-Encoding may be refused",
        "400, in any order and of any value",
        req(POST, LENGTH, CHUNKED, body=BODY), req(POST, CHUNKED, LENGTH, body=BODY),
        req(POST, CHUNKED, b"Content-Length: 12", body=BODY),
        req(POST, CHUNKED, b"Content-Length:", body=BODY),
    ),
    refused(
        "6.1", "Transfer-Encoding in HTTP/1.0 is faulty framing", "400",
        req(b"POST / HTTP/1.0", CHUNKED, body=BODY),
        req(b"POST / HTTP/1.0", CHUNKED, b"Connection: keep-alive", body=BODY),
    ),
    refused(
        "6.1", "chunked is applied once", "400",
        req(POST, b"Transfer-Encoding: chunked, chunked", body=BODY),
        req(POST, CHUNKED, CHUNKED, body=BODY),
    ),
    refused(
        "6.1", "a coding that is not understood is a 501", "all but chunked",
        req(POST, b"Transfer-Encoding: gzip, chunked", body=BODY),
        req(POST, b"Transfer-Encoding: identity", CHUNKED, body=BODY),
        req(POST, b"Transfer-Encoding: x, chunked", body=BODY), status=501,
    ),
    refused(
        "6.1", "empty members of a list count for nothing (RFC 9110 5.6.1.2)",
        "but here, where readers differ, they are refused",
        req(POST, b"Transfer-Encoding: , chunked", body=BODY), status=501,
    ),
    refused(
        "6.3", "a request whose last coding is not chunked is a 400, and ends", "400",
        *(req(POST, b"Transfer-Encoding: " + one, body=BODY) for one in (b"gzip", b"chunked, gzip",
        b"identity", b"", b"chunked;q=1", b'"chunked"', b"chunke", b"xchunked", b"chunked,",
        b"chunked, identity", b"\xc2\xa0chunked")),
        req(POST, CHUNKED, b"Transfer-Encoding: gzip", body=BODY),
    ),
    taken(
        "7", "names of codings are case-insensitive", "taken",
        req(POST, b"Transfer-Encoding: ChUnKeD", body=BODY), took=b"POST / hi",
    ),
    refused(
        "6.3", "an invalid Content-Length is a 400, and ends", "1 to 18 digits, once",
        *(req(POST, b"Content-Length: " + one, body=b"hi") for one in (b"", b"+2", b"-2", b"2.0",
        b"0x2", b"2e0", b"2_0", b"2 2", b"a", b"2;", b"2,2", b"2, 2", b"2, 3", b",2", b'"2"',
        b"\xb2", b"\xd9\xa2", b"9" * 19, b"1" * 400, b"18446744073709551618")),
        req(POST, LENGTH, LENGTH, body=b"hi"), req(POST, LENGTH, b"content-length: 3",
        body=b"hi!"), req(POST, LENGTH, b"Content-Length:", body=b"hi"),
    ),
    taken(
        "6.2", "a Content-Length is decimal digits", "leading zeros too",
        req(POST, b"Content-Length: 002", body=b"hi"), took=b"POST / hi",
    ),
    taken(
        "7.1", "chunks must be understood, sizes in both cases and with zeros", "up to 16 digits",
        chunks(BODY), chunks(b"1\r\nh\r\n001\r\ni\r\n000\r\n\r\n"),
        chunks(b"0000000000000002\r\nhi\r\n0\r\n\r\n"), took=b"POST / hi",
    ),
    Rule(
        "7.1", "sizes that overflow a number must be anticipated",
        "more digits than a size has, or no digits: 400",
        tuple(chunks(one + b"\r\nhi\r\n0\r\n\r\n") for one in (b"00000000000000002",
        b"fffffffffffffffff", b"1" + b"0" * 64, b"-2", b"+2", b"0x2", b" 2", b"2 ", b"2\t", b"",
        b"g", b"2h", b"\xb2", b"2_0", b"2,2")), (400,), ends=True,
    ),
    Rule(
        "6.3", "a length that no body may have", "413, before it came",
        (req(POST, b"Content-Length: " + b"9" * 18),), (413,), ends=True,
    ),
    Rule(
        "7.1", "a chunk ends with CRLF where its size says", "400 where not",
        tuple(chunks(one) for one in (b"2\r\nhiX\r\n0\r\n\r\n", b"1\r\nhi\r\n0\r\n\r\n",
        b"2\r\nhi\n0\r\n\r\n", b"2\r\nhi0\r\n\r\n", b"2\nhi\r\n0\r\n\r\n", b"2\rhi\r\n0\r\n\r\n",
        b"2\r\nhi\r\n0\r\n\n")), (400,), ends=True,
    ),
    taken(
        "7.1.1", "extensions that are unknown must be ignored, white space in them too",
        "checked, counted, dropped",
        chunks(b'2;a\r\nhi\r\n0;b=c\r\n\r\n'), chunks(b'2 ; a = "b;\\"c" \t;d\r\nhi\r\n0\r\n\r\n'),
        took=b"POST / hi",
    ),
    Rule(
        "7.1.1", "their length may be limited, and they have a grammar", "400 beyond either",
        tuple(chunks(one + b"\r\nhi\r\n0\r\n\r\n") for one in (b"2;", b"2;;a", b"2;a=", b"2;a b",
        b'2;a="b', b"2;a\x00", b"2;a\nb", b"2;" + b"a" * 300)), (400,), ends=True,
    ),
    taken(
        "7.1.2", "trailers may be dropped, and never change the framing", "checked, dropped",
        chunks(b"2\r\nhi\r\n0\r\nContent-Length: 9\r\nHost: b\r\nX:\r\n\r\n"), took=b"POST / hi",
    ),
    Rule(
        "7.1.2", "trailers are field lines", "400 where not",
        tuple(chunks(b"2\r\nhi\r\n0\r\n" + one + b"\r\n\r\n") for one in (b"X", b"X : a", b" X: a",
        b"X: a\r\n b", b"X: \x00", b": a")), (400,), ends=True,
    ),
]  # fmt: skip

CONNECTIONS = [
    Rule(
        "9.2", "answers come in the order of requests", "one after the other",
        (req(b"GET /stream HTTP/1.1") + req(b"HEAD /2 HTTP/1.1") + LAST,), (200, 200, 200),
        took=(b"GET /stream", b"HEAD /2", b"GET /last"),
    ),
    Rule(
        "9.3", "a body is read to its end, or the connection ended",
        "what is here already is skipped",
        (req(b"POST /unread HTTP/1.1", LENGTH, body=b"hi") + LAST,
        req(b"POST /unread HTTP/1.1", CHUNKED, body=BODY) + LAST), (401, 200),
        took=(b"POST /unread", b"GET /last"),
    ),
    Rule(
        "9.3", "a body is read to its end, or the connection ended",
        "what is not here is not waited for",
        (req(b"POST /unread HTTP/1.1", b"Content-Length: 200",
        body=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),), (401,), ends=True, took=(b"POST /unread",),
    ),
    Rule(
        "9.3", "HTTP/1.1 persists unless it says close", "any Connection but close",
        (req(b"GET / HTTP/1.1", b"Connection: x") + LAST,
        req(b"GET / HTTP/1.1", b"Connection:") + LAST), (200, 200),
    ),
    Rule(
        "9.3", "HTTP/1.0 persists where it says keep-alive", "told so",
        (req(b"GET / HTTP/1.0", b"Connection: Keep-Alive") + LAST,), (200, 200),
        has=(b"connection: keep-alive\r\n",),
    ),
    Rule(
        "9.6",
        "close ends the connection, is answered with close, and nothing behind it is carried out",
        "so it is",
        tuple(req(b"GET / HTTP/1.1", *one) + LAST for one in ( (b"Connection: close",),
        (b"connection: CLOSE",), (b"Connection: x, close",), (b"Connection: close, keep-alive",),
        (b"Connection: ,close,",), (b"Connection: x", b"Connection: close"))), ends=True,
        took=(b"GET /",),
    ),
    Rule(
        "9.6", "an error ends what cannot be trusted any more", "nothing behind it is read",
        (req(b"G(T / HTTP/1.1") + LAST, req(POST, b"Content-Length: x") + LAST), (400,), ends=True,
        took=(),
    ),
    Rule(
        "6.1", "no chunks to HTTP/1.0", "a stream ends with its connection",
        (req(b"GET /stream HTTP/1.0", b"Connection: keep-alive"), bare(b"GET /stream HTTP/1.0")),
        ends=True, lacks=(b"transfer-encoding", b"content-length"),
    ),
    refused(
        "8", "a head that does not end is incomplete", "408 after its time",
        b"GET / HTTP/1.1\r\nHost: a\r\n", b"G", req()[:-1], req()[:-3], status=408,
    ),
    Rule(
        "8", "so is a body that does not", "408, and not a byte of it is used",
        (req(POST, b"Content-Length: 3", body=b"hi"), chunks(b"2\r\nhi\r\n"), chunks(b"2\r\nhi"),
        chunks(b"2\r\nhi\r\n0\r\n"), chunks(b"2"), chunks(b"2\r\nhi\r\n0\r\nX: y\r\n")), (408,),
        ends=True, took=(b"POST /",),
    ),
    Rule(
        "6.1", "no Transfer-Encoding in a 204", "neither, nor a length",
        (req(b"GET /nothing HTTP/1.1") + LAST,), (204, 200), lacks=(b"transfer-encoding",),
    ),
]  # fmt: skip

RULES = [*MESSAGES, *REQUEST_LINES, *FIELDS, *BODIES, *CONNECTIONS]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("rule", "send"), cases(RULES))
def test_rfc_9112(rule: Rule, send: Send, engine: str) -> None:
    hold(rule, send, engine)
