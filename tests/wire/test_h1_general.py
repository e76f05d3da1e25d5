"""h11 behind the scan: it agrees, or the request is refused."""

import pytest

from kproxy.wire.events import ProtocolError, RequestHead
from kproxy.wire.h1_general import GeneralBody
from kproxy.wire.limits import H1Limits
from kproxy.wire.scan import scan_head

LIMITS = H1Limits()
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def general(wire: bytes) -> GeneralBody:
    return GeneralBody(wire, scan_head(wire, LIMITS)[0], LIMITS)


def test_a_chunked_body_with_everything_that_h11_is_not_shown():
    body = general(CHUNKED)
    assert body.feed(b"5 ;x\r\nhel") == b"hel"
    assert not body.complete
    assert body.feed(b"lo\r\n0;y\r\nX: 1\r\n\r\nGET") == b"lo"
    assert body.complete
    assert body.excess == b"GET"
    assert body.feed(b" /") == b""
    assert body.excess == b"GET /"
    assert not body.verbatim
    body.eof()


def test_a_length():
    body = general(b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n")
    assert body.feed(b"hel") == b"hel"
    with pytest.raises(ProtocolError):
        body.eof()
    assert body.feed(b"loX") == b"lo"
    assert (body.complete, body.excess) == (True, b"X")


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_no_body(wire):
    body = general(wire)
    assert body.complete
    assert body.feed(b"") == b""


def test_framing_that_we_refuse_is_refused():
    for wire in (b"5\nhello", b"5 \r\nhello", b"5\r\nhello\n", b"0\r\nX: y\n\r\n"):
        with pytest.raises(ProtocolError):
            general(CHUNKED).feed(wire)


@pytest.mark.parametrize(
    "other",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_two_readings_of_a_head_are_refused(other):
    head = RequestHead(b"POST", b"/", [(b"host", b"a"), (b"content-length", b"5")], 5, True, False)
    with pytest.raises(ProtocolError, match="two ways"):
        GeneralBody(other, head, LIMITS)


def test_two_readings_of_a_body_are_refused():
    """Heads that look alike, lengths that were understood in two ways."""
    wire = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    head = scan_head(wire, LIMITS)[0]
    for length, payload in ((3, b"abc"), (8, b"abcdefgh")):
        head.content_length = length
        with pytest.raises(ProtocolError, match="two ways"):
            GeneralBody(wire, head, LIMITS).feed(payload)


def test_what_h11_refuses_is_refused():
    head = RequestHead(b"GET", b"/", [(b"host", b"a")], 0, True, False)
    for wire in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", b"\x00\r\n\r\n"):
        with pytest.raises(ProtocolError) as caught:
            GeneralBody(wire, head, LIMITS)
        assert caught.value.status == 400


def test_the_state_shows():
    assert repr(general(CHUNKED)) == "<GeneralBody <ChunkedBody size>>"
