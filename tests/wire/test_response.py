"""A provider's answer: which body it has, and which answers are faults."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.wire.chunked import ChunkedBody, CloseBody, LengthBody
from kproxy.wire.events import ProtocolError, ResponseHead
from kproxy.wire.limits import H1Limits
from kproxy.wire.response import ResponseReader
from tests.fakes.cuts import cut, every_cut, positions

LIMITS = H1Limits()


def answer(wire: bytes, method: bytes = b"POST") -> tuple[ResponseHead, ResponseReader]:
    reader = ResponseReader(LIMITS)
    reader.receive_data(wire)
    head = reader.next_head(method)
    assert head is not None
    return head, reader


def read(pieces: list[bytes], method: bytes = b"POST") -> tuple[ResponseHead | None, bytes, bytes]:
    """The head, the payload and the excess of an answer that arrives in pieces."""
    reader = ResponseReader(LIMITS)
    head = None
    payload = b""
    for piece in pieces:
        if reader.body is not None:
            payload += reader.body.feed(piece)
            continue
        reader.receive_data(piece)
        head = reader.next_head(method)
        if reader.body is not None:
            payload += reader.body.feed(reader.rest)
    reader.eof()
    assert reader.body is not None
    return head, payload, reader.body.excess


def feed_all(reader: ResponseReader, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        reader.receive_data(piece)
        reader.next_head(b"POST")


def refused(*pieces: bytes, limits: H1Limits = LIMITS) -> None:
    reader = ResponseReader(limits)
    with pytest.raises(ProtocolError) as caught:
        feed_all(reader, pieces)
    assert caught.value.status == 502


def test_a_head_with_a_length():
    head, reader = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: 1\r\n\r\nhel")
    assert head == ResponseHead(200, [(b"content-length", b"5"), (b"x", b"1")], 5, False, True)
    assert head.get(b"x") == b"1"
    assert isinstance(reader.body, LengthBody)
    assert reader.rest == b"hel"
    assert reader.body.feed(reader.rest) == b"hel"
    with pytest.raises(ProtocolError):
        reader.eof()
    assert reader.body.feed(b"lo") == b"lo"
    reader.eof()


def test_chunks():
    head, reader = answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n")
    assert head.chunked
    assert head.keep_alive
    assert head.content_length is None
    assert isinstance(reader.body, ChunkedBody)
    assert reader.body.feed(reader.rest) == b"a"
    with pytest.raises(ProtocolError) as caught:
        reader.body.feed(b"x")
    assert caught.value.status == 502


def test_until_the_connection_ends():
    head, reader = answer(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nabc")
    assert isinstance(reader.body, CloseBody)
    assert not head.keep_alive
    reader.eof()
    assert reader.body.complete


@pytest.mark.parametrize(
    ("method", "wire"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_no_body(method, wire):
    head, reader = answer(wire + b"HTTP/1.1 200 OK\r\n", method)
    assert head.keep_alive
    assert reader.body is not None
    assert reader.body.complete
    assert reader.body.feed(reader.rest) == b""
    assert reader.body.excess == b"HTTP/1.1 200 OK\r\n"  # the pool must not keep this connection


@pytest.mark.parametrize(
    ("wire", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.1 200\r\nConnection: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)  # fmt: skip
def test_keep_alive(wire, keeps):
    assert answer(wire)[0].keep_alive is keeps


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.1 200 \xc3\xa4 \t!", b"HTTP/1.0 200 OK"]
)
def test_status_lines(line):
    assert answer(line + b"\r\nContent-Length: 0\r\n\r\n")[0].status == 200


def test_repeated_fields_stay_in_order():
    head, _ = answer(b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX: 1\r\nset-cookie: b\r\n\r\n")
    assert head.headers == [(b"set-cookie", b"a"), (b"x", b"1"), (b"set-cookie", b"b")]
    assert head.get(b"set-cookie") == b"a"


def test_informational_heads_are_skipped():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    for pieces in every_cut(hints + final):
        head, payload, excess = read(pieces)
        assert head is not None
        assert (head.status, payload, excess) == (200, b"ok", b"")


def test_eight_informational_heads_and_one_more():
    hint = b"HTTP/1.1 102 Processing\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert answer(hint * 8 + final)[0].status == 200
    refused(hint * 9)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"HTTP/1.1", b"HTTP/1.1 20", b"HTTP/1.1 2000 OK", b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 600 OK",
        b"HTTP/1.1 2_0 OK", b"HTTP/2.0 200 OK", b"HTTP/1.2 200 OK", b"http/1.1 200 OK",
        b" HTTP/1.1 200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200 \x00", b"HTTP/1.1 200 a\rb",
        b"HTTP/1.1 101 Switching Protocols", b"ICY 200 OK", b"\xb2HTTP/1.1 200 OK",
        b"<html>", b"HTTP/1.1 20\xb2 OK",
    ],
)  # fmt: skip
def test_refused_status_lines(line):
    refused(line + b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Content-Length: 1\r\nContent-Length: 1",
        b"Content-Length: 1, 1",
        b"Content-Length: -1",
        b"Content-Length: 0x1",
        b"Content-Length: 1_0",
        b"Content-Length:",
        b"Content-Length: " + b"1" * 19,
        b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding:",
        b"Transfer-Encoding : chunked",
        b"X: a\r\n folded",
        b"X: a\nY: b",
        b"X: a\rY: b",
        b"X: a\x00",
        b"X y: a",
        b": a",
        b"X",
    ],
)
def test_refused_fields(fields):
    refused(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n")


@pytest.mark.parametrize(
    "start", [b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 100 Continue"]
)
def test_chunks_where_there_can_be_none(start):
    refused(start + b"\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_the_head_at_the_limit_and_one_past_it():
    limits = H1Limits(response_head=100, field=80)
    start, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\n\r\n"
    wire = start + b"a" * (100 - len(start) - len(end)) + end
    reader = ResponseReader(limits)
    reader.receive_data(wire)
    assert reader.next_head(b"GET") is not None
    refused(wire.replace(b"X", b"XX"), limits=limits)
    refused(*(wire.replace(b"X", b"XX")[i : i + 1] for i in range(101)), limits=limits)
    refused(b"a" * 100, limits=limits)


def test_sizes_and_number_of_fields():
    refused(b"HTTP/1.1 200 OK\r\nX: " + b"a" * (16384 - 2) + b"\r\n\r\n")
    assert answer(b"HTTP/1.1 200 OK\r\nX: " + b"a" * (16384 - 3) + b"\r\n\r\n")
    refused(b"HTTP/1.1 200 OK\r\n" + b"x: 1\r\n" * 101 + b"\r\n")
    assert answer(b"HTTP/1.1 200 OK\r\n" + b"x: 1\r\n" * 100 + b"\r\n")


def test_a_head_that_can_never_be_right_is_not_waited_for():
    refused(b"HTTP/1.1 200 OK\n")
    refused(b"\x15\x03\x01\x00\x02\x02")  # an alert of TLS


def test_the_end_inside_of_the_head():
    for end in (0, 5, 17, 20):
        reader = ResponseReader(LIMITS)
        if end:
            reader.receive_data(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n"[:end])
        assert reader.next_head(b"GET") is None
        with pytest.raises(ProtocolError) as caught:
            reader.eof()
        assert caught.value.status == 502


def test_the_state_shows():
    reader = ResponseReader(LIMITS)
    assert repr(reader) == "<ResponseReader None>"
    assert repr(answer(b"HTTP/1.1 200\r\n\r\n")[1]) == "<ResponseReader <CloseBody open>>"


bodies = st.sampled_from(
    [
        (b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"\r\nhello", b"hello"),
        (b"Content-Length: 0\r\n\r\n", b""),
    ]
)
hints = st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"])


@settings(deadline=None)
@given(hints, bodies, positions)
def test_any_cut_gives_the_same_answer(hint, body, at):
    wire, payload = body
    whole = hint + b"HTTP/1.1 200 OK\r\nServer: a\r\n" + wire
    assert read(cut(whole, at)) == read([whole])
    assert read([whole])[1] == payload
