"""The defaults are those of the design, and the sums follow from them."""

from kproxy.wire.limits import H1Limits


def test_the_defaults():
    limits = H1Limits()
    assert (limits.request_line, limits.field, limits.fields) == (8192, 16384, 32768)
    assert (limits.count, limits.chunk_line, limits.chunk_extensions) == (100, 256, 16384)
    assert (limits.trailers, limits.response_head) == (8192, 32768)


def test_a_head_is_its_lines_and_their_ends():
    limits = H1Limits(request_line=10, fields=20, field=15)
    assert limits.head == 10 + 2 + 20 + 2


def test_an_easy_head_can_break_no_limit():
    assert H1Limits(request_line=10, fields=20, field=15).easy == 10
    assert H1Limits(request_line=90, fields=20, field=15).easy == 15
    assert H1Limits(request_line=90, fields=12, field=15).easy == 12
