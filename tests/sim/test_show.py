"""Framing: lengths, chunks, neither; the head at once or byte by byte; times that never fall."""

import pytest

from kproxy.sim import openai
from kproxy.sim.show import JSON, Framing, Part, Show, chunk, framed, head, ident_line
from tests.fakes.simulated import asked, script, unchunked

PARTS = [(1.0, Part.PREAMBLE, b"one"), (2.0, Part.TOKEN, b""), (1.5, Part.TOKEN, b"two")]


def shown(framing, parts=PARTS, **changes):
    show = Show(asked(), script(), openai, None, iter(parts), framing, JSON, head_at=0.5)
    for name, value in changes.items():
        setattr(show, name, value)
    beats = list(framed(show))
    start, _, body = b"".join(data for _, data in beats).partition(b"\r\n\r\n")
    return beats, start.split(b"\r\n"), body


def test_a_head():
    assert head(200, b"text/plain", b"a: b\r\n") == (
        b"HTTP/1.1 200 OK\r\nserver: kproxy-sim\r\ncontent-type: text/plain\r\na: b\r\n\r\n"
    )
    assert head(299, JSON, b"").startswith(b"HTTP/1.1 299 Status\r\n")


def test_a_chunk():
    assert chunk(b"x" * 16) == b"10\r\n" + b"x" * 16 + b"\r\n"
    assert chunk(b"") == b""


def test_chunked():
    beats, lines, body = shown(Framing.CHUNKED)
    assert b"transfer-encoding: chunked" in lines
    assert ident_line(openai, script().ident).strip() in lines
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert unchunked(body) == b"onetwo"
    assert [at for at, _ in beats] == [0.5, 1.0, 2.0, 2.0]


def test_chunked_without_its_end():
    assert shown(Framing.CHUNKED, unended=True)[2] == b"3\r\none\r\n3\r\ntwo\r\n"


def test_raw_pieces_have_no_frame():
    parts = [(0.0, Part.TOKEN, b"a"), (0.0, Part.RAW, b"zz\r\n")]
    assert shown(Framing.CHUNKED, parts, unended=True)[2] == b"1\r\na\r\nzz\r\n"


@pytest.mark.parametrize(("error", "length"), [(0, 6), (10, 16), (-4, 2), (-40, 0)])
def test_length(error, length):
    _, lines, body = shown(Framing.LENGTH, length_error=error)
    assert b"content-length: %d" % length in lines
    assert body == b"onetwo"


def test_open():
    _, lines, body = shown(Framing.OPEN)
    assert b"connection: close" in lines
    assert not [line for line in lines if line.startswith((b"content-length", b"transfer"))]
    assert body == b"onetwo"


def test_silence():
    assert shown(Framing.CHUNKED, silent=True)[0] == []


def test_a_head_byte_by_byte_holds_everything_back():
    beats, _, _ = shown(Framing.CHUNKED, head_gap=0.25)
    single = [at for at, data in beats if len(data) == 1]
    assert single[:3] == [0.5, 0.75, 1.0]
    rest = beats[len(single) :]
    assert {at for at, _ in rest} == {single[-1] + 0.25}
    assert b"".join(data for _, data in beats) == b"".join(
        data for _, data in shown(Framing.CHUNKED)[0]
    )


def test_status_fields_and_what_stands_before():
    beats, _, _ = shown(Framing.LENGTH, status=503, fields=b"retry-after: 3\r\n", before=b"xx")
    assert beats[0][1].startswith(b"xxHTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: 3\r\n" in beats[0][1]
