"""What we write can be read back, and nothing in it can end a line."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.wire.chunked import ChunkedBody
from kproxy.wire.frame import CONTINUE, LAST_CHUNK, chunk, request_head, response_head
from kproxy.wire.limits import H1Limits

BREAKING = [b"a\r\nb: c", b"a\n", b"\r", b"a\x00", b"\x7f", b"a\x0bb", b"\x1b[0m"]


def test_a_response_head():
    head = response_head(200, [(b"content-type", b"text/plain"), (b"x", b"")])
    assert head == b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx: \r\n\r\n"


def test_no_fields():
    assert response_head(404, []) == b"HTTP/1.1 404 Not Found\r\n\r\n"


def test_a_status_without_a_known_reason():
    assert response_head(599, []) == b"HTTP/1.1 599 \r\n\r\n"


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 1000, -200])
def test_what_is_no_final_status(status):
    with pytest.raises(ValueError, match="status"):
        response_head(status, [])


@pytest.mark.parametrize("text", BREAKING)
def test_a_value_cannot_end_its_line(text):
    with pytest.raises(ValueError, match="control"):
        response_head(200, [(b"x", text)])
    with pytest.raises(ValueError, match="control"):
        request_head(b"GET", b"/", [(b"x", text)])


@pytest.mark.parametrize("text", BREAKING)
def test_nor_can_a_name(text):
    with pytest.raises(ValueError):
        response_head(200, [(text, b"x")])


@pytest.mark.parametrize("name", [b"", b"a b", b"a ", b" a", b"a:b", b"a: b", b"\xff", b"(a)"])
def test_a_name_is_a_token(name):
    with pytest.raises(ValueError, match="token"):
        response_head(200, [(name, b"x")])


def test_a_request_head():
    head = request_head(b"POST", b"/v1/x?y", [(b"host", b"a")])
    assert head == b"POST /v1/x?y HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "target"),
    [(b"", b"/"), (b"GET", b""), (b"G T", b"/"), (b"GET", b"/ HTTP/1.1"), (b"GET", b"/\r\na")],
)
def test_a_request_line_has_three_parts(method, target):
    with pytest.raises(ValueError):
        request_head(method, target, [])


def test_chunks():
    assert chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"
    assert chunk(b"") == b""
    assert LAST_CHUNK == b"0\r\n\r\n"


@given(st.lists(st.binary(max_size=40)))
def test_chunks_are_read_back(pieces):
    body = ChunkedBody(H1Limits())
    assert body.feed(b"".join(map(chunk, pieces)) + LAST_CHUNK) == b"".join(pieces)
    assert body.complete
    assert body.excess == b""


tokens = st.text("abcXYZ019!#-_", min_size=1).map(str.encode)
visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)).map(str.encode)


@given(st.integers(200, 599), st.lists(st.tuples(tokens, visible), max_size=5))
def test_h11_reads_what_we_wrote(status, headers):
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(CONTINUE + response_head(status, headers))
    informational, response = connection.next_event(), connection.next_event()
    assert isinstance(informational, h11.InformationalResponse)
    assert isinstance(response, h11.Response)
    assert response.status_code == status
    assert list(response.headers) == [(name.lower(), value) for name, value in headers]
