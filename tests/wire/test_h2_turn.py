"""Requests of HTTP/1.1 as fields, and answers of HTTP/2 as heads."""

import pytest

from kproxy.wire.chunked import ChunkedBody, LengthBody
from kproxy.wire.h2_head import Malformed
from kproxy.wire.h2_turn import read_reply, to_fields, to_head
from kproxy.wire.limits import H1Limits
from kproxy.wire.response import ResponseReader

LIMITS = H1Limits()


def test_a_request() -> None:
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: there:8443\r\nauthorization: Bearer k\r\n"
        b"content-length: 9\r\n\r\n{}\r\n\r\n{}x"
    )
    fields, body = to_fields(request)
    assert fields == [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"there:8443"),
        (b":path", b"/v1/chat/completions"),
        (b"authorization", b"Bearer k"),
        (b"content-length", b"9"),
    ]
    assert body == b"{}\r\n\r\n{}x"


def test_no_name_of_ours_is_in_upper_case_or_about_a_connection() -> None:
    fields, _ = to_fields(b"GET /x HTTP/1.1\r\nHost: there\r\nX-Api-Key: K\r\n\r\n")
    assert fields[4:] == [(b"x-api-key", b"K")]


@pytest.mark.parametrize(
    ("status", "length", "ended"),
    [
        (200, b"5", False),
        (200, None, True),
        (204, None, True),
        (304, b"9", True),
        (500, b"0", True),
    ],
)
def test_the_head_of_an_answer_over_http_1(status: int, length: bytes | None, ended: bool) -> None:
    given = [] if length is None else [(b"content-length", length)]
    fields = [(b":status", b"%d" % status), (b"x", b"y"), *given]
    reply = read_reply(fields, LIMITS, ended=ended)
    reader = ResponseReader(LIMITS)
    reader.receive_data(to_head(reply.status, reply.headers))
    head = reader.next_head(b"POST")
    assert head is not None
    assert (head.status, head.get(b"x"), head.content_length) == (status, b"y", None)
    assert isinstance(reader.body, LengthBody if status in (204, 304) else ChunkedBody)


@pytest.mark.parametrize(
    ("status", "length", "known"),
    [(b"200", b"12", 12), (b"200", None, None), (b"204", None, 0), (b"304", b"12", 0)],
)
def test_how_long_its_body_is(status: bytes, length: bytes | None, known: int | None) -> None:
    given = [] if length is None else [(b"content-length", length)]
    assert read_reply([(b":status", status), *given], LIMITS, ended=False).length == known


@pytest.mark.parametrize("fields", [[], [(b"x", b"y")], [(b":status", b"20")]])
def test_what_is_no_head(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Malformed):
        read_reply(fields, LIMITS, ended=True)
