"""The request reader: any cut, both engines, pipelining, and the ends of connections."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.wire.events import (
    Closed,
    Data,
    EndOfMessage,
    NeedData,
    ProtocolError,
    RequestEvent,
    RequestHead,
)
from kproxy.wire.h1 import ENGINES, RequestReader
from kproxy.wire.h1_general import GeneralBody
from kproxy.wire.limits import H1Limits
from tests.fakes.cuts import cut, every_cut, positions

LIMITS = H1Limits()
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;x\r\nlo\r\n0\r\nX: y\r\n\r\n"
)
EXPECT = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
KEPT_10 = b"POST /d HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
ABSOLUTE = b"GET http://b/e HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /f HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
LAST = b"GET /z HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
REQUESTS = (GET, POST, CHUNKED, EXPECT, KEPT_10, ABSOLUTE, UPGRADE)

engines = pytest.mark.parametrize("engine", ENGINES)


def drain(reader: RequestReader) -> list[RequestEvent]:
    """Events until it needs data or ends, that last one included."""
    events = [reader.next_event()]
    while not isinstance(events[-1], NeedData | Closed):
        events.append(reader.next_event())
    return events


def read(pieces: list[bytes], engine: str, *, eof: bool = True) -> list[RequestEvent]:
    """All events but NeedData, neighbouring Data joined."""
    reader = RequestReader(LIMITS, engine=engine)
    events: list[RequestEvent] = []
    pieces = [piece for piece in pieces if piece]
    for piece in [*pieces, b""] if eof else pieces:
        reader.receive_data(piece)
        for event in drain(reader):
            if isinstance(event, Data) and events and isinstance(events[-1], Data):
                events[-1] = Data(events[-1].data + event.data)
            elif event is not NeedData.NEED_DATA:
                events.append(event)
    return events


def feed_all(reader: RequestReader, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        reader.receive_data(piece)
        drain(reader)


def fails(pieces: list[bytes], engine: str = "scan", limits: H1Limits = LIMITS) -> ProtocolError:
    reader = RequestReader(limits, engine=engine)
    with pytest.raises(ProtocolError) as caught:
        feed_all(reader, pieces)
    with pytest.raises(ProtocolError) as again:
        reader.next_event()
    assert again.value is caught.value
    return caught.value


@engines
def test_one_plain_request(engine):
    reader = RequestReader(LIMITS, engine=engine)
    reader.receive_data(POST)
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    assert (head.method, head.target, head.content_length) == (b"POST", b"/b", 5)
    assert reader.buffered == 5
    assert reader.next_event() == Data(b"hello")
    assert reader.next_event() is EndOfMessage.END
    assert reader.next_event() is NeedData.NEED_DATA
    assert reader.buffered == 0


@engines
@pytest.mark.parametrize("request_", REQUESTS)
def test_every_cut_gives_the_same_events(engine, request_):
    whole = read([request_], engine)
    assert isinstance(whole[0], RequestHead)
    assert whole[-2:] == [EndOfMessage.END, Closed.CLOSED]
    for pieces in every_cut(request_):
        assert read(pieces, engine) == whole


@settings(deadline=None)
@given(st.lists(st.sampled_from(REQUESTS), max_size=4), st.booleans(), positions)
def test_any_cut_of_any_sequence_by_both_engines(requests, closes, at):
    wire = b"".join(requests) + (LAST if closes else b"")
    whole = read([wire], "scan")
    assert sum(isinstance(event, RequestHead) for event in whole) == len(requests) + closes
    assert read(cut(wire, at), "scan") == whole
    assert read(cut(wire, at), "h11") == whole


bodies = st.lists(st.binary(min_size=1, max_size=30), max_size=4)


@settings(deadline=None)
@given(bodies, st.booleans(), positions)
def test_any_body_by_both_engines(pieces, chunked, at):
    payload = b"".join(pieces)
    if chunked:
        framing = b"Transfer-Encoding: chunked"
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        framing, body = b"Content-Length: %d" % len(payload), payload
    wire = b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + body + GET
    for engine in ENGINES:
        events = read(cut(wire, at), engine)
        assert b"".join(e.data for e in events if isinstance(e, Data)) == payload
        assert sum(isinstance(event, RequestHead) for event in events) == 2


@engines
def test_pipelined_bytes_wait(engine):
    reader = RequestReader(LIMITS, engine=engine)
    reader.receive_data(POST + CHUNKED + GET)
    targets = []
    for waiting in (len(CHUNKED + GET), len(GET), 0):
        head = reader.next_event()
        assert isinstance(head, RequestHead)
        targets.append(head.target)
        while reader.next_event() is not EndOfMessage.END:
            pass
        assert reader.buffered == waiting
    assert targets == [b"/b", b"/c", b"/a"]


@engines
def test_bytes_arrive_while_others_wait(engine):
    reader = RequestReader(LIMITS, engine=engine)
    reader.receive_data(GET + POST[:30])
    assert isinstance(reader.next_event(), RequestHead)
    reader.receive_data(POST[30:-2])
    assert reader.next_event() is EndOfMessage.END
    assert isinstance(reader.next_event(), RequestHead)
    reader.receive_data(POST[-2:] + GET)
    assert reader.next_event() == Data(b"hello")
    assert reader.next_event() is EndOfMessage.END
    assert isinstance(reader.next_event(), RequestHead)


@engines
def test_nothing_is_read_after_the_last_request(engine):
    events = read([LAST + GET], engine, eof=False)
    assert [type(event) for event in events] == [RequestHead, EndOfMessage, Closed]


def test_a_closed_connection():
    reader = RequestReader(LIMITS)
    assert reader.next_event() is NeedData.NEED_DATA
    reader.receive_data(b"")
    assert reader.next_event() is Closed.CLOSED
    assert reader.next_event() is Closed.CLOSED


@engines
@pytest.mark.parametrize("request_", [POST, CHUNKED])
def test_the_end_inside_of_a_message(engine, request_):
    for end in range(1, len(request_)):
        assert fails([request_[:end], b""], engine).status == 400


@engines
def test_one_empty_line_may_stand_before_each_request(engine):
    wire = b"\r\n" + POST + b"\r\n" + GET + b"\r\n"
    for pieces in every_cut(wire):
        events = read(pieces, engine)
        assert sum(isinstance(event, RequestHead) for event in events) == 2
        assert events[-1] is Closed.CLOSED


@pytest.mark.parametrize("start", [b"\r\n\r\n", b"\n", b"\r\r\n", b"\n\r\n", b"\r\n\n", b" \r\n"])
def test_nothing_else_may(start):
    for pieces in every_cut(start + GET):
        assert fails(pieces).status == 400
    for pieces in every_cut(GET + start + GET):
        assert fails(pieces).status == 400


@engines
@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (GET.replace(b"\r\n", b"\n"), 400),
        (GET.replace(b"Host", b" Host"), 400),
        (GET.replace(b"Host:", b"Host :"), 400),
        (GET.replace(b"Host: a", b"Host: a\x00"), 400),
        (GET.replace(b"Host: a", b"Host: a\rX: b"), 400),
        (GET.replace(b"1.1", b"1.2"), 505),
        (CHUNKED.replace(b"\r\n\r\n3", b"\r\nContent-Length: 5\r\n\r\n3"), 400),
        (CHUNKED.replace(b"chunked", b"gzip, chunked"), 501),
        (CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (CHUNKED.replace(b"3\r\nhel", b"0x3\r\nhel"), 400),
        (CHUNKED.replace(b"3\r\nhel", b"3\nhel"), 400),
        (CHUNKED.replace(b"hel\r\n", b"help\r\n"), 400),
        (CHUNKED.replace(b"X: y", b"X : y"), 400),
        (POST.replace(b": 5", b": 5\r\nContent-Length: 5"), 400),
        (POST.replace(b": 5", b": +5"), 400),
        (EXPECT.replace(b"100-", b"200-"), 417),
    ],
)
def test_what_is_refused_however_it_is_cut(engine, wire, status):
    for pieces in every_cut(wire):
        assert fails(pieces, engine).status == status


def test_refused_before_the_head_has_ended():
    """Neither a peer that ends lines with LF nor one that begins with TLS waits for a time-out."""
    assert fails([b"GET / HTTP/1.1\n"]).status == 400
    assert fails([b"\x16\x03\x01\x02\x00\x01\x00"]).status == 400


def test_the_request_line_is_limited_before_it_ends():
    line = b"GET /" + b"a" * (8192 - 14) + b" HTTP/1.1"
    reader = RequestReader(LIMITS)
    reader.receive_data(line + b"\r")
    assert reader.next_event() is NeedData.NEED_DATA
    reader.receive_data(b"\nHost: a\r\n\r\n")
    assert isinstance(reader.next_event(), RequestHead)
    assert fails([b"G" + line + b"\r"]).status == 414
    assert fails([b"G" + line + b"\r\nHost: a\r\n\r\n"]).status == 414
    assert fails([b"a" * 8194]).status == 414


def test_the_head_is_limited_before_it_ends():
    limits = H1Limits(request_line=20, fields=50)
    start = b"GET /aaaaa HTTP/1.1\r\nHost: a\r\nX: "
    most = limits.head - 1  # the request line has one byte less than it may
    whole = start + b"b" * (most - len(start) - 4) + b"\r\n\r\n"
    reader = RequestReader(limits)
    reader.receive_data(whole[:-1])
    assert reader.next_event() is NeedData.NEED_DATA
    reader.receive_data(whole[-1:])
    assert isinstance(reader.next_event(), RequestHead)
    over = whole.replace(b"b\r\n", b"bb\r\n")
    for pieces in every_cut(over):
        assert fails(pieces, limits=limits).status == 431
    assert fails([start + b"b" * (limits.head - len(start))], limits=limits).status == 431
    assert fails([start, b"b" * 50], limits=limits).status == 431


def test_the_buffer_holds_at_most_a_head_and_a_read():
    reader = RequestReader(LIMITS)
    pieces = [b"GET / HTTP/1.1\r\n", *(b"X: %04090d\r\n" % number for number in range(100))]
    with pytest.raises(ProtocolError):
        feed_all(reader, pieces)
    assert reader.buffered <= LIMITS.head + 4096


def test_a_head_byte_by_byte_is_searched_once():
    """What was searched is not searched again, but for the three bytes an end may begin with."""
    reader = RequestReader(LIMITS)
    reader.receive_data(b"\r\n" + GET[:-4])
    for _ in range(10):
        assert reader.next_event() is NeedData.NEED_DATA
        assert reader._searched >= len(reader._buffer) - 3
        reader.receive_data(b"\r\nX: y")


def test_a_plain_body_is_not_copied():
    reader = RequestReader(LIMITS)
    reader.receive_data(POST[:-5])
    reader.next_event()
    data = b"hel"
    reader.receive_data(data)
    event = reader.next_event()
    assert isinstance(event, Data)
    assert event.data is data


@pytest.mark.parametrize(
    ("wire", "engine", "general"),
    [(POST, "scan", False), (POST, "h11", True), (CHUNKED, "scan", True), (KEPT_10, "scan", True)],
)
def test_who_reads_what(wire, engine, general):
    reader = RequestReader(LIMITS, engine=engine)
    reader.receive_data(wire)
    reader.next_event()
    assert isinstance(reader._body, GeneralBody) is general


def test_engines_have_names():
    with pytest.raises(ValueError, match="scan, h11"):
        RequestReader(LIMITS, engine="fast")


def test_the_state_shows():
    reader = RequestReader(LIMITS)
    assert repr(reader) == "<RequestReader idle, 0 buffered>"
    reader.receive_data(POST)
    reader.next_event()
    assert repr(reader) == "<RequestReader in a request, 5 buffered>"
    reader = RequestReader(LIMITS)
    reader.receive_data(b"\n")
    with pytest.raises(ProtocolError):
        reader.next_event()
    assert repr(reader) == "<RequestReader failed, 1 buffered>"
