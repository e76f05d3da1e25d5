"""Bodies: cut anywhere they are the same, and broken framing is refused at once."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.wire.chunked import Body, ChunkedBody, CloseBody, LengthBody
from kproxy.wire.events import ProtocolError
from kproxy.wire.frame import LAST_CHUNK, chunk
from kproxy.wire.limits import H1Limits
from tests.fakes.cuts import cut, every_cut, positions

LIMITS = H1Limits()

WHOLE = b'5\r\nhello\r\n00A;a=b;c="d e"\r\n0123456789\r\n1 ;x\r\n!\r\n00;y\r\nX: 1\r\nY:\r\n\r\n'
PAYLOAD = b"hello0123456789!"


def read(pieces: list[bytes]) -> tuple[bytes, ChunkedBody]:
    body = ChunkedBody(LIMITS)
    return b"".join([body.feed(piece) for piece in pieces]), body


def feed_all(body: Body, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        body.feed(piece)


def refused(body: Body, *pieces: bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        feed_all(body, pieces)
    return caught.value


def test_every_cut_gives_the_same_body():
    for pieces in every_cut(WHOLE + b"GET"):
        payload, body = read(pieces)
        assert payload == PAYLOAD
        assert body.complete
        assert body.excess == b"GET"
        body.eof()


extensions = st.sampled_from(
    [b"", b"", b";a", b' ; b="c d"', b"\t; a =\tb ;c", b';a="\x80\\"; \\;";b', b';a=""', b";!=~"]
)
trailers = st.sampled_from([b"", b"X: y\r\n", b"X:\r\nContent-Length: 5\r\n"])


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A chunked body as payload and as it travels."""
    payload, wire = b"", b""
    for piece in draw(st.lists(st.binary(min_size=1, max_size=20), max_size=6)):
        size = draw(st.sampled_from([b"%x", b"%X", b"%04x", b"%016X"])) % len(piece)
        payload += piece
        wire += size + draw(extensions) + b"\r\n" + piece + b"\r\n"
    last = draw(st.sampled_from([b"0", b"0000"]))
    return payload, wire + last + draw(extensions) + b"\r\n" + draw(trailers) + b"\r\n"


@settings(deadline=None)
@given(chunked(), st.binary(max_size=5), positions)
def test_any_cut_gives_the_same_body(message, excess, at):
    payload, wire = message
    found, body = read(cut(wire + excess, at))
    assert found == payload
    assert body.complete
    assert body.excess == excess


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=6), positions)
def test_verbatim_pieces_are_whole_chunks(chunks, at):
    body = ChunkedBody(LIMITS)
    for piece in cut(b"".join(map(chunk, chunks)) + LAST_CHUNK, at):
        payload = body.feed(piece)
        if body.verbatim:
            assert payload
            other = ChunkedBody(LIMITS)
            assert other.feed(piece + LAST_CHUNK) == payload
            assert other.complete


def test_verbatim():
    body = ChunkedBody(LIMITS)
    assert not body.verbatim
    for data, verbatim in (
        (b"5\r\nhello\r\n", True),
        (b"1\r\na\r\n002\r\nbc\r\n", True),
        (b"1;x\r\na\r\n", False),
        (b"1\r\na\r\n1;x\r\na\r\n", False),
        (b"", False),
        (b"2\r\na", False),
        (b"b\r\n", False),
        (b"1\r\na\r", False),
        (b"\n1\r\na\r\n", False),
        (b"1\r\na\r\n1", False),
        (b"\r\nb\r\n", False),
        (b"1\r\na\r\n", True),
        (b"1\r\na\r\n0\r\n\r\n", False),
        (b"1\r\na\r\n", False),
    ):
        body.feed(data)
        assert body.verbatim is verbatim, data


@pytest.mark.parametrize(
    "wire",
    [
        b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"-5\r\nhello\r\n", b"1_0\r\nhello",
        b" 5\r\nhello\r\n", b"5 \r\nhello\r\n", b"5\t\r\nhello\r\n", b"5 5\r\nhello\r\n",
        b"\r\n5\r\nhello\r\n", b";x\r\n", b"g\r\n", b"5h\r\nhello\r\n", b"\xb2\r\n",
        b"5\nhello\r\n", b"5\rhello\r\n", b"5\r\r\nhello\r\n", b"5,5\r\nhello\r\n",
        b"00000000000000005\r\nhello\r\n", b"ffffffffffffffff0\r\n", b"5;\x00\r\nhello\r\n",
        b"5;\r\nhello\r\n", b"5;;a\r\nhello\r\n", b"5;a;\r\nhello\r\n", b"5;a=\r\nhello\r\n",
        b"5;=a\r\nhello\r\n", b"5;a b\r\nhello\r\n", b"5;a=b=c\r\nhello\r\n",
        b'5;a="b\r\nhello\r\n', b'5;a="b"c\r\nhello\r\n', b'5;a="\\"\r\nhello\r\n',
        b'5;"a"\r\nhello\r\n',
        b"5;a \r\nhello\r\n", b"5;a=@\r\nhello\r\n", b"5;\x80\r\nhello\r\n",
        b"5;a\nb\r\nhello\r\n", b"5;a\rb\r\nhello\r\n", b"5;a\x7f\r\nhello\r\n",
        b"5\r\nhelloX\r\n", b"5\r\nhello\n", b"5\r\nhello\r\r", b"5\r\nhello0\r\n\r\n",
        b"5\r\nhelloXY5\r\nhello\r\n", b"2\r\nhello\r\n",
        b"0\r\nX\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\r\nX: y\n\r\n\r\n",
        b"0\r\nX: y\r\n z\r\n\r\n", b"0\r\n\n", b"0\r\nX: \x00\r\n\r\n", b"0\r\n: y\r\n\r\n",
    ],
)  # fmt: skip
def test_broken_framing_is_refused_however_it_is_cut(wire):
    for pieces in every_cut(wire):
        assert refused(ChunkedBody(LIMITS), *pieces).status == 400


def test_refused_before_the_line_ends():
    """Nobody has to wait for a time-out to be told."""
    for begun in (b"x", b"5g", b"5 x", b"\n", b"5\r5", b"00000000000000000"):
        refused(ChunkedBody(LIMITS), begun)
    refused(ChunkedBody(LIMITS), b"0\r\n", b"X: y\n")


def test_the_status_of_a_provider():
    assert refused(ChunkedBody(LIMITS, status=502), b"x").status == 502
    assert refused(ChunkedBody(LIMITS, status=502), b"0\r\nX\r\n\r\n").status == 502


def test_the_largest_size_is_only_a_number():
    body = ChunkedBody(LIMITS)
    assert body.feed(b"ffffffffffffffff\r\nabc") == b"abc"
    assert not body.complete


def test_a_size_line_at_the_limit_and_one_past_it():
    line = b"1;" + b"a" * 254
    assert len(line) == LIMITS.chunk_line
    for pieces in every_cut(line + b"\r\nx\r\n"):
        assert read(pieces)[0] == b"x"
    for pieces in every_cut(line + b"a\r\nx\r\n"):
        refused(ChunkedBody(LIMITS), *pieces)
    refused(ChunkedBody(LIMITS), line + b"aa")  # without waiting for its end


def test_extensions_at_the_limit_and_one_past_it():
    limits = H1Limits(chunk_extensions=20)
    body = ChunkedBody(limits)
    assert body.feed(b"1;" + b"a" * 9 + b"\r\nx\r\n") == b"x"
    assert body.feed(b"1;" + b"a" * 9 + b"\r\nx\r\n") == b"x"
    refused(body, b"1;a\r\nx\r\n")


@pytest.mark.parametrize("bytewise", [False, True])
def test_trailers_at_the_limit_and_one_past_it(bytewise):
    limits = H1Limits(trailers=30)
    fits = b"0\r\nX: " + b"a" * 10 + b"\r\nY: " + b"b" * 10 + b"\r\n\r\n"
    over = fits.replace(b"b\r\n", b"bb\r\n")
    assert len(fits) == 3 + 30 + 2
    body = ChunkedBody(limits)
    for piece in [fits] if not bytewise else [fits[i : i + 1] for i in range(len(fits))]:
        body.feed(piece)
    assert body.complete
    refused(
        ChunkedBody(limits), *([over] if not bytewise else [over[i : i + 1] for i in range(36)])
    )


def test_trailers_are_refused_before_they_end():
    limits = H1Limits(trailers=30)
    body = ChunkedBody(limits)
    body.feed(b"0\r\nX: " + b"a" * 28)  # as long as full trailers and half of their end
    refused(body, b"a")


def test_the_number_of_trailers():
    limits = H1Limits(count=2)
    body = ChunkedBody(limits)
    body.feed(b"0\r\na: 1\r\nb: 1\r\n\r\n")
    assert body.complete
    assert refused(ChunkedBody(limits), b"0\r\na: 1\r\nb: 1\r\nc: 1\r\n\r\n").status == 400


def test_a_chunked_body_cut_short():
    for end in range(len(WHOLE)):
        _, body = read([WHOLE[:end]])
        assert not body.complete
        with pytest.raises(ProtocolError) as caught:
            body.eof()
        assert caught.value.status == 400


def test_a_length():
    body = LengthBody(5, status=502)
    assert body.feed(b"ab") == b"ab"
    with pytest.raises(ProtocolError) as caught:
        body.eof()
    assert caught.value.status == 502
    assert body.feed(b"cdeXY") == b"cde"
    assert body.complete
    assert body.excess == b"XY"
    assert body.feed(b"Z") == b""
    assert body.excess == b"XYZ"
    assert not body.verbatim
    body.eof()


def test_a_length_that_is_met_exactly():
    body = LengthBody(2)
    assert body.feed(b"ab") == b"ab"
    assert body.complete
    assert body.excess == b""


def test_no_body():
    body = LengthBody(0)
    assert body.complete
    assert body.feed(b"") == b""
    assert body.feed(b"x") == b""
    assert body.excess == b"x"


def test_until_the_end_of_the_connection():
    body = CloseBody()
    assert body.feed(b"a") == b"a"
    assert not body.complete
    body.eof()
    assert body.complete
    assert not body.verbatim


@given(st.integers(0, 30), st.binary(max_size=40), positions)
def test_any_cut_of_a_length(length, data, at):
    body = LengthBody(length)
    assert b"".join([body.feed(piece) for piece in cut(data, at)]) == data[:length]
    assert body.excess == data[length:]
    assert body.complete == (len(data) >= length)


def test_states_show():
    bodies: list[Body] = [LengthBody(3), CloseBody(), ChunkedBody(LIMITS)]
    assert [repr(body) for body in bodies] == [
        "<LengthBody 3 left>",
        "<CloseBody open>",
        "<ChunkedBody size>",
    ]
