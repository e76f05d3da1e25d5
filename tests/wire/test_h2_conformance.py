"""What RFC 9113 and RFC 7541 ask of a server, section by section: frames in, verdict out.

A verdict is the code that ends the connection, the code that resets the stream, or nothing wrong.
Where the RFC leaves the choice between two of them, the one that ends less is written down unless
the library has made the other one.
"""

import pytest

from kproxy.wire.h2_events import Body, Opened, Reset, Room
from kproxy.wire.h2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame_bytes,
)
from tests.fakes.h2_frames import (
    ACK,
    BEGUN,
    GET,
    PADDED,
    POST,
    Spoken,
    block,
    continuation,
    data,
    goaway,
    headers,
    ping,
    priority,
    reset,
    settings,
    update,
)

PROTOCOL, FLOW, CLOSED, SIZE, REFUSED, COMPRESSION = 0x1, 0x3, 0x5, 0x6, 0x7, 0x9

OPEN = headers(1, POST, end=False)
HALF = headers(1)
CUT = headers(1, POST, end=False) + reset(1)
BEGINNING = frame_bytes(HEADERS, END_STREAM, 1, block(GET)[:20])
REST = block(GET)[20:]


def padded(kind: int, stream: int, pad: int, payload: bytes, flags: int = 0) -> bytes:
    return frame_bytes(kind, flags | PADDED, stream, bytes((pad,)) + payload)


ENDS = [
    # 3.4: the connection preface
    ("3.4 another preface", b"GET / HTTP/1.1\r\nhost: here\r\n\r\n", PROTOCOL, False),
    ("3.4 a preface that goes wrong late", PREFACE[:-2] + b"xx", PROTOCOL, False),
    ("3.4 no SETTINGS first", PREFACE + ping(), PROTOCOL, False),
    ("3.4 an acknowledgement first", PREFACE + frame_bytes(SETTINGS, ACK, 0, b""), PROTOCOL, False),
    # 4.2: frame size
    ("4.2 DATA over the size", OPEN + data(1, bytes(16_385)), SIZE, True),
    ("4.2 HEADERS over the size", frame_bytes(HEADERS, 5, 1, bytes(16_385)), SIZE, True),
    ("4.2 an unknown kind over the size", frame_bytes(0x77, 0, 0, bytes(16_385)), SIZE, True),
    # 4.3: field section compression
    ("4.3 a block that is none", frame_bytes(HEADERS, 5, 1, b"\xff" * 9), COMPRESSION, True),
    ("4.3 an index of nothing", frame_bytes(HEADERS, 5, 1, b"\xbf\x20"), COMPRESSION, True),
    ("4.3 PRIORITY inside of a block", BEGINNING + priority(1), PROTOCOL, True),
    ("4.3 another stream inside of a block", BEGINNING + headers(3), PROTOCOL, True),
    ("4.3 another's CONTINUATION", BEGINNING + continuation(3, REST, end=True), PROTOCOL, True),
    ("4.3 GOAWAY inside of a block", BEGINNING + goaway(), PROTOCOL, True),
    ("5.5 an unknown kind inside of a block", BEGINNING + frame_bytes(0x16, 0, 0, b""), 1, True),
    # RFC 7541
    ("7541 2.3.3 index 0", frame_bytes(HEADERS, 5, 1, b"\x80"), COMPRESSION, True),
    ("7541 4.2 a table too large", frame_bytes(HEADERS, 5, 1, b"\x3f\xe2\x7f"), COMPRESSION, True),
    ("7541 5.2 Huffman padding", frame_bytes(HEADERS, 5, 1, b"\x00\x81\x00\x00"), 9, True),
    ("7541 5.1 a number too long", frame_bytes(HEADERS, 5, 1, b"\x7f" + b"\xff" * 20), 9, True),
    # 5.1: stream states
    ("5.1 DATA on idle", data(1), PROTOCOL, True),
    ("5.1 RST_STREAM on idle", reset(1), PROTOCOL, True),
    ("5.1 WINDOW_UPDATE on idle", update(1, 1), PROTOCOL, True),
    ("5.1 CONTINUATION on idle", continuation(1, end=True), PROTOCOL, True),
    ("5.1 DATA on ours", HALF + data(2), PROTOCOL, True),
    ("5.1 RST_STREAM on ours", HALF + reset(2), PROTOCOL, True),
    # 5.1.1: identifiers
    ("5.1.1 an even number", headers(2), PROTOCOL, True),
    ("5.1.1 a lower number", headers(5) + headers(3), PROTOCOL, True),
    # 5.3: priority
    ("5.3.1 HEADERS on itself", frame_bytes(HEADERS, 0x25, 1, b"\0\0\0\1\0" + block(GET)), 1, True),
    ("5.3.1 PRIORITY on itself", priority(1, depends_on=1), PROTOCOL, True),
    # 6.1: DATA
    ("6.1 DATA on 0", data(0, b"x"), PROTOCOL, True),
    ("6.1 padding over the payload", OPEN + padded(DATA, 1, 9, b"four"), PROTOCOL, True),
    # 6.2: HEADERS
    ("6.2 HEADERS on 0", headers(0), PROTOCOL, True),
    ("6.2 padding over the payload", padded(HEADERS, 1, 255, block(GET), 5), PROTOCOL, True),
    # 6.3: PRIORITY
    ("6.3 PRIORITY on 0", priority(0), PROTOCOL, True),
    ("6.3 PRIORITY of 4 bytes", frame_bytes(PRIORITY, 0, 1, bytes(4)), SIZE, True),
    # 6.4: RST_STREAM
    ("6.4 RST_STREAM on 0", reset(0), PROTOCOL, True),
    ("6.4 RST_STREAM of 3 bytes", OPEN + frame_bytes(RST_STREAM, 0, 1, bytes(3)), SIZE, True),
    # 6.5: SETTINGS
    ("6.5 an acknowledgement with content", frame_bytes(SETTINGS, ACK, 0, bytes(6)), SIZE, True),
    ("6.5 SETTINGS on a stream", frame_bytes(SETTINGS, 0, 1, b""), PROTOCOL, True),
    ("6.5 SETTINGS of 5 bytes", frame_bytes(SETTINGS, 0, 0, bytes(5)), SIZE, True),
    ("6.5.2 ENABLE_PUSH of 2", settings((2, 2)), PROTOCOL, True),
    ("6.5.2 a window too large", settings((4, 2**31)), FLOW, True),
    ("6.5.2 frames too small", settings((5, 16_383)), PROTOCOL, True),
    ("6.5.2 frames too large", settings((5, 2**24)), PROTOCOL, True),
    # 6.6: PUSH_PROMISE
    ("6.6 a client's push", frame_bytes(PUSH_PROMISE, 4, 1, b"\0\0\0\2"), PROTOCOL, True),
    # 6.7: PING
    ("6.7 PING on a stream", frame_bytes(PING, 0, 1, bytes(8)), PROTOCOL, True),
    ("6.7 PING of 7 bytes", ping(bytes(7)), SIZE, True),
    # 6.8: GOAWAY
    ("6.8 GOAWAY on a stream", b"\0\0\x08\x07\0\0\0\0\1" + bytes(8), PROTOCOL, True),
    # 6.9: WINDOW_UPDATE
    ("6.9 nothing for all", update(0, 0), PROTOCOL, True),
    ("6.9 nothing for a stream", OPEN + update(1, 0), PROTOCOL, True),
    ("6.9 of 3 bytes", frame_bytes(WINDOW_UPDATE, 0, 0, bytes(3)), SIZE, True),
    ("6.9.1 over the largest window", update(0, 2**31 - 1), FLOW, True),
    ("6.9.1 over the window we left", OPEN + data(1, bytes(16_384)) * 17, FLOW, True),
    ("6.9.2 over it by SETTINGS",
     OPEN + update(1, 2**31 - 65_536) + settings((4, 2**31 - 1)), FLOW, True),
    # 6.10: CONTINUATION
    ("6.10 behind the end of a block", HALF + continuation(1, end=True), PROTOCOL, True),
    ("6.10 on 0", BEGINNING + continuation(0, REST, end=True), PROTOCOL, True),
    ("6.10 behind DATA", OPEN + data(1, b"x") + continuation(1, end=True), PROTOCOL, True),
    # 8.1: a second field section is the last
    ("8.1 trailers without the end", OPEN + headers(1, [("a", "b")], end=False), PROTOCOL, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "code", "begun"), [pytest.param(*case[1:], id=case[0]) for case in ENDS]
)
def test_ends_the_connection(wire: bytes, code: int, begun: bool) -> None:
    told = Spoken(wire, begun=begun)
    assert told.ended == code
    by_bits = Spoken(*(bytes((one,)) for one in wire), begun=begun)
    assert by_bits.ended == code, "a byte at a time"


RESETS = [
    ("5.1 DATA on a stream that was reset", CUT + data(1, b"x"), CLOSED),
    ("6.9.1 over the largest window", OPEN + update(1, 2**31 - 1), FLOW),
    ("8.2.1 upper case", headers(1, [*GET, ("X-A", "b")]), PROTOCOL),
    ("8.2.1 no name", headers(1, [*GET, ("", "b")]), PROTOCOL),
    ("8.2.1 a space in a name", headers(1, [*GET, ("x a", "b")]), PROTOCOL),
    ("8.2.1 NUL in a value", headers(1, [*GET, ("x", "a\0b")]), PROTOCOL),
    ("8.2.1 LF in a value", headers(1, [*GET, ("x", "a\nb: c")]), PROTOCOL),
    ("8.2.1 CR in a value", headers(1, [*GET, ("x", "a\r")]), PROTOCOL),
    ("8.2.1 a space in front of a value", headers(1, [*GET, ("x", " a")]), PROTOCOL),
    ("8.2.1 a tab behind a value", headers(1, [*GET, ("x", "a\t")]), PROTOCOL),
    ("8.2.2 connection", headers(1, [*GET, ("connection", "close")]), PROTOCOL),
    ("8.2.2 keep-alive", headers(1, [*GET, ("keep-alive", "5")]), PROTOCOL),
    ("8.2.2 proxy-connection", headers(1, [*GET, ("proxy-connection", "close")]), PROTOCOL),
    ("8.2.2 transfer-encoding", headers(1, [*GET, ("transfer-encoding", "chunked")]), PROTOCOL),
    ("8.2.2 upgrade", headers(1, [*GET, ("upgrade", "h2c")]), PROTOCOL),
    ("8.2.2 te", headers(1, [*GET, ("te", "gzip")]), PROTOCOL),
    ("8.3 a pseudo-header field of no kind", headers(1, [*GET, (":what", "x")]), PROTOCOL),
    ("8.3 one of a response", headers(1, [*GET, (":status", "200")]), PROTOCOL),
    ("8.3 one behind a field", headers(1, [*GET[:3], ("a", "b"), GET[3]]), PROTOCOL),
    ("8.3 one in trailers", OPEN + headers(1, [(":path", "/")]), PROTOCOL),
    ("8.3.1 an empty path", headers(1, [*GET[:3], (":path", "")]), PROTOCOL),
    ("8.3.1 a path that begins with nothing", headers(1, [*GET[:3], (":path", "a")]), PROTOCOL),
    ("8.3.1 an asterisk for GET", headers(1, [*GET[:3], (":path", "*")]), PROTOCOL),
    ("8.3.1 a whole URL as path", headers(1, [*GET[:3], (":path", "http://a/")]), PROTOCOL),
    ("8.3.1 a fragment", headers(1, [*GET[:3], (":path", "/a#b")]), PROTOCOL),
    ("8.3.1 no method", headers(1, GET[1:]), PROTOCOL),
    ("8.3.1 a method that is no token", headers(1, [(":method", "G T"), *GET[1:]]), PROTOCOL),
    ("8.3.1 no scheme", headers(1, [GET[0], *GET[2:]]), PROTOCOL),
    ("8.3.1 a scheme that we do not serve", headers(1, [GET[0], (":scheme", "ftp"), *GET[2:]]), 1),
    ("8.3.1 no path", headers(1, GET[:3]), PROTOCOL),
    ("8.3.1 two methods", headers(1, [GET[0], *GET]), PROTOCOL),
    ("8.3.1 two schemes", headers(1, [GET[1], *GET]), PROTOCOL),
    ("8.3.1 two paths", headers(1, [*GET, GET[3]]), PROTOCOL),
    ("8.3.1 no authority", headers(1, [*GET[:2], GET[3]]), PROTOCOL),
    ("8.3.1 a user in the authority", headers(1, [*GET[:2], (":authority", "a@b"), GET[3]]), 1),
    ("8.3.1 a host that differs", headers(1, [*GET, ("host", "there")]), PROTOCOL),
    ("8.5 extended CONNECT, not offered", headers(1, [*GET, (":protocol", "websocket")]), PROTOCOL),
    ("8.1.1 a length without a body", headers(1, [*POST, ("content-length", "1")]), PROTOCOL),
    ("8.1.1 no number", headers(1, [*POST, ("content-length", "+1")], end=False), PROTOCOL),
    ("8.1.1 two numbers", headers(1, [*POST, *[("content-length", "1")] * 2], end=False), PROTOCOL),
    ("8.1.1 more than the length",
     headers(1, [*POST, ("content-length", "3")], end=False) + data(1, b"four"), PROTOCOL),
    ("8.1.1 more in two frames",
     headers(1, [*POST, ("content-length", "3")], end=False) + data(1, b"fo") + data(1, b"ur"), 1),
    ("8.1.1 less than the length",
     headers(1, [*POST, ("content-length", "5")], end=False) + data(1, b"four", end=True), 1),
    ("8.1.1 less, and trailers",
     headers(1, [*POST, ("content-length", "5")], end=False) + headers(1, [("a", "b")]), PROTOCOL),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "code"), [pytest.param(*case[1:], id=case[0]) for case in RESETS])
def test_resets_the_stream_alone(wire: bytes, code: int) -> None:
    told = Spoken(wire)
    assert (told.ended, told.resets) == (None, {1: code})
    told.say(headers(9))
    assert isinstance(told.events[-1], Opened), "and the connection goes on"
    assert told.events[-1].stream == 9


GOOD = [
    ("4.1 a kind that nobody knows", frame_bytes(0x77, 0xFF, 5, b"what") + headers(1)),
    ("4.1 flags that nobody knows", headers(1, flags=0x52)),
    ("4.1 the reserved bit", b"\0\0\x08\x06\0\x80\0\0\0" + bytes(8) + headers(1)),
    ("5.1 PRIORITY on idle", priority(7) + headers(1)),
    ("5.1 WINDOW_UPDATE on half closed", headers(1) + update(1, 9)),
    ("5.1 PRIORITY on half closed", headers(1) + priority(1)),
    ("6.2 padding", padded(HEADERS, 1, 3, block(GET) + bytes(3), END_STREAM | END_HEADERS)),
    ("6.2 with a priority", frame_bytes(HEADERS, 0x25, 1, b"\0\0\0\3\x10" + block(GET))),
    ("6.5.2 a setting that nobody knows", settings((0x99, 1)) + headers(1)),
    ("6.5.3 an acknowledgement more", frame_bytes(SETTINGS, ACK, 0, b"") + headers(1)),
    ("6.10 a block in three",
     BEGINNING + continuation(1, REST[:1]) + continuation(1, REST[1:], end=True)),
    ("8.1.2 te: trailers", headers(1, [*GET, ("te", "trailers")])),
    ("8.3.1 a host that is the same", headers(1, [*GET, ("host", "HERE")])),
    ("8.3.1 a host alone", headers(1, [*GET[:2], GET[3], ("host", "here")])),
    ("8.3.1 an asterisk", headers(1, [(":method", "OPTIONS"), *GET[1:3], (":path", "*")])),
    ("6.8 a peer that leaves still gets its answers", headers(1) + goaway()),
]  # fmt: skip


@pytest.mark.parametrize("wire", [pytest.param(case[1], id=case[0]) for case in GOOD])
def test_nothing_wrong(wire: bytes) -> None:
    for told in (Spoken(wire), Spoken(*(bytes((one,)) for one in wire))):
        assert (told.ended, told.resets) == (None, {})
        assert [event.stream for event in told.events if isinstance(event, Opened)] == [1]
        told.codec.send_head(1, 200, [(b"a", b"b")], last=True)
        told.hear()
        assert told.sent[-1].kind == HEADERS


class TestStates:
    """RFC 9113 section 5.1, where the stream's owner has a say."""

    @pytest.mark.parametrize("late", [data(1, b"x"), headers(1, [("a", "b")])])
    def test_after_the_peers_end(self, late: bytes) -> None:
        told = Spoken(HALF + late)
        assert (told.ended, told.resets) == (None, {1: CLOSED})
        assert told.events[-1] == Reset(1), "its owner is told"

    @pytest.mark.parametrize(
        ("late", "code", "resets"),
        [(data(1, b"x"), None, {1: CLOSED}), (headers(1, [("a", "b")]), CLOSED, {})],
    )
    def test_after_both_ends(self, late: bytes, code: int | None, resets: dict[int, int]) -> None:
        told = Spoken(HALF)
        told.codec.send_head(1, 200, [], last=True)
        told.codec.close(1, 8)
        told.say(late)
        assert (told.ended, told.resets) == (code, resets)

    @pytest.mark.parametrize("late", [reset(1), update(1, 5), priority(1)])
    def test_what_may_come_late(self, late: bytes) -> None:
        told = Spoken(HALF)
        told.codec.send_head(1, 200, [], last=True)
        told.codec.close(1, 8)
        told.say(late)
        assert (told.ended, told.resets) == (None, {})

    def test_data_on_its_way_when_we_reset(self) -> None:
        told = Spoken(OPEN)
        told.codec.close(1, 8)
        told.say(data(1, b"x"), data(1, b"y", end=True))
        assert told.ended is None
        assert set(told.resets) == {1}

    def test_one_stream_too_many(self) -> None:
        told = Spoken(*(headers(2 * number + 1) for number in range(101)))
        assert (told.ended, told.resets) == (None, {201: REFUSED})
        told.codec.send_head(1, 200, [], last=True)
        told.codec.close(1, 8)
        told.say(headers(203))
        assert 203 not in told.resets


class TestAnswers:
    """Frames that want one."""

    def test_settings_are_acknowledged(self) -> None:
        told = Spoken()
        first, *others = told.of(SETTINGS)
        assert first.flags == 0
        assert [one.flags for one in others] == [ACK]

    def test_a_ping_comes_back(self) -> None:
        told = Spoken(ping(b"abcdefgh"))
        (pong,) = told.of(PING)
        assert (pong.flags, pong.raw[9:]) == (ACK, b"abcdefgh")

    def test_a_pong_does_not(self) -> None:
        assert Spoken(ping(ack=True)).of(PING) == []

    def test_a_smaller_window_binds_streams_that_are_open(self) -> None:
        told = Spoken(HALF)
        told.codec.send_head(1, 200, [])
        told.codec.send_data(1, bytes(1000))
        told.say(settings((4, 10)))
        assert told.codec.window(1) == 0, "it may be less than none (section 6.9.2)"
        told.say(update(1, 991))
        assert told.codec.window(1) == 1
        assert isinstance(told.events[-1], Room)

    def test_padding_takes_window_and_is_given_back(self) -> None:
        told = Spoken(OPEN, padded(DATA, 1, 100, b"x" + bytes(100)))
        body = told.events[-1]
        assert isinstance(body, Body)
        assert (body.data, body.size) == (b"x", 102)


def test_every_answer_is_the_same_by_bits() -> None:
    wire = BEGUN + OPEN + data(1, b"one") + ping() + data(1, b"two", end=True) + headers(3)
    whole, by_bits = (
        Spoken(wire, begun=False),
        Spoken(*(bytes((one,)) for one in wire), begun=False),
    )
    assert by_bits.events == whole.events
    assert by_bits.sent == whole.sent
