"""The values that the wires speak in."""

from kproxy.wire.events import ProtocolError, RequestHead, ResponseHead

FIELDS = [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")]


def test_get_returns_the_first_field_of_a_name():
    head = RequestHead(b"GET", b"/", FIELDS, 0, True, False)
    assert head.get(b"x") == b"1"
    assert head.get(b"y") is None
    answer = ResponseHead(200, FIELDS, None, True, True)
    assert answer.get(b"x") == b"1"
    assert answer.get(b"y") is None


def test_get_reads_the_index_where_there_is_one():
    fields = [(b"host", b"a")]
    head = RequestHead(b"GET", b"/", fields, 0, True, False, index=dict(fields))
    assert head.get(b"host") == b"a"
    assert head.get(b"x") is None
    answer = ResponseHead(200, fields, None, True, True, dict(fields))
    assert answer.get(b"host") == b"a"


def test_the_index_is_no_part_of_the_value():
    fields = [(b"host", b"a")]
    plain = RequestHead(b"GET", b"/", fields, 0, True, False)
    assert plain == RequestHead(b"GET", b"/", fields, 0, True, False, index=dict(fields))
    assert "index" not in repr(plain)


def test_an_error_says_what_a_server_answers():
    error = ProtocolError(431, "too large")
    assert (error.status, error.message, str(error)) == (431, "too large", "too large")
