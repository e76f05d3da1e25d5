"""Request heads that are read, heads that are refused, and what h11 makes of the same bytes."""

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kproxy.wire.events import ProtocolError, RequestHead
from kproxy.wire.limits import H1Limits
from kproxy.wire.scan import is_host, read_length, scan_head

LIMITS = H1Limits()
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def scan(head: bytes, limits: H1Limits = LIMITS) -> RequestHead:
    return scan_head(head, limits)[0]


def is_plain(head: bytes) -> bool:
    return scan_head(head, LIMITS)[1]


def status_of(head: bytes, limits: H1Limits = LIMITS) -> int:
    with pytest.raises(ProtocolError) as caught:
        scan_head(head, limits)
    assert caught.value.message
    return caught.value.status


def test_a_plain_head():
    head, plain = scan_head(
        b"POST /v1/chat?x=%20#".replace(b"#", b"y") + b" HTTP/1.1\r\nHost: a:80\r\n"
        b"X-Odd:  1\t\r\nContent-Length: 0012\r\n\r\n",
        LIMITS,
    )
    assert plain
    assert head == RequestHead(
        b"POST",
        b"/v1/chat?x=%20y",
        [(b"host", b"a:80"), (b"x-odd", b"1"), (b"content-length", b"0012")],
        content_length=12,
        keep_alive=True,
        expect_continue=False,
    )
    assert head.get(b"x-odd") == b"1"


def test_no_length_is_no_body():
    assert scan(POST + b"\r\n").content_length == 0
    assert is_plain(POST + b"\r\n")


@pytest.mark.parametrize("field", [b"Transfer-Encoding: chunked", b"Upgrade: h2c"])
def test_legal_but_not_plain(field):
    assert not is_plain(POST + field + b"\r\n\r\n")


def test_chunked_is_case_insensitive():
    head = scan(POST + b"Transfer-Encoding: Chunked\r\n\r\n")
    assert head.content_length is None


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"G\xc3T / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET /\x80 HTTP/1.1", 400),
        (b"GET a HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"OPTIONS ** HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/01.1", 400),
        (b"GET / HTTPS/1.1", 400),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/0.9", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"CONNECT a:443 HTTP/1.1", 501),
        (b"CONNECT / HTTP/1.1", 501),
        (b"GET ftp://a/ HTTP/1.1", 400),
        (b"GET http:/a HTTP/1.1", 400),
        (b"GET http:// HTTP/1.1", 400),
        (b"GET http://:80/ HTTP/1.1", 400),
        (b"GET http://user@a/ HTTP/1.1", 400),
        (b"GET http://a/#b HTTP/1.1", 400),
        (b"GET http://a/{b} HTTP/1.1", 400),
        (b"GET http://a:65536/ HTTP/1.1", 400),
        *((b"GET /a%cb HTTP/1.1" % byte, 400) for byte in b'"<>[\\]^`{|}'),
        *((b"GET /a?%cb HTTP/1.0" % byte, 400) for byte in b'"<>[\\]^`{|}#'),
        (b"GET /% HTTP/1.1", 400),
        (b"GET /%4 HTTP/1.1", 400),
        (b"GET /a?b=%zz HTTP/1.1", 400),
        (b"GET /%4g HTTP/1.0", 400),
        (b"GET //a\\b\x7f HTTP/1.1", 400),
    ],
)
def test_refused_request_lines(line, status):
    assert status_of(line + b"\r\nHost: a\r\n\r\n") == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Content-Length: 1\r\nContent-Length: 1", 400),
        (b"Content-Length: 1\r\nContent-Length: 2", 400),
        (b"Content-Length: 1, 1", 400),
        (b"Content-Length: 1\r\ncontent-length:", 400),
        (b"Content-Length:", 400),
        (b"Content-Length: +5", 400),
        (b"Content-Length: -5", 400),
        (b"Content-Length: 1_0", 400),
        (b"Content-Length: 0x10", 400),
        (b"Content-Length: 1 0", 400),
        (b"Content-Length: 5;", 400),
        (b"Content-Length: \xb2", 400),
        (b"Content-Length: \xd9\xa3", 400),
        (b"Content-Length: " + b"9" * 19, 400),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked, chunked", 400),
        (b"Transfer-Encoding: chunked, identity", 400),
        (b"Transfer-Encoding: identity", 400),
        (b"Transfer-Encoding: gzip", 400),
        (b"Transfer-Encoding: xchunked", 400),
        (b"Transfer-Encoding: chunked;q=1", 400),
        (b'Transfer-Encoding: "chunked"', 400),
        (b"Transfer-Encoding: chunk\x00ed", 400),
        (b"Transfer-Encoding: \x0bchunked", 400),
        (b"Transfer-Encoding:", 400),
        (b"Transfer-Encoding: gzip, chunked", 501),
        (b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", 501),
        (b"Transfer-Encoding: , chunked", 501),
        (b"Transfer-Encoding : chunked", 400),
        (b" Transfer-Encoding: chunked", 400),
        (b"X: y\r\n Transfer-Encoding: chunked", 400),
        (b"X: y\r\n\tz", 400),
        (b"X: y\nTransfer-Encoding: chunked", 400),
        (b"X: y\rTransfer-Encoding: chunked", 400),
        (b"X: y\r\r\nZ: 1", 400),
        (b"X: y\x00", 400),
        (b"X: y\nZ: \x00", 400),
        (b"X: \x01\rZ: 1", 400),
        (b"X\x00: y", 400),
        (b"X y: z", 400),
        (b"X", 400),
        (b": y", 400),
        (b"Expect: 200-ok", 417),
        (b"Expect: 100-continue, 200-ok", 417),
        (b"Expect: 100-continue\r\nExpect: x", 417),
        (b"Expect: 100-continue;a=b", 417),
    ],
)
def test_refused_fields(fields, status):
    assert status_of(POST + fields + b"\r\n\r\n") == status


@pytest.mark.parametrize(
    "hosts",
    [
        b"", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nhost: b\r\n", b"Host:\r\n", b"Host: \r\n",
        b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: a@b\r\n", b"Host: a, b c\r\n",
        b"Host: :80\r\n", b"Host: a:b\r\n", b"Host: a:80:90\r\n", b"Host: a:123456\r\n",
        b"Host: a\r\nHost:\r\n", b"Host: a:65536\r\n",
    ],
)  # fmt: skip
def test_a_request_names_one_valid_host(hosts):
    assert status_of(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n") == 400


@pytest.mark.parametrize(
    "host",
    [
        b"a:00080", b"a", b"api.example.com", b"a:", b"a:80", b"127.0.0.1:65535", b"[::1]",
        b"[::1]:80", b"[2001:db8::1]:", b"[::ffff:1.2.3.4]", b"a-b_c~d", b"%41%4a", b"x!$&'()*+,;=",
    ],
)  # fmt: skip
def test_hosts(host):
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"", b":", b":80", b"%", b"%4", b"%4g", b"a%zz", b"[", b"[]", b"[::1", b"::1", b"[:::1]",
        b"[1.2.3.4]", b"[::1]a", b"[::1]:8a", b"[fe80::1%25eth0]", b"[v1.x]", b"a b", b"a\x80",
        b"a?", b"a#", b'a"', b"a\\b", b"<a>", b"[12345::]", b"[::1.2.3.400]",
    ],
)  # fmt: skip
def test_no_hosts(host):
    assert not is_host(host)


def test_a_length_is_1_to_18_digits():
    assert read_length(b"0") == 0
    assert read_length(b"9" * 18) == 10**18 - 1
    for value in (b"", b"9" * 19, b" 1", b"1 ", b"0b1", b"1e3"):
        with pytest.raises(ProtocolError):
            read_length(value)


@pytest.mark.parametrize(
    ("line", "target", "host"),
    [
        (b"GET http://b/x?y HTTP/1.1", b"/x?y", b"b"),
        (b"GET HTTPS://b:8443 HTTP/1.1", b"/", b"b:8443"),
        (b"GET http://[::1]?y HTTP/1.1", b"/?y", b"[::1]"),
        (b"OPTIONS http://b HTTP/1.1", b"*", b"b"),
        (b"OPTIONS http://b/ HTTP/1.1", b"/", b"b"),
        (b"OPTIONS * HTTP/1.1", b"*", b"a"),
    ],
)
def test_other_forms_of_target(line, target, host):
    head, plain = scan_head(line + b"\r\nX: 1\r\nHost: a\r\n\r\n", LIMITS)
    assert not plain
    assert head.target == target
    assert head.get(b"host") == host
    assert sorted(head.headers) == [(b"host", host), (b"x", b"1")]


def test_an_absolute_target_does_not_replace_a_bad_host():
    assert status_of(b"GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n") == 400
    assert status_of(b"GET http://b/ HTTP/1.1\r\n\r\n") == 400


def test_http_10():
    head, plain = scan_head(b"GET / HTTP/1.0\r\nExpect: anything\r\n\r\n", LIMITS)
    assert (head.http_10, head.keep_alive, head.expect_continue, plain) == (
        True,
        False,
        False,
        False,
    )
    assert scan(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive
    assert status_of(b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n") == 400
    assert status_of(b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") == 400


def test_expectations():
    head, plain = scan_head(POST + b"Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n", LIMITS)
    assert head.expect_continue
    assert not plain
    assert not scan(POST + b"Expect: 100-continue\r\n\r\n").expect_continue  # nothing will come
    for line in (b"Expect: 100-continue, 100-continue", b"Expect: , 100-CONTINUE,"):
        assert scan(POST + b"Content-Length: 5\r\n" + line + b"\r\n\r\n").expect_continue
    assert not scan(POST + b"Content-Length: 5\r\nExpect:\r\n\r\n").expect_continue


def test_every_port_that_there_is_and_no_other():
    for host in (b"a", b"[::1]"):
        assert all(is_host(b"%b:%d" % (host, port)) for port in range(65_536))
        assert not any(is_host(b"%b:%d" % (host, port)) for port in range(65_536, 100_000))


def test_what_a_target_consists_of():
    everything = b"/-._~!$&'()*+,;=:@/%c3%A4?/?" + b"".join(b"%c" % n for n in b"azAZ09")
    assert scan(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % everything).target == everything


def test_keep_alive_is_read_from_every_connection_field():
    assert scan(POST + b"\r\n").keep_alive
    assert not scan(POST + b"Connection: te\r\nX: 1\r\nConnection: close\r\n\r\n").keep_alive


def test_the_request_line_at_the_limit_and_one_past_it():
    limits = H1Limits(request_line=40)
    line = b"GET /" + b"a" * 26 + b" HTTP/1.1"
    assert len(line) == 40
    rest = b"\r\nHost: a\r\n\r\n"
    assert scan(line + rest, limits).method == b"GET"
    assert status_of(b"X" + line + rest, limits) == 414


def test_the_default_sizes_at_the_limit_and_one_past_it():
    start = b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert scan(start + b"X: " + b"a" * (16384 - 3) + b"\r\n\r\n")
    assert status_of(start + b"X: " + b"a" * (16384 - 2) + b"\r\n\r\n") == 431
    first = b"X: " + b"a" * (16384 - 3) + b"\r\n"
    left = 32768 - len(b"Host: a\r\n") - len(first)
    assert scan(start + first + b"Y: " + b"a" * (left - 5) + b"\r\n\r\n")
    assert status_of(start + first + b"Y: " + b"a" * (left - 4) + b"\r\n\r\n") == 431


def test_the_number_of_fields_at_the_limit_and_one_past_it():
    fields = b"".join(b"x%d: 1\r\n" % number for number in range(99))
    assert len(scan(POST + fields + b"\r\n").headers) == 100
    assert status_of(POST + fields + b"y: 1\r\n\r\n") == 431


names = st.sampled_from(
    [
        b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect",
        b"Upgrade", b"X", b"X ", b" X", b"Te", b"X\x00",
    ],
)  # fmt: skip
values = st.one_of(
    st.sampled_from(
        [
            b"a", b"5", b"chunked", b"close", b"keep-alive", b"100-continue", b"h2c", b"", b"5, 5",
            b"[::1]", b"gzip, chunked", b"a b",
        ]
    ),
    st.binary(max_size=6),
)  # fmt: skip
separators = st.sampled_from([b": ", b":", b":\t", b" :", b""])
ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "])
methods = st.sampled_from([b"GET", b"POST", b"OPTIONS", b"CONNECT", b"x", b"", b"G T"])
targets = st.one_of(
    st.sampled_from([b"/", b"/a?b", b"*", b"http://b/c", b"HTTPS://b?x", b"b:80", b"/#", b""]),
    st.binary(max_size=4).map(lambda tail: b"/" + tail),
)
versions = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.", b""])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads that are often valid, and wrong in one place or two when they are not."""
    line = draw(methods) + b" " + draw(targets) + b" " + draw(versions) + draw(ends)
    fields = b"Host: a\r\n" if draw(st.integers(0, 4)) else b""
    for _ in range(draw(st.integers(0, 4))):
        fields += draw(names) + draw(separators) + draw(values) + draw(ends)
    return line + fields + b"\r\n"


def read_by_h11(head: bytes) -> object:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
    connection.receive_data(head)
    return connection.next_event()


MUTABLE = (
    b"POST /v1/x?y HTTP/1.1\r\nHost: a:80\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nhost: [::1]\r\nExpect: 100-continue\r\n\r\n",
)


@st.composite
def mutated_heads(draw: st.DrawFn) -> bytes:
    """A valid head with a byte or two put in, taken out or exchanged."""
    wire = draw(st.sampled_from(MUTABLE))
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(wire) - 5))
        new = draw(st.one_of(st.binary(max_size=2), st.sampled_from([b"\r", b"\n", b"\r\n", b","])))
        wire = wire[:place] + new + wire[place + draw(st.integers(0, 1)) :]
    return wire


@settings(max_examples=800, deadline=None)
@given(st.one_of(heads(), mutated_heads()))
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xa0\r\n\r\n")
@example(b"OPTIONS http://b HTTP/1.0\r\n\r\n")
def test_what_the_scan_accepts_h11_accepts_as_the_same(wire):
    if not wire.endswith(b"\r\n\r\n") or wire.index(b"\r\n\r\n") != len(wire) - 4:
        return
    try:
        head, plain = scan_head(wire, LIMITS)
    except ProtocolError:
        return
    event = read_by_h11(wire)
    assert isinstance(event, h11.Request)
    assert event.method == head.method
    assert (event.http_version == b"1.0") == head.http_10
    fields = [(k, v.lower() if k == b"transfer-encoding" else v) for k, v in head.headers]
    if plain or event.target.startswith((b"/", b"*")):
        assert event.target == head.target
        assert list(event.headers) == fields
